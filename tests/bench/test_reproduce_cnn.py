from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

_BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def reproduce(monkeypatch):
    monkeypatch.syspath_prepend(str(_BENCH))
    for name in ("reproduce_cnn", "reproduce_mlp"):
        sys.modules.pop(name, None)
    return importlib.import_module("reproduce_cnn")


def test_what_is_finished_is_not_trained_again(tmp_path, reproduce, monkeypatch):
    bench = reproduce.Bench("digits", tmp_path, quick=True, progress=False)
    settings = {**reproduce.ALIKE, "filters": (4, 4), "hidden": (8,)}
    first = bench.train("small", "cnn", 3, **settings)
    assert first["epochs"] == 2
    stamp = (tmp_path / "small-3" / "model.safetensors").stat().st_mtime_ns
    assert bench.train("small", "cnn", 3, **settings) == first
    assert (tmp_path / "small-3" / "model.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(SystemExit, match=r"was trained with other settings \(dropout\)"):
        bench.train("small", "cnn", 3, **{**settings, "dropout": 0.5})


def test_the_svm_is_kept_for_its_settings(tmp_path, reproduce):
    bench = reproduce.Bench("digits", tmp_path, quick=True, progress=False)
    accuracy, seconds = bench.svm("svm", C=5.0)
    assert accuracy > 0.9
    assert bench.svm("svm", C=5.0) == (accuracy, seconds)
    assert bench.svm("svm", C=1e-4)[0] < accuracy


def test_pairs_differ_in_what_they_are_about_alone(reproduce):
    assert [set(pair.with_it) - set(pair.without) for pair in reproduce.PAIRS] == [
        {"dropout"},
        {"activation", "pieces"},
        {"pooling"},
    ]
    for pair in reproduce.PAIRS:
        assert all(pair.with_it.get(name) == value for name, value in pair.without.items())


ROW = {
    "title": "a",
    "how": "b",
    "course": 0.9435,
    "accuracy": 0.97,
    "must_reach": None,
    "seconds": 1234.0,
    "runs": [{"test_accuracy": 0.96}, {"test_accuracy": 0.98}],
}


def test_tables(reproduce):
    line = reproduce.rows_table([ROW]).splitlines()[-1]
    assert line == "| a | b | **97.00%** | 96.00% … 98.00% | 94.35% |  | 1,234 s |"
    pair = {
        "title": "c",
        "source": "d",
        "runs": {
            "with": [{"test_accuracy": 0.992}, {"test_accuracy": 0.991}],
            "without": [{"test_accuracy": 0.990}, {"test_accuracy": 0.9911}],
        },
    }
    line = reproduce.pairs_table([pair]).splitlines()[-1]
    assert line == "| c | d | **99.15%** ± 0.07% | 99.06% ± 0.08% | +0.10 points | 1 of 2 |"


def test_the_chart(tmp_path, reproduce):
    pytest.importorskip("matplotlib")
    reproduce.chart([ROW, {**ROW, "course": None, "accuracy": 1.0}], tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_pages_have_the_markers(tmp_path, reproduce):
    text = reproduce.PAGE.read_text(encoding="utf-8")
    page = tmp_path / "page.md"
    for part in reproduce.PARTS:
        page.write_text(text, encoding="utf-8")
        reproduce.put_between_markers(page, f"reproduce-mnist-{part}", "| new |")
        assert page.read_text(encoding="utf-8").count("| new |") == 1
    with pytest.raises(SystemExit, match="lacks the markers"):
        reproduce.put_between_markers(page, "other", "")


def test_wrong_arguments(reproduce, capsys):
    for arguments in (["--parts", "curse"], ["--members", "0"]):
        with pytest.raises(SystemExit) as stop:
            reproduce.main(arguments)
        assert stop.value.code == 2
    assert "unknown curse" in capsys.readouterr().err
