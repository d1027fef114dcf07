"""python/dlkit/kernels/device_matmul.py: products of device arrays are those of the CPU, and so are the errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

LEFT = [
    ((3, 5), False),
    ((5, 3), True),
    ((2, 3, 5), False),
    ((2, 5, 3), True),
    ((4, 1, 3, 5), False),
    ((5,), False),
]
RIGHT = [
    ((5, 4), False),
    ((4, 5), True),
    ((2, 5, 4), False),
    ((2, 4, 5), True),
    ((4, 2, 5, 4), False),
    ((5,), False),
]


def _both(simt: Any, a: Any, b: Any, **settings: Any) -> tuple[Any, Any]:
    moved = {k: simt.array(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    return K.matmul(a, b, **settings), K.matmul(simt.array(a), simt.array(b), **moved).get()


def _close(got: Any, expected: Any, dtype: Any) -> None:
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    assert np.linalg.norm(got - expected) <= tolerance * max(np.linalg.norm(expected), 1e-30)


@pytest.mark.parametrize(("right", "trans_b"), RIGHT)
@pytest.mark.parametrize(("left", "trans_a"), LEFT)
def test_shapes_and_transposes(
    simt: Any, rng: Any, dtype: Any, left: Any, trans_a: bool, right: Any, trans_b: bool
) -> None:
    a, b = rng.normal(size=left).astype(dtype), rng.normal(size=right).astype(dtype)
    if trans_a and len(left) < 2:
        return
    expected, got = _both(simt, a, b, trans_a=trans_a, trans_b=trans_b)
    _close(got, expected, dtype)


SPREADS = [
    lambda a: a[::-1],
    lambda a: a[:, ::-1],
    lambda a: a[::2],
    lambda a: np.concatenate([a, a], axis=1)[:, ::2],
    lambda a: np.concatenate([a, a])[::-1][1:],
    lambda a: np.stack([a, a + 1], axis=-1)[..., 1],
    lambda a: np.broadcast_to(a[:1], a.shape),
    lambda a: np.broadcast_to(a[:, :1], a.shape),
    lambda a: np.broadcast_to(a, (2, 1, *a.shape)),
    lambda a: np.broadcast_to(a, (3, *a.shape))[::-1],
    lambda a: np.stack([a, a + 1, a - 1])[::2],
]


@pytest.mark.parametrize("spread_b", SPREADS)
@pytest.mark.parametrize("spread_a", SPREADS)
def test_strides(simt: Any, rng: Any, spread_a: Any, spread_b: Any) -> None:
    a, b = rng.normal(size=(4, 6)), rng.normal(size=(5, 6))
    left, right = spread_a(a), spread_b(b)
    try:
        expected = np.matmul(left, np.swapaxes(right, -1, -2))
    except ValueError:
        pytest.skip("stacks of two and of three")
    got = K.matmul(spread_a(simt.array(a)), spread_b(simt.array(b)), trans_b=True)
    np.testing.assert_allclose(got.get(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("inner", [0, 3])
def test_bias_and_activation(simt: Any, rng: Any, dtype: Any, activation: Any, inner: int) -> None:
    a, b = rng.normal(size=(2, 5, inner)).astype(dtype), rng.normal(size=(inner, 4)).astype(dtype)
    bias = rng.normal(size=4).astype(dtype)
    expected, got = _both(simt, a, b, bias=bias, activation=activation)
    _close(got, expected, dtype)


def test_out_and_accumulate(simt: Any, rng: Any) -> None:
    a, b, c = (rng.normal(size=(4, 4)) for _ in range(3))
    x, y = simt.array(a), simt.array(b)
    out = simt.array(c)
    assert K.matmul(x, y, out=out, accumulate=True) is out
    np.testing.assert_allclose(out.get(), c + a @ b, rtol=1e-12)
    wide = simt.zeros((4, 8))
    for view in (wide[:, ::2], wide[:, 4:].T, wide[::-1, 4:]):
        assert K.matmul(x, y, out=view) is view
        np.testing.assert_allclose(view.get(), a @ b, rtol=1e-12)
        K.matmul(x, y, out=view, accumulate=True)
        np.testing.assert_allclose(view.get(), 2 * (a @ b), rtol=1e-12)
    kept = simt.array(c)
    K.matmul(simt.zeros((4, 0)), simt.zeros((0, 4)), out=kept, accumulate=True)
    np.testing.assert_array_equal(kept.get(), c)


def test_nothing_is_launched_for_nothing(simt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlkit.kernels.backend import backend_named

    class Nothing:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was called")

    monkeypatch.setitem(backend_named("simt").__dict__, "library", Nothing())
    for a, b in (((0, 3), (3, 2)), ((2, 3), (3, 0)), ((0, 2, 3), (3, 2)), ((2, 0), (0, 2)), ((0,), (0,))):
        got = K.matmul(simt.zeros(a), simt.zeros(b))
        np.testing.assert_array_equal(got.get(), np.zeros(a) @ np.zeros(b))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision(simt: Any, rng: Any, name: str) -> None:
    dtype = pytest.importorskip("ml_dtypes").bfloat16 if name == "bfloat16" else np.float16
    a, b = (rng.normal(size=(16, 16)).astype(dtype) for _ in range(2))
    expected = a.astype(np.float64) @ b.astype(np.float64)
    got = K.matmul(simt.array(a), simt.array(b))
    assert got.dtype == dtype
    wide = K.matmul(simt.array(a), simt.array(b), out=simt.empty((16, 16), np.float32))
    for result, tolerance in ((got, 5e-3), (wide, 1e-5)):
        off = np.linalg.norm(result.get().astype(np.float64) - expected)
        assert off <= tolerance * np.linalg.norm(expected)
    with pytest.raises(TypeError, match=f"activation: x has dtype {name}; expected float32 or float64"):
        K.relu(simt.array(a))


ERRORS: list[tuple[type[Exception], Any, dict[str, Any]]] = [
    (ValueError, ((3, 4), (5, 4)), {}),
    (ValueError, ((3, 4), (3, 5)), {}),
    (ValueError, ((3, 4), (5, 4)), {"trans_a": True}),
    (ValueError, ((), (4, 4)), {}),
    (ValueError, ((4,), (4, 4)), {"trans_a": True}),
    (ValueError, ((2, 4, 4), (3, 4, 4)), {}),
    (ValueError, ((4, 4), (4, 4)), {"activation": "rleu"}),
    (ValueError, ((4, 4), (4, 4)), {"accumulate": True}),
    (ValueError, ((4, 4), (4, 4)), {"precision": "half"}),
]


@pytest.mark.parametrize(("error", "shapes", "settings"), ERRORS)
def test_errors_are_those_of_the_cpu(simt: Any, error: Any, shapes: Any, settings: Any) -> None:
    a, b = np.ones(shapes[0]), np.ones(shapes[1])
    with pytest.raises(error) as ours:
        K.matmul(a, b, **settings)
    with pytest.raises(error) as theirs:
        K.matmul(simt.array(a), simt.array(b), **settings)
    if "batch" not in str(ours.value):
        assert str(theirs.value) == str(ours.value)
    else:
        assert "batch dimensions" in str(theirs.value)


def test_errors_of_out(simt: Any) -> None:
    a = simt.ones((4, 4))
    line = simt.zeros((4, 1))
    for out, match in (
        (a, "out overlaps a; expected memory of its own"),
        (simt.zeros((4, 5)), r"out is \(4, 5\); expected \(4, 4\)"),
        (np.broadcast_to(line, (4, 4)), "out has elements that share memory"),
    ):
        with pytest.raises(ValueError, match=match):
            K.matmul(a, simt.ones((4, 4)), out=out)
    with pytest.raises(ValueError, match="out overlaps b"):
        K.matmul(simt.ones((4, 4)), a, out=a)
    with pytest.raises(ValueError, match=r"bias is \(3,\); expected \(4,\)"):
        K.matmul(a, simt.ones((4, 4)), bias=simt.ones(3))
    with pytest.raises(ValueError, match=r"variant is 'tilde'; expected None or one of naive.*did you mean"):
        K.matmul(a, a.copy(), variant="tilde")
    with pytest.raises(ValueError, match=r"variant is 'warp_tiled/1x1'; expected None or one of naive"):
        K.matmul(a, a.copy(), variant="warp_tiled/1x1")
    for dtypes in ((np.int64, np.int64), (np.float32, np.float64)):
        with pytest.raises(TypeError, match="matmul: "):
            K.matmul(simt.ones((4, 4), dtypes[0]), simt.ones((4, 4), dtypes[1]))
    with pytest.raises(TypeError, match="a is float32 but out is float64"):
        K.matmul(simt.ones((4, 4), np.float32), simt.ones((4, 4), np.float32), out=simt.zeros((4, 4)))


def test_a_tile_by_its_name(simt: Any) -> None:
    a, b = np.arange(48, dtype=np.float32).reshape(6, 8), np.arange(40, dtype=np.float32).reshape(8, 5)
    c = K.matmul(simt.array(a), simt.array(b), variant="warp_tiled/128x64")
    np.testing.assert_array_equal(c.get(), a @ b)


def test_mixed_devices(simt: Any) -> None:
    host, array = np.ones((4, 4)), simt.ones((4, 4))
    text = "matmul: {} is on {} but {} is on {}; expected arrays on one device"
    for arguments, settings, words in (
        ((array, host), {}, ("a", "simt", "b", "cpu")),
        ((host, array), {}, ("a", "cpu", "b", "simt")),
        ((array, array.copy()), {"bias": host[0]}, ("a", "simt", "bias", "cpu")),
        ((array, array.copy()), {"out": host}, ("a", "simt", "out", "cpu")),
    ):
        with pytest.raises(TypeError) as caught:
            K.matmul(*arguments, **settings)
        assert str(caught.value) == text.format(*words)
    for settings in ({"out": array}, {"bias": array[0]}):
        with pytest.raises(TypeError, match="is on simt but the other arrays are on cpu"):
            K.matmul(host, host.copy(), **settings)
    with pytest.raises(TypeError, match="matmul: b is a list; expected an array on simt, as a is"):
        K.matmul(array, [[1.0]])
    with pytest.raises(ValueError, match="backend is 'cuda' but the arrays are on simt"):
        K.matmul(array, array, backend="cuda")


def test_numpy_arrays_run_on_the_emulated_gpu(simt: Any, rng: Any, dtype: Any) -> None:
    a, b = rng.normal(size=(5, 7)).astype(dtype), rng.normal(size=(7, 6)).astype(dtype)
    bias, out = rng.normal(size=6).astype(dtype), np.zeros((5, 6), dtype)
    names = [variant.name for variant in K.variants("matmul", backend="simt")]
    assert names[0] == "naive"
    for name in (None, names[0]):
        got = K.matmul(a, b, bias=bias, backend="simt", variant=name)
        assert type(got) is np.ndarray
        _close(got, K.matmul(a, b, bias=bias), dtype)
    assert K.matmul(a, b, out=out, backend="simt") is out
    assert K.matmul(a, b, out=out, accumulate=True, backend="simt") is out
    _close(out, 2 * K.matmul(a, b), dtype)
    with pytest.raises(ValueError, match=r"out is \(5, 6\).*expected \(5, 5\)"):
        K.matmul(a, b[:, :5], out=out, backend="simt")


def test_work_is_counted(simt: Any) -> None:
    K.reset_counters()
    K.matmul(simt.ones((2, 3, 4)), simt.ones((4, 5)))
    counts = K.counters()
    assert counts["flops"] == 2 * 2 * 3 * 4 * 5
    assert counts["calls"] == 1
    K.reset_counters()
    assert not any(K.counters().values())
