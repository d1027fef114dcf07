"""What the tests of this chapter compare with."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tested_backends import needs

import dlkit.kernels as K

Check = Callable[..., None]


class HostMemory:
    """The SIMT machine: its device memory is NumPy's."""

    def __init__(self) -> None:
        needs("simt")
        self.module: Any = importlib.import_module("dlkit._simt")

    def put(self, values: Any, offset: int) -> Any:
        """A copy that starts `offset` elements after a multiple of 256 bytes, as an allocation of CUDA does."""
        item = values.dtype.itemsize
        memory = np.empty(values.size + offset + 256 // item, values.dtype)
        start = -memory.ctypes.data % 256 // item + offset
        view = memory[start : start + values.size].reshape(values.shape)
        view[...] = values
        return view

    def address(self, held: Any) -> int:
        return int(held.ctypes.data)

    def get(self, held: Any) -> Any:
        return held


class CudaMemory:
    """A GPU's, by CuPy."""

    def __init__(self) -> None:
        needs("cuda")
        self.module: Any = importlib.import_module("dlkit._cuda")
        self._cupy: Any = importlib.import_module("cupy")

    def put(self, values: Any, offset: int) -> Any:
        memory = self._cupy.empty(values.size + offset, values.dtype)
        view = memory[offset:].reshape(values.shape)
        view.set(np.ascontiguousarray(values))
        return view

    def address(self, held: Any) -> int:
        return int(held.data.ptr)

    def get(self, held: Any) -> Any:
        return held.get()


@pytest.fixture(scope="session")
def simt() -> HostMemory:
    return HostMemory()


@pytest.fixture(scope="session", params=[HostMemory, CudaMemory], ids=["simt", "cuda"])
def device(request: pytest.FixtureRequest) -> Any:
    return request.param()


def _activate(x: Any, activation: str | None) -> Any:
    with np.errstate(over="ignore"):
        if activation == "relu":
            return np.maximum(x, 0)
        if activation == "sigmoid":
            return 1 / (1 + np.exp(-x))
        if activation == "tanh":
            return np.tanh(x)
        return x


@pytest.fixture(scope="session")
def check() -> Check:
    """A function that compares a product with float64: as a whole, and each element on its own."""

    def check(
        out: Any, a: Any, b: Any, bias: Any = None, activation: str | None = None, start: Any = None
    ) -> None:
        wide = [x.astype(np.float64) for x in (a, b)]
        exact = np.matmul(*wide)
        size = np.matmul(*map(np.abs, wide))
        for addend in (bias, start):
            if addend is not None:
                exact = exact + addend.astype(np.float64)
                size = size + np.abs(addend.astype(np.float64))
        exact = _activate(exact, activation)
        assert out.shape == exact.shape
        assert out.dtype == a.dtype
        eps = float(np.finfo(out.dtype).eps)
        error = np.abs(out - exact)
        # Rounding errors of a sum of random terms come to about eps of the sum of their magnitudes, in any order.
        bound = 8 * eps * (size + np.abs(exact))
        assert (error <= bound).all(), f"{(error > bound).sum()} of {error.size} elements are off"
        # The sum of random terms is smaller than that of their magnitudes by the root of their number.
        if error.size >= 64 and 0 not in (*a.strides, *b.strides):
            assert np.linalg.norm(error) <= 4 * eps * (a.shape[-1] + 8) ** 0.5 * np.linalg.norm(exact)

    return check


@pytest.fixture(scope="session", autouse=True)
def one_thread_of_numpy() -> Iterator[None]:
    """NumPy's BLAS on one thread: many small products on a busy machine wait for each other otherwise."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
    else:
        with threadpool_limits(1):
            yield


# Each step on one thread; on two those that use them.
_THREADED = (None, "threaded", "ksplit")
_RUNS = [(name, 1) for name in (None, *(row.name for row in K.variants("matmul")))]
_RUNS += [(name, 2) for name in _THREADED]


@pytest.fixture(params=_RUNS, ids=[f"{name or 'default'}-{threads}" for name, threads in _RUNS])
def variant(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A step of the ladder, or None for the default, with one or two threads set."""
    name, threads = request.param
    before = K.get_num_threads()
    K.set_num_threads(threads)
    yield name
    K.set_num_threads(before)


_LAYOUTS = ("C", "F", "rows apart", "columns apart", "both apart", "rows reversed", "columns reversed")


@pytest.fixture(scope="session", params=_LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def layouts() -> tuple[str, ...]:
    return _LAYOUTS


@pytest.fixture(scope="session")
def lay_out() -> Callable[[Any, str], Any]:
    """A function that copies a matrix to another layout; what lies between its elements is NaN."""

    def lay_out(matrix: Any, layout: str) -> Any:
        rows, cols = matrix.shape
        if layout in ("C", "F"):
            return matrix.copy(order=layout)
        row_step = {"both apart": 2, "rows reversed": -1}.get(layout, 1)
        col_step = {"columns apart": 3, "both apart": -2, "columns reversed": -1}.get(layout, 1)
        memory = np.full(
            (rows * abs(row_step), cols * abs(col_step) + (layout == "rows apart") * 5), np.nan, matrix.dtype
        )
        view = memory[::row_step, ::col_step][:rows, :cols]
        view[...] = matrix
        return view

    return lay_out
