"""Random shifts, rotations, scalings and elastic distortions of images, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import kernels

from .errors import DataError


@dataclass(frozen=True)
class Augment:
    """A transformation of batches of images, drawn anew for every image in every epoch.

    What an image is made into depends on the seed, the epoch and the image's number in the data set: not on the batch
    that it comes in, nor on the number of threads. A run that is resumed at any batch goes on to the same bits.

    Parameters
    ----------
    shape
        Channels, rows and columns of an image.
    shift
        Pixels, at most, up, down, left and right.
    rotation
        Degrees, at most, either way.
    scale
        Share, at most, by which an image becomes smaller or larger, in either direction by itself.
    shear
        Pixels, at most, by which a row is moved for each row from the middle.
    elastic
        Size of the elastic displacement; 0: none. With `smoothness` 4, 34 moves pixels by 1.4 on average (Simard et
        al., 2003).
    smoothness
        Deviation in pixels of the Gaussian that smooths the displacement.
    seed
        0 … 2**64 - 1.

    Raises
    ------
    DataError
        A value is out of range.

    Notes
    -----
    Simard, Steinkraus & Platt, "Best practices for convolutional neural networks applied to visual document analysis",
    ICDAR 2003. The work is done by `dlkit.kernels.distort`, on all threads.

    Examples
    --------
    >>> import dlkit as dl
    >>> digits = dl.data.load("digits")
    >>> shifts = Augment((1, 8, 8), shift=1)
    >>> batches = dl.data.Batches(*digits.train, transform=shifts)
    """

    shape: tuple[int, int, int]
    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    smoothness: float = 4.0
    seed: int = 0
    _drawn: dict[tuple[int, int], tuple[int, NDArray[np.float64]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or not all(isinstance(side, int) and side > 0 for side in self.shape):
            raise DataError(f"Augment: shape is {self.shape!r}, expected (channels, rows, columns)")
        limits = {"shift": max(self.shape), "rotation": 180, "scale": 0.9, "shear": 10, "elastic": 1e4}
        for name, most in limits.items():
            value = getattr(self, name)
            if not isfinite(value) or not 0 <= value <= most:
                raise DataError(f"Augment: {name} is {value!r}, expected a number from 0 to {most:g}")
        if not 0 < self.smoothness <= 1000:
            raise DataError(
                f"Augment: smoothness is {self.smoothness!r}, expected a number above 0, at most 1000"
            )
        if not 0 <= self.seed < 2**64:
            raise DataError(f"Augment: seed is {self.seed!r}, expected an integer from 0 to 2**64 - 1")

    @property
    def active(self) -> bool:
        """Whether it does anything."""
        return bool(self.shift or self.rotation or self.scale or self.shear or self.elastic)

    def state_dict(self) -> dict[str, Any]:
        """What it does, as JSON can hold it: two that give the same do the same."""
        values = asdict(self)
        values.pop("_drawn")
        return {**values, "shape": list(self.shape)}

    def __call__(self, x: NDArray[Any], rows: NDArray[np.int64], *, epoch: int, samples: int) -> NDArray[Any]:
        """Distort a batch.

        Parameters
        ----------
        x
            Images, shape (B, C, H, W) or (B, C * H * W), float32 or float64.
        rows
            The number of each image in the data set, shape (B,).
        epoch
            The number of the epoch.
        samples
            How many images the data set has.

        Returns
        -------
        ndarray
            A new array of the shape of `x`.
        """
        if x.dtype not in (np.float32, np.float64) or x.size != len(x) * prod(self.shape):
            raise DataError(
                f"Augment: x is {x.shape} {x.dtype}, expected floating-point images of {self.shape}"
            )
        if not self.active:
            return x
        seed, matrices = self._of_epoch(epoch, samples)
        out = kernels.distort(
            x.reshape(len(x), *self.shape),
            matrices[rows].astype(x.dtype),
            numbers=rows,
            seed=seed,
            alpha=self.elastic,
            sigma=self.smoothness,
        )
        return out.reshape(x.shape)

    def _of_epoch(self, epoch: int, samples: int) -> tuple[int, NDArray[np.float64]]:
        """The seed of the epoch's displacements, and the linear map of each image, shape (samples, 2, 3)."""
        key = (epoch, samples)
        if key not in self._drawn:
            self._drawn.clear()
            # Apart from the stream that shuffles: the same key, further on by more than it can need.
            source = np.random.Philox(key=np.array([self.seed, epoch], np.uint64), counter=[0, 0, 0, 1])
            generator = np.random.Generator(source)
            seed = int(generator.integers(2**64, dtype=np.uint64))
            self._drawn[key] = seed, self._matrices(generator.uniform(-1, 1, (samples, 6)))
        return self._drawn[key]

    def _matrices(self, draws: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse maps (from result to source) of scaling, shearing, rotating and shifting."""
        angle = np.deg2rad(self.rotation) * draws[:, 0]
        cosine, sine = np.cos(angle), np.sin(angle)
        across, down = 1 + self.scale * draws[:, 1], 1 + self.scale * draws[:, 2]
        shear = self.shear * draws[:, 3]
        maps = np.empty((len(draws), 2, 3))
        # Back by the rotation, then the shear, then the scale; the shift moves what is seen.
        maps[:, 0, 0], maps[:, 0, 1] = (cosine + shear * sine) / across, (-sine + shear * cosine) / across
        maps[:, 1, 0], maps[:, 1, 1] = sine / down, cosine / down
        maps[:, 0, 2], maps[:, 1, 2] = self.shift * draws[:, 4], self.shift * draws[:, 5]
        return maps


def describe(transform: Any) -> Any:
    """What tells two transformations apart, for the state of `dlkit.data.Batches`."""
    state = getattr(transform, "state_dict", None)
    return state() if callable(state) else repr(transform)


__all__: Sequence[str] = ["Augment", "describe"]
