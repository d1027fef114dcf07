"""The page of a map of words: what is in the file, and what it does in a real browser, where there is one."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlkit.models import KeyedVectors
from dlkit.train import write_embedding_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOSTILE = [
    "</script><script>window.broken=1</script>",
    "<img src=x onerror=window.broken=1>",
    "<!--",
    "{{data}}",
    "{{title}}",
    "&lt;&amp;",
    '"\\',
    "two\u2028lines",
    "\ud800half",
    "__proto__",
    "constructor",
    "שלום",
    "x" * 300,
]


def page(folder: Path, words: list[str], table: Any, title: str = "Map", **how: Any) -> Path:
    counts = np.arange(len(words), 0, -1)
    return write_embedding_page(
        KeyedVectors(words, table, counts).map(**how), folder / "map.html", title=title
    )


class Parsed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags:
            tag, attributes = self.tags[-1]
            key = attributes.get("id") or tag
            self.texts[key] = self.texts.get(key, "") + data


def test_all_is_in_the_file_and_words_are_text(tmp_path, rng):
    title = "<b>{{data}}</b> & 'title'"
    file = page(tmp_path, HOSTILE, rng.standard_normal((len(HOSTILE), 4)), title=title)
    text = file.read_text(encoding="utf-8")
    parsed = Parsed(text)
    assert [tag for tag, _ in parsed.tags].count("script") == 2
    assert not {"img", "iframe", "object", "embed", "b"} & {tag for tag, _ in parsed.tags}
    assert parsed.texts["title"].strip() == parsed.texts["h1"].strip() == title
    data = json.loads(parsed.texts["data"])
    assert data["words"] == HOSTILE
    assert len(data["x"]) == len(data["y"]) == len(HOSTILE)
    assert max(map(abs, data["x"] + data["y"])) == 1
    # Nothing comes from elsewhere.
    assert not re.search(r"https?:|//[a-z]+\.", text.replace(parsed.texts["data"], ""))
    for _, attributes in parsed.tags:
        assert "src" not in attributes
        assert attributes.get("href", "data:,").startswith("data:")


@pytest.mark.parametrize(("words", "table"), [(["a"], [[1.0]]), (["a", "b"], [[1.0, 2.0]] * 2)])
def test_little(tmp_path, words, table):
    data = json.loads(Parsed(page(tmp_path, words, table).read_text()).texts["data"])
    assert data["x"] == [0] * len(words)
    assert [len(near) for near in data["near"]] == [len(words) - 1] * len(words)


# --- In a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs dlkit[browser] and a browser")
    found = os.environ.get("DLKIT_TEST_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    with playwright.sync_playwright() as run:
        path = found or run.chromium.executable_path
        if not os.path.isfile(path):
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
        sandbox = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        started = run.chromium.launch(executable_path=path, args=sandbox)
        yield started
        started.close()


@pytest.fixture
def show(browser: Any) -> Iterator[Any]:
    """Opens a page from the disk; at the end nothing has gone wrong in it, and nothing was asked of a network."""
    wrong: list[str] = []
    contexts = []

    def opened(file: Path, width: int = 1000, height: int = 700, fragment: str = "", **how: Any) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height}, reduced_motion="reduce", **how
        )
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        tab.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
        tab.goto(file.as_uri() + fragment)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def file(tmp_path: Path, rng: Any) -> Path:
    words = ["star", "stars", "sun", "moon", "planet", *(f"word{i}" for i in range(300))]
    table = rng.standard_normal((len(words), 12))
    table[1:5] = table[0] + 0.2 * rng.standard_normal((4, 12))
    return page(tmp_path, words, table, title="Words of a test")


def place(tab: Any, word: str) -> tuple[float, float]:
    x, y = tab.evaluate("word => embeddingMap.place(word)", word)
    box = tab.locator("#map").bounding_box()
    return box["x"] + x, box["y"] + y


def labels(tab: Any) -> list[dict[str, Any]]:
    tab.evaluate("embeddingMap.draw()")
    return tab.evaluate("embeddingMap.labels()")


def test_labels_do_not_overlap_and_more_come_with_zoom(show, file):
    tab = show(file)
    assert tab.title() == "Words of a test"
    first = labels(tab)
    assert first[0]["text"] == "star"
    for one in first:
        for other in first:
            if one is not other:
                assert (
                    one["right"] <= other["left"]
                    or one["left"] >= other["right"]
                    or one["bottom"] <= other["top"]
                    or one["top"] >= other["bottom"]
                )
    before = tab.evaluate("embeddingMap.view().scale")
    x, y = place(tab, "star")
    pointer = round(x), round(y)
    tab.mouse.move(*pointer)
    for _ in range(5):
        tab.mouse.wheel(0, -200)
    tab.wait_for_function("before => embeddingMap.view().scale > 7 * before", arg=before)
    factor = tab.evaluate("embeddingMap.view().scale") / before
    # What is under the pointer stays there.
    stays = [p + factor * (at - p) for p, at in zip(pointer, (x, y), strict=True)]
    assert place(tab, "star") == pytest.approx(stays, abs=0.1)
    named = {label["text"] for label in labels(tab)}
    assert "star" in named
    assert named - {label["text"] for label in first}
    x, y = place(tab, "star")
    tab.mouse.move(400, 300)
    tab.mouse.down()
    tab.mouse.move(450, 330, steps=4)
    tab.mouse.up()
    assert place(tab, "star") == pytest.approx((x + 50, y + 30), abs=1)
    tab.get_by_role("button", name="Show all").click()
    assert tab.evaluate("embeddingMap.view().scale") == pytest.approx(before)


def test_hover_and_choose(show, file):
    tab = show(file)
    tab.mouse.move(*place(tab, "star"))
    tip = tab.locator("#tip")
    assert tip.is_visible()
    shown = tip.inner_text().split()
    assert shown[0] == "star"
    assert set(tip.locator(".word").all_inner_texts()[:4]) == {"stars", "sun", "moon", "planet"}
    assert all(float(text) > 0.8 for text in tip.locator(".cosine").all_inner_texts()[:4])
    box, (x, y) = tip.bounding_box(), place(tab, "star")
    assert not (box["x"] < x < box["x"] + box["width"] and box["y"] < y < box["y"] + box["height"])
    tab.mouse.click(*place(tab, "star"))
    panel = tab.locator("#panel")
    assert panel.locator("h2").inner_text() == "star"
    assert tab.url.endswith("#star")
    panel.get_by_role("button", name="moon", exact=True).click()
    assert panel.locator("h2").inner_text() == "moon"
    assert tab.locator("#said").inner_text().startswith("moon; nearest:")
    panel.get_by_role("button", name="Close").click()
    assert panel.is_hidden()


def test_search_highlights_suggests_and_finds(show, file):
    tab = show(file)
    ask = tab.get_by_role("combobox", name="Find a word")
    tab.keyboard.press("/")
    tab.keyboard.type("STAR")
    options = tab.get_by_role("option")
    assert options.all_inner_texts() == ["star", "stars"]
    assert sorted(tab.evaluate("embeddingMap.matches()")) == ["star", "stars"]
    tab.keyboard.press("ArrowDown")
    assert tab.locator("[aria-selected=true]").inner_text() == "stars"
    assert ask.get_attribute("aria-activedescendant") == tab.locator("[aria-selected=true]").get_attribute(
        "id"
    )
    tab.keyboard.press("Enter")
    assert tab.locator("#panel h2").inner_text() == "stars"
    assert tab.locator("#found").is_hidden()
    ask.fill("plnaet")
    assert tab.locator("#found .say").inner_text() == "Not on this map. Did you mean:"
    assert options.first.inner_text() == "planet"
    options.first.click()
    assert tab.locator("#panel h2").inner_text() == "planet"
    ask.fill("qqqqqqqq")
    assert tab.locator("#found .say").inner_text() == "Not on this map."
    ask.fill("word")
    assert tab.locator("#found .say").inner_text() == "300 words have it; the first 8:"
    tab.keyboard.press("Escape")
    assert tab.locator("#panel").is_hidden()
    assert ask.input_value() == ""
    assert tab.evaluate("embeddingMap.matches()") is None


def test_keys(show, file):
    tab = show(file)
    tab.locator("#map").focus()
    x, y = place(tab, "star")
    tab.keyboard.press("ArrowRight")
    assert place(tab, "star") == pytest.approx((x - 70, y), abs=0.5)
    tab.keyboard.press("ArrowUp")
    assert place(tab, "star") == pytest.approx((x - 70, y + 70), abs=0.5)
    scale = tab.evaluate("embeddingMap.view().scale")
    tab.keyboard.press("+")
    assert tab.evaluate("embeddingMap.view().scale") == pytest.approx(1.4 * scale)
    tab.keyboard.press("0")
    tab.keyboard.press("Shift+ArrowLeft")
    first = tab.locator("#panel h2").inner_text()
    tab.keyboard.press("Shift+ArrowRight")
    assert tab.locator("#panel h2").inner_text() != first
    # All that can be clicked can be reached.
    seen = set()
    for _ in range(20):
        tab.keyboard.press("Tab")
        seen.add(tab.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"ask", "theme", "map", "word", "close", "square"} <= seen


def test_light_and_dark(show, file):
    back = "getComputedStyle(document.body).backgroundColor"
    pixel = "Array.from(document.getElementById('map').getContext('2d').getImageData(1, 1, 1, 1).data)"
    light, dark = show(file, color_scheme="light"), show(file, color_scheme="dark")
    assert light.evaluate(back) == "rgb(251, 251, 249)"
    assert dark.evaluate(back) == "rgb(19, 22, 26)"
    dark.evaluate("embeddingMap.draw()")
    assert dark.evaluate(pixel) == [19, 22, 26, 255]
    dark.get_by_role("button", name="Light or dark").click()
    dark.evaluate("embeddingMap.draw()")
    assert dark.evaluate(pixel) == [251, 251, 249, 255]


def test_on_a_phone(show, file):
    tab = show(file, width=360, height=640, fragment="#sun", has_touch=True, device_scale_factor=3)
    assert tab.locator("#panel h2").inner_text() == "sun"
    assert tab.evaluate("document.documentElement.scrollWidth") == 360
    panel, (x, y) = tab.locator("#panel").bounding_box(), place(tab, "sun")
    assert 0 < x < 360
    assert 100 < y < panel["y"]  # in what the panel leaves free
    tab.get_by_role("button", name="Close").click()
    tab.touchscreen.tap(*place(tab, "moon"))
    assert tab.locator("#panel").is_visible()


def test_hostile_words(show, tmp_path, rng):
    file = page(tmp_path, HOSTILE, rng.standard_normal((len(HOSTILE), 4)), title="</title><script>")
    tab = show(file)
    ask = tab.get_by_role("combobox", name="Find a word")
    for word in HOSTILE:
        if word == "\ud800half":
            continue  # no keyboard types it
        ask.fill(word)
        tab.keyboard.press("Enter")
        assert tab.locator("#panel h2").text_content() == word
    assert tab.evaluate("window.broken") is None
    assert tab.evaluate("embeddingMap.place('none')") is None


@pytest.mark.parametrize(("words", "table"), [(["a"], [[1.0]]), (["a", "b"], [[1.0, 2.0]] * 2)])
def test_little_in_a_browser(show, tmp_path, words, table):
    tab = show(page(tmp_path, words, table))
    assert [label["text"] for label in labels(tab)] == words
    tab.mouse.click(*place(tab, "a"))
    assert tab.locator("#panel h2").inner_text() == "a"


def test_two_thousand_words_are_smooth(show, tmp_path, rng):
    words = [f"{'abcdefghij'[i % 10] * (2 + i % 7)}{i}" for i in range(2000)]
    tab = show(page(tmp_path, words, rng.standard_normal((2000, 20)), topn=2000))
    drawing = tab.evaluate(
        "(() => { const t = performance.now(); for (let i = 0; i < 20; i++) embeddingMap.draw();"
        " return (performance.now() - t) / 20; })()"
    )
    assert drawing < 60  # milliseconds; 5 to 15 on an idle machine without a graphics card
