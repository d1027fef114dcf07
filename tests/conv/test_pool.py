"""csrc/conv/pool*: every variant of max and average pooling against NumPy in float64, and against PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from conv_cases import framed, outside, run
from hypothesis import given
from hypothesis import strategies as st

import dlkit.kernels as K

Two = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A plane's extents and the window on it."""

    height: int
    width: int
    kernel: Two = (2, 2)
    stride: Two = (2, 2)
    padding: Two = (0, 0)
    dilation: Two = (1, 1)
    ceil: bool = False
    planes: Two = (2, 3)

    @property
    def settings(self) -> tuple[Any, ...]:
        return self.kernel, self.stride, self.padding, self.dilation, self.ceil

    def out(self) -> Two:
        sizes = []
        for n, k, s, p, d in zip(
            (self.height, self.width), self.kernel, self.stride, self.padding, self.dilation, strict=True
        ):
            room = n + 2 * p - d * (k - 1) - 1
            size = (-(-room // s) if self.ceil else room // s) + 1
            sizes.append(size - 1 if self.ceil and (size - 1) * s >= n + p else size)
        return sizes[0], sizes[1]

    def patches(self, x: Any, fill: float) -> Any:
        """What each window holds, (N, C, OH, OW, KH, KW), `fill` outside the plane; and elements' numbers, or -1."""
        rows, cols = (
            np.arange(o)[:, None] * s + np.arange(k) * d - p
            for o, s, k, d, p in zip(
                self.out(), self.stride, self.kernel, self.dilation, self.padding, strict=True
            )
        )
        inside = ((rows >= 0) & (rows < self.height))[:, None, :, None] & ((cols >= 0) & (cols < self.width))[
            None, :, None, :
        ]
        at = np.where(inside, rows[:, None, :, None] * self.width + cols[None, :, None, :], -1)
        flat = np.asarray(x, np.float64).reshape(*x.shape[:2], -1)
        return np.where(inside, flat[:, :, at], fill), at

    def __str__(self) -> str:
        text = f"{self.height}x{self.width}-k{self.kernel}-s{self.stride}-p{self.padding}-d{self.dilation}"
        return text.replace(" ", "") + ("-ceil" if self.ceil else "")


WINDOWS = [
    Window(28, 28),
    Window(7, 7),
    Window(13, 27),
    Window(29, 66, planes=(1, 5)),
    Window(2, 2),
    Window(3, 131),
    Window(29, 27, ceil=True),
    Window(1, 1, ceil=True),
    Window(28, 28, (3, 3), (2, 2), (1, 1)),
    Window(29, 27, (3, 3), (2, 2), (1, 1)),
    Window(13, 13, (3, 3), (2, 2)),
    Window(14, 16, (3, 3), (2, 2), (1, 1), ceil=True),
    Window(7, 70, (3, 3), (2, 2), (1, 0)),
    Window(3, 3, (3, 3), (2, 2), (1, 1)),
    Window(9, 37, (3, 3), (1, 1), (1, 1)),
    Window(10, 11, (3, 3), (3, 3)),
    Window(17, 40, (2, 3), (3, 4), (1, 1)),
    Window(12, 41, (5, 4), (1, 2), (2, 2)),
    Window(16, 35, (3, 2), (2, 1), (1, 1), (2, 3)),
    Window(11, 19, (2, 3), (3, 2), (0, 2), (3, 2), ceil=True),
    Window(9, 150, (4, 4), (4, 4)),
    Window(9, 67, (3, 6), (2, 4), (1, 3), ceil=True),
    Window(8, 59, (2, 2), (4, 4), (1, 1)),
    Window(9, 113, (3, 3), (3, 3), (1, 1), ceil=True),
    Window(7, 50, (2, 4), (3, 3), (0, 2), (1, 2)),
    Window(7, 7, (7, 7), (7, 7)),
    Window(40, 40, (17, 16), (5, 7), (8, 8)),
    Window(1, 57, (1, 2), (1, 2)),
    Window(1, 40, (1, 5), (1, 3), (0, 2)),
    Window(1, 1, (1, 2), (1, 1), (0, 1), (1, 2)),  # a window between two pads
    Window(6, 5, (1, 1), (2, 3)),
    Window(4, 4, (2, 2), (2**31 - 1, 2**31 - 1)),
]
windows = pytest.mark.parametrize("window", WINDOWS, ids=str)

MAX = [None, *(v.name for v in K.variants("max_pool2d"))]
MAX_BACKWARD = [None, *(v.name for v in K.variants("max_pool2d_backward"))]


def image(window: Window, rng: np.random.Generator, dtype: Any, ties: bool = False) -> Any:
    shape = (*window.planes, window.height, window.width)
    if ties:
        return rng.integers(-2, 3, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def maxima(window: Window, x: Any) -> tuple[Any, Any, Any]:
    """Values, places within the window and numbers in the plane: of equal ones the first, of NaN the last."""
    seen, at = window.patches(x, -np.inf)
    seen = seen.reshape(*seen.shape[:4], -1)
    at = np.broadcast_to(at.reshape(*at.shape[:2], -1), seen.shape)
    nan = np.isnan(seen)
    keys = np.where(nan, np.inf, seen)
    keys = np.where(at < 0, -np.inf, keys)
    # A tap that is -inf in the plane comes before one outside it.
    order = np.where((keys == -np.inf) & (at >= 0), np.finfo(np.float64).min, keys)
    place = order.argmax(-1)
    last_nan = seen.shape[-1] - 1 - nan[..., ::-1].argmax(-1)
    place = np.where(nan.any(-1), last_nan, place)
    value = np.take_along_axis(seen, place[..., None], -1)[..., 0]
    number = np.take_along_axis(at, place[..., None], -1)[..., 0]
    return value, np.where(number < 0, 255, place), number


@windows
@pytest.mark.parametrize("variant", MAX)
@pytest.mark.parametrize("ties", [False, True], ids=["", "ties"])
def test_max(variant: str | None, window: Window, ties: bool, dtype: Any, rng: np.random.Generator) -> None:
    x = image(window, rng, dtype, ties)
    value, place, number = maxima(window, x)
    out, memory = framed(value.shape, dtype, rng)
    assert run(K.max_pool2d, x, *window.settings, out=out, variant=variant) is out
    np.testing.assert_array_equal(out, value)
    assert np.isnan(outside(memory, out)).all()
    y, indices = (
        run(K.max_pool2d, x, *window.settings, True, variant=variant) if _keeps(variant) else (out, None)
    )
    np.testing.assert_array_equal(y, value)
    if indices is not None:
        assert indices.dtype == np.int64
        np.testing.assert_array_equal(indices, number)
    if np.prod(window.kernel) > 255:
        return
    y, places = run(K.max_pool2d, x, *window.settings, "places", variant=variant)
    np.testing.assert_array_equal(y, value)
    assert places.dtype == np.uint8
    np.testing.assert_array_equal(places, place)


def _keeps(variant: str | None) -> bool:
    return variant not in ("registers", "columns")  # these have no int64


def _takes_numbers(variant: str | None) -> bool:
    return variant in (None, "naive", "scatter")  # the others read bytes


@windows
@pytest.mark.parametrize("variant", MAX)
def test_max_of_special_values(
    variant: str | None, window: Window, dtype: Any, rng: np.random.Generator
) -> None:
    x = rng.choice([np.nan, -np.inf, np.inf, 0.0, 1.0], (*window.planes, window.height, window.width))
    x = np.where(rng.random(x.shape) < 0.5, -np.inf, x).astype(dtype)
    value, place, number = maxima(window, x)
    np.testing.assert_array_equal(run(K.max_pool2d, x, *window.settings, variant=variant), value)
    if _keeps(variant):
        y, indices = K.max_pool2d(x, *window.settings, True, variant=variant)
        np.testing.assert_array_equal(y, value)
        np.testing.assert_array_equal(indices, number)
    if np.prod(window.kernel) <= 255:
        y, places = run(K.max_pool2d, x, *window.settings, "places", variant=variant)
        np.testing.assert_array_equal(y, value)
        np.testing.assert_array_equal(places, place)


@windows
@pytest.mark.parametrize("variant", MAX)
def test_relu_in_the_same_kernel(
    variant: str | None, window: Window, dtype: Any, rng: np.random.Generator
) -> None:
    x = image(window, rng, dtype, ties=True) - dtype(1)
    x[0, 0, 0, 0] = np.nan
    value, place, number = maxima(window, x)
    off = value <= 0
    expected = np.where(off, 0, value)
    y = run(K.max_pool2d, x, *window.settings, activation="relu", variant=variant)
    np.testing.assert_array_equal(y, expected)
    if _keeps(variant):
        y, indices = K.max_pool2d(x, *window.settings, True, activation="relu", variant=variant)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, np.where(off, -1, number))
    if np.prod(window.kernel) <= 255:
        y, places = run(K.max_pool2d, x, *window.settings, "places", activation="relu", variant=variant)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(places, np.where(off, 255, place))


@windows
@pytest.mark.parametrize("variant", MAX_BACKWARD)
def test_max_backward(variant: str | None, window: Window, dtype: Any, rng: np.random.Generator) -> None:
    x = image(window, rng, dtype)
    value, place, number = maxima(window, x)
    number = np.where(rng.random(number.shape) < 0.1, -1, number)
    place = np.where(number < 0, 255, place).astype(np.uint8)
    grad = rng.standard_normal(value.shape).astype(dtype)
    expected = np.zeros((*window.planes, window.height * window.width))
    for plane in np.ndindex(*window.planes):
        flows = number[plane] >= 0
        np.add.at(expected[plane], number[plane][flows], grad[plane][flows].astype(np.float64))
    expected = expected.reshape(x.shape)
    rtol = 1e-5 if dtype == np.float32 else 1e-13
    if _takes_numbers(variant):
        out, memory = framed(x.shape, dtype, rng)
        size = (window.height, window.width)
        assert K.max_pool2d_backward(grad, number, size, out=out, variant=variant) is out
        np.testing.assert_allclose(out, expected, rtol=rtol, atol=rtol)
        assert np.isnan(outside(memory, out)).all()
    if np.prod(window.kernel) > 255:
        return
    out, memory = framed(x.shape, dtype, rng)
    run(K.max_pool2d_backward, grad, place, size_of(x), *window.settings, out=out, variant=variant)
    np.testing.assert_allclose(out, expected, rtol=rtol, atol=rtol)
    assert np.isnan(outside(memory, out)).all()


def size_of(x: Any) -> tuple[int, int]:
    return x.shape[2], x.shape[3]


@windows
@pytest.mark.parametrize("variant", MAX_BACKWARD)
def test_places_of_nowhere_touch_nothing(
    variant: str | None, window: Window, rng: np.random.Generator
) -> None:
    # Any byte: of another window, or out of this one.
    if np.prod(window.kernel) > 255:
        pytest.skip("no places")
    shape = (*window.planes, *window.out())
    places = rng.integers(0, 256, shape).astype(np.uint8)
    grad = np.ones(shape, np.float32)
    size = (window.height, window.width)
    out, memory = framed((*window.planes, *size), np.float32, rng)
    run(K.max_pool2d_backward, grad, places, size, *window.settings, out=out, variant=variant)
    assert np.isnan(outside(memory, out)).all()
    np.testing.assert_array_equal(
        out, K.max_pool2d_backward(grad, places, size, *window.settings, variant="naive")
    )


def test_threads_agree(rng: np.random.Generator) -> None:
    x = rng.standard_normal((7, 33, 40, 40)).astype(np.float32)
    before = K.get_num_threads()
    answers = []
    for threads in (1, 2, 3):
        K.set_num_threads(threads)
        y, places = K.max_pool2d(x, 3, 2, 1, return_indices="places")
        answers.append((y, places, K.max_pool2d_backward(y, places, (40, 40), 3, 2, 1)))
        for kernel, stride in ((2, 2), (3, 1), (4, 3)):
            y, places = K.max_pool2d(x, kernel, stride, return_indices="places")
            answers[-1] += (y, places, K.max_pool2d_backward(y, places, (40, 40), kernel, stride))
    K.set_num_threads(before)
    for answer in answers[1:]:
        for one, other in zip(answers[0], answer, strict=True):
            np.testing.assert_array_equal(one, other)


def test_sequences(rng: np.random.Generator, dtype: Any) -> None:
    x = rng.standard_normal((3, 4, 37)).astype(dtype)
    for settings in ((2,), (5, 3, 2), (3, 2, 1, 2, True)):
        y, indices = K.max_pool1d(x, *settings, return_indices=True)
        tall = [(1, s) if isinstance(s, int) and not isinstance(s, bool) else s for s in settings]
        if len(tall) > 2:
            tall[2] = (0, settings[2])
        z, other = K.max_pool2d(x[:, :, None], *tall, return_indices=True)
        np.testing.assert_array_equal(y, z[:, :, 0])
        np.testing.assert_array_equal(indices, other[:, :, 0])
        back = K.max_pool1d_backward(y, indices, 37)
        np.testing.assert_array_equal(back, K.max_pool2d_backward(z, other, (1, 37))[:, :, 0])
        y, places = K.max_pool1d(x, *settings, return_indices="places")
        np.testing.assert_array_equal(
            K.max_pool1d_backward(y, places, 37, *(settings + (None, 0, 1, False)[len(settings) - 1 :])), back
        )


def test_other_strides_are_copied(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 8, 10)).astype(np.float32)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    y, places = K.max_pool2d(x, 2, return_indices="places")
    np.testing.assert_array_equal(K.max_pool2d(turned, 2), y)
    out = np.empty(y.shape[::-1], np.float32).T
    assert K.max_pool2d(x, 2, out=out) is out
    np.testing.assert_array_equal(out, y)
    wide = np.repeat(places, 2, axis=3)[..., ::2]
    np.testing.assert_array_equal(
        K.max_pool2d_backward(y, wide, (8, 10), 2), K.max_pool2d_backward(y, places, (8, 10), 2)
    )


@pytest.mark.parametrize("planes", [(0, 3), (2, 0)])
def test_no_planes(planes: Two) -> None:
    x = np.zeros((*planes, 5, 6), np.float32)
    y, places = K.max_pool2d(x, 2, return_indices="places")
    assert y.shape == places.shape == (*planes, 2, 3)
    assert K.max_pool2d_backward(y, places, (5, 6), 2).shape == x.shape


@given(st.data())
def test_as_in_torch(data: Any) -> None:
    torch = pytest.importorskip("torch")
    kernel = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    dilation = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)  # PyTorch allows no more
    size = [data.draw(st.integers(max(1, r - 2 * p), 40)) for r, p in zip(reach, padding, strict=True)]
    stride = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    ceil = data.draw(st.booleans())
    seed = data.draw(st.integers(0, 2**32))
    x = np.random.default_rng(seed).integers(-9, 9, (2, 3, *size)).astype(np.float32)
    if any(p and n + p < r for n, p, r in zip(size, padding, reach, strict=True)):
        return  # windows that may hold nothing, of which PyTorch returns no valid index
    theirs = torch.tensor(x, requires_grad=True)
    y, indices = torch.nn.functional.max_pool2d(
        theirs, kernel, stride, padding, dilation, ceil, return_indices=True
    )
    mine, numbers = K.max_pool2d(x, kernel, stride, padding, dilation, ceil, return_indices=True)
    np.testing.assert_array_equal(mine, y.detach().numpy())
    np.testing.assert_array_equal(numbers, indices.numpy())
    y.backward(torch.arange(y.numel()).reshape(y.shape).float())
    grad = np.arange(y.numel(), dtype=np.float32).reshape(y.shape)
    places = K.max_pool2d(x, kernel, stride, padding, dilation, ceil, return_indices="places")[1]
    dx = K.max_pool2d_backward(grad, places, size, kernel, stride, padding, dilation, ceil)
    np.testing.assert_allclose(dx, theirs.grad.numpy(), rtol=1e-6)


def test_nan_as_in_torch(torch: Any, rng: np.random.Generator) -> None:
    x = rng.choice([np.nan, -np.inf, 1.0, 2.0], (2, 3, 12, 12)).astype(np.float32)
    y, indices = torch.nn.functional.max_pool2d(torch.tensor(x), 3, 2, 1, return_indices=True)
    mine, numbers = K.max_pool2d(x, 3, 2, 1, return_indices=True)
    np.testing.assert_array_equal(mine, y.numpy())
    np.testing.assert_array_equal(numbers, indices.numpy())


X = np.zeros((2, 4, 9, 9), np.float32)


@pytest.mark.parametrize(
    ("x", "arguments", "settings", "error", "message"),
    [
        (X, (10,), {}, ValueError, "the window's height is 10 but the input's is 9"),
        (X, (4, 1, 0, 3), {}, ValueError, r"height is 10 \(dilated\)"),
        (X, ((2, 30), 1, (0, 10)), {}, ValueError, "width is 30 but the padded input's is 29"),
        (X, (0,), {}, ValueError, "kernel_size is 0; expected 1 or more"),
        (X, (-1,), {}, ValueError, "kernel_size is -1"),
        (X, (2, 0), {}, ValueError, "stride is 0; expected 1 or more"),
        (X, (2, -2), {}, ValueError, "stride is -2"),
        (X, (2, 1, -1), {}, ValueError, "padding is -1; expected 0 or more"),
        (
            X,
            (2, 1, 2),
            {},
            ValueError,
            "padding is 2 and the window's extent 2; expected padding of at most half",
        ),
        (X, (2, 1, 0, 0), {}, ValueError, "dilation is 0"),
        (X, (2, 2**31), {}, ValueError, "stride is 2147483648; expected 1 to 2147483647"),
        (X, (2, 2**70), {}, TypeError, "integer of 64 bits"),
        (X, (2.0,), {}, TypeError, r"kernel_size is 2\.0; expected an integer or 2 of them"),
        (X, ((2, 2, 2),), {}, TypeError, "an integer or 2 of them"),
        (X, ("22",), {}, TypeError, "kernel_size is '22'"),
        (X, (True,), {}, TypeError, "kernel_size is True"),
        (X[0], (2,), {}, ValueError, r"x is \(4, 9, 9\); expected \(N, channels, height, width\)"),
        (X[:, :, :0], (1,), {}, ValueError, "the input's height is 0; expected 1 or more"),
        (X[:, :, :, :0], (2, 1, 1), {}, ValueError, "the input's width is 0"),
        (X.astype(np.int32), (2,), {}, TypeError, "x has dtype int32"),
        (X.astype(np.float16), (2,), {}, TypeError, "x has dtype float16"),
        ("image", (2,), {}, TypeError, "x is a str"),
        (X, (2,), {"activation": "tanh"}, ValueError, "activation is 'tanh'"),
        (
            X,
            (2,),
            {"return_indices": "all"},
            ValueError,
            "return_indices is 'all'; expected False, True or 'places'",
        ),
        (X, (2,), {"return_indices": [1]}, ValueError, r"return_indices is \[1\]"),
        (
            np.zeros((1, 1, 20, 20), np.float32),
            (16,),
            {"return_indices": "places"},
            ValueError,
            "at most 255",
        ),
        (X, (2,), {"variant": "row"}, ValueError, "did you mean 'rows'"),
        (
            X,
            (3,),
            {"variant": "registers"},
            ValueError,
            "variant 'registers' needs a kernel and stride of 2 x 2",
        ),
        (X, (2,), {"out": np.empty((2, 4, 4, 5), np.float32)}, ValueError, r"expected \(2, 4, 4, 4\)"),
        (X, (1,), {"out": X}, ValueError, "out overlaps x"),
    ],
)
def test_refused(x: Any, arguments: Any, settings: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        K.max_pool2d(x, *arguments, **settings)
    assert str(raised.value).startswith("max_pool2d: ")


def test_gradients_refused() -> None:
    grad = np.zeros((2, 4, 4, 4), np.float32)
    places = np.zeros((2, 4, 4, 4), np.uint8)
    indices = np.zeros((2, 4, 4, 4), np.int64)
    with pytest.raises(ValueError, match="kernel_size is None; expected the window"):
        K.max_pool2d_backward(grad, places, (9, 9))
    with pytest.raises(ValueError, match=r"grad is \(2, 4, 4, 4\); expected \(2, 4, 5, 4\)"):
        K.max_pool2d_backward(grad, places, (10, 9), 2)
    with pytest.raises(ValueError, match=r"indices is \(2, 4, 4, 3\); expected \(2, 4, 4, 4\)"):
        K.max_pool2d_backward(grad, indices[..., :3], (9, 9))
    with pytest.raises(TypeError, match="indices has dtype int32; expected int64"):
        K.max_pool2d_backward(grad, indices.astype(np.int32), (9, 9))
    with pytest.raises(TypeError, match="indices is a list"):
        K.max_pool2d_backward(grad, [1], (9, 9))
    for bad in (-2, 81, 2**40, -(2**63)):
        indices[1, 3, 3, 3] = bad
        for variant in (None, "naive"):
            with pytest.raises(ValueError, match=f"indices holds {bad}; expected -1 .nowhere. to 80"):
                K.max_pool2d_backward(grad, indices, (9, 9), variant=variant)
    with pytest.raises(ValueError, match="input_size is -9; expected 0 or more"):
        K.max_pool2d_backward(grad, indices, (9, -9))
    with pytest.raises(TypeError, match=r"input_size is 9\.5"):
        K.max_pool2d_backward(grad, indices, 9.5)  # type: ignore[arg-type]


def test_a_gradient_that_overlaps_the_indices() -> None:
    indices = np.zeros((1, 1, 4, 4), np.int64)
    out = indices.reshape(-1)[:9].view(np.float64).reshape(1, 1, 3, 3)
    with pytest.raises(
        ValueError, match="max_pool2d_backward: out overlaps indices; expected memory of its own"
    ):
        K.max_pool2d_backward(np.ones((1, 1, 4, 4)), indices, (3, 3), out=out)
    places = np.zeros(64, np.uint8)
    out = places.view(np.float32).reshape(1, 1, 4, 4)
    with pytest.raises(ValueError, match="max_pool2d_backward: out overlaps indices"):
        K.max_pool2d_backward(
            np.ones((1, 1, 2, 2), np.float32), places[:4].reshape(1, 1, 2, 2), (4, 4), 2, out=out
        )


def test_windows_as_large_as_a_number_can_say() -> None:
    # All of them end where the image does: nothing runs over what is not there, or asks for memory for it.
    x = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    huge = 2**31 - 1
    y, indices = K.max_pool2d(x, huge, 1, huge // 2, return_indices=True)
    assert indices.max() == 5
    assert y.max() == 5


def test_the_first_is_the_definition() -> None:
    for operation in ("max_pool2d", "max_pool1d", "max_pool2d_backward"):
        ladder = K.variants(operation)
        assert ladder[0].name == "naive"
        assert all(step.idea for step in ladder)
