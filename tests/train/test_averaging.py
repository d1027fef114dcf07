from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.data import Batches
from dlkit.kernels.backend import to_host
from dlkit.train import AverageWeights, Callback, RunFolder, Trainer


class Watch(Callback):
    """The weights after each update."""

    def __init__(self):
        self.seen = []

    def on_batch_end(self, trainer):
        self.seen.append({name: array.copy() for name, array in trainer.model.state_dict().items()})


def samples():
    rng = np.random.default_rng(0)
    return rng.standard_normal((40, 5)).astype(np.float32), rng.integers(0, 3, 40)


def trainer(average, *others, run=None, device="cpu"):
    dl.manual_seed(1)
    # No bias before the normalisation: its gradient would be rounding alone, which Adam blows up.
    model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 3)).to(device)
    adam = dl.optim.Adam(model.parameters(), lr=0.05)
    return Trainer(model, adam, nn.CrossEntropyLoss(), callbacks=[average, *others], run=run, progress=False)


@pytest.mark.parametrize("every", [1, 3])
def test_ends_with_the_average(every):
    watch = Watch()
    made = trainer(AverageWeights(0.8, every), watch)
    made.fit(Batches(*samples(), batch_size=8), epochs=3)
    added = watch.seen[every - 1 :: every]
    for name, array in made.model.state_dict().items():
        expected = added[0][name].astype(np.float64)
        for i, state in enumerate(added[1:], start=2):
            keep = min(0.8**every, i / (i + 9))
            expected = keep * expected + (1 - keep) * state[name]
        if array.dtype.kind == "i":
            assert array == added[-1][name]
        else:
            np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6)
            assert not np.array_equal(array, watch.seen[-1][name])


def test_training_goes_on_with_the_weights_as_they_are():
    with_it, without = Watch(), Watch()
    trainer(AverageWeights(0.9, 1), with_it).fit(Batches(*samples(), batch_size=8), epochs=2)
    trainer(Callback(), without).fit(Batches(*samples(), batch_size=8), epochs=2)
    for one, two in zip(with_it.seen, without.seen, strict=True):
        for name, array in one.items():
            np.testing.assert_array_equal(array, two[name])


def test_a_resumed_run_ends_with_the_same_bits(tmp_path):
    whole = trainer(AverageWeights(0.9, 2), run=RunFolder(tmp_path / "whole", {}))
    whole.fit(Batches(*samples(), batch_size=8), epochs=4)
    first = trainer(AverageWeights(0.9, 2), run=RunFolder(tmp_path / "parts", {}))
    first.fit(Batches(*samples(), batch_size=8), epochs=2)
    rest = trainer(AverageWeights(0.9, 2), run=RunFolder(tmp_path / "parts", {}, resume=True))
    rest.fit(Batches(*samples(), batch_size=8), epochs=4, resume=True)
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(rest.model.state_dict()[name], array)


def test_on_a_device_and_back(simt, tmp_path):
    ends = {}
    for first, then in (("cpu", "cpu"), ("simt", "simt"), ("simt", "cpu")):
        folder = tmp_path / f"{first}-{then}"
        made = trainer(AverageWeights(0.9, 2), run=RunFolder(folder, {}), device=first)
        made.fit(Batches(*samples(), batch_size=20), epochs=2)
        made = trainer(AverageWeights(0.9, 2), run=RunFolder(folder, {}, resume=True), device=then)
        made.fit(Batches(*samples(), batch_size=20), epochs=4, resume=True)
        assert made.device == then
        ends[first, then] = {name: to_host(array) for name, array in made.model.state_dict().items()}
    for end in ends.values():
        for name, array in end.items():
            np.testing.assert_allclose(array, ends["cpu", "cpu"][name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0,), "decay is 1.0"),
        ((0,), "decay is 0"),
        ((0.9, 0), "every is 0, expected an integer of at least 1"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AverageWeights(*arguments)
