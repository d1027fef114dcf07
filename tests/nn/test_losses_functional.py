"""Losses: against their definitions in NumPy float64, PyTorch and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit as dl
from dlkit.autograd import gradcheck
from dlkit.nn import functional as F

OF_ONE_SHAPE = [
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "hinge_loss",
]
EVERY = [*OF_ONE_SHAPE, "cross_entropy", "nll_loss", "multi_margin_loss"]
REDUCTIONS = ["mean", "sum", "none"]


def log_softmax(x: Any) -> Any:
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def reduced(losses: Any, reduction: str) -> Any:
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)


def near(got: Any, expected: Any, dtype: Any = np.float64) -> None:
    tolerance = 2e-6 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(
        np.asarray(got, np.float64), np.asarray(expected), rtol=tolerance * 5, atol=tolerance
    )


def both(torch: Any, ours: Any, theirs: Any, x: Any, tolerance: float = 1e-11) -> None:
    """One loss here and in PyTorch, in float64: values, and gradients of a weighted sum of them."""
    mine = dl.tensor(x, requires_grad=True)
    other = torch.tensor(x, requires_grad=True)
    got, expected = ours(mine), theirs(other)
    np.testing.assert_allclose(got.data, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    factors = np.linspace(0.5, 1.5, got.numel()).reshape(got.shape)
    got.backward(factors)
    expected.backward(torch.tensor(factors))
    np.testing.assert_allclose(mine.grad.data, other.grad.numpy(), rtol=tolerance, atol=tolerance)


# Losses of two tensors of one shape: name, settings, definition, what inputs and targets are drawn from.

_ELEMENTWISE: list[tuple[str, dict[str, Any], Any, str]] = [
    ("mse_loss", {}, lambda x, t: (x - t) ** 2, "numbers"),
    ("l1_loss", {}, lambda x, t: np.abs(x - t), "numbers"),
    (
        "smooth_l1_loss",
        {},
        lambda x, t: np.where(np.abs(x - t) < 1, (x - t) ** 2 / 2, np.abs(x - t) - 0.5),
        "numbers",
    ),
    (
        "smooth_l1_loss",
        {"beta": 0.3},
        lambda x, t: np.where(np.abs(x - t) < 0.3, (x - t) ** 2 / 0.6, np.abs(x - t) - 0.15),
        "numbers",
    ),
    ("smooth_l1_loss", {"beta": 0.0}, lambda x, t: np.abs(x - t), "numbers"),
    (
        "huber_loss",
        {},
        lambda x, t: np.where(np.abs(x - t) < 1, (x - t) ** 2 / 2, np.abs(x - t) - 0.5),
        "numbers",
    ),
    (
        "huber_loss",
        {"delta": 0.4},
        lambda x, t: np.where(np.abs(x - t) < 0.4, (x - t) ** 2 / 2, 0.4 * (np.abs(x - t) - 0.2)),
        "numbers",
    ),
    (
        "binary_cross_entropy",
        {},
        lambda x, t: -(t * np.log(x) + (1 - t) * np.log(1 - x)),
        "probabilities",
    ),
    (
        "binary_cross_entropy_with_logits",
        {},
        lambda x, t: np.logaddexp(0, x) - t * x,
        "logits",
    ),
    ("hinge_loss", {}, lambda x, t: np.maximum(0, 1 - t * x), "signs"),
    ("hinge_loss", {"margin": 0.3}, lambda x, t: np.maximum(0, 0.3 - t * x), "signs"),
]
_NAMES = [name + "".join(f" {k}={v}" for k, v in options.items()) for name, options, _, _ in _ELEMENTWISE]


def drawn(rng: np.random.Generator, kind: str, shape: Any) -> tuple[Any, Any]:
    x = rng.standard_normal(shape)
    if kind == "numbers":
        return x, rng.standard_normal(shape)
    if kind == "probabilities":
        return rng.uniform(0.05, 0.95, shape), rng.uniform(0, 1, shape)
    if kind == "logits":
        return 3 * x, rng.uniform(0, 1, shape)
    return x, rng.choice([-1.0, 1.0], shape)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "options", "definition", "kind"), _ELEMENTWISE, ids=_NAMES)
@pytest.mark.parametrize("shape", [(7,), (5, 3), (), (2, 3, 4)], ids=str)
def test_elementwise(
    name: str,
    options: Any,
    definition: Any,
    kind: str,
    shape: Any,
    reduction: str,
    dtype: Any,
    rng: np.random.Generator,
) -> None:
    x, t = (np.asarray(a, dtype) for a in drawn(rng, kind, shape))
    got = getattr(F, name)(dl.tensor(x), t, reduction=reduction, **options)
    assert got.dtype == dtype
    near(got.data, reduced(definition(x.astype(np.float64), t.astype(np.float64)), reduction), dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "options", "definition", "kind"), _ELEMENTWISE, ids=_NAMES)
def test_elementwise_gradients(
    name: str,
    options: Any,
    definition: Any,
    kind: str,
    reduction: str,
    rng: np.random.Generator,
) -> None:
    x, t = drawn(rng, kind, (3, 4))
    function = getattr(F, name)
    target = dl.tensor(t, requires_grad=kind in ("numbers", "logits"))
    inputs = (dl.tensor(x, requires_grad=True), target)
    assert gradcheck(lambda a, b: function(a, b, reduction=reduction, **options), inputs, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("name", "options", "definition", "kind"),
    [case for case in _ELEMENTWISE if case[0] != "hinge_loss"],
    ids=[name for name in _NAMES if "hinge" not in name],
)
def test_elementwise_against_pytorch(
    name: str,
    options: Any,
    definition: Any,
    kind: str,
    reduction: str,
    torch: Any,
    rng: np.random.Generator,
) -> None:
    x, t = drawn(rng, kind, (4, 5))
    both(
        torch,
        lambda a: getattr(F, name)(a, t, reduction=reduction, **options),
        lambda a: getattr(torch.nn.functional, name)(a, torch.tensor(t), reduction=reduction, **options),
        x,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(4, 5), (5,), (1,), (4, 1), ()], ids=str)
def test_binary_cross_entropy_weights(
    shape: Any, reduction: str, torch: Any, rng: np.random.Generator
) -> None:
    x, t = drawn(rng, "probabilities", (4, 5))
    weight, positive = rng.uniform(0.1, 2, shape), rng.uniform(0.1, 2, (5,))
    theirs = torch.nn.functional
    both(
        torch,
        lambda a: F.binary_cross_entropy(a, t, weight, reduction),
        lambda a: theirs.binary_cross_entropy(a, torch.tensor(t), torch.tensor(weight), reduction=reduction),
        x,
    )
    both(
        torch,
        lambda a: F.binary_cross_entropy_with_logits(a, t, weight, reduction, positive),
        lambda a: theirs.binary_cross_entropy_with_logits(
            a, torch.tensor(t), torch.tensor(weight), reduction=reduction, pos_weight=torch.tensor(positive)
        ),
        x * 8 - 4,
    )


def test_weights_leave_the_dtype_alone() -> None:
    x, t = dl.tensor(np.full((2, 3), 0.5, np.float32)), np.zeros((2, 3))
    assert F.binary_cross_entropy(x, t, np.ones(3)).dtype == np.float32
    assert F.binary_cross_entropy_with_logits(x, t, np.ones(3), pos_weight=np.ones(3)).dtype == np.float32
    assert F.binary_cross_entropy_with_logits(x, t, 2.0, pos_weight=3.0).dtype == np.float32


@pytest.mark.parametrize("positive", [None, 1.0])
def test_binary_cross_entropy_of_logits_zero(positive: Any) -> None:
    # Where a network of zeros begins: the slope is sigmoid(0) - t, though |x| and max(x, 0) have none here.
    x = dl.zeros(3, requires_grad=True)
    F.binary_cross_entropy_with_logits(x, [0, 1, 0.25], reduction="sum", pos_weight=positive).backward()
    near(x.grad.data, [0.5, -0.5, 0.25])


@pytest.mark.parametrize("positive", [None, 3.0])
def test_binary_cross_entropy_over_the_whole_range(positive: Any, dtype: Any, torch: Any) -> None:
    x = np.concatenate([-np.logspace(-4, 2, 60)[::-1], [0], np.logspace(-4, 2, 60)])
    for label in (0.0, 0.3, 1.0):
        mine = dl.tensor(x.astype(dtype), requires_grad=True)
        other = torch.tensor(x.astype(dtype), dtype=torch.float64, requires_grad=True)
        t = np.full(x.shape, label, dtype)
        got = F.binary_cross_entropy_with_logits(mine, t, reduction="none", pos_weight=positive)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            other,
            torch.tensor(t, dtype=torch.float64),
            reduction="none",
            pos_weight=None if positive is None else torch.tensor(positive, dtype=torch.float64),
        )
        near(got.data, expected.detach().numpy(), dtype)
        got.sum().backward()
        expected.sum().backward()
        near(mine.grad.data, other.grad.numpy(), dtype)


def test_binary_cross_entropy_far_out() -> None:
    x = dl.tensor(np.array([1e4, -1e4, 1e4, -1e4, 0], np.float32), requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x, np.array([1, 0, 0, 1, 1.0]), reduction="none")
    near(loss.data, [0, 0, 1e4, 1e4, np.log(2)], np.float32)
    loss.sum().backward()
    near(x.grad.data, [0, 0, 1, -1, -0.5], np.float32)
    # Logarithms of probabilities end at -100, as in PyTorch.
    p = dl.tensor([0.0, 1.0, 0.0, 1.0])
    near(F.binary_cross_entropy(p, np.array([0, 1, 1, 0.0]), reduction="none").data, [0, 0, 100, 100])


# Losses of scores and labels.


def classes(rng: np.random.Generator, rows: int = 6, columns: int = 5) -> tuple[Any, Any]:
    return 2 * rng.standard_normal((rows, columns)), rng.integers(0, columns, rows)


def cross_entropy(
    x: Any, labels: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float
) -> Any:
    """The definition, a label at a time."""
    rows, columns = x.shape
    weight = np.ones(columns) if weight is None else weight
    losses, total = np.zeros(rows), 0.0
    logs = log_softmax(x)
    for i, label in enumerate(labels):
        if label == ignore_index:
            continue
        total += weight[label]
        for k in range(columns):
            goal = (1 - smoothing) * (k == label) + smoothing / columns
            losses[i] -= goal * weight[k] * logs[i, k]
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / total


_SETTINGS = [
    {},
    {"label_smoothing": 0.2},
    {"label_smoothing": 1.0},
    {"ignore_index": 2},
    {"weight": np.array([0.5, 2, 0, 1, 3])},
    {"weight": np.array([0.5, 2, 0.1, 1, 3]), "ignore_index": 0, "label_smoothing": 0.3},
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", _SETTINGS, ids=lambda o: ", ".join(o) or "plain")
def test_cross_entropy(options: Any, reduction: str, dtype: Any, rng: np.random.Generator) -> None:
    x, labels = classes(rng)
    labels[:2] = [2, 0]
    x = x.astype(dtype)
    expected = cross_entropy(
        x.astype(np.float64),
        labels,
        options.get("weight"),
        options.get("ignore_index", -100),
        reduction,
        options.get("label_smoothing", 0),
    )
    for given_labels in (labels, dl.tensor(labels), labels.tolist(), labels.astype(np.uint8)):
        got = F.cross_entropy(dl.tensor(x), given_labels, reduction=reduction, **options)
        assert got.dtype == dtype
        near(got.data, expected, dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", _SETTINGS, ids=lambda o: ", ".join(o) or "plain")
def test_cross_entropy_gradients(options: Any, reduction: str, rng: np.random.Generator) -> None:
    x, labels = classes(rng)
    labels[:2] = [2, 0]
    assert gradcheck(
        lambda a: F.cross_entropy(a, labels, reduction=reduction, **options),
        dl.tensor(x, requires_grad=True),
        atol=1e-7,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", _SETTINGS, ids=lambda o: ", ".join(o) or "plain")
@pytest.mark.parametrize("shape", [(6, 5), (5,), (2, 5, 3), (2, 5, 3, 2)], ids=str)
def test_cross_entropy_against_pytorch(
    shape: Any, options: Any, reduction: str, torch: Any, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape)
    labels = rng.integers(0, 5, shape[:1] + shape[2:] if len(shape) > 1 else ())
    if labels.ndim:
        labels.flat[:2] = [2, 0]
    elif options.get("ignore_index") == int(labels) or options.get("weight", np.ones(5))[labels] == 0:
        labels = np.array(1)
    given = {k: torch.tensor(v) if k == "weight" else v for k, v in options.items()}
    both(
        torch,
        lambda a: F.cross_entropy(a, labels, reduction=reduction, **options),
        lambda a: torch.nn.functional.cross_entropy(a, torch.tensor(labels), reduction=reduction, **given),
        x,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(6, 5), (5,), (2, 5, 3)], ids=str)
def test_soft_targets_against_pytorch(
    shape: Any, weighted: bool, smoothing: float, reduction: str, torch: Any, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(shape)
    goal = rng.dirichlet(np.ones(5), shape[:1] + shape[2:] if len(shape) > 1 else ())
    goal = np.moveaxis(goal, -1, min(1, len(shape) - 1)).copy()
    weight = rng.uniform(0.1, 2, 5) if weighted else None
    options = {"reduction": reduction, "label_smoothing": smoothing}
    both(
        torch,
        lambda a: F.cross_entropy(a, goal, weight, **options),
        lambda a: torch.nn.functional.cross_entropy(
            a, torch.tensor(goal), None if weight is None else torch.tensor(weight), **options
        ),
        x,
    )


def test_soft_targets_that_are_learned(rng: np.random.Generator) -> None:
    x, goal = rng.standard_normal((4, 3)), rng.dirichlet(np.ones(3), 4)
    inputs = (dl.tensor(x, requires_grad=True), dl.tensor(goal, requires_grad=True))
    assert gradcheck(lambda a, b: F.cross_entropy(a, b, label_smoothing=0.1), inputs)


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 70),
    smoothing=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 2**32 - 1),
)
def test_cross_entropy_of_any_size(rows: int, columns: int, smoothing: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Every second element of a wider matrix: kernels must mind the strides.
    x = (5 * rng.standard_normal((rows, 2 * columns))).astype(np.float32)[:, ::2]
    labels = rng.integers(0, columns, rows)
    logits = dl.Tensor(x, requires_grad=True)
    loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    wide = x.astype(np.float64)
    near(loss.data, cross_entropy(wide, labels, None, -100, "mean", smoothing), np.float32)
    loss.backward()
    goal = np.full((rows, columns), smoothing / columns)
    goal[np.arange(rows), labels] += 1 - smoothing
    near(logits.grad.data, (np.exp(log_softmax(wide)) - goal) / rows, np.float32)


def test_cross_entropy_of_huge_logits() -> None:
    x = dl.tensor(np.array([[1e4, -1e4, 0], [-1e30, 1e30, 0]], np.float32), requires_grad=True)
    loss = F.cross_entropy(x, [0, 1], reduction="none")
    near(loss.data, [0, 0])
    loss.sum().backward()
    near(x.grad.data, np.zeros((2, 3)))
    assert F.cross_entropy(x, [1, 1], reduction="none").data[0] == 2e4


@pytest.mark.parametrize("weight", [None, np.array([1.0, 2.0, 3.0])])
def test_a_class_that_is_ruled_out(weight: Any, torch: Any) -> None:
    # Logits of minus infinity are how people mask classes.
    x = np.array([[0.3, -np.inf, 1.0], [-np.inf, 0.1, 0.2]])
    given = None if weight is None else torch.tensor(weight)
    both(
        torch,
        lambda a: F.cross_entropy(a, [2, 1], weight),
        lambda a: torch.nn.functional.cross_entropy(a, torch.tensor([2, 1]), given),
        x,
    )


def test_ignored_rows_may_hold_anything() -> None:
    x = np.array([[0.3, 0.1], [-np.inf, 0.0]])
    for weight in (None, np.array([1.0, 2.0])):
        assert np.isfinite(F.cross_entropy(dl.tensor(x), [1, -100], weight).item())
        logs = dl.tensor(x, requires_grad=True)
        loss = F.nll_loss(logs, [1, -100], weight)
        loss.backward()
        near([loss.item()], [-0.1])
        near(logs.grad.data, [[0, -1], [0, 0]])


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("weight", [None, np.array([1.0, 2.0, 3.0])])
@pytest.mark.filterwarnings("error")
def test_all_ignored(function: Any, weight: Any) -> None:
    # As in PyTorch: the mean of nothing is NaN, the sum is 0, and no gradient flows.
    x = dl.tensor(np.zeros((2, 3)), requires_grad=True)
    assert np.isnan(function(x, [-100, -100], weight).item())
    assert function(x, [-100, -100], weight, reduction="sum").item() == 0
    near(function(x, [-100, -100], weight, reduction="none").data, [0, 0])
    function(x, [-100, -100], weight, reduction="sum").backward()
    near(x.grad.data, np.zeros((2, 3)))


@pytest.mark.parametrize("options", [{}, {"weight": np.array([1.0, 2.0, 3.0])}, {"label_smoothing": 0.1}])
@pytest.mark.filterwarnings("error")
def test_empty_batch(options: Any) -> None:
    x = dl.tensor(np.zeros((0, 3), np.float32), requires_grad=True)
    labels = np.zeros(0, np.int64)
    assert np.isnan(F.cross_entropy(x, labels, **options).item())
    assert F.cross_entropy(x, labels, reduction="sum", **options).item() == 0
    assert F.cross_entropy(x, labels, reduction="none", **options).shape == (0,)
    F.cross_entropy(x, labels, reduction="sum", **options).backward()
    assert x.grad.shape == (0, 3)


@pytest.mark.parametrize(
    "name",
    OF_ONE_SHAPE,
)
@pytest.mark.filterwarnings("error")
def test_empty_elementwise(name: str) -> None:
    x = dl.tensor(np.zeros((0, 3), np.float32))
    assert np.isnan(getattr(F, name)(x, x).item())
    assert getattr(F, name)(x, x, reduction="sum").item() == 0
    assert getattr(F, name)(x, x, reduction="none").shape == (0, 3)


@pytest.mark.filterwarnings("error")
def test_empty_multi_margin() -> None:
    x, labels = dl.tensor(np.zeros((0, 3), np.float32)), np.zeros(0, int)
    assert np.isnan(F.multi_margin_loss(x, labels).item())
    assert F.multi_margin_loss(x, labels, reduction="sum").item() == 0


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, np.array([0.5, 2, 0, 1, 3])])
@pytest.mark.parametrize("ignore_index", [-100, 2])
def test_nll_loss(
    weight: Any, ignore_index: int, reduction: str, torch: Any, rng: np.random.Generator
) -> None:
    x, labels = classes(rng)
    labels[:2] = [2, 0]
    logs = log_softmax(x)
    got = F.nll_loss(dl.tensor(logs), labels, weight, ignore_index, reduction)
    kept = labels != ignore_index
    factors = (np.ones(5) if weight is None else weight)[labels] * kept
    losses = -logs[np.arange(6), labels] * factors
    near(got.data, losses.sum() / factors.sum() if reduction == "mean" else reduced(losses, reduction))
    given = None if weight is None else torch.tensor(weight)
    both(
        torch,
        lambda a: F.nll_loss(a, labels, weight, ignore_index, reduction),
        lambda a: torch.nn.functional.nll_loss(
            a, torch.tensor(labels), given, ignore_index=ignore_index, reduction=reduction
        ),
        logs,
    )
    function = lambda a: F.nll_loss(a, labels, weight, ignore_index, reduction)  # noqa: E731
    assert gradcheck(function, dl.tensor(logs, requires_grad=True))


def test_nll_loss_of_log_softmax_is_cross_entropy(rng: np.random.Generator) -> None:
    x, labels = classes(rng)
    a, b = (dl.tensor(x, requires_grad=True) for _ in range(2))
    first, second = F.cross_entropy(a, labels), F.nll_loss(F.log_softmax(b, 1), labels)
    first.backward()
    second.backward()
    near(first.data, second.data)
    near(a.grad.data, b.grad.data)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("margin", [1.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_multi_margin_loss(
    weighted: bool, margin: float, p: int, reduction: str, torch: Any, rng: np.random.Generator
) -> None:
    x, labels = classes(rng)
    weight = rng.uniform(0.1, 2, 5) if weighted else None
    losses = np.zeros(6)
    for i, label in enumerate(labels):
        for k in range(5):
            if k != label:
                factor = 1 if weight is None else weight[label]
                losses[i] += factor * max(0, margin - x[i, label] + x[i, k]) ** p / 5
    near(
        F.multi_margin_loss(dl.tensor(x), labels, p, margin, weight, reduction).data,
        reduced(losses, reduction),
    )
    both(
        torch,
        lambda a: F.multi_margin_loss(a, labels, p, margin, weight, reduction),
        lambda a: torch.nn.functional.multi_margin_loss(
            a,
            torch.tensor(labels),
            p,
            margin,
            None if weight is None else torch.tensor(weight),
            reduction=reduction,
        ),
        x,
    )


class TestErrors:
    """Before any work, and in words."""

    x = dl.tensor(np.zeros((4, 3), np.float32))

    @pytest.mark.parametrize(
        ("labels", "text"),
        [
            ([0, 1, 3, 0], r"3.*expected 0 to 2"),
            ([0, -1, 1, 0], r"-1.*expected 0 to 2"),
            ([0, 2**62, 1, 0], r"4611686018427387904"),
            (np.array([0, 2**64 - 1, 1, 0], np.uint64), "18446744073709551615"),
        ],
    )
    @pytest.mark.parametrize("weight", [None, np.ones(3)], ids=["plain", "weighted"])
    @pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss], ids=lambda f: f.__name__)
    def test_labels_out_of_range(self, function: Any, weight: Any, labels: Any, text: str) -> None:
        with pytest.raises(ValueError, match=rf"{function.__name__}: .*\[\d\] is {text}"):
            function(self.x, labels, weight)
        if weight is None:
            with pytest.raises(ValueError, match=rf"multi_margin_loss: .*\[\d\] is {text}"):
                F.multi_margin_loss(self.x, labels)

    @pytest.mark.parametrize(
        "labels",
        [
            [0.0, 1.0, np.nan, 2.0],
            np.zeros(4, np.float32),
            np.zeros(4, bool),
            np.array([0.0, np.nan, 1.0, np.inf]),
        ],
    )
    @pytest.mark.parametrize("weight", [None, np.ones(3)], ids=["plain", "weighted"])
    def test_labels_that_are_no_integers(self, labels: Any, weight: Any) -> None:
        for function in (F.cross_entropy, F.nll_loss):
            with pytest.raises(
                TypeError, match=rf"{function.__name__}: target is of dtype .*; expected integers"
            ):
                function(self.x, labels, weight)
        with pytest.raises(TypeError, match=r"multi_margin_loss: target is of dtype .*; expected integers"):
            F.multi_margin_loss(self.x, labels)

    @pytest.mark.parametrize(
        "labels", ["cat", ["a", "b", "c", "d"], None, [None] * 4, [0, 1j, 0, 0], object()]
    )
    def test_labels_that_are_no_numbers(self, labels: Any) -> None:
        for function in (F.cross_entropy, F.nll_loss, F.multi_margin_loss, F.mse_loss):
            with pytest.raises(TypeError, match=rf"{function.__name__}: target is .*; expected"):
                function(self.x, labels)

    def test_ragged_labels(self) -> None:
        with pytest.raises(ValueError, match=r"cross_entropy: target is a nested list whose rows differ"):
            F.cross_entropy(self.x, [[0], [1, 2]])

    @pytest.mark.parametrize("shape", [(3,), (5,), (4, 1), (4, 2), (), (0,), (4, 3, 1)], ids=str)
    def test_shapes_of_labels(self, shape: Any) -> None:
        with pytest.raises(
            ValueError, match=r"cross_entropy: logits are \(4, 3\) but target is .*; expected \(4,\)"
        ):
            F.cross_entropy(self.x, np.zeros(shape, int))
        for function in (F.nll_loss, F.multi_margin_loss):
            with pytest.raises(ValueError, match=rf"{function.__name__}: the input is \(4, 3\) and target"):
                function(self.x, np.zeros(shape, int))

    def test_shapes_of_logits(self) -> None:
        with pytest.raises(ValueError, match="cross_entropy: logits have no dimensions"):
            F.cross_entropy(dl.tensor(1.0), 0)
        with pytest.raises(ValueError, match=r"nll_loss: the input is \(4,\)"):
            F.nll_loss(dl.zeros(4), [0, 0, 0, 0])
        with pytest.raises(ValueError, match=r"expected \(2, 5\)"):
            F.cross_entropy(dl.zeros(2, 3, 5), np.zeros((2, 4), int))

    def test_no_classes(self) -> None:
        # Of no classes no label is right; no rows are fine.
        with pytest.raises(ValueError, match="cross_entropy"):
            F.cross_entropy(dl.zeros(2, 0), [0, 0])
        with pytest.raises(ValueError, match="nll_loss"):
            F.nll_loss(dl.zeros(2, 0), [0, 0])
        with pytest.raises(ValueError, match="multi_margin_loss"):
            F.multi_margin_loss(dl.zeros(2, 0), [0, 0])

    @pytest.mark.parametrize("weight", [np.ones(2), np.ones((3, 1)), 1.0, np.ones(0)], ids=str)
    def test_class_weights(self, weight: Any) -> None:
        for function in (F.cross_entropy, F.nll_loss):
            with pytest.raises(ValueError, match=rf"{function.__name__}: weight is \(.*\); expected \(3,\)"):
                function(self.x, [0, 1, 2, 0], weight)
        with pytest.raises(ValueError, match=r"multi_margin_loss: weight is \(.*\); expected \(3,\)"):
            F.multi_margin_loss(self.x, [0, 1, 2, 0], weight=weight)
        with pytest.raises(ValueError, match=r"cross_entropy: weight is \(.*\); expected \(3,\)"):
            F.cross_entropy(self.x, np.full((4, 3), 1 / 3), weight)

    @pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
    def test_smoothing(self, smoothing: float) -> None:
        with pytest.raises(ValueError, match=r"cross_entropy: label_smoothing is .*; expected 0 to 1"):
            F.cross_entropy(self.x, [0, 1, 2, 0], label_smoothing=smoothing)

    @pytest.mark.parametrize(
        "name",
        EVERY,
    )
    def test_reduction(self, name: str) -> None:
        # The wrong reduction is reported first: before any work.
        with pytest.raises(
            ValueError, match=rf"^{name}: reduction is 'average'; expected 'mean', 'sum' or 'none'"
        ):
            getattr(F, name)(self.x, np.zeros((7, 7)), reduction="average")

    @pytest.mark.parametrize(
        "name",
        OF_ONE_SHAPE,
    )
    @pytest.mark.parametrize("shape", [(4,), (3,), (4, 1), (3, 4), ()], ids=str)
    def test_shapes_of_targets(self, name: str, shape: Any) -> None:
        # No broadcasting: (N, 1) against (N,) is a mistake that gives a number all the same.
        with pytest.raises(
            ValueError, match=rf"^{name}: the input is \(4, 3\) but target is .*expected one shape"
        ):
            getattr(F, name)(self.x, np.ones(shape, np.float32))

    @pytest.mark.parametrize(
        "name",
        EVERY,
    )
    @pytest.mark.parametrize("dtype", ["int64", "float16", "bool"])
    def test_dtypes_of_inputs(self, name: str, dtype: str) -> None:
        x = np.zeros((4, 3), dtype)
        target = (
            [0, 1, 2, 0] if name in ("cross_entropy", "nll_loss", "multi_margin_loss") else np.zeros((4, 3))
        )
        with pytest.raises(TypeError, match=rf"^{name}: .* {dtype}; expected .*float32"):
            getattr(F, name)(x, target)

    def test_probabilities(self) -> None:
        for wrong in (1.5, -0.1, np.nan, np.inf):
            x = np.array([0.5, wrong])
            with pytest.raises(
                ValueError, match=r"binary_cross_entropy: the input is .*expected probabilities"
            ):
                F.binary_cross_entropy(x, np.zeros(2))

    @pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
    @pytest.mark.parametrize("wrong", [-1, 2, np.nan, np.inf, 1.0001])
    def test_targets_that_are_no_probabilities(self, name: str, wrong: float) -> None:
        with pytest.raises(ValueError, match=rf"^{name}: target\[1\] is .*; expected 0 to 1"):
            getattr(F, name)(dl.tensor([0.5, 0.5, 0.5]), np.array([0.5, wrong, 1]))

    @pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
    def test_weights_of_the_wrong_shape(self, name: str) -> None:
        for shape in ((4,), (2, 4, 3), (3, 1)):
            with pytest.raises(ValueError, match=rf"^{name}: weight is .*does not broadcast to \(4, 3\)"):
                getattr(F, name)(self.x, np.zeros((4, 3)), np.ones(shape))
        with pytest.raises(TypeError, match=rf"^{name}: weight is .*; expected"):
            getattr(F, name)(self.x, np.zeros((4, 3)), "heavy")
        with pytest.raises(ValueError, match=r"pos_weight is \(2,\).*does not broadcast to \(4, 3\)"):
            F.binary_cross_entropy_with_logits(self.x, np.zeros((4, 3)), pos_weight=np.ones(2))

    @pytest.mark.parametrize("wrong", [0, 2, np.nan, 0.5])
    def test_signs(self, wrong: float) -> None:
        with pytest.raises(ValueError, match=r"hinge_loss: target\[0, 1\] is .*; expected -1 or 1"):
            F.hinge_loss(dl.zeros(1, 2), np.array([[1, wrong]]))

    def test_settings(self) -> None:
        with pytest.raises(ValueError, match=r"smooth_l1_loss: beta is -1.*; expected 0 or more"):
            F.smooth_l1_loss(self.x, self.x, beta=-1)
        with pytest.raises(ValueError, match=r"smooth_l1_loss: beta is nan"):
            F.smooth_l1_loss(self.x, self.x, beta=float("nan"))
        for delta in (0, -1, float("nan")):
            with pytest.raises(ValueError, match=r"huber_loss: delta is .*; expected more than 0"):
                F.huber_loss(self.x, self.x, delta=delta)
        with pytest.raises(ValueError, match=r"multi_margin_loss: p is 3; expected 1 or 2"):
            F.multi_margin_loss(self.x, [0, 1, 2, 0], p=3)
