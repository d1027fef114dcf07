"""What the tests of this room share: numbers, and one check of an operation forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dlkit as dl

try:
    import torch
except ImportError:
    torch = None


@pytest.fixture
def apart(rng) -> Callable[..., np.ndarray]:
    """Numbers that all differ by at least 0.1 and are not near 0: where absolute values and maxima have derivatives."""

    def make(*shape: int) -> np.ndarray:
        count = int(np.prod(shape))
        values = (np.arange(count) + 0.5) * 0.2 - 0.2 * (count // 2)
        return rng.permutation(values).reshape(shape)

    return make


def differences(
    function: Callable[..., Any], arrays: list[np.ndarray], seed: np.ndarray, eps: float = 1e-6
) -> list[np.ndarray]:
    """The derivative of sum(seed * function(arrays)) by every element, by central differences."""
    slopes = []
    for i, array in enumerate(arrays):
        slope = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            ends = []
            for step in (eps, -eps):
                moved = [a.copy() for a in arrays]
                moved[i][place] += step
                ends.append(np.sum(seed * function(*moved)))
            slope[place] = (ends[0] - ends[1]) / (2 * eps)
        slopes.append(slope)
    return slopes


def _spread(array: np.ndarray) -> np.ndarray:
    # The same values with gaps between them.
    if array.ndim == 0:
        return array
    wide = np.full((*array.shape[:-1], 2 * array.shape[-1] + 1), np.nan, array.dtype)
    view = wide[..., 1::2]
    view[...] = array
    return view


_LAYOUTS = {
    "contiguous": lambda a: np.array(a, order="C"),
    "with gaps": _spread,
    "columns first": lambda a: np.array(a, order="F"),
    "backwards": lambda a: a[::-1].copy()[::-1] if a.ndim else a,
}


def assert_near(got: Any, expected: Any, tolerance: float, what: str) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{what}: {got.shape}, expected {expected.shape}"
    scale = 1 + float(np.abs(expected).max(initial=0))
    worst = float(np.abs(got.astype(np.float64) - expected).max(initial=0))
    assert worst <= tolerance * scale, f"{what}: off by {worst:.3g}\n{got}\nexpected\n{expected}"


@pytest.fixture
def check(rng) -> Callable[..., None]:
    """Hold an operation on tensors against NumPy, finite differences, gradcheck and PyTorch.

    The finite differences are of the NumPy reference, so that neither a wrong forward nor a broken gradcheck hides
    a wrong backward. PyTorch runs the same function, unless another is given, or False.
    """

    def run(
        function: Callable[..., Any],
        reference: Callable[..., Any],
        *arrays: Any,
        pytorch: Any = True,
        tolerance: float = 2e-5,
        gradcheck: bool = True,
    ) -> None:
        exact = [np.array(a, np.float64) for a in arrays]
        expected = np.asarray(reference(*exact))
        seed = np.asarray(rng.standard_normal(expected.shape))
        slopes = differences(reference, exact, seed)
        for kind, limit in ((np.float64, 1e-9), (np.float32, tolerance)):
            for layout, lay in _LAYOUTS.items():
                tensors = [
                    dl.Tensor(np.asarray(lay(a.astype(kind))), requires_grad=True, name=f"x{i}")
                    for i, a in enumerate(exact)
                ]
                before = [t.numpy().copy() for t in tensors]
                out = function(*tensors)
                what = f"{np.dtype(kind)}, {layout}"
                assert out.dtype == kind, what
                assert out.requires_grad, what
                assert_near(out.numpy(), expected, limit, f"forward, {what}")
                out.backward(seed.astype(kind))
                for t, slope, old in zip(tensors, slopes, before, strict=True):
                    gradient = t.grad.numpy() if t.grad is not None else np.zeros(t.shape)
                    assert t.grad is None or t.grad.dtype == kind, what
                    assert_near(gradient, slope, max(limit, 2e-7), f"derivative by {t.name}, {what}")
                    np.testing.assert_array_equal(t.numpy(), old, f"changed its input, {what}")
                with dl.no_grad():
                    alone = function(*tensors)
                assert not alone.requires_grad, what
                np.testing.assert_array_equal(alone.numpy(), out.numpy())
        if gradcheck:
            inputs = [dl.Tensor(a.copy(), requires_grad=True) for a in exact]
            assert dl.autograd.gradcheck(function, inputs)
        if pytorch and torch is not None:
            theirs = [torch.tensor(a, requires_grad=True) for a in exact]
            result = (function if pytorch is True else pytorch)(*theirs)
            assert_near(result.detach().numpy(), expected, 1e-9, "PyTorch, forward")
            result.backward(torch.tensor(seed))
            ours = [dl.Tensor(a.copy(), requires_grad=True) for a in exact]
            function(*ours).backward(seed)
            for mine, other in zip(ours, theirs, strict=True):
                if other.grad is None:
                    assert mine.grad is None or not mine.grad.numpy().any()
                else:
                    assert_near(mine.grad.numpy(), other.grad.numpy(), 1e-9, "PyTorch, backward")

    return run
