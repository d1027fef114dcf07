"""Classifiers with scikit-learn's face: pipelines, cross-validation and grid search take them as they are."""

from __future__ import annotations

import difflib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, check_random_state
except ImportError as missing:
    raise ImportError('the estimators need scikit-learn: pip install "dlkit[cli]"') from missing

from dlkit import kernels, models, nn, optim
from dlkit.autograd import Tensor, no_grad
from dlkit.data import Batches, holdout

from .checks import integer
from .early_stopping import EarlyStopping
from .trainer import Trainer

#: Samples per forward pass of a prediction. Every pass has exactly this many rows (the last is padded), so
#: that a sample gets the same bits whatever other samples it is predicted with.
_BLOCK = 128
_OPTIMIZERS = ("adam", "adamw", "sgd")
# dlkit has one random state for initial weights and dropout; a fit borrows it, and two at once would mix
# their numbers.
_random_lock = threading.Lock()


class _Classifier(ClassifierMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """What all three have in common: checks, classes, scores, predictions."""

    def fit(self, X: ArrayLike, y: ArrayLike) -> _Classifier:
        """Train from scratch.

        Parameters
        ----------
        X
            Samples, shape (N, features), finite numbers; used as float32.
        y
            Labels of any type (numbers, text), shape (N,), of at least two classes.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            NaN or infinity in X, NaN in y, fewer than two classes, shapes that do not fit, or a parameter out
            of its range.
        """
        inputs, labels = _checked_training(self, X, y)
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__}: y holds one class only ({self.classes_[0]!r}), expected at least 2 "
                f"classes"
            )
        seed = int(check_random_state(self.random_state).randint(0, 2**31 - 1))
        with _borrowed_random_state(seed):
            self._fit(inputs, numbers.astype(np.int64).reshape(-1), seed)
        return self

    @abstractmethod
    def _fit(self, x: NDArray[np.float32], y: NDArray[np.int64], seed: int) -> None:
        """Set ``model_``, trained on class numbers; dlkit's random state is at `seed`."""

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """How strongly the model holds for each class.

        Returns
        -------
        ndarray
            Two classes: shape (N,), positive where the second class is predicted. More: shape (N, classes),
            the greatest value at the class predicted.
        """
        scores = self._scores(X)
        if scores.shape[1] == 1:
            return scores[:, 0]
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict the class of each sample.

        Returns
        -------
        ndarray, shape (N,)
            Labels, as they were given to `fit`.
        """
        decision = self.decision_function(X)
        numbers = (decision > 0).astype(np.int64) if decision.ndim == 1 else decision.argmax(axis=1)
        predicted: NDArray[Any] = self.classes_[numbers]
        return predicted

    def _scores(self, X: ArrayLike) -> NDArray[np.float32]:
        check_is_fitted(self)
        inputs = _checked_inputs(self, X)
        self.model_.eval()
        scores = np.empty((len(inputs), 0), np.float32)
        with no_grad():
            for start in range(0, len(inputs), _BLOCK):
                block = inputs[start : start + _BLOCK]
                if len(block) < _BLOCK:
                    block = np.concatenate(
                        [block, np.zeros((_BLOCK - len(block), block.shape[1]), np.float32)]
                    )
                outputs = self.model_(Tensor(block)).data
                if not scores.shape[1]:
                    scores = np.empty((len(inputs), outputs.shape[1]), np.float32)
                scores[start : start + _BLOCK] = outputs[: len(inputs) - start]
        return scores


class PerceptronClassifier(_Classifier):
    """Rosenblatt's perceptron: linear, learns from its mistakes alone.

    Parameters
    ----------
    epochs
        Passes over the samples at most; training ends before if a pass makes no mistake.
    lr
        Size of a correction.
    averaged
        Predict with the average of the weights over training, which is steadier where the classes overlap.
    shuffle
        Go through the samples in a new order in every pass.
    random_state
        None, an integer, or a NumPy RandomState: of the order.

    Attributes
    ----------
    classes_ : ndarray
        The labels seen by `fit`, sorted.
    model_ : dlkit.models.Perceptron
        The trained model.
    n_iter_ : int
        Passes made.
    mistakes_ : list of int
        Mistakes in each pass.
    """

    def __init__(
        self,
        epochs: int = 100,
        *,
        lr: float = 1.0,
        averaged: bool = False,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.epochs = epochs
        self.lr = lr
        self.averaged = averaged
        self.shuffle = shuffle
        self.random_state = random_state

    def _fit(self, x: NDArray[np.float32], y: NDArray[np.int64], seed: int) -> None:
        epochs = integer("PerceptronClassifier", "epochs", self.epochs, 1)
        _positive("PerceptronClassifier", "lr", self.lr)
        outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        self.model_ = models.Perceptron(x.shape[1], outputs, averaged=self.averaged)
        order = Batches(x, y, batch_size=len(x), shuffle=self.shuffle, seed=seed)
        self.mistakes_: list[int] = []
        for _ in range(epochs):
            for samples, labels in order:
                scores = self.model_.learn(samples, labels, lr=self.lr)
            said = (scores[:, 0] > 0).astype(np.int64) if outputs == 1 else scores.argmax(axis=1)
            self.mistakes_.append(int(np.count_nonzero(said != labels)))
            if not self.mistakes_[-1]:
                break
        self.n_iter_ = len(self.mistakes_)


class _GradientClassifier(_Classifier):
    """The two that are trained by gradient descent on the cross-entropy."""

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probability of each class, shape (N, classes), in the order of ``classes_``."""
        return kernels.softmax(self._scores(X).astype(np.float64))

    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logarithm of `predict_proba`."""
        return kernels.log_softmax(self._scores(X).astype(np.float64))

    @abstractmethod
    def _make(self, features: int, classes: int) -> nn.Module:
        """Make the untrained model."""

    def _fit(self, x: NDArray[np.float32], y: NDArray[np.int64], seed: int) -> None:
        owner = type(self).__name__
        epochs = integer(owner, "epochs", self.epochs, 1)
        size = integer(owner, "batch_size", self.batch_size, 1)
        _positive(owner, "lr", self.lr)
        self.model_ = self._make(x.shape[1], len(self.classes_))
        callbacks = []
        validation = None
        if self.early_stopping:
            x, y, *held = holdout(x, y, fraction=self.validation_fraction, seed=seed)
            validation = (held[0], held[1])
            callbacks.append(EarlyStopping(patience=self.patience))
        trainer = Trainer(
            self.model_,
            self._optimizer(),
            nn.CrossEntropyLoss(),
            callbacks=callbacks,
            progress=bool(self.verbose),
        )
        self.history_ = trainer.fit(
            Batches(x, y, batch_size=min(size, len(x)), seed=seed), epochs=epochs, validation=validation
        )
        self.n_iter_ = len(self.history_)
        self.loss_ = float(self.history_[-1]["train_loss"])

    def _optimizer(self) -> optim.Optimizer:
        parameters = self.model_.parameters()
        if self.optimizer == "adam":
            return optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)
        if self.optimizer == "adamw":
            return optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        if self.optimizer == "sgd":
            return optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        near = difflib.get_close_matches(str(self.optimizer), _OPTIMIZERS, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"{type(self).__name__}: optimizer is {self.optimizer!r}, expected one of "
            f"{', '.join(_OPTIMIZERS)}{hint}"
        )


class SoftmaxClassifier(_GradientClassifier):
    """Softmax regression (multinomial logistic regression), trained by mini-batch gradient descent.

    Parameters
    ----------
    epochs
        Passes over the samples.
    batch_size
        Samples per update.
    lr
        Learning rate.
    optimizer
        ``"adam"``, ``"adamw"`` or ``"sgd"``.
    momentum
        Of ``"sgd"``.
    weight_decay
        L2 penalty (decoupled with ``"adamw"``).
    early_stopping
        Hold out `validation_fraction` of the samples and stop when their loss has not improved for `patience`
        epochs; the best weights are kept.
    validation_fraction
        Share of the samples held out.
    patience
        Epochs without improvement.
    random_state
        None, an integer, or a NumPy RandomState: of the order of the samples and the held-out part.
    verbose
        Show progress.

    Attributes
    ----------
    classes_ : ndarray
        The labels seen by `fit`, sorted.
    model_ : dlkit.models.SoftmaxRegression
        The trained model.
    history_ : History
        One record per epoch.
    n_iter_ : int
        Epochs trained.
    loss_ : float
        Training loss of the last epoch.
    """

    def __init__(
        self,
        epochs: int = 100,
        *,
        batch_size: int = 32,
        lr: float = 0.01,
        optimizer: str = "adam",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.verbose = verbose

    def _make(self, features: int, classes: int) -> nn.Module:
        return models.SoftmaxRegression(features, classes)


class MLPClassifier(_GradientClassifier):
    """A multi-layer perceptron, trained by mini-batch gradient descent.

    Parameters
    ----------
    hidden
        Units of each hidden layer.
    activation
        As of `dlkit.models.MLP`: ``"relu"``, ``"tanh"``, ``"sigmoid"``, ….
    dropout
        Probability of dropping a hidden unit in training.
    epochs, batch_size, lr, optimizer, momentum, weight_decay
        As of `SoftmaxClassifier`.
    early_stopping, validation_fraction, patience
        As of `SoftmaxClassifier`.
    random_state
        None, an integer, or a NumPy RandomState: of the initial weights, dropout, the order of the samples
        and the held-out part.
    verbose
        Show progress.

    Attributes
    ----------
    classes_, history_, n_iter_, loss_
        As of `SoftmaxClassifier`.
    model_ : dlkit.models.MLP
        The trained model.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (128,),
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        epochs: int = 100,
        batch_size: int = 32,
        lr: float = 0.001,
        optimizer: str = "adam",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.verbose = verbose

    def _make(self, features: int, classes: int) -> nn.Module:
        return models.MLP(
            features, tuple(self.hidden), classes, activation=self.activation, dropout=self.dropout
        )


def _checked_training(estimator: _Classifier, X: ArrayLike, y: ArrayLike) -> Any:
    """X as float32, and y, after scikit-learn's checks; notes what X looks like."""
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # before scikit-learn 1.6 it was a method
        return estimator._validate_data(X, y, dtype=np.float32, order="C")
    return validate_data(estimator, X, y, dtype=np.float32, order="C")


def _checked_inputs(estimator: _Classifier, X: ArrayLike) -> Any:
    """X as float32 after scikit-learn's checks, and as `fit` saw it."""
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:
        return estimator._validate_data(X, dtype=np.float32, order="C", reset=False)
    return validate_data(estimator, X, dtype=np.float32, order="C", reset=False)


def _positive(owner: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not value > 0:
        raise ValueError(f"{owner}: {name} is {value!r}, expected a positive number")


@contextmanager
def _borrowed_random_state(seed: int) -> Iterator[None]:
    """dlkit's random state at `seed` inside, as it was after: a fit depends on its own seed alone."""
    with _random_lock:
        before = kernels.random.get_state()
        kernels.manual_seed(seed)
        try:
            yield
        finally:
            kernels.random.set_state(before)
