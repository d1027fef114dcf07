from __future__ import annotations

import json

import pytest

from dlkit.recipes import get, load_predictor


def records(result):
    return [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("hidden", ["none", "16"])
def test_three_methods_from_the_same_start(tmp_path, hidden):
    result = get("gradient-descent").run(run_dir=tmp_path / "run", epochs=4, hidden=hidden, progress=False)
    by_method: dict[str, list[dict]] = {}
    for record in records(result):
        by_method.setdefault(record["method"], []).append(record)
    full, mini, online = by_method.values()
    assert full[0]["train_loss"] == mini[0]["train_loss"] == online[0]["train_loss"]
    assert [curve[0]["epoch"] for curve in (full, mini, online)] == [0, 0, 0]
    assert [curve[-1]["epoch"] for curve in (full, mini, online)] == [4, 4, 4]
    assert len(full) == 5  # the start and one update per epoch
    assert (result.metrics["full_batch_updates"], result.metrics["online_updates"]) == (4, 4 * 1442)
    assert result.metrics["mini_batch_updates"] == 4 * -(-1442 // 32)
    for curve in (full, mini, online):
        seconds = [point["seconds"] for point in curve]
        assert seconds == sorted(seconds)
        assert curve[-1]["train_loss"] < curve[0]["train_loss"]
    assert result.target.reached(result.metrics)
    assert (result.folder / "descent.png").read_bytes().startswith(b"\x89PNG")
    assert load_predictor(result.folder).card.features == 64


def test_resume_keeps_the_curves(tmp_path):
    first = get("gradient-descent").run(run_dir=tmp_path / "run", epochs=2, progress=False)
    before = [(record["method"], record["epoch"], record["train_loss"]) for record in records(first)]
    # As if it had been stopped before the last method began.
    for path in (first.folder / "online").iterdir():
        path.unlink()
    (first.folder / "online").rmdir()
    again = get("gradient-descent").run(run_dir=tmp_path / "run", epochs=2, resume=True, progress=False)
    assert [(record["method"], record["epoch"], record["train_loss"]) for record in records(again)] == before
