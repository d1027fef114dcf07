"""The reference of this chapter: convolution in float64 by NumPy, and shapes to try it on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K


@dataclass(frozen=True)
class Case:
    """Extents and settings of a convolution in two dimensions."""

    n: int = 2
    channels: int = 3
    height: int = 9
    width: int = 11
    filters: int = 4
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: Any = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    settings: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "settings",
            {
                "stride": self.stride,
                "padding": self.padding,
                "dilation": self.dilation,
                "groups": self.groups,
            },
        )

    def with_(self, **changes: Any) -> Case:
        return replace(self, **changes)

    def arrays(self, rng: np.random.Generator, dtype: Any) -> tuple[Any, Any, Any]:
        """x, weight and bias."""
        x = rng.standard_normal((self.n, self.channels, self.height, self.width))
        weight = rng.standard_normal((self.filters, self.channels // self.groups, *self.kernel))
        bias = rng.standard_normal(self.filters)
        return x.astype(dtype), weight.astype(dtype), bias.astype(dtype)

    def __str__(self) -> str:
        text = f"{self.n}x{self.channels}x{self.height}x{self.width}-{self.filters}-{self.kernel}"
        for name, default in (("stride", (1, 1)), ("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1)):
            if getattr(self, name) != default:
                text += f"-{name}{getattr(self, name)}"
        return text.replace(" ", "")


# Small, odd, and past the ends of registers and tiles; all settings, alone and together.
CASES = [
    Case(),
    Case(n=1, channels=1, height=1, width=1, filters=1, kernel=(1, 1)),
    Case(channels=1, height=28, width=28, filters=20, kernel=(5, 5)),
    Case(channels=20, height=12, width=12, filters=50, kernel=(5, 5)),
    Case(channels=16, height=14, width=14, filters=33, padding=(1, 1)),
    Case(channels=32, height=15, width=19, filters=64, padding=(1, 1)),
    Case(channels=48, height=6, width=7, filters=20, padding="same"),
    Case(channels=8, height=13, width=17, filters=40, kernel=(1, 1)),
    Case(channels=33, height=8, width=8, filters=17, kernel=(1, 1), stride=(2, 2)),
    Case(channels=3, height=31, width=30, filters=16, kernel=(7, 7), stride=(2, 2), padding=(3, 3)),
    Case(channels=16, height=17, width=18, filters=24, stride=(2, 2), padding=(1, 1)),
    Case(channels=5, height=12, width=21, stride=(3, 2), padding=(0, 4)),
    Case(channels=4, height=16, width=15, dilation=(2, 3), padding=(2, 3)),
    Case(channels=4, height=9, width=10, kernel=(2, 4), padding="same"),
    Case(channels=6, height=10, width=10, filters=9, groups=3, padding=(1, 1)),
    Case(channels=24, height=13, width=19, filters=24, groups=24, padding=(1, 1)),
    Case(channels=19, height=14, width=14, filters=19, groups=19, padding=(1, 1), stride=(2, 2)),
    Case(channels=4, height=11, width=11, filters=12, kernel=(5, 3), groups=4, padding=(2, 1)),
    Case(n=3, channels=30, height=1, width=56, filters=25, kernel=(1, 5)),
    Case(n=3, channels=7, height=1, width=40, filters=11, kernel=(1, 3), stride=(1, 3), padding=(0, 2)),
    Case(channels=5, height=3, width=3, filters=70, padding=(5, 4)),
    Case(n=5, channels=2, height=4, width=65, filters=13, kernel=(4, 2)),
    Case(n=9, height=5, width=5, filters=9),  # several images, and many rows, within a panel of pixels
    Case(
        n=3, channels=6, height=14, width=14, filters=16, kernel=(5, 5)
    ),  # rows of 10: a register spans three
    Case(n=3, channels=70, height=8, width=10, filters=21, kernel=(4, 4)),  # a sum in two blocks
    Case(
        channels=2, height=60, width=100, filters=12, kernel=(7, 7), stride=(2, 2), padding=(3, 3)
    ),  # in strips
    Case(channels=3, height=40, width=43, filters=7, kernel=(11, 11), stride=(4, 4), padding=(2, 2)),
    Case(channels=7, height=34, width=33, filters=18, kernel=(1, 1)),
    Case(channels=64, height=1, width=1, filters=10, kernel=(1, 1)),
    Case(channels=4, height=9, width=9, filters=6, kernel=(2, 2), stride=(3, 3)),  # inputs that nothing reads
    Case(n=1, channels=20, height=7, width=7, filters=40, padding=(1, 1)),  # more filters than pixels
    Case(channels=18, height=16, width=32, filters=35, stride=(2, 2), padding=(1, 1)),  # planes of 2048 bytes
    Case(n=1, channels=130, height=32, width=32, filters=9, kernel=(1, 1)),  # and of 4096, far apart together
    Case(channels=40, height=1, width=700, filters=20, kernel=(1, 3)),  # a row in blocks
    Case(channels=12, height=19, width=20, filters=50, kernel=(1, 1), stride=(2, 3)),
    Case(n=9, height=3, width=4, filters=9, kernel=(2, 2), stride=(5, 7)),  # strides past the image
    Case(
        n=1, channels=9, height=8, width=9, filters=70, stride=(1, 2), padding=(2, 3)
    ),  # three vectors of filters
]


def pads(case: Case) -> tuple[tuple[int, int], tuple[int, int]]:
    if case.padding == "same":
        totals = [d * (k - 1) for d, k in zip(case.dilation, case.kernel, strict=True)]
        return (totals[0] // 2, totals[0] - totals[0] // 2), (totals[1] // 2, totals[1] - totals[1] // 2)
    return (case.padding[0],) * 2, (case.padding[1],) * 2


def patches(case: Case, x: Any) -> Any:
    """What each output element reads: (n, channels, out_h, out_w, kernel_h, kernel_w), a view of a padded copy."""
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (0, 0), *pads(case)))
    return view(case, padded)


def view(case: Case, padded: Any) -> Any:
    reach = [d * (k - 1) + 1 for d, k in zip(case.dilation, case.kernel, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3), writeable=True)
    return windows[:, :, :: case.stride[0], :: case.stride[1], :: case.dilation[0], :: case.dilation[1]]


def by_group(case: Case, array: Any, axis: int) -> Any:
    shape = array.shape
    return array.reshape(*shape[:axis], case.groups, shape[axis] // case.groups, *shape[axis + 1 :])


class Expected(np.ndarray):
    """A result in float64, and the norm that it would have on average if the signs of its terms were drawn anew.

    An error is small or large beside that norm: a result of few elements may cancel to next to nothing, its error
    does not.
    """

    typical: float = 0.0

    def __array_finalize__(self, parent: Any) -> None:
        self.typical = getattr(parent, "typical", 0.0)


def _expected(operation: Any, case: Case, *terms: Any) -> Any:
    wide = [None if array is None else np.asarray(array, np.float64) for array in terms]
    result = operation(case, *wide).view(Expected)
    squares = operation(case, *(None if array is None else array * array for array in wide))
    result.typical = float(np.sqrt(squares.sum()))
    return result


def forward(case: Case, x: Any, weight: Any, bias: Any = None) -> Any:
    """The output."""
    return _expected(_forward, case, x, weight, bias)


def by_input(case: Case, grad: Any, weight: Any) -> Any:
    """The gradient of the input."""
    return _expected(_by_input, case, grad, weight)


def by_weight(case: Case, grad: Any, x: Any) -> Any:
    """The gradient of the weights."""
    return _expected(_by_weight, case, grad, x)


def _forward(case: Case, x: Any, weight: Any, bias: Any) -> Any:
    seen = by_group(case, patches(case, x), 1)
    filters = by_group(case, weight, 0)
    y = np.einsum("ngcijuv,gfcuv->ngfij", seen, filters, optimize=True)
    y = y.reshape(case.n, case.filters, *y.shape[-2:])
    return y if bias is None else y + bias[:, None, None]


def _by_input(case: Case, grad: Any, weight: Any) -> Any:
    (top, bottom), (left, right) = pads(case)
    padded = np.zeros((case.n, case.channels, case.height + top + bottom, case.width + left + right))
    seen = view(case, padded)
    shares = np.einsum(
        "ngfij,gfcuv->ngcijuv",
        by_group(case, grad, 1),
        by_group(case, weight, 0),
        optimize=True,
    ).reshape(seen.shape)
    for u in range(case.kernel[0]):
        for v in range(case.kernel[1]):
            seen[..., u, v] += shares[..., u, v]
    return padded[:, :, top : top + case.height, left : left + case.width]


def _by_weight(case: Case, grad: Any, x: Any) -> Any:
    shares = np.einsum(
        "ngfij,ngcijuv->gfcuv",
        by_group(case, grad, 1),
        by_group(case, patches(case, x), 1),
        optimize=True,
    )
    return shares.reshape(case.filters, case.channels // case.groups, *case.kernel)


def error(got: Any, expected: Any) -> float:
    """Norm of the difference over the norm of what is expected, or that it has on average."""
    got = np.asarray(got, np.float64)
    assert got.shape == expected.shape
    norm = max(float(np.linalg.norm(expected)), getattr(expected, "typical", 0.0))
    return float(np.linalg.norm(got - expected)) / norm if norm else float(np.linalg.norm(got))


# Variants whose rounding error is larger by their nature: how many times, stated in the chapter's page.
COARSER: dict[str, float] = {
    "winograd4": 2.0,
    "winograd2x5": 2.0,
    "winograd4x5": 6.0,
    "winograd_stride2": 2.0,
    "winograd_row": 3.0,
}


class Reference:
    """What the tests of this chapter compare with."""

    Case = Case
    cases = CASES
    forward = staticmethod(forward)
    by_input = staticmethod(by_input)
    by_weight = staticmethod(by_weight)
    error = staticmethod(error)

    @staticmethod
    def bound(
        dtype: Any, variant: str | None = None, depth: int = 1, kernel: tuple[int, int] = (3, 3)
    ) -> float:
        """How far a result may be from the reference, over its norm; `depth`: what an element is a sum of."""
        unit = np.finfo(dtype).eps / 2
        if variant is None:  # the coarsest that the kernel may get
            rows = {(1, taps): "winograd_row" for taps in (3, 4, 5)}
            variant = {**rows, (3, 3): "winograd4", (5, 5): "winograd4x5"}.get(kernel)
        coarser = COARSER.get(variant, 1.0) if variant is not None else 1.0
        return float(unit * (8 + 0.5 * depth**0.5) * coarser)


@pytest.fixture
def reference() -> type[Reference]:
    return Reference


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="session")
def winograd() -> None:
    """Skip the test where the kernels have no Winograd: the copy for x86 processors without AVX2."""
    try:
        K.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), variant="winograd2")
    except ValueError:
        assert K.config()["isa"] == "baseline"
        pytest.skip("the copy of the kernels for processors without AVX2 has no Winograd")
