"""Training on an emulated GPU: the curve of the CPU within rounding, and checkpoints that go both ways."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.train import Callback, Checkpoint, NonFiniteLossError, RunFolder, load_checkpoint
from dlkit.train.environment import environment
from dlkit.train.pending import Pending


def _fit(trainer: Any, batches: Any, points: Any, epochs: int = 3, **settings: Any) -> Any:
    return trainer.fit(batches, epochs=epochs, validation=(points[0][:60], points[1][:60]), **settings)


@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd"}, {"clip_norm": 0.1}, {"clip_value": 0.01}])
def test_the_same_curve(simt: Any, make_trainer: Any, make_batches: Any, points: Any, options: Any) -> None:
    curves = []
    for device in ("cpu", "simt"):
        trainer = make_trainer(**options)
        trainer.model.to(device)
        assert trainer.device == device
        curves.append(_fit(trainer, make_batches(), points))
        assert trainer.predict(points[0][:5]).shape == (5, 3)
    for expected, got in zip(*curves, strict=True):
        for key in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
            assert got[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-2 if "accuracy" in key else 1e-4)


class Looks(Callback):
    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []

    def on_batch_end(self, trainer: Any) -> None:
        self.seen.append((trainer.batch_loss, trainer.partial.loss_sum))


def test_who_looks_at_the_loss_sees_it(simt: Any, make_trainer: Any, make_batches: Any, points: Any) -> None:
    seen = []
    for device in ("cpu", "simt"):
        looks = Looks()
        trainer = make_trainer(callbacks=[looks])
        trainer.model.to(device)
        _fit(trainer, make_batches(), points, epochs=1)
        seen.append(looks.seen)
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-3)


def test_the_loop_waits_once_an_epoch(
    simt: Any, make_trainer: Any, make_batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer()
    trainer.model.to("simt")
    waits = []
    item = simt.SimtArray.item
    monkeypatch.setattr(simt.SimtArray, "item", lambda self: waits.append(1) or item(self))
    trainer.fit(make_batches(), epochs=2)
    assert trainer.step == 20
    assert len(waits) == 2 * 3  # the sum of the losses, the last one, how many were right


@pytest.mark.parametrize(("first", "second"), [("simt", "simt"), ("simt", "cpu"), ("cpu", "simt")])
def test_checkpoints_are_resumed_on_any_device(
    simt: Any, make_trainer: Any, make_batches: Any, points: Any, tmp_path: Any, first: str, second: str
) -> None:
    whole = make_trainer()
    expected = _fit(whole, make_batches(), points)
    path = tmp_path / "checkpoint.safetensors"
    trainer = make_trainer(callbacks=[Checkpoint(path)])
    trainer.model.to(first)
    _fit(trainer, make_batches(), points, epochs=2)
    assert all(type(array) is np.ndarray for array in load_checkpoint(path)["model"].values())
    trainer = make_trainer(seed=9)
    trainer.model.to(second)
    got = _fit(trainer, make_batches(), points, resume=path)
    assert trainer.device == second
    assert got[-1]["train_loss"] == pytest.approx(expected[-1]["train_loss"], rel=1e-3)
    assert got[-1]["val_loss"] == pytest.approx(expected[-1]["val_loss"], rel=1e-3)


def test_the_best_weights_come_back(simt: Any, make_trainer: Any, make_batches: Any, points: Any) -> None:
    trainer = make_trainer(callbacks=[dl.train.EarlyStopping(patience=1)])
    trainer.model.to("simt")
    _fit(trainer, make_batches(), points)
    assert trainer.device == "simt"


def test_a_loss_that_is_not_finite_is_found_at_the_latest_at_the_end_of_the_epoch(
    simt: Any, make_trainer: Any, make_batches: Any
) -> None:
    trainer = make_trainer(
        loss=lambda outputs, labels: dl.nn.functional.cross_entropy(outputs, labels) * float("inf")
    )
    trainer.model.to("simt")
    with pytest.raises(
        NonFiniteLossError, match=r"the loss is (NaN|infinite) in epoch 1, between step 1 and 10: "
    ):
        trainer.fit(make_batches(), epochs=1)


def test_pending_sums(simt: Any) -> None:
    pending = Pending()
    for loss, samples, right in ((1.0, 2, 1), (4.0, 3, 0), (2.0, 1, 1)):
        pending.add(simt.array(loss, np.float32), samples, simt.array(right))
    assert pending.batches == 3
    assert pending.read() == (16.0, 2.0, 2)
    assert pending.batches == 0
    pending.add(simt.array([3.0]), 2, None)
    assert pending.read() == (6.0, 3.0, None)


def test_the_device_is_in_the_environment(simt: Any, tmp_path: Any) -> None:
    assert environment()["device"] == {"name": "cpu"}
    run = RunFolder(tmp_path / "run", {"device": "simt"})
    starts = json.loads((run.folder / RunFolder.ENVIRONMENT).read_text())["starts"]
    assert starts[0]["device"] == {"name": "simt"}
