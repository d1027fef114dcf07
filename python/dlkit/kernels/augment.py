"""Distortion of images for training (csrc/augment)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit import _cpu
from dlkit.kernels.backend import as_array, nearest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["distort"]

_LADDER = [
    ("naive", "each smoothed displacement as a sum over a square of random numbers", "any"),
    ("separable", "the Gaussian down columns, then along rows, on vectors; sampling without branches", "any"),
]


def distort(
    x: Any,
    matrices: Any,
    *,
    numbers: ArrayLike | None = None,
    seed: int = 0,
    alpha: float = 0.0,
    sigma: float = 4.0,
    out: NDArray[Any] | None = None,
    variant: str | None = None,
) -> NDArray[Any]:
    """Distort each image by a linear map and an elastic displacement of its own.

    Place (x, y) of the result, counted from the centre, takes the source's value at ``matrix @ (x, y, 1)`` plus `alpha`
    times a smooth random displacement, interpolated linearly between pixels; outside the image there are zeros.

    Parameters
    ----------
    x : array of shape (N, C, H, W), float32 or float64
    matrices : array of shape (N, 2, 3), of the same dtype
        ``[[1, 0, 0], [0, 1, 0]]`` leaves an image where it is.
    numbers : integers of shape (N,), optional
        Which part of the random stream is an image's; 0 … N - 1 by default. The displacement of an image depends on its
        number, the seed, and nothing else.
    seed : int
        0 … 2**64 - 1.
    alpha : float
        Size of the displacement in pixels, before smoothing; 0: none.
    sigma : float
        Deviation, in pixels, of the Gaussian that smooths it.
    out : array of shape (N, C, H, W), optional
    variant : {"naive", "separable"}, optional

    Returns
    -------
    array of shape (N, C, H, W)
        The same bits on any number of threads.

    Raises
    ------
    TypeError
        If dtypes differ or are not float32 or float64, or numbers are no integers.
    ValueError
        If shapes do not fit, or a setting is out of range.

    Notes
    -----
    Simard, Steinkraus & Platt, ICDAR 2003. The displacement is uniform noise in [-1, 1), smoothed by a Gaussian that is
    cut off at three deviations: at sigma 4 and alpha 34, theirs, it moves pixels by 1.4 on average.
    """
    x, matrices = as_array(x, "distort", "x"), as_array(matrices, "distort", "matrices")
    if numbers is None:
        numbers = np.arange(len(x) if x.ndim else 0)
    which = np.asarray(numbers)
    if which.dtype.kind not in "iu":
        raise TypeError(f"distort: numbers has dtype {which.dtype}; expected integers")
    names = [name for name, _, _ in _LADDER]
    if variant is not None and variant not in names:
        raise ValueError(
            f"distort: variant is {variant!r}; expected one of {', '.join(names)}{nearest(variant, names)}"
        )
    which = np.ascontiguousarray(which, np.int64)
    return _cpu.distort(x, matrices, which, seed, alpha, sigma, out, variant == "naive")


def ladders() -> dict[str, list[tuple[str, str, str]]]:
    """Return the ladder of this chapter."""
    return {"distort": list(_LADDER)}
