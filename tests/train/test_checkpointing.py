from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.train import Callback, Checkpoint, RunFolder, TrainError, load_checkpoint


class Note(Callback):
    """The steps at which the checkpoint was new."""

    def __init__(self, file):
        self.file = file
        self.steps = []

    def on_batch_end(self, trainer):
        if self.file.is_file():
            step = load_checkpoint(self.file)["step"]
            if step not in self.steps:
                self.steps.append(step)


def test_every_epochs(tmp_path, make_trainer, make_batches):
    note = Note(tmp_path / "c")
    make_trainer(callbacks=[note, Checkpoint(tmp_path / "c", every=2)]).fit(make_batches(), epochs=5)
    assert note.steps == [20, 40]
    assert load_checkpoint(tmp_path / "c")["step"] == 50  # the end is always kept


def test_every_steps(tmp_path, make_trainer, make_batches):
    note = Note(tmp_path / "c")
    make_trainer(callbacks=[note, Checkpoint(tmp_path / "c", every=7, unit="step")]).fit(
        make_batches(), epochs=2
    )
    assert note.steps == [7, 14]


def test_every_seconds(tmp_path, make_trainer, make_batches, monkeypatch):
    clock = iter(np.arange(0, 1000, 0.4))
    monkeypatch.setattr("dlkit.train.checkpointing.monotonic", lambda: float(next(clock)))
    note = Note(tmp_path / "c")
    make_trainer(callbacks=[note, Checkpoint(tmp_path / "c", every=1, unit="second")]).fit(
        make_batches(), epochs=1
    )
    assert 2 <= len(note.steps) <= 5


def test_run_folder_gets_one_by_itself(tmp_path, make_trainer, make_batches):
    run = RunFolder(tmp_path / "run", {})
    make_trainer(run=run).fit(make_batches(), epochs=1)
    state = load_checkpoint(run.checkpoint)
    assert state["epoch"] == 1
    assert {"model", "optimizer", "random", "data", "history", "callbacks"} <= set(state)


def test_weights_of_a_run_open_in_safetensors(tmp_path, make_trainer, make_batches):
    from safetensors.numpy import load_file

    run = RunFolder(tmp_path / "run", {})
    trainer = make_trainer(run=run)
    trainer.fit(make_batches(), epochs=1)
    found = load_file(run.model)
    for name, parameter in trainer.model.named_parameters():
        np.testing.assert_array_equal(found[name], parameter.data)


def test_best_weights(tmp_path, make_trainer, make_batches, weights):
    class Force(Callback):
        def on_epoch_end(self, trainer, record):
            record["val_loss"] = [3, 1, 2][trainer.epoch - 1]

    expected = make_trainer()
    expected.fit(make_batches(), epochs=2)
    make_trainer(callbacks=[Force(), Checkpoint(tmp_path / "c", best="val_loss")]).fit(
        make_batches(), epochs=3
    )
    best = dl.nn.load_safetensors(tmp_path / "best.safetensors")
    assert {name: np.asarray(array).tobytes() for name, array in best.items()} == weights(expected)


def test_best_goes_on_after_a_resume(tmp_path, make_trainer, make_batches):
    class Force(Callback):
        def on_epoch_end(self, trainer, record):
            record["val_loss"] = [3, 1, 2][trainer.epoch - 1]

    def callbacks():
        return [Force(), Checkpoint(tmp_path / "c", best="val_loss")]

    make_trainer(callbacks=callbacks()).fit(make_batches(), epochs=2)
    best = (tmp_path / "best.safetensors").read_bytes()
    make_trainer(callbacks=callbacks()).fit(make_batches(), epochs=3, resume=tmp_path / "c")
    assert (tmp_path / "best.safetensors").read_bytes() == best


def test_without_a_place(make_trainer, make_batches):
    with pytest.raises(TrainError, match="Checkpoint: no path and the trainer has no run folder"):
        make_trainer(callbacks=[Checkpoint()]).fit(make_batches(), epochs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "minute"}, "unit is 'minute'"),
        ({"every": 0}, "every is 0, expected a positive integer"),
        ({"every": 1.5}, "every is 1.5, expected a positive integer"),
        ({"every": -1, "unit": "second"}, "every is -1, expected a positive number"),
        ({"best": "val_loss", "mode": "up"}, "Checkpoint: mode is 'up'"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Checkpoint(**options)
