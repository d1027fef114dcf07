"""functional.embedding: values, gradients, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import gradcheck
from dlkit.nn import functional as F


def _table(rng: np.random.Generator, rows: int = 7, cols: int = 3, dtype: Any = np.float64) -> Any:
    return dl.tensor(rng.standard_normal((rows, cols)).astype(dtype), requires_grad=True)


@pytest.mark.parametrize("indices", [[0, 3, 3], [[1], [6]], np.zeros((2, 0, 3), np.int64), 4, []], ids=str)
def test_rows(indices: Any, dtype: Any, rng: np.random.Generator) -> None:
    weight = _table(rng, dtype=dtype)
    out = F.embedding(indices, weight)
    expected = np.asarray(indices, np.int64)
    np.testing.assert_array_equal(out.data, weight.data[expected])
    assert out.requires_grad
    np.testing.assert_array_equal(F.embedding(dl.tensor(expected), weight).data, out.data)
    with dl.no_grad():
        assert not F.embedding(indices, weight).requires_grad


def test_gradient(rng: np.random.Generator) -> None:
    weight = _table(rng)
    indices = np.array([[0, 3, 3], [6, 2, 0]])
    assert gradcheck(lambda w: F.embedding(indices, w) ** 2, [weight])


def test_the_padding_row_gets_no_gradient(rng: np.random.Generator) -> None:
    for padding in (3, -4):
        weight = _table(rng)
        F.embedding([0, 3, 3, 5], weight, padding).sum().backward()
        np.testing.assert_array_equal(weight.grad.data[:, 0], [1, 0, 0, 0, 0, 1, 0])


def test_gradients_add_up(rng: np.random.Generator) -> None:
    weight = _table(rng)
    F.embedding([1, 1, 2], weight).sum().backward()
    first = weight.grad.data.copy()
    F.embedding([1, 5], weight).sum().backward()
    expected = np.zeros((7, 3))
    expected[[1, 2, 5]] = [[3], [1], [1]]
    np.testing.assert_array_equal(first[1], 2)
    np.testing.assert_array_equal(weight.grad.data, expected)
    # Together with another use of the table, and through a hook.
    weight = _table(rng)
    weight.register_hook(lambda g: g * 2)
    (F.embedding([1, 5], weight).sum() + weight.sum()).backward()
    np.testing.assert_array_equal(weight.grad.data[:, 0], [2, 4, 2, 2, 2, 4, 2])


def test_gradient_of_a_table_that_was_computed(rng: np.random.Generator) -> None:
    weight = _table(rng)
    assert gradcheck(lambda w: F.embedding([2, 2, 0], w * 3), [weight])


def test_graph_is_kept_or_released(rng: np.random.Generator) -> None:
    weight = _table(rng, 40, 5)
    loss = F.embedding(np.arange(40) % 7, weight).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert weight.grad.data[0, 0] == 12
    with pytest.raises(RuntimeError, match="released by an earlier backward pass"):
        loss.backward()


def test_indices_that_change_before_backward(rng: np.random.Generator) -> None:
    weight = _table(rng)
    numbers = np.array([1, 2])
    loss = F.embedding(numbers, weight).sum()
    numbers[...] = 5
    loss.backward()
    np.testing.assert_array_equal(weight.grad.data[:, 0], [0, 1, 1, 0, 0, 0, 0])
    tensor = dl.tensor(np.array([1, 2]))
    loss = F.embedding(tensor, weight).sum()
    tensor[0] = 5
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


class TestErrors:
    weight = dl.tensor(np.zeros((7, 3)), requires_grad=True)

    def test_out_of_range(self) -> None:
        with pytest.raises(
            IndexError, match=r"embedding: indices\[1, 0\] is 7; expected 0 to 6 \(weight is \(7, 3\)\)"
        ):
            F.embedding([[0], [7]], self.weight)
        with pytest.raises(IndexError, match=r"indices\[0\] is -1; expected 0 to 6"):
            F.embedding(dl.tensor(np.array([-1])), self.weight)

    def test_types(self) -> None:
        with pytest.raises(TypeError, match=r"embedding: x is of dtype float32; expected integers"):
            F.embedding([0.0], self.weight)
        with pytest.raises(TypeError, match=r"embedding: weight is a ndarray; expected a Tensor"):
            F.embedding([0], self.weight.data)
        with pytest.raises(ValueError, match=r"embedding: weight is \(7,\)"):
            F.embedding([0], dl.tensor(np.zeros(7)))
        with pytest.raises(TypeError, match="float32 or float64"):
            F.embedding([0], dl.tensor(np.zeros((7, 3), np.int64)))

    def test_padding(self) -> None:
        for bad in (7, -8):
            with pytest.raises(ValueError, match=rf"embedding: padding_idx is {bad}; expected -7 to 6"):
                F.embedding([0], self.weight, bad)
        with pytest.raises(TypeError, match="padding_idx is a float; expected an integer or None"):
            F.embedding([0], self.weight, 1.5)  # type: ignore[arg-type]
