from __future__ import annotations

import numpy as np
import pytest

from dlkit.nn import load_safetensors
from dlkit.recipes import get


def test_reaches_its_target_on_digits(tmp_path):
    result = get("mlp").run(run_dir=tmp_path / "run", progress=False)
    assert result.target is not None
    assert result.target.reached(result.metrics), result.metrics
    assert result.metrics["gflops"] > 0
    assert (result.folder / "mistakes.png").is_file()


def test_same_seed_same_bits(tmp_path):
    def weights(name, **settings):
        result = get("mlp").run(run_dir=tmp_path / name, epochs=2, hidden=(32,), progress=False, **settings)
        return (result.folder / "model.safetensors").read_bytes()

    assert weights("a", seed=1) == weights("b", seed=1)
    assert weights("c", seed=2) != weights("a2", seed=1)


def test_the_naive_network_learns(tmp_path):
    result = get("mlp").run(
        run_dir=tmp_path / "run",
        hidden=(30,),
        activation="sigmoid",
        loss="quadratic",
        init="normal",
        optimizer="sgd",
        schedule="constant",
        dropout=0,
        input_dropout=0,
        label_smoothing=0,
        lr=3.0,
        batch_size=10,
        epochs=20,
        progress=False,
    )
    assert result.metrics["test_accuracy"] > 0.9


def test_normal_weights_have_mean_0_and_variance_1(tmp_path):
    # One update with a vanishing step leaves them where they began.
    result = get("mlp").run(
        run_dir=tmp_path / "run",
        init="normal",
        epochs=1,
        batch_size=1442,
        lr=1e-12,
        hidden=(300,),
        input_dropout=0,
        progress=False,
    )
    weight = load_safetensors(result.folder / "model.safetensors")["0.weight"]
    assert weight.shape == (300, 64)
    assert abs(weight.mean()) < 0.05
    assert weight.std() == pytest.approx(1, abs=0.03)
    assert not np.array_equal(weight[0], weight[1])


@pytest.mark.slow
def test_reaches_its_target_on_mnist(tmp_path, data_folder):
    result = get("mlp").run(data="mnist", run_dir=tmp_path / "run", progress=False)
    assert result.target.reached(result.metrics), result.metrics


@pytest.mark.slow
def test_reaches_its_target_on_fashion_mnist(tmp_path, data_folder):
    result = get("mlp").run(data="fashion-mnist", run_dir=tmp_path / "run", progress=False)
    assert result.target.reached(result.metrics), result.metrics
