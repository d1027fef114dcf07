"""python/dlkit/kernels/matmul.py: the arguments, as Python has them; the arithmetic is tested in tests/matmul."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

_A = np.arange(6.0).reshape(2, 3)
_B = np.arange(12.0).reshape(3, 4)


def test_each_argument_does_what_it_says() -> None:
    product = _A @ _B
    np.testing.assert_array_equal(K.matmul(_A, _B), product)
    np.testing.assert_array_equal(K.matmul(_A.T, _B, trans_a=True), product)
    np.testing.assert_array_equal(K.matmul(_A, _B.T, trans_b=True), product)
    np.testing.assert_array_equal(K.matmul(_A, _B, bias=_B[0]), product + _B[0])
    np.testing.assert_array_equal(K.matmul(_A - 4, _B, activation="relu"), np.maximum((_A - 4) @ _B, 0))
    np.testing.assert_array_equal(K.matmul(_A, _B, variant="naive", backend="cpu"), product)
    out = np.ones((2, 4))
    assert K.matmul(_A, _B, out=out) is out
    np.testing.assert_array_equal(out, product)
    assert K.matmul(_A, _B, out=out, accumulate=True) is out
    np.testing.assert_array_equal(out, 2 * product)


@pytest.mark.parametrize("value", [1, np.True_, "yes", [0]])
def test_truth_is_as_in_python(value: Any) -> None:
    np.testing.assert_array_equal(K.matmul(_A.T, _B, trans_a=value), _A @ _B)
    np.testing.assert_array_equal(K.matmul(_A, _B, trans_b=not value, accumulate=0), _A @ _B)


def test_options_are_named() -> None:
    parameters = inspect.signature(K.matmul).parameters
    positional = [name for name, p in parameters.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert positional == ["a", "b"]
    with pytest.raises(TypeError, match="positional"):
        K.matmul(_A, _B, np.empty((2, 4)))  # type: ignore[misc]
    with pytest.raises(TypeError, match="unexpected keyword"):
        K.matmul(_A, _B, transpose=True)  # type: ignore[call-arg]


def test_the_result_is_new_and_contiguous() -> None:
    for a, b in ((_A, _B), (_A.T[::-1].T, _B[:, ::-1]), (_A.astype(np.float32), _B.astype(np.float32))):
        first, second = K.matmul(a, b), K.matmul(a, b)
        assert first.flags.c_contiguous
        assert first.flags.owndata
        assert first.flags.writeable
        assert first.dtype == a.dtype
        assert not np.shares_memory(first, second)


def test_every_argument_is_described() -> None:
    for name in inspect.signature(K.matmul).parameters:
        assert name in (K.matmul.__doc__ or "")
