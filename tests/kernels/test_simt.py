"""python/dlkit/kernels/simt.py: arrays of the SIMT machine do what CuPy's do, and refuse what those refuse."""

from __future__ import annotations

import copy
import operator
import pickle
from typing import Any

import numpy as np
import pytest

from dlkit.kernels import simt


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[Any, Any]:
    host = rng.normal(size=(3, 4)).astype(np.float32)
    return host, simt.array(host)


def test_it_is_no_numpy_array_and_does_not_become_one(pair: Any) -> None:
    host, array = pair
    assert not isinstance(array, np.ndarray)
    for convert in (np.asarray, np.array, np.ascontiguousarray, lambda a: np.asarray([a]), memoryview):
        with pytest.raises(TypeError):
            convert(array)
    with pytest.raises(TypeError, match=r"Implicit conversion to a NumPy array is not allowed.*\.get\(\)"):
        np.asarray(array)
    got = array.get()
    assert type(got) is np.ndarray
    assert not np.shares_memory(got, array._host)
    np.testing.assert_array_equal(got, host)
    with pytest.raises(TypeError, match=r"expected dlkit.kernels.simt.array"):
        simt.SimtArray()


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, n: a + n,
        lambda a, n: n + a,
        lambda a, n: n @ a.T,
        lambda a, n: a == n,
        lambda a, n: operator.iadd(a, n),
        lambda a, n: operator.iadd(n, a),
        lambda a, n: np.add(n, n, out=a),
        lambda a, n: np.where(n > 0, a, a),
        lambda a, n: np.concatenate([a, n]),
        lambda a, n: np.copyto(a, n),
        lambda a, n: np.copyto(n, a),
        lambda a, n: operator.setitem(a, ..., n),
        lambda a, n: operator.setitem(n, ..., a),
        lambda a, n: a[np.array([0, 1])],
        lambda a, n: a + np.array(1.0),
        lambda a, n: a + "1",
        lambda a, n: a.fill(n),
        lambda a, n: a.set(a),
    ],
)
def test_it_is_not_mixed_with_numpy(mix: Any, pair: Any) -> None:
    host, array = pair
    before = host.copy(), array.get()
    with pytest.raises(TypeError):
        mix(array, host)
    np.testing.assert_array_equal(host, before[0])
    np.testing.assert_array_equal(array.get(), before[1])


@pytest.mark.parametrize(
    "function",
    [
        lambda a: a + 1,
        lambda a: 2.0 - a,
        lambda a: a * np.float32(3),
        lambda a: -(abs(a) ** 2),
        lambda a: a / (a * a + 1),
        lambda a: a > 0,
        lambda a: (a > 0) & ~(a > 1),
        lambda a: a @ a.T,
        lambda a: np.exp(a),
        lambda a: np.add(a, a, dtype=np.float64),
        lambda a: np.where(a > 0, a, 0.0),
        lambda a: np.concatenate([a, a], axis=1),
        lambda a: np.stack([a, a]),
        lambda a: np.split(a, [1, 3], axis=1)[1],
        lambda a: np.moveaxis(a, 0, 1),
        lambda a: np.expand_dims(a, 0),
        lambda a: np.broadcast_to(a, (2, 3, 4)),
        lambda a: np.take_along_axis(a, a.argmax(axis=1)[:, None], axis=1),
        lambda a: np.count_nonzero(a > 0),
        lambda a: np.zeros_like(a),
        lambda a: a.sum(axis=0, keepdims=True),
        lambda a: a.mean(),
        lambda a: a.max(axis=1),
        lambda a: a.argmin(axis=0),
        lambda a: (a > 0).any(axis=1),
        lambda a: a[1],
        lambda a: a[1, 2],
        lambda a: a[:, ::-2],
        lambda a: a[None, ..., 0],
        lambda a: a[[0, 2]],
        lambda a: a[a > 0],
        lambda a: a.reshape(2, 6),
        lambda a: a.T.ravel(),
        lambda a: a.astype(np.int64),
        lambda a: a.view(np.int32),
    ],
)
def test_it_computes_what_numpy_computes(function: Any, pair: Any) -> None:
    host, array = pair
    with np.errstate(all="ignore"):
        expected = np.asarray(function(host))
    got = function(array)
    assert isinstance(got, simt.SimtArray)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(got.get(), expected)


def test_what_cupy_has_not_is_not_here(pair: Any) -> None:
    _, array = pair
    for absent in (
        lambda: array.max(initial=0.0),
        lambda: array.flags.writeable,
        lambda: np.add.at(array, 0, 1),
        lambda: np.add.reduce(array),
        lambda: np.add(array, array, where=array > 0),
        lambda: np.put_along_axis(array, array.argmax(axis=1)[:, None], 0, axis=1),
        lambda: np.linalg.svd(array),
        lambda: array.tobytes(),
        lambda: hash(array),
        lambda: len(array.sum()),
        lambda: iter(array.sum()),
    ):
        with pytest.raises((TypeError, AttributeError)):
            absent()


def test_views_share_memory_and_know_whose_it_is(pair: Any) -> None:
    _, array = pair
    assert array.base is None
    for view in (array[1], array[1, 2], array.T, array.reshape(-1), array[:, 1:][::2], array.view()):
        assert view.base is array
        view.fill(7)
        assert (array.get() == 7).any()
        array.fill(0)
    for copied in (array.copy(), array + 0, array[[0]], array.astype(np.float64), copy.deepcopy(array)):
        assert copied.base is None
        copied.fill(7)
        assert not array.get().any()
    assert array[1].data.ptr == array.data.ptr + 16
    assert array.astype(np.float32, copy=False) is array


def test_memory_is_aligned_and_not_zero_by_chance() -> None:
    for make in (lambda: simt.empty((3, 5), np.float32), lambda: simt.ones(7), lambda: simt.ones(7) + 1):
        assert make().data.ptr % 256 == 0
    assert simt.empty(1000, np.float32).get().all()
    for shape in ((), (0,), (0, 3), 4):
        assert simt.zeros(shape, np.float64).get().shape == np.zeros(shape).shape


def test_to_the_host_and_back(pair: Any) -> None:
    host, array = pair
    assert (array.ndim, array.size, array.itemsize, array.nbytes, len(array)) == (2, 12, 4, 48, 3)
    assert array.tolist() == host.tolist()
    assert (array[0, 0].item(), float(array[0, 0]), int(array[0, 0])) == (
        host[0, 0],
        host[0, 0],
        int(host[0, 0]),
    )
    assert bool(array[0, 0] == array[0, 0])
    with pytest.raises(ValueError, match="ambiguous"):
        bool(array == array)
    assert operator.index(simt.array(3)) == 3
    assert (repr(array), str(array)) == (repr(host), str(host))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)).get(), host)
    array.set(host + 1)
    np.testing.assert_array_equal(simt.asnumpy(array), host + 1)
    with pytest.raises(ValueError, match="mismatch"):
        array.set(host[0])
    assert [row.tolist() for row in array] == (host + 1).tolist()


def test_functions_of_the_namespace() -> None:
    for name in ("zeros", "ones", "empty"):
        made, expected = getattr(simt, name)((2, 3)), getattr(np, name)((2, 3))
        assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(simt.full((2,), 3, np.float32).get(), [3, 3])
    np.testing.assert_array_equal(simt.full((2,), simt.array(3.5)).get(), [3.5, 3.5])
    np.testing.assert_array_equal(simt.arange(1, 7, 2).get(), [1, 3, 5])
    array = simt.array([[1, 2], [3, 4]])
    assert simt.asarray(array) is array
    assert simt.asarray(array, np.float32).dtype == np.float32
    assert simt.array(array) is not array
    assert simt.ascontiguousarray(array) is array
    assert simt.ascontiguousarray(array.T).flags.c_contiguous
    assert array.T.flags.f_contiguous
    assert array.flags.owndata
    with pytest.raises(TypeError, match="Unsupported dtype"):
        simt.array([object()])
