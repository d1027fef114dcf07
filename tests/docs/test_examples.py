"""README and docs: every Python example runs as printed, every command line is one that dlkit has."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import dlkit

_ROOT = Path(__file__).resolve().parents[2]
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE
)
#: What examples may import that need not be installed: those that do are skipped then.
_OPTIONAL = ("torch", "sklearn", "safetensors", "matplotlib")


class Block(NamedTuple):
    """The code between two fences, and the line that it begins on."""

    code: str
    line: int


def blocks(page: Path, language: str) -> list[Block]:
    """The blocks of a page in that language."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(textwrap.dedent(match["code"]), text.count("\n", 0, match.start("code")) + 1)
        for match in _FENCE.finditer(text)
        if match["language"] == language
    ]


def name(page: Path) -> str:
    return page.relative_to(_ROOT).as_posix()


def missing(code: str) -> list[str]:
    """The optional packages that the code imports and that are not installed."""
    used = [package for package in _OPTIONAL if re.search(rf"^(import|from) {package}\b", code, re.MULTILINE)]
    return [package for package in used if importlib.util.find_spec(package) is None]


def command_lines() -> list[tuple[str, int, str]]:
    found = []
    for page in _PAGES:
        for block in blocks(page, "sh"):
            joined = block.code.replace("\\\n", " ")
            for offset, line in enumerate(joined.splitlines()):
                words = shlex.split(line, comments=True)
                if words[:1] == ["dlkit"]:
                    found.append((name(page), block.line + offset, shlex.join(words[1:])))
    return found


@pytest.mark.parametrize("page", [page for page in _PAGES if blocks(page, "python")], ids=name)
def test_examples_run_as_printed(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All blocks of a page run in order, in one namespace and an empty folder."""
    monkeypatch.chdir(tmp_path)
    threads = dlkit.get_num_threads()
    namespace: dict[str, Any] = {"__name__": "__example__"}
    lacking: list[str] = []
    try:
        for block in blocks(page, "python"):
            absent = missing(block.code)
            if absent:
                lacking += absent
                continue
            code = "\n" * (block.line - 1) + block.code  # so that tracebacks name the page's line
            try:
                exec(compile(code, name(page), "exec"), namespace)
            except dlkit.data.DataNotFoundError as error:  # no folder of official data and no network
                lacking.append(str(error).partition(":")[0])
            except NameError:
                if not lacking:  # else: what a skipped block would have defined
                    raise
    finally:
        dlkit.set_num_threads(threads)
    if lacking and len(lacking) == len(blocks(page, "python")):
        pytest.skip(f"needs {', '.join(sorted(set(lacking)))}")


@pytest.mark.parametrize(("page", "line", "command"), command_lines())
def test_command_lines_are_understood(page: str, line: int, command: str):
    """Names and options are those of the command line; nothing is run."""
    pytest.importorskip("typer")
    import typer

    from dlkit.cli.app import app

    node: Any = typer.main.get_command(app)
    words, called = shlex.split(command), "dlkit"
    while hasattr(node, "commands"):
        assert words, f"{page}:{line}: {called} needs a command"
        assert words[0] in node.commands, f"{page}:{line}: {called} has no command {words[0]!r}"
        node, called, words = node.commands[words[0]], f"{called} {words[0]}", words[1:]
    known = {option for parameter in node.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("-") and not re.fullmatch(r"-\d.*", word):
            option = word.partition("=")[0]
            assert option in known, f"{page}:{line}: {called} has no option {option}"


def test_targets_of_make_that_the_docs_name_are_there():
    makefile = (_ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in (*_PAGES, _ROOT / "CONTRIBUTING.md"):
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"`make ([a-z-]+)[^`]*`", text)) | {
            word
            for block in blocks(page, "sh")
            for line in re.findall(r"^make ([a-z -]+)", block.code, re.MULTILINE)
            for word in line.split()
        }
        assert named <= targets, f"{name(page)}: make has no {', '.join(sorted(named - targets))}"


def test_links_between_files_lead_somewhere():
    for page in (*_PAGES, _ROOT / "CONTRIBUTING.md", _ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{name(page)}: {target} is not there"


def test_every_variant_of_the_product_has_a_section():
    page = (_ROOT / "docs" / "matmul.md").read_text(encoding="utf-8")
    for step in dlkit.kernels.variants("matmul"):
        assert f"\n### {step.name}\n" in page


def test_every_argument_of_the_product_is_explained():
    page = (_ROOT / "docs" / "matmul.md").read_text(encoding="utf-8")
    for argument in inspect.signature(dlkit.kernels.matmul).parameters:
        assert f"`{argument}`" in page
