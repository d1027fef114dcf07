from __future__ import annotations

import pytest

from dlkit.recipes import get


@pytest.fixture
def reproduce(script):
    return script("reproduce_nnlm")


class _Recipe:
    """Trains in no time."""

    def __init__(self, mixed):
        self.asked, self.mixed = [], mixed

    def run(self, **settings):
        self.asked.append(settings)
        metrics = {
            "test_perplexity": self.mixed,
            "network_test_perplexity": 155.0,
            "ngram_test_perplexity": 148.3,
            "weight": 0.456,
            "train_seconds": 90.0,
        }
        return type("Result", (), {"metrics": metrics})()

    def settings(self, **given):
        return type("Settings", (), {"as_dict": lambda self: {"seed": 0, **given}})()


def test_rows_are_measured_and_kept(reproduce, monkeypatch, tmp_path):
    recipe = _Recipe(140.5)
    monkeypatch.setattr("rows.get", lambda name: recipe)
    keep = ["--keep", str(tmp_path / "runs")]
    assert reproduce.main(["--rows", "short", *keep]) == 1  # 140.5 of 140
    recipe.mixed = 119.5
    assert reproduce.main(["--rows", "wide", "--seed", "3", *keep]) == 0
    assert [a["seed"] for a in recipe.asked] == [0, 3]
    assert not any(a["resume"] for a in recipe.asked)
    page = reproduce.PAGE.read_text()
    assert "| 4×60 → 100, 1 epoch | 155.0 | 148.3 | 0.46 | **140.5** | 140 | 2 min |" in page
    assert "| **119.5** | 140 | 2 min |" in page
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    with pytest.raises(SystemExit):
        reproduce.main(["--rows", "shor", *keep])


def test_a_run_that_is_there_is_gone_on_with(reproduce, monkeypatch, tmp_path):
    recipe = _Recipe(120.0)
    monkeypatch.setattr("rows.get", lambda name: recipe)
    (tmp_path / "wide-0").mkdir()
    (tmp_path / "wide-0" / "settings.json").write_text("{}")
    assert reproduce.main(["--rows", "wide", "--keep", str(tmp_path)]) == 0
    assert recipe.asked[0]["resume"]


def test_every_row_has_valid_settings(reproduce):
    for row in reproduce.ROWS:
        assert get("nnlm").settings(data=row.data, **row.settings).as_dict()["order"] == 5
