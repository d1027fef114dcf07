from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

_BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def reproduce(monkeypatch):
    pytest.importorskip("scipy")
    monkeypatch.syspath_prepend(str(_BENCH))
    sys.modules.pop("reproduce_gates", None)
    return importlib.import_module("reproduce_gates")


def test_pairs(reproduce):
    from scipy.stats import ttest_rel

    lstm, gru = [0.90, 0.91, 0.93, 0.88], [0.92, 0.90, 0.95, 0.91]
    found = reproduce.paired(lstm, gru, "test_accuracy")
    interval = ttest_rel(gru, lstm).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
    assert (found["gru_wins"], found["lstm_wins"], found["pairs"]) == (3, 1, 4)
    assert found["verdict"] == "no clear winner"
    assert (
        reproduce.paired(lstm, [a + 0.02 + i / 1e3 for i, a in enumerate(lstm)], "test_accuracy")["verdict"]
        == "GRU"
    )
    # Of losses the smaller wins, by their logarithms.
    found = reproduce.paired([1e-2, 2e-2], [1e-3, 1.9e-3], "test_loss")
    assert found["mean"] == pytest.approx(-1, abs=0.03)
    assert (found["gru_wins"], found["verdict"]) == (2, "GRU")
    assert reproduce.paired([1e-3, 1.9e-3], [1e-2, 2e-2], "test_loss")["verdict"] == "LSTM"


def test_what_is_in_a_folder_is_gone_on_with(tmp_path, reproduce):
    bench = reproduce.Bench(tmp_path, extra={"hidden": 4, "epochs": 1, "parameters": 600})
    pair = reproduce.Pair("p", "title", "test_accuracy", {"data": "digits-rows"})
    first = reproduce.contest(bench, pair, [0, 1])
    stamp = (tmp_path / "p-gru-1" / "model" / "metrics.jsonl").stat().st_mtime_ns
    again = reproduce.contest(bench, pair, [0, 1])
    assert again["runs"]["lstm"][0]["curve"] == first["runs"]["lstm"][0]["curve"]
    assert again["paired"] == first["paired"]
    assert (tmp_path / "p-gru-1" / "model" / "metrics.jsonl").stat().st_mtime_ns >= stamp
    assert [run["parameters"] for run in first["runs"]["lstm"]] == pytest.approx([600] * 2, rel=0.1)
    where = {
        **{"cpu": "c", "threads": 1, "kernels": {"isa": "i"}, "python": "3", "time": "2026-01-01T"},
        "versions": {"dlkit": "0", "numpy": "2"},
    }
    text = reproduce.tables({reproduce.PAIRS[0].key: {**first, "environment": where}})
    assert "| title | " in text
    assert "of 2 |" in text
    reproduce.draw_contests({reproduce.PAIRS[0].key: first}, tmp_path / "x.png")
    assert (tmp_path / "x.png").is_file()
