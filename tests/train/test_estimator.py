from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import dlkit as dl
from dlkit.train import MLPClassifier, PerceptronClassifier, SoftmaxClassifier

ALL = [
    PerceptronClassifier(random_state=0),
    PerceptronClassifier(averaged=True, random_state=0),
    SoftmaxClassifier(epochs=50, random_state=0),
    MLPClassifier((64,), epochs=60, random_state=0),
    MLPClassifier((64,), epochs=60, dropout=0.1, early_stopping=True, random_state=0),
]
PROBABILISTIC = ALL[2:]


@parametrize_with_checks(ALL)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def blobs():
    x, y = make_blobs(300, n_features=5, centers=3, cluster_std=1.0, random_state=0)
    return StandardScaler().fit_transform(x), y


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_learns(estimator, blobs):
    fitted = clone(estimator).fit(*blobs)
    assert fitted.score(*blobs) > 0.95
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.n_features_in_ == 5


@pytest.mark.parametrize("estimator", ALL, ids=str)
@pytest.mark.parametrize(
    "names",
    [
        ["spam", "ham", "eggs"],
        [3.0, -1.0, 7.0],
        np.array(["x", "yy", "zzz"], object),
        [5, 2, 9],
    ],
    ids=["text", "floats", "objects", "integers"],
)
def test_labels_of_any_type(estimator, blobs, names):
    x, y = blobs
    labels = np.asarray(names)[y]
    fitted = clone(estimator).fit(x, labels)
    predicted = fitted.predict(x)
    assert predicted.dtype == labels.dtype
    assert (predicted == labels).mean() > 0.95
    assert sorted(fitted.classes_.tolist()) == sorted(np.asarray(names).tolist())


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_two_classes(estimator, blobs):
    x, y = blobs
    fitted = clone(estimator).fit(x, np.where(y == 1, "yes", "no"))
    decision = fitted.decision_function(x)
    assert decision.shape == (300,)
    np.testing.assert_array_equal(fitted.predict(x) == "yes", decision > 0)
    assert fitted.score(x, np.where(y == 1, "yes", "no")) > 0.95


@pytest.mark.parametrize("estimator", PROBABILISTIC, ids=str)
def test_probabilities(estimator, blobs):
    x, _ = blobs
    fitted = clone(estimator).fit(*blobs)
    proba = fitted.predict_proba(x)
    assert proba.shape == (300, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(fitted.classes_[proba.argmax(axis=1)], fitted.predict(x))
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(x)), proba, rtol=1e-10)


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_a_sample_gets_the_same_bits_in_any_company(estimator, blobs):
    x, _ = blobs
    fitted = clone(estimator).fit(*blobs)
    whole = fitted.decision_function(x)
    for rows in ([0], [5, 3], range(299), range(130)):
        assert fitted.decision_function(x[list(rows)]).tobytes() == whole[list(rows)].tobytes()


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_random_state(estimator, blobs):
    def weights(seed):
        fitted = clone(estimator).set_params(random_state=seed).fit(*blobs)
        return b"".join(p.data.tobytes() for p in fitted.model_.parameters())

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)
    assert weights(np.random.RandomState(4)) == weights(np.random.RandomState(4))


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_dlkits_own_random_state_is_left_alone(estimator, blobs):
    dl.manual_seed(11)
    state = dl.kernels.random.get_state()
    clone(estimator).fit(*blobs)
    assert dl.kernels.random.get_state() == state


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_pickle_and_copy(estimator, blobs):
    x, _ = blobs
    fitted = clone(estimator).fit(*blobs)
    for twin in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(twin.decision_function(x), fitted.decision_function(x))
        next(iter(twin.model_.parameters())).data[...] = 0
    assert fitted.score(*blobs) > 0.95


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_pipeline_and_cross_validation(estimator):
    x, y = load_iris(return_X_y=True)
    scores = cross_val_score(make_pipeline(StandardScaler(), clone(estimator)), x, y, cv=3)
    assert scores.mean() > 0.85


def test_grid_search():
    x, y = load_iris(return_X_y=True)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), MLPClassifier(random_state=0)),
        {"mlpclassifier__hidden": [(4,), (32,)], "mlpclassifier__activation": ["relu", "tanh"]},
        cv=3,
    ).fit(x, y)
    assert search.best_score_ > 0.9
    assert len(search.cv_results_["params"]) == 4


def test_real_digits():
    x, y = load_digits(return_X_y=True)
    x = x / 16
    fitted = MLPClassifier(epochs=30, random_state=0).fit(x[:1200], y[:1200])
    assert fitted.score(x[1200:], y[1200:]) > 0.9


def test_perceptron_stops_without_mistakes():
    x, y = make_blobs(100, centers=[[-5, -5], [5, 5]], random_state=0)
    fitted = PerceptronClassifier(epochs=50, random_state=0).fit(x, y)
    assert fitted.mistakes_[-1] == 0
    assert fitted.n_iter_ == len(fitted.mistakes_) < 50


def test_perceptron_fails_xor():
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), [0, 1, 1, 0]
    fitted = PerceptronClassifier(epochs=20, random_state=0).fit(x, y)
    assert fitted.n_iter_ == 20
    assert fitted.score(x, y) < 1
    assert not hasattr(fitted, "predict_proba")
    deep = MLPClassifier((8,), epochs=500, lr=0.05, batch_size=4, random_state=1).fit(x, y)
    assert deep.score(x, y) == 1


def test_history_and_early_stopping(blobs):
    fitted = MLPClassifier(early_stopping=True, epochs=500, patience=3, lr=0.02, random_state=0).fit(*blobs)
    assert fitted.n_iter_ == len(fitted.history_) < 500
    assert fitted.history_[-1]["val_loss"] is not None
    assert fitted.loss_ == fitted.history_[-1]["train_loss"]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_optimizers(optimizer, blobs):
    fitted = SoftmaxClassifier(optimizer=optimizer, weight_decay=1e-4, epochs=30, random_state=0).fit(*blobs)
    assert fitted.score(*blobs) > 0.95


def test_verbose(blobs, capsys):
    SoftmaxClassifier(epochs=2, verbose=True).fit(*blobs)
    assert "epoch 2/2" in capsys.readouterr().err
    SoftmaxClassifier(epochs=2).fit(*blobs)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("estimator", ALL, ids=str)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (np.where(x == x[3, 2], np.nan, x), y), "X contains NaN"),
        (lambda x, y: (np.where(x == x[3, 2], np.inf, x), y), "X contains infinity"),
        (lambda x, y: (x * 1e300, y), "X contains infinity or a value too large for dtype..float32"),
        (lambda x, y: (x, np.where(y == 1, np.nan, y)), "y contains NaN"),
        (lambda x, y: (x, np.zeros(len(x))), "one class only .*expected at least 2 classes"),
        (lambda x, y: (x, y[1:]), "inconsistent numbers of samples"),
        (lambda x, y: (x[:, 0], y), "Expected 2D array"),
        (lambda x, y: (x[:0], y[:0]), "0 sample"),
        (lambda x, y: (x, y + 0.5), "Unknown label type"),
    ],
)
def test_bad_data(estimator, blobs, spoil, message):
    with pytest.raises(ValueError, match=message), np.errstate(over="ignore", invalid="ignore"):
        clone(estimator).fit(*spoil(*blobs))


@pytest.mark.parametrize("estimator", ALL, ids=str)
def test_bad_data_for_prediction(estimator, blobs):
    x, y = blobs
    fresh = clone(estimator)
    with pytest.raises(NotFittedError):
        fresh.predict(x)
    fitted = fresh.fit(x, y)
    with pytest.raises(ValueError, match=r"X has 4 features, but .* is expecting 5 features"):
        fitted.predict(x[:, :4])
    with pytest.raises(ValueError, match="X contains NaN"):
        fitted.predict(np.full((2, 5), np.nan))


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (PerceptronClassifier(epochs=0), "PerceptronClassifier: epochs is 0"),
        (PerceptronClassifier(lr=0), "PerceptronClassifier: lr is 0, expected a positive number"),
        (SoftmaxClassifier(epochs=1.5), "SoftmaxClassifier: epochs is 1.5"),
        (SoftmaxClassifier(batch_size=0), "SoftmaxClassifier: batch_size is 0"),
        (SoftmaxClassifier(lr="fast"), "SoftmaxClassifier: lr is 'fast'"),
        (SoftmaxClassifier(lr=float("nan")), "SoftmaxClassifier: lr is nan"),
        (SoftmaxClassifier(optimizer="adan"), "optimizer is 'adan', expected one of .*did you mean 'adam'"),
        (MLPClassifier((0,)), r"\[5, 0, 3\]"),
        (MLPClassifier(activation="rellu"), "activation is 'rellu'.*did you mean 'relu'"),
        (MLPClassifier(dropout=1.0), "dropout is 1.0"),
        (MLPClassifier(early_stopping=True, validation_fraction=1), "fraction is 1"),
        (MLPClassifier(early_stopping=True, patience=0), "patience is 0"),
    ],
)
def test_bad_parameters(estimator, message, blobs):
    with pytest.raises(ValueError, match=message):
        estimator.fit(*blobs)


def test_without_scikit_learn():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import dlkit.train\n"
        "try: dlkit.train.MLPClassifier\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "dlkit[cli]"' in done.stdout
