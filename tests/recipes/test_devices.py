"""Every recipe on an emulated GPU: from the command line, resumed elsewhere, and asked for predictions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from dlkit.cli import main
from dlkit.recipes.predictor import load_predictor
from dlkit.recipes.registry import get, names
from dlkit.recipes.settings import SettingsError

SMALL: dict[str, list[str]] = {
    "mlp": ["--hidden", "8", "--epochs", "1"],
    "cnn": ["--filters", "3,4", "--hidden", "8", "--epochs", "1"],
    "text-cnn": ["--filters", "2", "--dimensions", "3", "--regions", "2,3", "--folds", "5", "--epochs", "1"],
    "softmax": ["--epochs", "1"],
    "perceptron": ["--epochs", "1"],
    "xor": ["--epochs", "5", "--perceptron-epochs", "5"],
    "gradient-descent": ["--epochs", "1", "--batch-size", "128", "--online-lr", "0.01"],
    "nnlm": ["--dimensions", "5", "--hidden", "6", "--batch-size", "32", "--epochs", "1"],
    "lm": [
        "--hidden",
        "6",
        "--dimensions",
        "5",
        "--layers",
        "1",
        "--batch-size",
        "4",
        "--steps",
        "9",
        "--epochs",
        "1",
    ],
    "tagger": [
        "--dimensions",
        "5",
        "--hidden",
        "6",
        "--character-dimensions",
        "3",
        "--character-features",
        "4",
        "--epochs",
        "1",
        "--output",
        "crf",
        "--batch-size",
        "8",
    ],
    "window-tagger": ["--dimensions", "5", "--hidden", "6", "--epochs", "1", "--batch-size", "8"],
    "senna": ["--dimensions", "5", "--hidden", "6", "--epochs", "1", "--batch-size", "8"],
    "ranking-lm": [
        *("--dimensions", "3", "--hidden", "4", "--window", "3", "--epochs", "1"),
        *("--batch-size", "16", "--min-count", "6"),
    ],
    "word2vec": [
        *("--vector-size", "4", "--min-count", "2", "--sample", "0", "--epochs", "2"),
        *("--map", "none", "--deterministic"),
    ],
    "graph": [],
}


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the digits, 96 to train on and 32 to test; of sentences, ten a class: emulation is slow."""
    import dataclasses

    from dlkit.data import corpora, registry, tagged_registry, text_registry
    from dlkit.data.digits import load_digits
    from dlkit.data.python_docs import load_python_docs
    from dlkit.data.python_tokens import load_python_tokens
    from dlkit.data.tagged_set import TaggedSet

    def few() -> Any:
        digits = load_digits()
        return dataclasses.replace(
            digits,
            x_train=digits.x_train[:96],
            y_train=digits.y_train[:96],
            x_test=digits.x_test[:32],
            y_test=digits.y_test[:32],
        )

    def few_sentences() -> Any:
        topics = load_python_docs()
        rows = np.concatenate([np.flatnonzero(topics.labels == c)[:10] for c in range(len(topics.classes))])
        short = [topics.sentences[i][:12] for i in rows]
        return dataclasses.replace(topics, sentences=short, labels=topics.labels[rows], official=None)

    def few_lines() -> Any:
        lines = [sentence for sentence in few_sentences().sentences if len(sentence) > 3]
        return lines[:20], lines[20:24], lines[20:24]

    def few_tagged() -> Any:
        found = load_python_tokens()
        parts = [
            [s for s in part if len(s.tokens) < 13 and max(map(len, s.tokens)) < 13]
            for part in (found.train, found.validation, found.test)
        ]
        return TaggedSet("python", "tokens", parts[0][:40], parts[0][:6], parts[0][6:12], "here")

    monkeypatch.setitem(tagged_registry._LOADERS, "python", few_tagged)
    monkeypatch.setattr(corpora, "_documentation", few_lines)
    monkeypatch.setitem(registry._LOADERS, "digits", few)
    monkeypatch.setitem(text_registry._LOADERS, "topics", few_sentences)


#: What is not, or not all, computed on devices, and says so.
CPU_ALONE = ("bag-of-words", "ngram", "vanishing-gradients")


@pytest.mark.parametrize("name", CPU_ALONE)
def test_recipes_without_device_kernels_say_so(
    simt: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["train", name, "--device", "simt", "--no-progress", "--run-dir", str(tmp_path / "run")]) == 2
    assert f"{name}: device is simt, expected cpu" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


#: Poolings that are not the default.
POOLINGS = [
    pytest.param("cnn", ["--pooling", "stochastic"], id="cnn, stochastic"),
    pytest.param("cnn", ["--activation", "maxout", "--pieces", "2"], id="cnn, maxout"),
    pytest.param("text-cnn", ["--k", "2"], id="text-cnn, k-max"),
]
EVERY = [pytest.param(name, [], id=name) for name in names() if name not in CPU_ALONE]


@pytest.mark.parametrize(("name", "more"), [*EVERY, *POOLINGS])
def test_every_recipe(
    simt: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str], name: str, more: list[str]
) -> None:
    results = []
    for device in ("cpu", "simt"):
        folder = tmp_path / device
        command = ["train", name, "--device", device, "--no-progress", "--run-dir", str(folder), *SMALL[name]]
        command += more
        assert main(command) == 0, capsys.readouterr().err
        assert json.loads((folder / "settings.json").read_text())["device"] == device
        starts = json.loads((folder / "environment.json").read_text())["starts"]
        assert starts[0]["device"]["name"] == device
        results.append(json.loads((folder / "result.json").read_text()))
    capsys.readouterr()
    for key, expected in results[0].items():
        if isinstance(expected, float) and key.endswith("loss"):
            assert results[1][key] == pytest.approx(expected, rel=1e-2), key


@pytest.mark.parametrize(
    "more", [["--softmax", "adaptive", "--cutoffs", "20,60"], ["--softmax", "sampled", "--samples", "9"]]
)
def test_language_models_with_another_softmax(
    simt: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    from dlkit.recipes.language_predictor import load_language_model

    losses = []
    for device in ("cpu", "simt"):
        folder = tmp_path / device
        command = ["train", "lm", "--device", device, "--no-progress", "--run-dir", str(folder)]
        assert main([*command, *SMALL["lm"], *more]) == 0, capsys.readouterr().err
        losses.append(json.loads((folder / "result.json").read_text())["test_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    expected, found = (load_language_model(tmp_path / "simt", device) for device in ("cpu", "simt"))
    np.testing.assert_allclose(found.surprise("the of a").bits, expected.surprise("the of a").bits, rtol=1e-4)


def test_a_language_model_is_resumed_on_another_device(
    simt: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state that it carries along goes with it; asked afterwards, each device says the same."""
    from dlkit.recipes.language_predictor import load_language_model

    folder = tmp_path / "run"
    begin = ["train", "lm", "--no-progress", "--run-dir", str(folder), *SMALL["lm"][:-2]]
    assert main([*begin, "--device", "simt", "--epochs", "1"]) == 0
    again = ["train", "lm", "--no-progress", "--run-dir", str(folder), "--resume"]
    assert main([*again, "--epochs", "2", "--device", "cpu"]) == 0, capsys.readouterr().err
    expected, found = (load_language_model(folder, device) for device in ("cpu", "simt"))
    text = "the of a"
    np.testing.assert_allclose(found.surprise(text).bits, expected.surprise(text).bits, rtol=1e-4)
    assert found.go_on(text, 5, seed=1) == expected.go_on(text, 5, seed=1)


def test_a_run_is_resumed_where_it_was_and_elsewhere_if_asked(
    simt: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    begin = [
        "train",
        "mlp",
        "--no-progress",
        "--run-dir",
        str(folder),
        "--hidden",
        "8",
        "--schedule",
        "constant",
    ]
    assert main([*begin, "--device", "simt", "--epochs", "1"]) == 0
    again = ["train", "mlp", "--no-progress", "--run-dir", str(folder), "--resume"]
    for more, device in ((["--epochs", "2"], "simt"), (["--epochs", "3", "--device", "cpu"], "cpu")):
        assert main([*again, *more]) == 0, capsys.readouterr().err
        assert json.loads((folder / "settings.json").read_text())["device"] == device
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3]


def test_tags_are_those_of_the_cpu(simt: Any, tmp_path: Any) -> None:
    from dlkit.recipes.tagger_predictor import load_tagger

    small = {"dimensions": 5, "hidden": 6, "character_dimensions": 3, "character_features": 4, "epochs": 1}
    for output in ("softmax", "crf"):
        folder = tmp_path / output
        get("tagger").run(run_dir=folder, progress=False, output=output, **small)
        expected, got = (load_tagger(folder, device).predict(["x = y + 1"]) for device in ("cpu", "simt"))
        assert got[0].tags == expected[0].tags
        np.testing.assert_allclose(got[0].confidence, expected[0].confidence, rtol=1e-4)


def test_predictions(simt: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    get("mlp").run(run_dir=folder, progress=False, hidden=(8,), epochs=1)
    samples = np.random.default_rng(0).random((5, 64), np.float32)
    expected, got = (load_predictor(folder, device).predict(samples) for device in ("cpu", "simt"))
    np.testing.assert_array_equal(got.classes, expected.classes)
    np.testing.assert_allclose(got.probabilities, expected.probabilities, rtol=1e-4)
    np.save(tmp_path / "samples.npy", samples)
    answers = []
    for device in ("cpu", "simt"):
        assert (
            main(["predict", str(folder), str(tmp_path / "samples.npy"), "--json", "--device", device]) == 0
        )
        answers.append([row["class"] for row in json.loads(capsys.readouterr().out)])
    assert answers[0] == answers[1]


def test_devices_that_are_not_there(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from dlkit.kernels import backend

    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(backend, "_BY_NAME", {"cpu": backend.CPU})
    folder = ["--run-dir", str(tmp_path / "run")]
    assert main(["train", "graph", "--device", "cuda", *folder]) == 1
    text = " ".join(capsys.readouterr().err.split())
    assert "pip install cupy-cuda13x" in text
    assert "Traceback" not in text
    assert main(["train", "graph", "--device", "gpu", *folder]) == 2
    assert "device is 'gpu'; expected 'cpu', 'cuda', 'cuda:0' or 'simt'" in " ".join(
        capsys.readouterr().err.split()
    )
    assert not (tmp_path / "run").exists()
    with pytest.raises(SettingsError, match="graph: device is 'gpu'"):
        get("graph").run(run_dir=tmp_path / "run", device="gpu")
