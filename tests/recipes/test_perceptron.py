from __future__ import annotations

import pytest

from dlkit.recipes import get


def test_reaches_its_target_on_digits(tmp_path):
    result = get("perceptron").run(run_dir=tmp_path / "run", progress=False)
    assert result.target is not None
    assert result.target.reached(result.metrics), result.metrics
    assert (result.folder / "weights.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("data", ["mnist", "fashion-mnist"])
def test_reaches_its_target_on_the_large_sets(tmp_path, data_folder, data):
    result = get("perceptron").run(data=data, run_dir=tmp_path / "run", progress=False)
    assert result.target.reached(result.metrics), result.metrics


def test_training_is_the_models_own_rule(tmp_path):
    import numpy as np

    from dlkit.data import Batches, load
    from dlkit.models import Perceptron
    from dlkit.nn import load_safetensors

    result = get("perceptron").run(run_dir=tmp_path / "run", averaged=False, epochs=3, seed=5, progress=False)
    digits = load("digits")
    model = Perceptron(64, 10)
    batches = Batches(*digits.train, batch_size=64, seed=5)
    for _ in range(3):
        for x, y in batches:
            model.learn(x, y)
    np.testing.assert_array_equal(
        load_safetensors(result.folder / "model.safetensors")["weight"], model.weight.data
    )
    assert not (result.folder / "mistakes.png").exists()  # a perceptron has no confidence


def test_averaging_helps(tmp_path):
    accuracy = {
        averaged: get("perceptron")
        .run(run_dir=tmp_path / str(averaged), averaged=averaged, epochs=5, progress=False)
        .metrics["test_accuracy"]
        for averaged in (False, True)
    }
    assert accuracy[True] > accuracy[False]
