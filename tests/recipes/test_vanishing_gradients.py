"""Vanishing gradients through their recipe."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from dlkit.data import registry
from dlkit.data.digits import load_digits
from dlkit.kernels import CELLS
from dlkit.recipes import get
from dlkit.recipes import vanishing_gradients as recipe
from dlkit.recipes.predictor import PredictorError, load_predictor
from dlkit.recipes.settings import SettingsError

SMALL = {"schedule": "constant", "hidden": 6, "batch_size": 16, "progress": False}


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch):
    digits = load_digits()
    few = dataclasses.replace(
        digits,
        x_train=digits.x_train[:64],
        y_train=digits.y_train[:64],
        x_test=digits.x_test[:40],
        y_test=digits.y_test[:40],
    )
    monkeypatch.setitem(registry._LOADERS, "digits", lambda: few)


def run(folder, **settings):
    return get("vanishing-gradients").run(run_dir=folder, **{**SMALL, "epochs": 1, **settings})


def test_compares_all_and_leaves_a_run_folder(tmp_path):
    result = run(tmp_path / "run")
    for name in ("gradients", "initialisation", "clipping", "loss"):
        assert (result.folder / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
    curves = json.loads((result.folder / "gradients.json").read_text())
    assert set(CELLS) <= {name.replace("-", "_") for name in curves}
    for name, curve in curves.items():
        assert curve["lags"] == list(range(9)), name
        assert curve["before"][0] == pytest.approx(1)
        assert ("before_by_cell_state" in curve) == CELLS[curve["cell"]].has_c
        assert (curve["bounds"] is not None) == (curve["cell"] in ("tanh", "relu"))
        if curve["bounds"] is not None:
            for when, bound in zip(("before", "after"), curve["bounds"], strict=True):
                assert all(
                    norm <= bound**lag * (1 + 1e-9)
                    for norm, lag in zip(curve[when], curve["lags"], strict=True)
                )
        assert len(curve["gradient_norms"]) == 4
    # The identity passes on what is positive: the IRNN begins with a norm of 1, its multiples with their powers.
    for name, gain in (("relu-identity", 1), ("relu-identity-0.9", 0.9), ("relu-identity-1.1", 1.1)):
        # (Before the first step all units may be off.)
        np.testing.assert_allclose(curves[name]["before"][:8], gain ** np.arange(8), rtol=1e-6)
    # Both of the pair begin alike.
    clipped, plain = (curves[name]["gradient_norms"] for name in ("clipped", "unclipped"))
    assert clipped[0] == plain[0]
    for cell in CELLS:
        assert 0 <= result.metrics[f"{cell}_test_accuracy"] <= 1
    assert result.metrics["lstm_parameters"] == 4 * 6 * (8 + 6 + 2) + 10 * 7
    assert load_predictor(result.folder).predict(load_digits().x_test[:3]).classes.shape == (3,)
    card = json.loads((result.folder / "model.json").read_text())
    for changed, message in (
        ({"inputs": 7}, "inputs is 7 but features is 64"),
        ({"hidden": 1 << 20}, "describes a model of"),
        ({"cell": "lstmm"}, "expected positive sizes and a recurrent cell"),
    ):
        damaged = {**card, "arguments": {**card["arguments"], **changed}}
        (result.folder / "model.json").write_text(json.dumps(damaged))
        with pytest.raises(PredictorError, match=message):
            load_predictor(result.folder)
    again = run(tmp_path / "run", overwrite=True, compare="none")
    assert {path.name for path in again.folder.iterdir() if path.is_dir()} == {"model"}


@pytest.mark.parametrize("data", ["digits-rows", "adding", "copy"])
def test_same_seed_same_bits_resumed_or_not(tmp_path, data, interrupted):
    settings = {"data": data, "compare": "none", "length": 12, "batches": 4}

    def left(folder):
        weights = (folder / "model" / "model.safetensors").read_bytes()
        return weights, json.loads((folder / "gradients.json").read_text())

    whole = left(run(tmp_path / "a", epochs=2, **settings).folder)
    assert left(run(tmp_path / "b", epochs=1, **settings).folder) != whole
    assert left(run(tmp_path / "b", epochs=2, resume=True, **settings).folder) == whole
    interrupted(recipe, "SequenceTrainer", 6, lambda: run(tmp_path / "c", epochs=2, **settings))
    assert left(run(tmp_path / "c", epochs=2, resume=True, **settings).folder) == whole


def test_what_diverges_is_told_and_drawn(tmp_path):
    settings = {"compare": "clipping", "sgd_lr": 1e15, "epochs": 3, "clip_norm": 1e-16}
    result = run(tmp_path, **settings)
    assert result.metrics["clipped_diverged"] is None
    at = result.metrics["unclipped_diverged"]
    assert 1 < at <= 12
    assert result.metrics["unclipped_test_loss"] is None
    assert any(f"diverged at update {at}" in text for _, text in result.lines)
    curves = json.loads((tmp_path / "gradients.json").read_text())
    assert len(curves["unclipped"]["gradient_norms"]) == at - 1
    assert (tmp_path / "clipping.png").is_file()
    assert run(tmp_path, resume=True, **settings).metrics["unclipped_diverged"] == at


@pytest.mark.parametrize("data", ["adding", "copy"])
def test_drawn_tasks(tmp_path, data):
    result = run(tmp_path, data=data, compare="init", length=12, batches=3)
    assert result.metrics["baseline"] == pytest.approx(1 / 6 if data == "adding" else 10 * np.log(8) / 32)
    assert result.metrics["relu_identity_test_loss"] > 0
    assert not (tmp_path / "model.json").exists()
    assert ("relu_test_accuracy" in result.metrics) == (data == "copy")


def test_a_task_is_learned(tmp_path):
    """Adding at 6 steps: a tenth of the loss of always answering 1."""
    settings = {"hidden": 16, "batch_size": 64, "length": 6, "batches": 100, "epochs": 4, "lr": 1e-2}
    metrics = run(tmp_path, data="adding", compare="none", cell="gru", **settings).metrics
    assert metrics["gru_test_loss"] < 0.1 * metrics["baseline"]


def test_memory_lets_gradients_through_at_first(tmp_path):
    """After 63 steps next to nothing is left with a bias of 1; with a memory of 64, what half of the units keep."""
    left = {}
    for memory in (None, 64):
        folder = tmp_path / f"{memory}"
        run(folder, data="digits-pixels", compare="none", cell="lstm", memory=memory)
        curve = json.loads((folder / "gradients.json").read_text())["lstm"]
        assert curve["lags"][-1] >= 63
        left[memory] = curve["before_by_cell_state"][-1]
    assert left[None] < 1e-3
    assert left[64] > 0.1


def test_a_budget_of_parameters(tmp_path):
    found = {}
    for cell in ("lstm", "gru"):
        folder = tmp_path / cell
        metrics = run(folder, compare="none", cell=cell, parameters=2000).metrics
        assert metrics[f"{cell}_parameters"] == pytest.approx(2000, rel=0.03)
        found[cell] = metrics[f"{cell}_hidden"]
    assert found["gru"] > found["lstm"]


def test_reach():
    lags = np.array([0, 5, 10, 20])
    assert recipe.reach(lags, np.array([[1, 1], [0.1, 1], [1e-3, 5e-4], [1, 1]])) == 5
    assert recipe.reach(lags, np.ones((4, 2))) == 20
    assert recipe.reach(lags, np.zeros((4, 2))) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "digits"}, "data is 'digits', expected one of digits-rows"),
        ({"clip_norm": None}, "clip_norm is none but compare is all"),
        ({"cell": "lstmm"}, r"cell is 'lstmm'.*did you mean 'lstm'"),
        ({"length": 1}, "length is 1"),
        ({"gain": 0}, "gain is 0"),
        ({"parameters": 5}, "parameters is 5"),
        ({"device": "simt"}, "expected cpu"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, settings, message):
    with pytest.raises(SettingsError, match=message):
        run(tmp_path / "run", **settings)
