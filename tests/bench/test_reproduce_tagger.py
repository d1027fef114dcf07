from __future__ import annotations

import pytest


@pytest.fixture
def reproduce(script):
    return script("reproduce_tagger")


class _Recipe:
    """Trains in no time."""

    def __init__(self) -> None:
        self.asked = []

    def run(self, **settings):
        self.asked.append(settings)
        score = 0.9 + 0.01 * settings["seed"]
        metrics = {"test_accuracy": score, "seqeval_f1": None, "train_seconds": 2.0}
        if settings["data"] == "gsd-segmentation":
            metrics.update(test_f1=score, test_joint_f1=0.9)
        return type("Result", (), {"metrics": metrics})()

    def settings(self, **given):
        return type("Settings", (), {"as_dict": lambda self: {"seed": 0, **given}})()


def test_rows_are_measured_and_kept(reproduce, monkeypatch, tmp_path):
    recipe = _Recipe()
    monkeypatch.setattr("rows.get", lambda name: recipe)
    keep = ["--keep", str(tmp_path / "runs")]
    assert reproduce.main(["--rows", "ewt", "--seeds", "0,1,2", *keep]) == 1  # 91% of 95%
    assert [a["seed"] for a in recipe.asked] == [0, 1, 2]
    assert reproduce.main(["--rows", "python", "--seeds", "9", *keep]) == 0
    page = reproduce.PAGE.read_text()
    assert (
        "| UD English EWT: 17 parts of speech | accuracy, 3 seeds | **91.00%** | 90.00% … 92.00% | 95% | 2 s |"
        in page
    )
    assert "accuracy, 1 seed | **99.00%**" in page
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    monkeypatch.setattr(reproduce, "jieba_lexicon", lambda script, folder: folder / f"{script}.txt")
    assert reproduce.main(["--rows", "gsd-lexicon", "--seeds", "9", *keep]) == 0
    assert recipe.asked[-1]["lexicon"] == str(tmp_path / "runs" / "traditional.txt")
    assert "F1, 1 seed; 90.00% with their parts of speech | **99.00%**" in reproduce.PAGE.read_text()
    with pytest.raises(SystemExit, match="seqeval is not installed"):
        reproduce.main(["--rows", "wnut17", *keep])
    with pytest.raises(SystemExit):
        reproduce.main(["--rows", "ewd", *keep])
