"""csrc/word2vec: every variant of the four updates against NumPy in float64, and their gradients."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import dlkit as dl
import dlkit.kernels as K

VARIANTS = [None, *(v.name for v in K.variants("sgns_update"))]
EXACT = [name for name in VARIANTS if name != "exp_table"]
SIZES = [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 112, 129, 300]
LR = 0.1
ROWS = 40


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


@dataclass
class Model:
    """Two matrices in float64, and the definition."""

    w_in: Any
    w_out: Any

    @classmethod
    def random(cls, rng: np.random.Generator, dim: int) -> Model:
        return cls(*(rng.standard_normal((ROWS, dim)) * (1.5 / np.sqrt(dim)) for _ in range(2)))

    def arrays(self, dtype: Any) -> tuple[Any, Any]:
        return self.w_in.astype(dtype), self.w_out.astype(dtype)

    def pair(self, x: Any, output: int, label: int) -> tuple[float, Any]:
        """The loss of a pair, and the step of its input; changes the output."""
        w = self.w_out[output].copy()
        z = x @ w
        g = LR * (label - sigmoid(z))
        self.w_out[output] += g * x
        return float(np.logaddexp(0, -z if label else z)), g * w

    def one_by_one(self, inputs: Any, outputs: Any, labels: Any) -> float:
        """Pair by pair, each of which sees what the ones before it have changed."""
        loss = 0.0
        for i in inputs:
            x, step = self.w_in[i].copy(), 0
            for output, label in zip(outputs, labels, strict=True):
                each, part = self.pair(x, output, label)
                loss, step = loss + each, step + part
            self.w_in[i] += step
        return loss

    def at_once(self, inputs: Any, outputs: Any, labels: Any) -> float:
        """One step of gradient descent for all pairs."""
        x, w, labels = self.w_in[inputs], self.w_out[outputs], np.asarray(labels)
        z = x @ w.T
        g = LR * (labels - sigmoid(z))
        np.add.at(self.w_in, inputs, g @ w)
        np.add.at(self.w_out, outputs, g.T @ x)
        return float(np.logaddexp(0, np.where(labels == 1, -z, z)).sum())

    def bag(self, inputs: Any, outputs: Any, labels: Any, how: str, mean: bool, divide: bool) -> float:
        """The inputs together."""
        alone = Model(self.w_in[inputs].sum(0, keepdims=True) * (1 / len(inputs) if mean else 1), self.w_out)
        before = alone.w_in.copy()
        loss = getattr(alone, how)([0], outputs, labels)
        step = (alone.w_in - before)[0]
        np.add.at(self.w_in, inputs, step * (1 / len(inputs) if divide else 1))
        return loss


def how(variant: str | None) -> str:
    return "at_once" if variant in (None, "matrix") else "one_by_one"


def tolerance(dtype: Any, variant: str | None) -> float:
    if variant == "exp_table":
        return 3e-3  # of a sigmoid
    return 2e-6 if dtype == np.float32 else 1e-13


def check(got: Any, expected: Model, loss: float, expected_loss: float, within: float) -> None:
    for array, reference in zip(got, (expected.w_in, expected.w_out), strict=True):
        assert np.linalg.norm(array - reference) <= within * np.linalg.norm(reference)
    assert abs(loss - expected_loss) <= 20 * within * max(abs(expected_loss), 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_skip_gram(variant: str | None, dtype: Any, rng: np.random.Generator) -> None:
    for dim in SIZES:
        for contexts, negatives in (
            (1, 0),
            (1, 1),
            (2, 3),
            (6, 5),
            (7, 8),
            (10, 25),
            (3, 15),
            (2, 70),
            (70, 2),
        ):
            model = Model.random(rng, dim)
            center, inputs = int(rng.integers(ROWS)), rng.integers(0, ROWS, contexts)
            drawn = rng.integers(0, ROWS, negatives)
            w_in, w_out = model.arrays(dtype)
            loss = K.sgns_update(center, inputs, drawn, w_in, w_out, LR, variant=variant)
            outputs = [center, *drawn[drawn != center]]
            expected = getattr(model, how(variant))(inputs, outputs, [1] + [0] * (len(outputs) - 1))
            check((w_in, w_out), model, loss, expected, tolerance(dtype, variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_is_its_words_in_turn(variant: str | None, dtype: Any, rng: np.random.Generator) -> None:
    model = Model.random(rng, 20)
    center, contexts = rng.integers(0, ROWS, 9), rng.integers(-1, ROWS, (9, 6))
    contexts[4] = -1  # a word alone
    drawn = rng.integers(-1, ROWS, (9, 5))
    w_in, w_out = model.arrays(dtype)
    loss = K.sgns_update(center, contexts, drawn, w_in, w_out, LR, variant=variant)
    expected = 0.0
    for c, inputs, negatives in zip(center, contexts, drawn, strict=True):
        outputs = [c, *(n for n in negatives if n not in (-1, c))]
        expected += getattr(model, how(variant))(inputs[inputs >= 0], outputs, [1] + [0] * (len(outputs) - 1))
    check((w_in, w_out), model, loss, expected, tolerance(dtype, variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_negatives_of_each_context(variant: str | None, dtype: Any, rng: np.random.Generator) -> None:
    model = Model.random(rng, 33)
    center, contexts, drawn = 3, rng.integers(0, ROWS, 4), rng.integers(0, ROWS, (4, 5))
    w_in, w_out = model.arrays(dtype)
    loss = K.sgns_update(center, contexts, drawn, w_in, w_out, LR, variant=variant)
    expected = 0.0
    for i, negatives in zip(contexts, drawn, strict=True):
        outputs = [center, *negatives[negatives != center]]
        expected += getattr(model, how(variant))([i], outputs, [1] + [0] * (len(outputs) - 1))
    check((w_in, w_out), model, loss, expected, tolerance(dtype, variant))


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_bag_of_words(
    variant: str | None, mean: bool, divide: bool, dtype: Any, rng: np.random.Generator
) -> None:
    for dim in (1, 17, 100, 300):
        model = Model.random(rng, dim)
        center, inputs, drawn = 5, rng.integers(0, ROWS, 7), rng.integers(0, ROWS, 5)
        w_in, w_out = model.arrays(dtype)
        loss = K.cbow_update(
            center, inputs, drawn, w_in, w_out, LR, mean=mean, divide=divide, variant=variant
        )
        outputs = [center, *drawn[drawn != center]]
        labels = [1] + [0] * (len(outputs) - 1)
        expected = model.bag(inputs, outputs, labels, how(variant), mean, divide)
        check((w_in, w_out), model, loss, expected, tolerance(dtype, variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_hierarchical_softmax(variant: str | None, dtype: Any, rng: np.random.Generator) -> None:
    for length in (1, 5, 8, 14, 23):
        nodes, codes = rng.permutation(ROWS)[:length], rng.integers(0, 2, length)
        inputs = rng.integers(0, ROWS, 6)
        model = Model.random(rng, 50)
        w_in, w_out = model.arrays(dtype)
        loss = K.sghs_update(inputs, nodes, codes, w_in, w_out, LR, variant=variant)
        expected = getattr(model, how(variant))(inputs, nodes, 1 - codes)
        check((w_in, w_out), model, loss, expected, tolerance(dtype, variant))

        model = Model.random(rng, 50)
        w_in, w_out = model.arrays(dtype)
        loss = K.cbow_hs_update(inputs, nodes, codes, w_in, w_out, LR, variant=variant)
        expected = model.bag(inputs, nodes, 1 - codes, how(variant), True, False)
        check((w_in, w_out), model, loss, expected, tolerance(dtype, variant))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_node_with_both_codes(variant: str | None, dtype: Any, rng: np.random.Generator) -> None:
    inputs, nodes, codes = np.array([7, 3, 7]), np.array([4, 11, 4, 4, 11]), np.array([0, 1, 1, 0, 1])
    model = Model.random(rng, 50)
    w_in, w_out = model.arrays(dtype)
    loss = K.sghs_update(inputs, nodes, codes, w_in, w_out, LR, variant=variant)
    expected = getattr(model, how(variant))(inputs, nodes, 1 - codes)
    check((w_in, w_out), model, loss, expected, tolerance(dtype, variant))


def by_autograd(loss_of: Callable[[Any, Any], Any], w_in: Any, w_out: Any) -> tuple[float, Any, Any]:
    x, w = dl.tensor(w_in, requires_grad=True), dl.tensor(w_out, requires_grad=True)
    loss = loss_of(x, w)
    loss.backward()
    return float(loss.numpy()), x.grad, w.grad


def minus_log_sigmoid(x: Any) -> Any:
    return dl.log(dl.exp(-x) + 1.0)


@pytest.mark.parametrize("bag", [False, True])
def test_the_default_is_a_step_of_gradient_descent(bag: bool, rng: np.random.Generator) -> None:
    w_in, w_out = Model.random(rng, 12).arrays(np.float64)
    center, contexts, drawn = 3, np.array([1, 7, 1, 9]), np.array([5, 8, 8, 30])

    def loss_of(x: Any, w: Any) -> Any:
        inputs = x[contexts]
        if bag:
            inputs = inputs.mean(axis=0, keepdims=True)
        right, wrong = inputs @ w[np.array([center])].T, inputs @ w[drawn].T
        return minus_log_sigmoid(right).sum() + minus_log_sigmoid(-wrong).sum()

    expected, d_in, d_out = by_autograd(loss_of, w_in, w_out)
    a, b = w_in.copy(), w_out.copy()
    if bag:
        loss = K.cbow_update(center, contexts, drawn, a, b, LR, divide=True)
    else:
        loss = K.sgns_update(center, contexts, drawn, a, b, LR)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(a, w_in - LR * np.asarray(d_in), atol=1e-14)
    np.testing.assert_allclose(b, w_out - LR * np.asarray(d_out), atol=1e-14)


@pytest.mark.parametrize("variant", EXACT)
def test_steps_by_finite_differences(variant: str | None, rng: np.random.Generator) -> None:
    """A step of a small rate, over the rate, against the loss at rate 0 on either side of each element."""
    w_in, w_out = Model.random(rng, 3).arrays(np.float64)
    contexts, nodes, codes = np.array([4, 2]), np.array([1, 6, 3]), np.array([0, 1, 1])

    def loss(x: Any, w: Any, lr: float = 0.0) -> float:
        return K.sghs_update(contexts, nodes, codes, x, w, lr, variant=variant)

    rate, shift = 1e-7, 1e-6
    stepped = w_in.copy(), w_out.copy()
    loss(*stepped, rate)
    for which, rows in ((0, contexts), (1, nodes)):
        for row in rows:
            for column in range(3):
                sides = []
                for sign in (1, -1):
                    moved = [w_in.copy(), w_out.copy()]
                    moved[which][row, column] += sign * shift
                    sides.append(loss(*moved))
                slope = (sides[0] - sides[1]) / (2 * shift)
                step = (stepped[which] - (w_in, w_out)[which])[row, column] / rate
                assert abs(step + slope) < 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_extremes(variant: str | None, dtype: Any) -> None:
    """Products far out: no overflow; NaN stays where it is."""
    w_in, w_out = np.full((3, 5), 60, dtype), np.full((4, 5), 60, dtype)
    w_out[1] *= -1
    loss = K.sgns_update(0, [0], [1], w_in, w_out, LR, variant=variant)
    assert loss == 0
    assert (w_in == 60).all()
    assert (np.abs(w_out) == 60).all()
    loss = K.sgns_update(1, [0], [0], w_in, w_out, LR, variant=variant)
    assert np.isclose(loss, 2 * 5 * 3600, rtol=0.02)
    assert np.isfinite(w_in).all()
    assert np.isfinite(w_out).all()
    w_in[2] = np.nan
    K.sgns_update(3, [2], [], w_in, w_out, LR, variant=variant)
    assert np.isnan(w_out[3]).all()
    assert np.isfinite(w_out[:3]).all()
    assert np.isfinite(w_in[:2]).all()


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("at_end", [True, False], ids=["end", "begin"])
def test_nothing_past_the_arrays(
    variant: str | None, at_end: bool, dtype: Any, fenced: list[Any], rng: np.random.Generator
) -> None:
    for dim in SIZES:
        model = Model.random(rng, dim)
        arrays = [memory.array(m, at_end) for memory, m in zip(fenced, model.arrays(dtype), strict=False)]
        contexts, drawn = np.array([0, ROWS - 1, 5]), np.array([ROWS - 1, 0, 7, 9, 11])
        loss = K.sgns_update(ROWS - 2, contexts, drawn, arrays[0], arrays[1], LR, variant=variant)
        expected = getattr(model, how(variant))(contexts, [ROWS - 2, *drawn], [1, 0, 0, 0, 0, 0])
        check(arrays, model, loss, expected, tolerance(dtype, variant))


def test_nothing_to_learn_from(dtype: Any, rng: np.random.Generator) -> None:
    w_in, w_out = Model.random(rng, 4).arrays(dtype)
    before = w_in.copy(), w_out.copy()
    none = np.empty(0, np.int64)
    assert K.sgns_update(0, none, [1, 2], w_in, w_out, LR) == 0
    assert K.sgns_update(none, np.empty((0, 4), int), np.empty((0, 5), int), w_in, w_out, LR) == 0
    assert K.cbow_update(0, [-1, -1], [1, 2], w_in, w_out, LR) == 0
    assert K.sghs_update([1, 2], none, none, w_in, w_out, LR) == 0
    assert (w_in == before[0]).all()
    assert (w_out == before[1]).all()


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"center": 1.5}, TypeError, "sgns_update: center has dtype float64; expected integers"),
        ({"center": -1}, IndexError, "sgns_update: center has row -1; expected 0 or more"),
        ({"center": [[1]]}, ValueError, r"sgns_update: center is (1, 1); expected an integer or (words,)"),
        (
            {"contexts": [[1, 2]]},
            ValueError,
            "sgns_update: contexts is (1, 2); expected (contexts,), as center is ()",
        ),
        ({"contexts": ["a"]}, TypeError, "sgns_update: contexts has dtype <U1; expected integers"),
        (
            {"contexts": [40]},
            IndexError,
            "sgns_update: contexts has row 40; expected 0 to 39, or -1 for none",
        ),
        (
            {"negatives": [-2]},
            IndexError,
            "sgns_update: outputs has row -2; expected 0 to 39, or -1 for none",
        ),
        (
            {"negatives": [[1], [2], [3]]},
            ValueError,
            "sgns_update: negatives is (3, 1); expected (K,) or (2, K)",
        ),
        ({"w_in": [[1.0]]}, TypeError, "sgns_update: w_in is a list"),
        ({"w_out": np.ones((40, 4))}, TypeError, "float64"),
        ({"w_out": np.ones((40, 3), np.float32)}, ValueError, "w_in is (40, 4) but w_out is (40, 3)"),
        ({"w_in": np.ones((40, 8), np.float32)[:, ::2]}, ValueError, "w_in is not contiguous"),
        ({"lr": -1}, ValueError, "sgns_update: lr is -1.0; expected 0 or more"),
        ({"lr": "x"}, TypeError, "sgns_update: lr is 'x'; expected a number"),
        ({"variant": "matrx"}, ValueError, "(did you mean 'matrix'?)"),
    ],
)
def test_errors(change: dict[str, Any], kind: type[Exception], text: str) -> None:
    given: dict[str, Any] = {
        "center": 1,
        "contexts": [2, 3],
        "negatives": [4, 5],
        "w_in": np.ones((40, 4), np.float32),
        "w_out": np.ones((40, 4), np.float32),
        "lr": 0.1,
        **change,
    }
    with pytest.raises(kind) as caught:
        K.sgns_update(**given)
    assert text in str(caught.value)


def test_errors_of_matrices_and_codes() -> None:
    w = np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match="w_out overlaps w_in"):
        K.sgns_update(1, [2], [3], w, w, 0.1)
    fixed = np.ones((4, 3), np.float32)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="w_out"):
        K.sgns_update(1, [2], [3], w, fixed, 0.1)
    other = np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match="sghs_update: codes has 2; expected 0 or 1"):
        K.sghs_update([1], [0, 1], [0, 2], w, other, 0.1)
    with pytest.raises(ValueError, match=r"codes is \(1,\); expected \(2,\), the shape of nodes"):
        K.sghs_update([1], [0, 1], [0], w, other, 0.1)
    with pytest.raises(ValueError, match=r"nodes is \(1, 2\); expected \(nodes,\), as contexts is \(1,\)"):
        K.cbow_hs_update([1], [[0, 1]], [[0, 1]], w, other, 0.1)
    with pytest.raises(ValueError, match=r"cbow_update: negatives is \(1, 1\); expected \(K,\)"):
        K.cbow_update(0, [1], [[0]], w, other, 0.1)
