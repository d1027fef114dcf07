from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dlkit.data import load
from dlkit.recipes import SettingsError, get, load_committee, load_predictor
from dlkit.recipes.predictor import PredictorError

QUICK = {"epochs": 2, "filters": (6, 8), "hidden": (16,), "progress": False}


def test_reaches_its_target_on_digits(tmp_path):
    result = get("cnn").run(run_dir=tmp_path / "run", progress=False)
    assert result.target is not None
    assert result.target.reached(result.metrics), result.metrics
    names = {"loss.png", "confusion.png", "mistakes.png", "filters.png", "activations.png", "saliency.png"}
    assert names <= {path.name for path in result.folder.iterdir()}
    digits = load("digits")
    answer = load_predictor(result.folder).predict(digits.x_test)
    assert (answer.classes == digits.y_test).mean() == pytest.approx(result.metrics["test_accuracy"])


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "maxout", "dropout": 0.5},
        {"pooling": "stochastic", "dropout": 0, "lr": 0.01},
        {
            "preset": "strong",
            "filters": (8, 8, 8, 8, 16),
            "hidden": (32,),
            "dropout": 0,
            "lr": 0.01,
            "average": 0.9,
        },
        {"filters": (), "kernels": (), "pools": (), "hidden": (32,), "dropout": 0, "lr": 0.01},
        {"hidden": (), "input_dropout": 0.2, "conv_dropout": 0.1, "batch_norm": True, "kernels": (5, 3)},
    ],
    ids=["maxout", "stochastic", "strong", "no convolution", "no hidden layer"],
)
def test_other_networks_learn(tmp_path, settings):
    result = get("cnn").run(run_dir=tmp_path / "run", **{**QUICK, "epochs": 6, **settings})
    assert result.metrics["test_accuracy"] > 0.5
    assert (result.folder / "saliency.png").is_file()
    load_predictor(result.folder).predict(np.zeros((1, 64), np.float32))


def test_presets():
    lenet, strong = get("cnn").settings(data="mnist"), get("cnn").settings(data="mnist", preset="strong")
    assert (lenet.filters, lenet.batch_norm) == ((20, 50), False)
    assert (strong.filters, strong.batch_norm, strong.elastic) == ((32, 32, 64, 64, 128), True, 8)
    assert get("cnn").settings(data="mnist", preset="strong", elastic=5).elastic == 5
    assert get("cnn").settings(preset="strong").padding == "same"
    with pytest.raises(SettingsError, match=r"cnn: preset is 'stron', .*did you mean 'strong'"):
        get("cnn").settings(preset="stron")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernels": (3, 3, 3)}, "kernels is 3,3,3 but filters is 24,48"),
        ({"kernels": (9,), "padding": "valid"}, r"feature maps before stage 1 are 8x8: expected at most 8"),
        ({"pools": (3, 3)}, r"feature maps of stage 2 are 2x2: expected at most 2"),
        ({"filters": (0,)}, "filters is 0, expected integers of at least 1"),
        ({"pooling": "min"}, "pooling is 'min'"),
        ({"elastic": -1}, "elastic is -1"),
        ({"average": 1}, "average is 1"),
    ],
)
def test_wrong_settings(tmp_path, settings, message):
    with pytest.raises(SettingsError, match=message):
        get("cnn").run(run_dir=tmp_path / "run", progress=False, **settings)
    assert not (tmp_path / "run").exists()


def test_same_seed_same_bits_and_a_resumed_run_too(tmp_path):
    settings = {
        **QUICK,
        "epochs": 4,
        "schedule": "constant",
        "average": 0.9,
        "batch_norm": True,
        "elastic": 4,
    }
    whole = get("cnn").run(run_dir=tmp_path / "whole", **settings)
    again = get("cnn").run(run_dir=tmp_path / "again", **settings)
    get("cnn").run(run_dir=tmp_path / "parts", **{**settings, "epochs": 1})
    parts = get("cnn").run(run_dir=tmp_path / "parts", resume=True, **settings)

    def weights(result):
        return (result.folder / "model.safetensors").read_bytes()

    assert weights(again) == weights(whole)
    assert weights(parts) == weights(whole)
    other = get("cnn").run(run_dir=tmp_path / "other", **{**settings, "seed": 1})
    assert weights(other) != weights(whole)


def test_a_run_killed_within_an_epoch_goes_on_to_the_same_bits(tmp_path):
    arguments = [
        *("cnn", "--preset", "strong", "--filters", "4,6", "--pools", "2", "--hidden", "16", "--epochs", "4"),
        *("--batch-size", "8", "--no-progress"),
    ]
    environment = {**os.environ, "DLKIT_NUM_THREADS": "1"}

    def start(folder, *more):
        command = [sys.executable, "-m", "dlkit", "train", *arguments, "--run-dir", str(folder), *more]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    with start(tmp_path / "whole") as process:
        assert process.wait(300) == 0, process.stderr.read()
    with start(tmp_path / "parts") as process:
        metrics = tmp_path / "parts" / "metrics.jsonl"
        while process.poll() is None and not (metrics.is_file() and metrics.read_bytes()):
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    with start(tmp_path / "parts", "--resume") as process:
        assert process.wait(300) == 0, process.stderr.read()
    for name in ("whole", "parts"):
        assert (tmp_path / name / "result.json").is_file()
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert one == two


def test_images_of_another_size_at_predict_time(tmp_path):
    from dlkit.cli import main

    Image = pytest.importorskip("PIL.Image")
    run = get("cnn").run(run_dir=tmp_path / "run", **QUICK)
    with pytest.raises(PredictorError, match=r"x is \(2, 784\), expected \(N, 64\)"):
        load_predictor(run.folder).predict(np.zeros((2, 784), np.float32))
    np.save(tmp_path / "wide.npy", np.zeros((2, 28, 28), np.uint8))
    assert main(["predict", str(run.folder), str(tmp_path / "wide.npy")]) == 1
    # A picture of any size is fitted: a page with a large one on it.
    page = np.full((190, 140), 255, np.uint8)
    page[30:160, 60:80] = 0
    Image.fromarray(page).save(tmp_path / "page.png")
    assert main(["predict", str(run.folder), str(tmp_path / "page.png"), "--json"]) == 0


def test_hostile_cards_are_refused_before_memory_is_taken(tmp_path):
    run = get("cnn").run(run_dir=tmp_path / "run", **QUICK)
    card = json.loads((run.folder / "model.json").read_text())
    for change in (
        {"filters": [1 << 24, 1 << 24]},
        {"hidden": [1 << 24]},
        {"input_shape": [1, 8, 9]},
        {"input_shape": [1]},
        {"kernels": []},
        {"filters": "all"},
        {"filters": 3},
        {"pieces": 0},
        {"strange": 1},
    ):
        changed = {**card, "arguments": {**card["arguments"], **change}}
        (run.folder / "model.json").write_text(json.dumps(changed))
        with pytest.raises(PredictorError):
            load_predictor(run.folder)
    for missing in ("filters", "input_shape"):
        arguments = {name: value for name, value in card["arguments"].items() if name != missing}
        (run.folder / "model.json").write_text(json.dumps({**card, "arguments": arguments}))
        with pytest.raises(PredictorError):
            load_predictor(run.folder)


def test_a_committee_of_runs(tmp_path):
    runs = [get("cnn").run(run_dir=tmp_path / f"run{seed}", seed=seed, **QUICK) for seed in (0, 1, 2)]
    committee = load_committee([run.folder for run in runs])
    x = load("digits").x_test
    each = [load_predictor(run.folder).predict(x).probabilities for run in runs]
    np.testing.assert_allclose(committee.probabilities(x), np.mean(each, axis=0), rtol=1e-6)


@pytest.mark.slow
def test_reaches_its_target_on_mnist(tmp_path, data_folder):
    result = get("cnn").run(data="mnist", run_dir=tmp_path / "run", progress=False)
    assert result.target.reached(result.metrics), result.metrics


@pytest.mark.slow
def test_reaches_its_target_on_fashion_mnist(tmp_path, data_folder):
    result = get("cnn").run(data="fashion-mnist", run_dir=tmp_path / "run", progress=False)
    assert result.target.reached(result.metrics), result.metrics
