from __future__ import annotations

import errno
import os
import sys

import numpy as np
import pytest

from dlkit.train import RunFolderError, plots

CLASSES = ["cat", "dog", "bird"]
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.1, 0.3, 0.6], [0.9, 0.05, 0.05], [0.2, 0.7, 0.1]])
TRUE = np.array([0, 1, 2, 1])


@pytest.fixture
def figure(monkeypatch):
    """The last figure that was saved: what it shows is looked at there, not in the pixels."""
    saved = []
    real = plots._save

    def save(figure, path):
        saved.append(figure)
        return real(figure, path)

    monkeypatch.setattr(plots, "_save", save)
    return lambda: saved[-1]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def is_png(path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def record(epoch: int, **more) -> dict:
    return {"epoch": epoch, "train_loss": 1 / epoch, **more}


def test_loss_curve(tmp_path, figure):
    history = [record(e, val_loss=1 / e + (e - 3) ** 2, val_accuracy=e / 10) for e in range(1, 6)]
    path = plots.loss_curve(history, tmp_path / "loss.png", title="a title")
    assert path == tmp_path / "loss.png"
    assert is_png(path)
    loss, accuracy = figure().axes
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [1 / e for e in range(1, 6)])
    assert [t.get_text() for t in loss.get_legend().get_texts()] == ["training", "validation"]
    assert texts(loss) == ["best 0.3333\nepoch 3"]
    assert texts(accuracy) == ["best 50.00%\nepoch 5"]
    assert loss.get_title(loc="left") == "Loss"
    assert figure().get_suptitle() == "a title"
    assert loss.get_yscale() == "linear"


def test_loss_curve_over_decades_is_logarithmic(tmp_path, figure):
    plots.loss_curve([record(1, val_loss=1000.0), record(2, val_loss=1.0)], tmp_path / "loss.png")
    assert figure().axes[0].get_yscale() == "log"


def test_loss_curve_of_one_epoch_and_with_gaps(tmp_path, figure):
    assert is_png(plots.loss_curve([record(1)], tmp_path / "one.png"))
    assert len(figure().axes) == 1
    gaps = [record(1, val_loss=None), record(2, val_loss=float("nan")), record(3, val_loss=0.1)]
    plots.loss_curve(gaps, tmp_path / "gaps.png")
    assert figure().axes[0].lines[2].get_xdata().tolist() == [3]


def test_loss_curve_takes_what_a_run_folder_logged(tmp_path, make_trainer, make_batches, points):
    from dlkit.train import RunFolder

    run = RunFolder(tmp_path / "run", {})
    make_trainer(run=run).fit(make_batches(), epochs=2, validation=points)
    assert is_png(plots.loss_curve(run.metrics(), run.path("loss.png")))


@pytest.mark.parametrize("history", [[], [{"epoch": 1}], [record(1, train_loss=float("nan"))]])
def test_loss_curve_of_nothing(tmp_path, history):
    with pytest.raises(ValueError, match="no record with a train_loss"):
        plots.loss_curve([{**r, "train_loss": r.get("train_loss")} for r in history], tmp_path / "x.png")


def test_confusion_matrix(tmp_path, figure):
    path = plots.confusion_matrix([0, 0, 1, 2, 2], [0, 1, 1, 2, 0], tmp_path / "c.png", classes=CLASSES)
    assert is_png(path)
    axes = figure().axes[0]
    counts = np.zeros((3, 3), int)
    for text in axes.texts:
        column, row = text.get_position()
        counts[int(row), int(column)] = int(text.get_text())
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.5, 0.5, 0], [0, 1, 0], [0.5, 0, 0.5]])
    assert [t.get_text() for t in axes.get_xticklabels()] == CLASSES
    assert [t.get_text() for t in axes.get_yticklabels()] == CLASSES
    assert axes.get_title(loc="left") == "3 of 5 right, 60.00%"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_confusion_matrix_of_many_classes(tmp_path):
    y = np.arange(100)
    assert is_png(plots.confusion_matrix(y, y[::-1], tmp_path / "c.png", classes=[f"class {i}" for i in y]))


@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ([0, 1], [0], "y_true has 2 labels but y_pred has 1"),
        ([], [], "y_true is empty"),
        ([0, 3], [0, 0], "y_true lies in 0 … 3, expected 0 … 2 for 3 classes"),
        ([0, 1], [-1, 0], "y_pred lies in -1 … 0"),
        ([0.5, 1], [0, 1], "y_true has dtype float64"),
        ([[0, 1]], [0, 1], r"y_true is \(1, 2\), expected \(N,\)"),
    ],
)
def test_confusion_matrix_of_wrong_labels(tmp_path, true, predicted, message):
    with pytest.raises(ValueError, match=message):
        plots.confusion_matrix(true, predicted, tmp_path / "c.png", classes=CLASSES)


def test_confident_mistakes(tmp_path, figure):
    images = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    path = plots.confident_mistakes(
        images, TRUE, PROBABILITIES, tmp_path / "m.png", classes=CLASSES, image_shape=(2, 3)
    )
    assert is_png(path)
    shown = figure().axes
    assert [axes.get_title() for axes in shown] == ["said cat, 90%", "said bird, 60%"]
    assert [axes.get_xlabel() for axes in shown] == ["is bird (#2)", "is dog (#1)"]
    np.testing.assert_allclose(shown[0].images[0].get_array(), images[2].reshape(2, 3))
    assert figure().get_suptitle() == "2 of 4 wrong, most confident first"


def test_confident_mistakes_only_the_first(tmp_path, figure):
    plots.confident_mistakes(
        np.zeros((4, 2, 3)),
        TRUE,
        PROBABILITIES,
        tmp_path / "m.png",
        classes=CLASSES,
        image_shape=(2, 3),
        count=1,
    )
    assert len(figure().axes) == 1
    assert figure().get_suptitle() == "2 of 4 wrong; the 1 most confident"


def test_no_mistakes(tmp_path, figure):
    path = plots.confident_mistakes(
        np.zeros((4, 6)),
        PROBABILITIES.argmax(axis=1),
        PROBABILITIES,
        tmp_path / "m.png",
        classes=CLASSES,
        image_shape=(2, 3),
    )
    assert is_png(path)
    assert "no mistakes" in [text.get_text() for text in figure().texts]


def test_certainty_is_not_rounded_up():
    assert plots._percent(0.994) == "99%"
    assert plots._percent(0.9996) == "99.960%"
    assert plots._percent(1.0) == "99.999%"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": PROBABILITIES[:, :2]}, r"probabilities is \(4, 2\), expected \(4, 3\)"),
        ({"probabilities": PROBABILITIES[:3]}, r"probabilities is \(3, 3\), expected \(4, 3\)"),
        ({"x": np.zeros((4, 5))}, r"x is \(4, 5\), expected \(4, 6\) for 4 images of 2x3"),
        ({"x": np.zeros((3, 8))}, r"x is \(3, 8\), expected"),
        ({"count": 0}, "count is 0, expected at least 1"),
        ({"y_true": np.array([0, 1, 2, 3])}, "y_true lies in 0 … 3"),
    ],
)
def test_confident_mistakes_of_wrong_shapes(tmp_path, change, message):
    arguments = {
        "x": np.zeros((4, 6)),
        "y_true": TRUE,
        "probabilities": PROBABILITIES,
        "path": tmp_path / "m.png",
        "classes": CLASSES,
        "image_shape": (2, 3),
        **change,
    }
    with pytest.raises(ValueError, match=message):
        plots.confident_mistakes(**arguments)


XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def xor(points: np.ndarray) -> np.ndarray:
    return ((points[:, 0] > 0.5) ^ (points[:, 1] > 0.5)).astype(int)


def test_decision_boundary(tmp_path, figure):
    path = plots.decision_boundary(
        xor, XOR, xor(XOR), tmp_path / "d.png", classes=["no", "yes"], title="XOR", resolution=50
    )
    assert is_png(path)
    axes = figure().axes[0]
    regions = np.asarray(axes.images[0].get_array())
    assert regions.shape == (50, 50)
    assert regions[0, 0] == regions[-1, -1] == 0  # lower left, upper right
    assert regions[0, -1] == regions[-1, 0] == 1
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["no", "yes"]
    assert axes.get_title(loc="left") == "XOR"


def test_decision_boundary_asks_in_float32(tmp_path):
    asked = []

    def predict(points):
        asked.append(points)
        return np.zeros(len(points), int)

    plots.decision_boundary(predict, XOR, xor(XOR), tmp_path / "d.png", resolution=9)
    assert asked[0].shape == (81, 2)
    assert asked[0].dtype == np.float32
    assert asked[0].min() < 0
    assert asked[0].max() > 1


@pytest.mark.parametrize(
    ("x", "y", "predict", "message"),
    [
        (np.zeros((4, 3)), np.zeros(4, int), xor, r"x is \(4, 3\), expected \(N, 2\)"),
        (np.zeros((0, 2)), np.zeros(0, int), xor, r"x is \(0, 2\), expected \(N, 2\) with N > 0"),
        (XOR, np.zeros(3, int), xor, r"y is \(3,\), expected \(4,\)"),
        (XOR, xor(XOR), lambda p: np.zeros((len(p), 2)), r"predict returned \(\d+, 2\), expected"),
        (XOR, xor(XOR), lambda p: np.full(len(p), 2), "predict lies in 2 … 2, expected 0 … 1"),
    ],
)
def test_decision_boundary_of_wrong_arguments(tmp_path, x, y, predict, message):
    with pytest.raises(ValueError, match=message):
        plots.decision_boundary(predict, x, y, tmp_path / "d.png")


def test_full_disk(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunFolderError, match=r"loss.png: the disk is full"):
        plots.loss_curve([record(1)], tmp_path / "loss.png")
    assert not (tmp_path / "loss.png").exists()


def test_the_callers_matplotlib_is_left_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams), "matplotlib.pyplot" in sys.modules
    plots.loss_curve([record(1)], tmp_path / "loss.png")
    assert (dict(matplotlib.rcParams), "matplotlib.pyplot" in sys.modules) == before


def test_without_matplotlib(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "dlkit\[cli\]"'):
        plots.loss_curve([record(1)], tmp_path / "loss.png")
