from __future__ import annotations

import sys

import pytest

from dlkit.train import RunFolder, TensorBoard, TrainError


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_epoch_records(tmp_path, make_trainer, make_batches, points):
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    trainer = make_trainer(callbacks=[TensorBoard(tmp_path / "tb", every=5)])
    history = trainer.fit(make_batches(), epochs=2, validation=points)
    found = scalars(tmp_path / "tb")
    assert found["train/loss"] == [
        (10, pytest.approx(history[0]["train_loss"])),
        (20, pytest.approx(history[1]["train_loss"])),
    ]
    assert [step for step, _ in found["val/accuracy"]] == [10, 20]
    assert [step for step, _ in found["batch/loss"]] == [5, 10, 15, 20]
    assert {"run/lr", "run/samples_per_s", "run/seconds"} <= set(found)


def test_in_the_run_folder(tmp_path, make_trainer, make_batches):
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    make_trainer(run=RunFolder(tmp_path / "run", {}), callbacks=[TensorBoard()]).fit(make_batches(), epochs=1)
    assert "train/loss" in scalars(tmp_path / "run" / "tensorboard")
    with pytest.raises(TrainError, match="TensorBoard: no log_dir and the trainer has no run folder"):
        make_trainer(callbacks=[TensorBoard()]).fit(make_batches(), epochs=1)


def test_without_tensorboard(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        TensorBoard("folder")


@pytest.mark.parametrize("every", [-1, 1.5, True])
def test_wrong_interval(every):
    with pytest.raises(ValueError, match="TensorBoard: every is"):
        TensorBoard("folder", every=every)
