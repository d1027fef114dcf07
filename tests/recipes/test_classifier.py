from __future__ import annotations

import json

import pytest

from dlkit.recipes import SettingsError, get
from dlkit.train import RunFolderError


def test_validation_samples_are_held_out_of_training(tmp_path):
    result = get("softmax").run(
        run_dir=tmp_path / "run", validation=0.25, epochs=40, patience=3, lr=0.3, seed=3, progress=False
    )
    metrics = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    # 1442 training samples, a quarter held out, 64 to a batch.
    assert metrics[0]["step"] == -(-(1442 - 360) // 64)
    best = min(range(len(metrics)), key=lambda i: metrics[i]["val_loss"])
    assert len(metrics) == 40 or best == len(metrics) - 4
    assert result.metrics["test_accuracy"] > 0.9


def test_patience_needs_validation():
    with pytest.raises(SettingsError, match="patience is 2 but validation is 0"):
        get("mlp").settings(patience=2)


def test_result_is_what_the_folder_holds(tmp_path):
    result = get("softmax").run(run_dir=tmp_path / "run", epochs=2, progress=False)
    stored = json.loads((result.folder / "result.json").read_text())
    assert stored["recipe"] == "softmax"
    assert stored["data"] == "digits"
    assert stored["test_accuracy"] == result.metrics["test_accuracy"]
    assert stored["test_accuracy"] == 1 - stored["test_wrong"] / stored["test_samples"]
    for name in ("loss.png", "confusion.png", "mistakes.png", "weights.png"):
        assert (result.folder / name).read_bytes().startswith(b"\x89PNG")
    assert {
        "settings.json",
        "environment.json",
        "metrics.jsonl",
        "model.safetensors",
        "checkpoint.safetensors",
    } <= {path.name for path in result.folder.iterdir()}


def test_a_finished_run_can_be_resumed_for_more_epochs(tmp_path):
    whole = get("softmax").run(run_dir=tmp_path / "whole", epochs=6, progress=False)
    get("softmax").run(run_dir=tmp_path / "parts", epochs=2, progress=False)
    parts = get("softmax").run(run_dir=tmp_path / "parts", epochs=6, resume=True, progress=False)
    assert (parts.folder / "model.safetensors").read_bytes() == (
        whole.folder / "model.safetensors"
    ).read_bytes()
    assert parts.metrics["test_accuracy"] == whole.metrics["test_accuracy"]
    assert parts.metrics["epochs"] == 6


def test_other_settings_are_refused(tmp_path):
    get("softmax").run(run_dir=tmp_path / "run", epochs=1, progress=False)
    with pytest.raises(RunFolderError, match=r"lr is 0\.5, was 0\.01"):
        get("softmax").run(run_dir=tmp_path / "run", epochs=1, lr=0.5, resume=True, progress=False)
    with pytest.raises(RunFolderError, match="holds a run already"):
        get("softmax").run(run_dir=tmp_path / "run", epochs=1, progress=False)
