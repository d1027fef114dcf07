"""Softmax over many classes, such as the words of a language, without a score for each of them in every step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit.autograd.arrangement import cat, split
from dlkit.autograd.base import make, shape_text
from dlkit.autograd.elementwise import masked_fill
from dlkit.autograd.tensor import Tensor
from dlkit.kernels.backend import device_of, is_device_array, move, namespace, to_host
from dlkit.kernels.random import generator
from dlkit.nn import functional as F
from dlkit.nn.container import ModuleList, Sequential
from dlkit.nn.linear import Linear, positive_integer
from dlkit.nn.module import Module
from dlkit.nn.parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from dlkit.autograd.base import Array


class AdaptiveOutput(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` and `TiedAdaptiveLogSoftmaxWithLoss` return.

    Attributes
    ----------
    output : Tensor of shape (N,)
        Log-probabilities of the targets.
    loss : Tensor
        Minus their mean.
    """

    output: Tensor
    loss: Tensor


class _Adaptive(Module, ABC):
    # What adaptive softmaxes share: which rows go where, and how their losses come together. Subclasses have what
    # scores the head and each cluster.

    def __init__(self, in_features: int, n_classes: int, cutoffs: Sequence[int]) -> None:
        super().__init__()
        self._name = name = type(self).__name__
        self.in_features = positive_integer(in_features, name, "in_features")
        self.n_classes = positive_integer(n_classes, name, "n_classes")
        given = [positive_integer(cutoff, name, "cutoffs") for cutoff in cutoffs]
        if not given or given != sorted(set(given)) or given[-1] >= self.n_classes:
            raise ValueError(
                f"{name}: cutoffs are {list(cutoffs)}; expected one or more, ascending, below n_classes "
                f"({self.n_classes})"
            )
        self.cutoffs = [*given, self.n_classes]
        self.shortlist = given[0]

    @abstractmethod
    def _scorers(self) -> list[Callable[[Tensor], Tensor]]:
        """What scores the head, then each cluster."""

    def forward(self, x: Any, target: Any) -> AdaptiveOutput:
        """Log-probabilities of targets, and their mean.

        Parameters
        ----------
        x : Tensor of shape (N, in_features)
        target : integers of shape (N,)
            On the host, where they are sorted by cluster; to copy them there from a device means to wait for it.

        Returns
        -------
        AdaptiveOutput

        Raises
        ------
        TypeError, ValueError
            If shapes or types do not fit, or a target is out of range.
        """
        rows = _rows(x, self.in_features, self._name)
        labels = _labels(target, rows, self.n_classes, self._name)
        clusters = np.searchsorted(self.cutoffs, labels, side="right")  # 0: the shortlist
        heads = np.where(clusters == 0, labels, self.shortlist + clusters - 1)
        order = np.argsort(clusters, kind="stable")
        starts = np.searchsorted(clusters[order], np.arange(len(self.cutoffs) + 1))
        # Row n has what is at places[n]: 0 for those of the shortlist.
        places = np.empty(len(labels), np.int64)
        places[order] = np.maximum(np.arange(len(labels)) - starts[1] + 1, 0)
        within = labels[order] - np.array([0, *self.cutoffs])[clusters[order]]
        of_rows, order, within, places = _there([heads, order, within, places], rows)
        head, *tail = self._scorers()
        costs = F.cross_entropy(head(rows), of_rows, reduction="none")
        behind = []
        for i, cluster in enumerate(tail):
            part = slice(int(starts[i + 1]), int(starts[i + 2]))
            if part.start == part.stop:
                continue
            scores = cluster(F.embedding(order[part], rows))
            behind.append(F.cross_entropy(scores, within[part], reduction="none"))
        if behind:
            nothing = make(namespace(rows.data).zeros(1, rows.data.dtype))
            costs = costs + F.embedding(places, cat([nothing, *behind]).reshape(-1, 1)).reshape(-1)
        return AdaptiveOutput(-costs, costs.mean())

    def log_prob(self, x: Any) -> Tensor:
        """Log-probabilities of all classes: (N, in_features) to (N, n_classes)."""
        rows = _rows(x, self.in_features, "log_prob")
        head, *tail = self._scorers()
        groups = F.log_softmax(head(rows), 1)
        parts = [groups[:, : self.shortlist]]
        for i, cluster in enumerate(tail):
            number = self.shortlist + i
            parts.append(F.log_softmax(cluster(rows), 1) + groups[:, number : number + 1])
        return cat(parts, 1)

    def predict(self, x: Any) -> Tensor:
        """The most probable class of each row: (N, in_features) to (N,)."""
        return self.log_prob(x).argmax(1)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"in_features={self.in_features}, n_classes={self.n_classes}, cutoffs={self.cutoffs[:-1]}"


class AdaptiveLogSoftmaxWithLoss(_Adaptive):
    """Adaptive softmax (Grave et al., 2017): frequent classes in a head, rare ones in clusters behind it.

    The head scores the classes before the first cutoff, and each cluster as a whole. A rare class has the probability
    of its cluster times that within it, which is computed for the rows whose target is there alone, from fewer
    features the rarer its classes are: p(y) = p(cluster | x) p(y | cluster, P x).

    Parameters
    ----------
    in_features : int
    n_classes : int
        Numbered by falling frequency.
    cutoffs : sequence of int
        The first class of each cluster, ascending, from 1 to n_classes - 1.
    div_value : float
        Cluster i sees in_features / div_value ** (i + 1) features, at least 1.
    head_bias : bool
        Whether the head has a bias.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    head : Linear
        To cutoffs[0] classes and the clusters.
    tail : ModuleList
        A `Sequential` of two `Linear` without bias for each cluster. Names and layouts are PyTorch's.

    Raises
    ------
    TypeError, ValueError
        If a size is not positive, div_value not above 0, or cutoffs are not as they should be.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        *,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(in_features, n_classes, cutoffs)
        if not 0 < div_value < np.inf:
            raise ValueError(f"{self._name}: div_value is {div_value}; expected a number above 0")
        self.div_value = div_value
        outputs = self.shortlist + len(self.cutoffs) - 1
        self.head = Linear(self.in_features, outputs, bias=head_bias, dtype=dtype)
        clusters = []
        for i, (first, after) in enumerate(zip(self.cutoffs, self.cutoffs[1:], strict=False)):
            features = max(int(self.in_features / div_value ** (i + 1)), 1)
            clusters.append(
                Sequential(
                    Linear(self.in_features, features, bias=False, dtype=dtype),
                    Linear(features, after - first, bias=False, dtype=dtype),
                )
            )
        self.tail = ModuleList(clusters)

    def _scorers(self) -> list[Callable[[Tensor], Tensor]]:
        return [self.head, *self.tail]


class TiedAdaptiveLogSoftmaxWithLoss(_Adaptive):
    """Adaptive softmax whose classes' weights are a table that is used elsewhere, too: the vectors of words.

    As `AdaptiveLogSoftmaxWithLoss`, but that the clusters see all features, without projections: a table of word
    vectors has rows of one length. What a cluster alone would learn from its few rows, the vectors learn from every
    word that is read (Press & Wolf, 2017; with adaptive softmax, Baevski & Auli, 2019).

    Parameters
    ----------
    weight : Parameter of shape (n_classes, in_features)
        Classes numbered by falling frequency. It is kept as it is, not copied.
    cutoffs : sequence of int
        The first class of each cluster, ascending, from 1 to n_classes - 1.

    Attributes
    ----------
    weight : Parameter
        That given.
    bias : Parameter of shape (n_classes,)
        Zeros at first.
    clusters : Linear
        Scores each cluster as a whole.

    Raises
    ------
    TypeError, ValueError
        If weight is no matrix of parameters, or cutoffs are not as they should be.
    """

    def __init__(self, weight: Parameter, cutoffs: Sequence[int]) -> None:
        name = "TiedAdaptiveLogSoftmaxWithLoss"
        if not isinstance(weight, Parameter):
            raise TypeError(f"{name}: weight is a {type(weight).__name__}; expected a Parameter")
        if weight.data.ndim != 2:
            raise ValueError(
                f"{name}: weight is {shape_text(weight.data.shape)}; expected (n_classes, in_features)"
            )
        super().__init__(weight.data.shape[1], weight.data.shape[0], cutoffs)
        self.weight = weight
        self.bias = Parameter(namespace(weight.data).zeros(self.n_classes, weight.data.dtype))
        self.clusters = Linear(self.in_features, len(self.cutoffs) - 1, dtype=weight.data.dtype)

    def _scorers(self) -> list[Callable[[Tensor], Tensor]]:
        sizes = [after - first for first, after in pairwise([0, *self.cutoffs])]
        weights, biases = split(self.weight, sizes), split(self.bias, sizes)
        assert self.clusters.bias is not None
        head = cat([weights[0], self.clusters.weight]), cat([biases[0], self.clusters.bias])
        return [partial(_scores, *pair) for pair in [head, *zip(weights[1:], biases[1:], strict=True)]]


def _scores(weight: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
    return F.linear(rows, weight, bias)


class SampledSoftmaxLoss(Module):
    """Softmax cross-entropy over the target and classes that are drawn anew in each step (Jean et al., 2015).

    The drawn classes are shared by all rows. From each score the logarithm of the class's expected count is taken, so
    that the gradient is that of the full softmax but for what the draw leaves out; a drawn class counts for nothing in
    a row whose target it is. In evaluation mode all classes are scored.

    Parameters
    ----------
    in_features : int
    n_classes : int
        By falling frequency, unless `frequencies` says what is frequent.
    n_samples : int
        Draws in each step, with replacement; a class that is drawn twice counts once.
    frequencies : array of shape (n_classes,), optional
        How often each class is drawn, up to a factor. Default: log((k + 2) / (k + 1)), Zipf's law.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter of shape (n_classes, in_features)
    bias : Parameter of shape (n_classes,)

    Raises
    ------
    TypeError, ValueError
        If a size is not positive, or frequencies are not above 0 and finite, or of another shape.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        n_samples: int,
        frequencies: Any = None,
        *,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = "SampledSoftmaxLoss"
        scores = Linear(in_features, n_classes, dtype=dtype)
        self.in_features, self.n_classes = scores.in_features, scores.out_features
        self.n_samples = positive_integer(n_samples, name, "n_samples")
        self.weight = scores.weight
        assert scores.bias is not None
        self.bias = scores.bias
        classes = np.arange(self.n_classes, dtype=np.float64)
        weights = (
            np.log((classes + 2) / (classes + 1))
            if frequencies is None
            else np.asarray(frequencies, dtype=np.float64)
        )
        if weights.shape != (self.n_classes,):
            raise ValueError(
                f"{name}: frequencies are {shape_text(weights.shape)}; expected ({self.n_classes},)"
            )
        if not (np.isfinite(weights).all() and weights.min() > 0):
            raise ValueError(
                f"{name}: frequencies hold {weights.min()} to {weights.max()}; expected numbers above 0"
            )
        self._chances = weights / weights.sum()
        self._up_to = np.cumsum(self._chances)
        # Of a class to be among so many draws.
        expected = -np.expm1(self.n_samples * np.log1p(-np.minimum(self._chances, 1 - 1e-12)))
        self._log_expected = np.log(expected)

    def forward(self, x: Any, target: Any) -> Tensor:
        """The mean loss of rows (N, in_features) and integers (N,), which are wanted on the host as the draws are."""
        rows = _rows(x, self.in_features, "SampledSoftmaxLoss")
        labels = _labels(target, rows, self.n_classes, "SampledSoftmaxLoss")
        if not self.training:
            return F.cross_entropy(F.linear(rows, self.weight, self.bias), _there([labels], rows)[0])
        drawn = np.unique(np.searchsorted(self._up_to, generator().random(self.n_samples), side="right"))
        drawn = np.minimum(drawn, self.n_classes - 1)  # the last sum may be rounded to less than 1
        count, kind = len(labels), rows.data.dtype
        both = np.concatenate([labels, drawn])
        shifts = make(move(self._log_expected[both].astype(kind), device_of(rows.data)))
        (both,) = _there([both], rows)
        weights = F.embedding(both, self.weight)
        biases = F.embedding(both, self.bias.reshape(-1, 1)).reshape(-1)
        biases = biases - shifts
        of_target = (rows * weights[:count]).sum(1) + biases[:count]
        of_drawn = F.linear(rows, weights[count:], biases[count:])
        hits = both[:count, None] == both[None, count:]
        if hits.__class__ is not np.ndarray or hits.any():  # not to wait for a device
            of_drawn = masked_fill(of_drawn, hits, -np.inf)
        scores = cat([of_target.reshape(-1, 1), of_drawn], 1)
        return F.cross_entropy(scores, namespace(rows.data).zeros(count, np.int64))

    def log_prob(self, x: Any) -> Tensor:
        """Log-probabilities of all classes: (N, in_features) to (N, n_classes)."""
        return F.log_softmax(F.linear(_rows(x, self.in_features, "log_prob"), self.weight, self.bias), 1)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"in_features={self.in_features}, n_classes={self.n_classes}, n_samples={self.n_samples}"


def _rows(x: Any, features: int, operation: str) -> Tensor:
    rows = F.tensor_of(x, operation, "x")
    if rows.data.ndim != 2 or rows.data.shape[1] != features:
        raise ValueError(f"{operation}: x is {shape_text(rows.data.shape)}; expected (N, {features})")
    if not len(rows.data):
        raise ValueError(f"{operation}: x is {shape_text(rows.data.shape)}; expected at least one row")
    return rows


def _there(numbers: Sequence[NDArray[np.int64]], rows: Tensor) -> list[Any]:
    # Integers of the host where the rows are, in one copy.
    device = device_of(rows.data)
    if device == "cpu":
        return list(numbers)
    together = move(np.concatenate(numbers), device)
    ends = np.cumsum([len(part) for part in numbers]).tolist()
    return [together[end - len(part) : end] for part, end in zip(numbers, ends, strict=True)]


def _labels(target: Any, rows: Tensor, classes: int, operation: str) -> NDArray[np.int64]:
    given = target.data if isinstance(target, Tensor) else target
    labels: Array = to_host(given) if is_device_array(given) else np.asarray(given)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{operation}: target is of dtype {labels.dtype}; expected integers")
    if labels.shape != rows.data.shape[:1]:
        raise ValueError(
            f"{operation}: x is {shape_text(rows.data.shape)} but target is {shape_text(labels.shape)}; expected "
            f"({rows.data.shape[0]},)"
        )
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        at = int(outside.argmax())
        raise ValueError(f"{operation}: target[{at}] is {labels[at]}; expected 0 to {classes - 1}")
    return labels.astype(np.int64, copy=False)
