"""csrc/conv/pool*: averages, adaptive windows, k-max, maxima over time, stochastic pooling, maxout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conv_cases import framed, outside, run
from hypothesis import given
from hypothesis import strategies as st

import dlkit.kernels as K

RTOL = {np.float32: 2e-6, np.float64: 1e-14}

# height, width, kernel, stride, padding, ceil
WINDOWS: list[tuple[Any, ...]] = [
    (28, 28, (2, 2), (2, 2), (0, 0), False),
    (13, 27, (2, 2), (2, 2), (0, 0), False),
    (29, 67, (2, 2), (2, 2), (0, 0), True),
    (7, 7, (2, 2), (2, 2), (0, 0), False),
    (28, 29, (3, 3), (2, 2), (1, 1), False),
    (13, 13, (3, 3), (2, 2), (0, 0), True),
    (9, 37, (3, 3), (1, 1), (1, 1), False),
    (10, 41, (3, 3), (3, 3), (0, 0), False),
    (17, 40, (2, 3), (3, 4), (1, 1), True),
    (12, 41, (5, 4), (1, 2), (2, 2), False),
    (9, 150, (4, 4), (4, 4), (0, 0), False),
    (9, 67, (3, 6), (2, 4), (1, 3), True),
    (9, 113, (3, 3), (3, 3), (1, 1), True),
    (7, 7, (7, 7), (7, 7), (0, 0), False),
    (5, 6, (5, 6), (2**31 - 1, 1), (0, 0), False),
    (40, 40, (17, 16), (5, 7), (8, 8), False),
    (1, 57, (1, 2), (1, 2), (0, 0), False),
    (1, 40, (1, 5), (1, 3), (0, 2), False),
    (6, 5, (1, 1), (2, 3), (0, 0), False),
]
windows = pytest.mark.parametrize("window", WINDOWS, ids=lambda w: str(w).replace(" ", ""))
AVG = [None, *(v.name for v in K.variants("avg_pool2d"))]
AVG_BACKWARD = [None, *(v.name for v in K.variants("avg_pool2d_backward"))]


def means(window: Any, include: bool, divisor: int | None) -> Any:
    """The matrix that takes a plane's elements to the means of its windows."""
    height, width, kernel, stride, padding, ceil = window
    axes = []
    for n, k, s, p in zip((height, width), kernel, stride, padding, strict=True):
        room = n + 2 * p - k
        size = (-(-room // s) if ceil else room // s) + 1
        size -= int(ceil and (size - 1) * s >= n + p)
        rows = []
        for i in range(size):
            first, last = i * s - p, min(i * s - p + k, n + p)
            inside = range(max(first, 0), min(last, n))
            rows.append((inside, last - first if include else len(inside)))
        axes.append(rows)
    matrix = np.zeros((len(axes[0]), len(axes[1]), height, width))
    for i, (rows, tall) in enumerate(axes[0]):
        for j, (cols, wide) in enumerate(axes[1]):
            over = divisor if divisor is not None else tall * wide
            matrix[i, j, rows.start : rows.stop, cols.start : cols.stop] = 1 / over
    return matrix


@windows
@pytest.mark.parametrize("variant", AVG)
@pytest.mark.parametrize(("include", "divisor"), [(True, None), (False, None), (True, 5), (False, -3)])
def test_avg(
    variant: Any, window: Any, include: bool, divisor: Any, dtype: Any, rng: np.random.Generator
) -> None:
    height, width, *settings = window
    x = rng.standard_normal((2, 3, height, width)).astype(dtype)
    matrix = means(window, include, divisor)
    expected = np.einsum("ijhw,nchw->ncij", matrix, x.astype(np.float64))
    bound = 16 * np.finfo(dtype).eps * np.einsum("ijhw,nchw->ncij", abs(matrix), abs(x.astype(np.float64)))
    out, memory = framed(expected.shape, dtype, rng)
    got = run(K.avg_pool2d, x, *settings, include, divisor, out=out, variant=variant)
    assert got is out
    assert (abs(out - expected) <= bound).all()
    assert np.isnan(outside(memory, out)).all()


@windows
@pytest.mark.parametrize("variant", AVG_BACKWARD)
@pytest.mark.parametrize(("include", "divisor"), [(True, None), (False, None), (True, 5)])
def test_avg_backward(
    variant: Any, window: Any, include: bool, divisor: Any, dtype: Any, rng: np.random.Generator
) -> None:
    height, width, *settings = window
    matrix = means(window, include, divisor)
    grad = rng.standard_normal((2, 3, *matrix.shape[:2])).astype(dtype)
    expected = np.einsum("ijhw,ncij->nchw", matrix, grad.astype(np.float64))
    out, memory = framed(expected.shape, dtype, rng)
    run(K.avg_pool2d_backward, grad, (height, width), *settings, include, divisor, out=out, variant=variant)
    np.testing.assert_allclose(out, expected, rtol=2 * RTOL[dtype], atol=2 * RTOL[dtype])
    assert np.isnan(outside(memory, out)).all()


def test_a_mean_of_ones_is_one(dtype: Any) -> None:
    for kernel, stride, pad in ((2, 2, 0), (3, 2, 1), (3, 1, 1), (7, 7, 0), (5, 3, 2)):
        y = K.avg_pool2d(np.ones((2, 3, 21, 21), dtype), kernel, stride, pad, count_include_pad=False)
        assert (y == 1).all()


@given(st.data())
def test_avg_as_in_torch(data: Any) -> None:
    torch = pytest.importorskip("torch")
    kernel = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    size = [data.draw(st.integers(max(1, k - 2 * p), 40)) for k, p in zip(kernel, padding, strict=True)]
    stride = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    ceil, include = data.draw(st.booleans()), data.draw(st.booleans())
    divisor = data.draw(st.one_of(st.none(), st.integers(1, 9)))
    seed = data.draw(st.integers(0, 2**32))
    x = np.random.default_rng(seed).standard_normal((2, 3, *size))
    theirs = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.avg_pool2d(theirs, kernel, stride, padding, ceil, include, divisor)
    settings = (kernel, stride, padding, ceil, include, divisor)
    np.testing.assert_allclose(K.avg_pool2d(x, *settings), y.detach().numpy(), rtol=1e-12, atol=1e-14)
    grad = np.random.default_rng(seed + 1).standard_normal(y.shape)
    y.backward(torch.tensor(grad))
    dx = K.avg_pool2d_backward(grad, size, *settings)
    np.testing.assert_allclose(dx, theirs.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_avg_of_sequences(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 4, 37))
    y = K.avg_pool1d(x, 5, 3, 2, True, False)
    np.testing.assert_array_equal(
        y, K.avg_pool2d(x[:, :, None], (1, 5), (1, 3), (0, 2), True, False)[:, :, 0]
    )
    dx = K.avg_pool1d_backward(y, 37, 5, 3, 2, True, False)
    tall = K.avg_pool2d_backward(y[:, :, None], (1, 37), (1, 5), (1, 3), (0, 2), True, False)
    np.testing.assert_array_equal(dx, tall[:, :, 0])


SIZES: list[tuple[Any, Any]] = [
    ((7, 7), (1, 1)),
    ((28, 28), (1, 1)),
    ((5, 67), (1, 1)),
    ((12, 18), (4, 3)),
    ((12, 18), (12, 6)),
    ((13, 10), (5, 7)),
    ((3, 4), (5, 9)),
    ((9, 8), (2, 8)),
]


@pytest.mark.parametrize(("size", "out_size"), SIZES, ids=str)
@pytest.mark.parametrize("variant", [None, *(v.name for v in K.variants("adaptive_avg_pool2d"))])
def test_adaptive(
    variant: Any, size: Any, out_size: Any, dtype: Any, torch: Any, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((3, 5, *size)).astype(dtype)
    theirs = torch.tensor(x.astype(np.float64), requires_grad=True)
    y = torch.nn.functional.adaptive_avg_pool2d(theirs, out_size)
    out, memory = framed(tuple(y.shape), dtype, rng)
    run(K.adaptive_avg_pool2d, x, out_size, out=out, variant=variant)
    np.testing.assert_allclose(out, y.detach().numpy(), rtol=RTOL[dtype], atol=RTOL[dtype])
    assert np.isnan(outside(memory, out)).all()
    grad = rng.standard_normal(y.shape).astype(dtype)
    y.backward(torch.tensor(grad.astype(np.float64)))
    dx, memory = framed(x.shape, dtype, rng)
    run(K.adaptive_avg_pool2d_backward, grad, size, out=dx, variant=variant)
    np.testing.assert_allclose(dx, theirs.grad.numpy(), rtol=2 * RTOL[dtype], atol=2 * RTOL[dtype])
    assert np.isnan(outside(memory, dx)).all()

    if variant not in (None, *(v.name for v in K.variants("adaptive_max_pool2d"))):
        return
    x = rng.integers(-3, 4, x.shape).astype(dtype)
    y, numbers = torch.nn.functional.adaptive_max_pool2d(torch.tensor(x), out_size, return_indices=True)
    mine, indices = run(K.adaptive_max_pool2d, x, out_size, variant=variant)
    np.testing.assert_array_equal(mine, y.numpy())
    np.testing.assert_array_equal(indices, numbers.numpy())
    x[rng.random(x.shape) < 0.05] = np.nan
    y, numbers = torch.nn.functional.adaptive_max_pool2d(torch.tensor(x), out_size, return_indices=True)
    mine, indices = run(K.adaptive_max_pool2d, x, out_size, variant=variant)
    np.testing.assert_array_equal(mine, y.numpy())
    np.testing.assert_array_equal(indices, numbers.numpy())


def test_adaptive_sequences(torch: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 17))
    for size in (1, 4, 17, 20):
        theirs = torch.tensor(x, requires_grad=True)
        y = torch.nn.functional.adaptive_avg_pool1d(theirs, size)
        np.testing.assert_allclose(K.adaptive_avg_pool1d(x, size), y.detach().numpy(), rtol=1e-13, atol=1e-15)
        y.backward(torch.ones_like(y))
        dx = K.adaptive_avg_pool1d_backward(np.ones(y.shape), 17)
        np.testing.assert_allclose(dx, theirs.grad.numpy(), rtol=1e-13)
        y, numbers = torch.nn.functional.adaptive_max_pool1d(theirs, size, return_indices=True)
        mine, indices = K.adaptive_max_pool1d(x, size)
        np.testing.assert_array_equal(mine, y.detach().numpy())
        np.testing.assert_array_equal(indices, numbers.numpy())
    assert K.adaptive_avg_pool2d(x[None], (None, 3)).shape == (1, 2, 3, 3)


@pytest.mark.parametrize("variant", [None, *(v.name for v in K.variants("k_max_pool1d"))])
@pytest.mark.parametrize("shape", [(1,), (57,), (3, 4, 20), (200, 33), (0, 5)])
def test_k_max(variant: Any, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> None:
    x = rng.integers(-3, 4, shape).astype(dtype)
    if rng.random() < 0.5:
        x = rng.standard_normal(shape).astype(dtype)
    x[rng.random(shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf, -0.0])
    for k in {1, shape[-1] // 2 or 1, shape[-1]}:
        y, indices = run(K.k_max_pool1d, x, k, variant=variant)
        # The definition, by NumPy: stable by size, NaN first, then by place.
        keys = np.where(np.isnan(x), np.inf, x)
        order = np.lexsort((-keys, ~np.isnan(x)), axis=-1) if x.size else np.zeros(shape, int)
        expected = np.sort(order[..., :k], axis=-1)
        np.testing.assert_array_equal(indices, expected)
        np.testing.assert_array_equal(y, np.take_along_axis(x, expected, -1))
        grad = rng.standard_normal(y.shape).astype(dtype)
        dx = K.k_max_pool1d_backward(grad, indices, shape[-1])
        full = np.zeros(shape, dtype)
        np.put_along_axis(full, indices, grad, -1)
        np.testing.assert_array_equal(dx, full)


@pytest.mark.parametrize("variant", [None, *(v.name for v in K.variants("max_over_time"))])
@pytest.mark.parametrize("length", [1, 7, 16, 56, 131])
def test_max_over_time(variant: Any, length: int, dtype: Any, rng: np.random.Generator) -> None:
    x = rng.integers(-9, 9, (5, 6, length)).astype(dtype)
    lengths = rng.integers(1, length + 1, 5)
    masked = np.where(np.arange(length) < lengths[:, None, None], x, -np.inf)
    for given_lengths, seen in ((None, x), (lengths, masked), (lengths.astype(np.int32), masked)):
        y, indices = K.max_over_time(x, given_lengths, variant=variant)
        np.testing.assert_array_equal(indices, seen.argmax(-1))
        np.testing.assert_array_equal(y, seen.max(-1))
    grad = rng.standard_normal(y.shape).astype(dtype)
    full = np.zeros(x.shape, dtype)
    np.put_along_axis(full, indices[..., None], grad[..., None], -1)
    np.testing.assert_array_equal(K.max_over_time_backward(grad, indices, length), full)
    x[0, 0, : lengths[0]] = np.nan
    x[1, 1, :] = -np.inf
    y, indices = K.max_over_time(x, lengths, variant=variant)
    assert np.isnan(y[0, 0])
    assert indices[0, 0] == lengths[0] - 1
    assert y[1, 1] == -np.inf
    assert indices[1, 1] == 0


STOCHASTIC = [None, *(v.name for v in K.variants("stochastic_pool2d"))]


def activations(shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    return np.maximum(rng.standard_normal(shape), -0.2).astype(dtype)


@pytest.mark.parametrize(
    "settings", [(2,), (3, 2, 1), (3, 2), (2, 1), ((2, 5), (3, 4), (1, 2)), (3, 2, 0, True)]
)
@pytest.mark.parametrize("size", [(7, 7), (13, 70), (28, 28)])
def test_stochastic_variants_agree(settings: Any, size: Any, dtype: Any, rng: np.random.Generator) -> None:
    x = activations((2, 3, *size), dtype, rng)
    seed, offset = int(rng.integers(0, 2**63)), int(rng.integers(0, 2**40))
    y, places = K.stochastic_pool2d(x, *settings, seed=seed, offset=offset, variant="naive")
    for variant in STOCHASTIC:
        z, others = K.stochastic_pool2d(x, *settings, seed=seed, offset=offset, variant=variant)
        np.testing.assert_array_equal(z, y)
        np.testing.assert_array_equal(others, places)
    average = K.stochastic_average2d(x, *settings, variant="naive")
    for variant in (None, "rows"):
        np.testing.assert_allclose(
            K.stochastic_average2d(x, *settings, variant=variant),
            average,
            rtol=1e-6 if dtype == np.float32 else 1e-14,
        )


def test_what_is_drawn(rng: np.random.Generator) -> None:
    # One window many times: as often as it weighs.
    weights = np.array([0.0, 3.0, -5.0, 1.0, 4.0, 0.0], np.float32)
    x = np.tile(weights, (1, 1, 40000, 1)).reshape(1, 1, 40000, 6)
    y, places = K.stochastic_pool2d(x, (1, 6), seed=int(rng.integers(2**63)), offset=0)
    counts = np.bincount(places.ravel(), minlength=6) / 40000
    np.testing.assert_allclose(counts, np.maximum(weights, 0) / 8, atol=0.015)  # six standard deviations
    np.testing.assert_array_equal(y.ravel(), weights[places.ravel()])
    np.testing.assert_allclose(K.stochastic_average2d(x, (1, 6)), 26 / 8, rtol=1e-6)


def test_stochastic_numbers_are_those_of_the_stream(rng: np.random.Generator) -> None:
    x = activations((2, 3, 9, 9), np.float64, rng)
    whole, _ = K.stochastic_pool2d(x, 2, seed=7, offset=8)
    second, _ = K.stochastic_pool2d(x[1:], 2, seed=7, offset=8 + 3 * 16)
    np.testing.assert_array_equal(whole[1:], second)


def test_stochastic_edges() -> None:
    x = np.zeros((1, 1, 2, 6), np.float32)
    x[0, 0, 0, 2] = np.nan
    x[0, 0, :, 4:] = -1
    for variant in STOCHASTIC:
        y, places = K.stochastic_pool2d(x, 2, seed=1, offset=0, variant=variant)
        np.testing.assert_array_equal(y.ravel(), [0, np.nan, 0])
        np.testing.assert_array_equal(places.ravel(), 255)
    y = K.stochastic_average2d(x, 2)
    np.testing.assert_array_equal(y.ravel(), [0, np.nan, 0])


@pytest.mark.parametrize(
    ("shape", "pieces", "dim"),
    [
        ((6, 20), 5, 1),
        ((64, 33), 3, 1),
        ((2, 12, 5, 7), 4, 1),
        ((3, 4, 10), 2, -1),
        ((12,), 3, 0),
        ((4, 600), 300, 1),
        ((600, 4), 300, 0),
        ((0, 6), 2, 1),
    ],
)
def test_maxout(shape: Any, pieces: int, dim: int, dtype: Any, rng: np.random.Generator) -> None:
    x = rng.integers(-9, 9, shape).astype(dtype)
    axis = dim % len(shape)
    groups = x.reshape(*shape[:axis], shape[axis] // pieces, pieces, *shape[axis + 1 :])
    np.testing.assert_array_equal(K.maxout(x, pieces, dim), groups.max(axis + 1))
    grad = rng.standard_normal(groups.max(axis + 1).shape).astype(dtype)
    full = np.zeros_like(groups)
    place = np.expand_dims(groups.argmax(axis + 1), axis + 1)
    np.put_along_axis(full, place, np.expand_dims(grad, axis + 1), axis + 1)
    for kind in (True, "places") if pieces < 256 else (True,):
        y, places = K.maxout(x, pieces, dim, kind)
        np.testing.assert_array_equal(y, groups.max(axis + 1))
        np.testing.assert_array_equal(places, groups.argmax(axis + 1))
        np.testing.assert_array_equal(K.maxout_backward(grad, places, pieces, dim), full.reshape(shape))


def test_threads_agree(rng: np.random.Generator) -> None:
    # Large enough for several pieces of work.
    x = rng.standard_normal((7, 33, 40, 41)).astype(np.float32)
    rows = x.reshape(7 * 33, 40, 41)
    calls: list[Any] = [
        lambda: K.avg_pool2d(x, 3, 2, 1),
        lambda: K.avg_pool2d_backward(K.avg_pool2d(x, 3, 2, 1), (40, 41), 3, 2, 1),
        lambda: K.avg_pool2d(x, 2),
        lambda: K.adaptive_avg_pool2d(x, 1),
        lambda: K.adaptive_avg_pool2d(x, (3, 7)),
        lambda: K.adaptive_avg_pool2d_backward(x[..., :7, :7], (40, 41)),
        lambda: K.adaptive_max_pool2d(x, (3, 7))[1],
        lambda: K.k_max_pool1d(rows, 5)[1],
        lambda: K.max_over_time(rows)[1],
        lambda: K.stochastic_pool2d(x, 3, 2, 1, seed=3, offset=4)[1],
        lambda: K.stochastic_average2d(x, 3, 2, 1),
        lambda: K.stochastic_average2d_backward(K.stochastic_average2d(x, 3, 2, 1), x, 3, 2, 1),
        lambda: K.maxout(x, 3),
    ]
    before = K.get_num_threads()
    answers = []
    for threads in (1, 2, 3):
        K.set_num_threads(threads)
        answers.append([call() for call in calls])
    K.set_num_threads(before)
    for answer in answers[1:]:
        for one, other in zip(answers[0], answer, strict=True):
            np.testing.assert_array_equal(one, other)


X = np.zeros((2, 4, 9, 9), np.float32)
S = np.zeros((2, 4, 9), np.float32)
STREAM = {"seed": 0, "offset": 0}


@pytest.mark.parametrize(
    ("call", "arguments", "settings", "error", "message"),
    [
        (K.avg_pool2d, (X, 10), {}, ValueError, "the window's height is 10 but the input's is 9"),
        (K.avg_pool2d, (X, 2, 0), {}, ValueError, "stride is 0"),
        (K.avg_pool2d, (X, 2, 2, 2), {}, ValueError, "padding of at most half"),
        (K.avg_pool2d, (X, 2), {"divisor_override": 0}, ValueError, "divisor_override is 0"),
        (K.avg_pool2d, (X, 2), {"divisor_override": 1.5}, TypeError, r"divisor_override is 1\.5"),
        (K.avg_pool2d, (X[0], 2), {}, ValueError, r"x is \(4, 9, 9\)"),
        (K.avg_pool2d, (X, 2), {"variant": "row"}, ValueError, "did you mean 'rows'"),
        (K.avg_pool2d, (X.astype(int), 2), {}, TypeError, "dtype int64"),
        (K.avg_pool1d, (S, 10), {}, ValueError, "the window's length is 10 but the input's is 9"),
        (K.avg_pool2d_backward, (X, (9, 9), 2), {}, ValueError, r"expected \(2, 4, 4, 4\), the shape of the output"),
        (K.adaptive_avg_pool2d, (X, 0), {}, ValueError, "output_size is 0; expected 1 to 2147483647"),
        (K.adaptive_avg_pool2d, (X, 1.5), {}, TypeError, r"output_size is 1\.5"),
        (K.adaptive_avg_pool2d, (X, (1, 2, 3)), {}, TypeError, "an integer or 2 of them"),
        (K.adaptive_avg_pool2d, (X[:, :, :0], 1), {}, ValueError, "extent is 0; expected 1 or more"),
        (K.adaptive_avg_pool2d, (X, 2), {"variant": "even"}, ValueError, "needs an output size that divides"),
        (K.adaptive_max_pool2d, (X[0], 2), {}, ValueError, r"x is \(4, 9, 9\)"),
        (K.adaptive_max_pool1d, (S, 2**31), {}, ValueError, "output_size is 2147483648"),
        (K.k_max_pool1d, (S, 10), {}, ValueError, r"k is 10 but x is \(2, 4, 9\), of length 9"),
        (K.k_max_pool1d, (S, 0), {}, ValueError, "k is 0; expected 1 or more"),
        (K.k_max_pool1d, (S, 1.0), {}, TypeError, r"k is 1\.0; expected an integer"),
        (K.k_max_pool1d, (np.float32(1), 1), {}, ValueError, "x is a scalar"),
        (K.k_max_pool1d_backward, (S, np.full(S.shape, 9), 9), {}, ValueError, "indices holds 9"),
        (K.max_over_time, (S[0],), {}, ValueError, r"x is \(4, 9\); expected \(N, channels, length\)"),
        (K.max_over_time, (S[:, :, :0],), {}, ValueError, "expected a length of 1 or more"),
        (K.max_over_time, (S, [0, 3]), {}, ValueError, "lengths holds 0; expected 1 to 9"),
        (K.max_over_time, (S, [3, 10]), {}, ValueError, "lengths holds 10"),
        (K.max_over_time, (S, [3, 3, 3]), {}, ValueError, r"lengths is \(3,\); expected \(2,\)"),
        (K.max_over_time, (S, [3.0, 3.0]), {}, TypeError, "lengths has dtype float64; expected integers"),
        (K.max_over_time_backward, (S, S, 9), {}, ValueError, r"expected \(N, C\)"),
        (K.stochastic_pool2d, (X, 10), STREAM, ValueError, "window's height is 10"),
        (K.stochastic_pool2d, (np.zeros((1, 1, 16, 16)), 16), STREAM, ValueError, "at most 255"),
        (K.stochastic_pool2d, (X, 2), {"seed": -1, "offset": 0}, TypeError, "seed is -1"),
        (K.stochastic_average2d, (S, 2), {}, ValueError, r"x is \(2, 4, 9\)"),
        (K.stochastic_average2d_backward, (X, X, 2), {}, ValueError, "the shape of the output"),
        (K.maxout, (X, 3), {}, ValueError, "of extent 4 along dim 1; expected pieces that divide it"),
        (K.maxout, (X, 0), {}, ValueError, "pieces is 0"),
        (K.maxout, (X, 2, 4), {}, IndexError, "dim is 4; expected -4 to 3"),
        (K.maxout, (X, 2.0), {}, TypeError, r"pieces is 2\.0"),
        (K.maxout_backward, (X, X[0], 2), {}, ValueError, "expected one shape"),
    ],
)  # fmt: skip
def test_refused(call: Any, arguments: Any, settings: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(*arguments, **settings)


@pytest.mark.parametrize("planes", [(0, 3), (2, 0)])
def test_no_planes(planes: Any) -> None:
    x = np.zeros((*planes, 5, 6), np.float32)
    assert K.avg_pool2d(x, 2).shape == (*planes, 2, 3)
    assert K.avg_pool2d_backward(K.avg_pool2d(x, 2), (5, 6), 2).shape == x.shape
    assert K.adaptive_avg_pool2d(x, 1).shape == (*planes, 1, 1)
    assert K.adaptive_avg_pool2d_backward(K.adaptive_avg_pool2d(x, 1), (5, 6)).shape == x.shape
    assert K.adaptive_max_pool2d(x, 2)[1].shape == (*planes, 2, 2)
    assert K.max_over_time(x[:, :, 0])[0].shape == planes
    assert K.stochastic_pool2d(x, 2, seed=0, offset=0)[0].shape == (*planes, 2, 3)
    assert K.stochastic_average2d_backward(K.stochastic_average2d(x, 2), x, 2).shape == x.shape


def test_ladders_begin_with_the_definition() -> None:
    for operation in (
        *("avg_pool2d", "avg_pool1d_backward", "adaptive_avg_pool2d", "adaptive_max_pool1d", "k_max_pool1d"),
        *("max_over_time", "stochastic_pool2d", "stochastic_average2d", "stochastic_average2d_backward"),
    ):
        assert K.variants(operation)[0].name == "naive"
