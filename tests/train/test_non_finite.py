from __future__ import annotations

import numpy as np
import pytest

from dlkit.train import Callback, Checkpoint, NonFiniteLossError, RunFolder, load_checkpoint


class Spoil(Callback):
    """Make the weights NaN, as a diverging training does."""

    def on_batch_end(self, trainer) -> None:
        if trainer.step == 3:
            next(iter(trainer.model.parameters())).data[0, 0] = np.nan


def test_nan_weights_are_named(tmp_path, make_trainer, make_batches):
    run = RunFolder(tmp_path / "run", {})
    trainer = make_trainer(run=run, callbacks=[Spoil(), Checkpoint(every=2, unit="step")])
    with pytest.raises(
        NonFiniteLossError,
        match=r"the loss is NaN in epoch 1, step 4: the weights 0.weight are not finite: training has "
        r"diverged; try a learning rate below 0.01, or clip_norm=1.0",
    ):
        trainer.fit(make_batches(), epochs=1)
    # The checkpoint is the one from before.
    assert load_checkpoint(run.checkpoint)["step"] == 2


def test_nan_inputs_are_named(make_trainer, points):
    x = points[0].copy()
    x[7, 2] = np.nan
    with pytest.raises(
        NonFiniteLossError, match="the inputs of this batch hold 1 values that are NaN or infinite"
    ):
        make_trainer(dropout=0.0).fit([(x, points[1])], epochs=1)


def test_a_loss_that_overflows(make_trainer, make_batches, weights):
    trainer = make_trainer(loss=lambda outputs, y: (outputs * 1e30).exp().mean(), dropout=0.0)
    before = weights(trainer)
    with pytest.raises(NonFiniteLossError, match="the loss function overflows"), np.errstate(over="ignore"):
        trainer.fit(make_batches(), epochs=1)
    assert weights(trainer) == before  # the update was not made


def test_divergence_from_a_huge_learning_rate(make_trainer, make_batches):
    trainer = make_trainer(optimizer="sgd")
    trainer.optimizer.param_groups[0]["lr"] = 1e30
    with pytest.raises(NonFiniteLossError), np.errstate(all="ignore"):
        trainer.fit(make_batches(), epochs=3)
