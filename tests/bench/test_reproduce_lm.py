from __future__ import annotations

import pytest

from dlkit.recipes import get


@pytest.fixture
def reproduce(script):
    return script("reproduce_lm")


class _Recipe:
    """Trains in no time."""

    def __init__(self):
        self.asked = []

    def run(self, **settings):
        self.asked.append(settings)
        sampled = settings.get("softmax", "full") != "full"
        perplexity = 153.0 if sampled else 150.0 if settings["data"] == "wikitext2" else 119.5
        if settings.get("tied"):
            perplexity = 126.0
        metrics = {
            "test_perplexity": perplexity,
            "val_perplexity": 120.0,
            "epochs": 3,
            "train_seconds": 90.0,
        }
        return type("Result", (), {"metrics": metrics})()

    def settings(self, **given):
        return type("Settings", (), {"as_dict": lambda self: {"seed": 0, **given}})()


def test_rows_are_measured_and_kept(reproduce, monkeypatch, tmp_path):
    recipe = _Recipe()
    monkeypatch.setattr("rows.get", lambda name: recipe)
    keep = ["--keep", str(tmp_path / "runs")]
    assert reproduce.main(["--rows", "small", *keep]) == 1  # 119.5 of 115
    assert reproduce.main(["--rows", "rnn,full,adaptive,adaptive-tied", "--seed", "3", *keep]) == 0
    assert [a["seed"] for a in recipe.asked] == [0, 3, 3, 3, 3]
    assert not any(a["resume"] for a in recipe.asked)
    page = reproduce.PAGE.read_text()
    assert (
        "| LSTM, 2 layers of 200 | **119.5** | 120.0 | 115 | 114.5 (Zaremba et al., 2014) | 3 | 2 min |"
        in page
    )
    assert "| tanh RNN, 300 units | **119.5** | 120.0 | 125 |" in page
    assert "| full softmax | **150.0** |  | 120.0 | 3 | 2 min |" in page
    assert "| adaptive softmax | **153.0** | +2.0% | 120.0 | 3 | 2 min |" in page
    assert "| adaptive softmax, tied weights | **126.0** | -16.0% | 120.0 | 3 | 2 min |" in page
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    with pytest.raises(SystemExit):
        reproduce.main(["--rows", "smal", *keep])


def test_a_run_that_is_there_is_gone_on_with(reproduce, monkeypatch, tmp_path):
    recipe = _Recipe()
    monkeypatch.setattr("rows.get", lambda name: recipe)
    (tmp_path / "gru-0").mkdir()
    (tmp_path / "gru-0" / "settings.json").write_text("{}")
    assert reproduce.main(["--rows", "gru", "--keep", str(tmp_path)]) == 0
    assert recipe.asked[0]["resume"]


def test_every_row_has_valid_settings(reproduce):
    for row in reproduce.ROWS:
        assert get("lm").settings(data=row.data, **row.settings).as_dict()["epochs"] > 1
