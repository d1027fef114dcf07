from __future__ import annotations

import os
import signal

import pytest

from dlkit.train import Callback, EarlyStopping, Interrupted, RunFolder, TrainError


class Force(Callback):
    """Write a validation loss of our own into the records, before EarlyStopping sees them."""

    def __init__(self, losses):
        self.losses = losses

    def on_epoch_end(self, trainer, record):
        record["val_loss"] = self.losses[trainer.epoch - 1]


def test_stops_after_patience(make_trainer, make_batches):
    stopping = EarlyStopping(patience=2)
    trainer = make_trainer(callbacks=[Force([3, 2, 2.5, 2.4, 1, 1]), stopping])
    assert len(trainer.fit(make_batches(), epochs=6)) == 4
    assert trainer.stop_reason == "val_loss has not improved for 2 epochs (best 2 in epoch 2)"


def test_restores_the_best_weights(make_trainer, make_batches, weights):
    best = make_trainer()
    best.fit(make_batches(), epochs=2)
    for restore in (True, False):
        trainer = make_trainer(
            callbacks=[Force([3, 2, 4, 4]), EarlyStopping(patience=2, restore_best=restore)]
        )
        trainer.fit(make_batches(), epochs=4)
        assert (weights(trainer) == weights(best)) is restore


def test_restores_the_best_weights_if_patience_lasts(make_trainer, make_batches, weights):
    best = make_trainer()
    best.fit(make_batches(), epochs=2)
    trainer = make_trainer(callbacks=[Force([3, 2, 4]), EarlyStopping(patience=9)])
    trainer.fit(make_batches(), epochs=3)
    assert trainer.stop_reason is None
    assert weights(trainer) == weights(best)


def test_resumed_run_stops_where_the_whole_one_does(tmp_path, make_trainer, make_batches, weights):
    losses = [3, 2, 2.5, 2.4, 2.3, 1]

    class StopIn3(Callback):
        def on_batch_end(self, trainer):
            if trainer.step == 33:
                os.kill(os.getpid(), signal.SIGINT)

    whole = make_trainer(callbacks=[Force(losses), EarlyStopping(patience=3)])
    whole.fit(make_batches(), epochs=6)
    assert whole.epoch == 5
    with pytest.raises(Interrupted):
        make_trainer(
            run=RunFolder(tmp_path / "run", {}),
            callbacks=[Force(losses), EarlyStopping(patience=3), StopIn3()],
        ).fit(make_batches(), epochs=6)
    run = RunFolder(tmp_path / "run", {}, resume=True)
    resumed = make_trainer(run=run, callbacks=[Force(losses), EarlyStopping(patience=3)])
    resumed.fit(make_batches(), epochs=6, resume=True)
    assert resumed.epoch == 5
    assert resumed.stop_reason == whole.stop_reason
    assert weights(resumed) == weights(whole)
    # Resuming once more changes nothing: it has stopped for good.
    again = make_trainer(
        run=RunFolder(tmp_path / "run", {}, resume=True),
        callbacks=[Force(losses), EarlyStopping(patience=3)],
    )
    again.fit(make_batches(), epochs=6, resume=True)
    assert again.step == resumed.step
    assert weights(again) == weights(whole)


def test_needs_a_validation_set(make_trainer, make_batches):
    with pytest.raises(TrainError, match=r"EarlyStopping: monitor is 'val_loss'.*give fit a validation set"):
        make_trainer(callbacks=[EarlyStopping()]).fit(make_batches(), epochs=1)


def test_can_watch_the_training_loss(make_trainer, make_batches):
    trainer = make_trainer(callbacks=[EarlyStopping("train_loss", patience=1, min_delta=1e9)])
    assert len(trainer.fit(make_batches(), epochs=5)) == 2


@pytest.mark.parametrize("patience", [0, -1, 1.5, True, "3"])
def test_wrong_patience(patience):
    with pytest.raises(ValueError, match="EarlyStopping: patience is"):
        EarlyStopping(patience=patience)
