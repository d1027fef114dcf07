"""The kernels of Hopper's own units: right, in bounds, and waiting for what they must.

On the SIMT machine, which brings tiles late and early, and multiplies late, so that a kernel which waits for too little
fails here; on a GPU with DLKIT_TEST_BACKEND=cuda.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from typing import Any

import numpy as np
import pytest

FLOAT32, FLOAT16 = 0, 2
DTYPES = {FLOAT32: np.float32, FLOAT16: np.float16}
TF32 = 1  # a precision
ACTIVATIONS = [
    lambda x: x,
    lambda x: np.maximum(x, 0),
    lambda x: 1 / (1 + np.exp(-x)),
    np.tanh,
]


BACKEND = os.environ.get("DLKIT_TEST_BACKEND", "simt")


@pytest.fixture(scope="module")
def simt() -> Any:
    module = importlib.import_module(f"dlkit._{BACKEND}")
    if BACKEND == "cuda" and module.compute_capability(0)[0] != 9:
        pytest.skip("needs a Hopper GPU")
    return module


class Memory:
    """An array as kernels see it: where it is, or on a GPU a copy of all the bytes it spans."""

    def __init__(self, x: np.ndarray[Any, Any] | None) -> None:
        self.pointer = 0 if x is None else x.ctypes.data
        if x is None or BACKEND != "cuda":
            return
        import cupy

        last = sum((size - 1) * stride for size, stride in zip(x.shape, x.strides, strict=True)) + x.itemsize
        self.host = np.frombuffer((ctypes.c_uint8 * last).from_address(self.pointer), np.uint8)
        shift = self.pointer % 256
        self.device = cupy.empty(last + shift, cupy.uint8)[shift:]
        self.device[...] = cupy.asarray(self.host)
        self.pointer = self.device.data.ptr

    def fetch(self) -> None:
        """Bring back what a kernel wrote."""
        if BACKEND == "cuda":
            self.host[...] = self.device.get()


def aligned(shape: tuple[int, ...], dtype: Any, offset: int = 0) -> np.ndarray[Any, Any]:
    """Return memory that begins `offset` bytes after a multiple of 256."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(count + 512, np.uint8)
    begin = -raw.ctypes.data % 256 + offset
    return raw[begin : begin + count].view(dtype).reshape(shape)


def matrix(
    rng: np.random.Generator, batch: int, rows: int, cols: int, dtype: int, turned: bool
) -> np.ndarray[Any, Any]:
    """Return a stack of matrices whose strides are multiples of 16 bytes; columns are contiguous where `turned`."""
    unit = 16 // np.dtype(DTYPES[dtype]).itemsize
    outer, inner = (cols, rows) if turned else (rows, cols)
    full = aligned((batch, outer, -(-inner // unit) * unit), DTYPES[dtype])
    full[...] = np.nan  # what lies between the rows must not be read
    view = full[:, :, :inner]
    view[...] = rng.standard_normal(view.shape)
    return view.transpose(0, 2, 1) if turned else view


def strides(x: np.ndarray[Any, Any]) -> tuple[int, int, int]:
    """Return row, column and batch stride in elements; of a stack of one, no batch stride."""
    batch, row, col = (s // x.itemsize for s in x.strides)
    return row, col, 0 if x.shape[0] == 1 else batch


def run(
    simt: Any,
    a: Any,
    b: Any,
    out_dtype: int,
    bias: Any = None,
    activation: int = 0,
    addend: Any = None,
    gap: int = 0,
) -> np.ndarray[Any, Any]:
    dtype = FLOAT32 if a.dtype == np.float32 else FLOAT16
    name, precision = ("hopper_tf32", TF32) if dtype == FLOAT32 else ("hopper_16bit", 0)
    (batch, m, k), n = a.shape, b.shape[2]
    full = aligned((batch, m, n + gap), DTYPES[out_dtype])
    full[...] = np.nan
    c = full[:, :, :n]
    if addend is not None:
        c[...] = addend
    x, y, z, w = Memory(a), Memory(b), Memory(c), Memory(bias)
    simt.matmul(
        0, dtype, out_dtype, name, precision, m, n, k, batch,
        x.pointer, *strides(a), y.pointer, *strides(b), z.pointer, n + gap, m * (n + gap),
        w.pointer, activation, addend is not None, 0, 0,
    )  # fmt: skip
    z.fetch()
    assert np.isnan(full[:, :, n:]).all(), "wrote between the rows of c"
    return c


def error(out: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> float:
    return float(np.linalg.norm(out - reference) / max(np.linalg.norm(reference), 1e-30))


def product(a: Any, b: Any) -> np.ndarray[Any, Any]:
    return a.astype(np.float64) @ b.astype(np.float64)


def float32_bound(k: int) -> float:
    """Tensor cores truncate, so that the error has a sign and grows with k; the SIMT machine rounds."""
    return 1e-6 if BACKEND == "simt" else 2e-7 + 3e-9 * k


# Tiles of 256 columns and of 128, with and without tails; longer along K than the ring, and than twice the ring.
SIZES = [
    (512, 256, 200),
    (136, 130, 72),
    (257, 520, 330),
    (130, 264, 530),
    (1, 300, 40),
    (300, 1, 8),
    (5, 7, 1),
]


@pytest.mark.parametrize("turned_b", [False, True])
@pytest.mark.parametrize("turned_a", [False, True])
@pytest.mark.parametrize("out_dtype", [FLOAT16, FLOAT32])
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_16bit(
    simt: Any, rng: Any, m: int, n: int, k: int, out_dtype: int, turned_a: bool, turned_b: bool
) -> None:
    a = matrix(rng, 1, m, k, FLOAT16, turned_a)
    b = matrix(rng, 1, k, n, FLOAT16, turned_b)
    bound = float32_bound(k) if out_dtype == FLOAT32 else 5e-4
    assert error(run(simt, a, b, out_dtype), product(a, b)) < bound


# A GPU has more multiprocessors than the SIMT machine: there, the sizes above are of 128 columns and a tile a block.
@pytest.mark.skipif(BACKEND == "simt", reason="the SIMT machine has few multiprocessors: small sizes do")
@pytest.mark.parametrize("turned_b", [False, True])
@pytest.mark.parametrize("turned_a", [False, True])
@pytest.mark.parametrize("out_dtype", [FLOAT16, FLOAT32])
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (4088, 4088, 330),  # 256 columns, edges, several tiles a block, 16 bytes stored at once
        (4091, 4093, 330),  # the same, stored one by one
        (3000, 3000, 530),  # 128 columns, five tiles a block, longer than the ring
    ],
)
def test_16bit_on_many_multiprocessors(
    simt: Any, rng: Any, m: int, n: int, k: int, out_dtype: int, turned_a: bool, turned_b: bool
) -> None:
    a = matrix(rng, 1, m, k, FLOAT16, turned_a)
    b = matrix(rng, 1, k, n, FLOAT16, turned_b)
    bias, addend = (
        rng.standard_normal(n).astype(np.float32),
        rng.standard_normal((1, m, n)).astype(np.float16),
    )
    plain, half = product(a, b), out_dtype == FLOAT16
    bound = 5e-4 if half else float32_bound(k)
    assert error(run(simt, a, b, out_dtype), plain) < bound
    if turned_a == turned_b:
        assert error(run(simt, a, b, out_dtype, bias, 1), np.maximum(plain + bias, 0)) < 1e-3
        assert error(run(simt, a, b, out_dtype, addend=addend), plain + addend) < 1e-3


@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_tf32(simt: Any, rng: Any, m: int, n: int, k: int) -> None:
    a, b = matrix(rng, 1, m, k, FLOAT32, False), matrix(rng, 1, k, n, FLOAT32, True)
    assert error(run(simt, a, b, FLOAT32), product(a, b)) < 1e-3


@pytest.mark.parametrize("gap", [0, 3, 8])
@pytest.mark.parametrize("activation", range(4))
def test_bias_and_activation(simt: Any, rng: Any, activation: int, gap: int) -> None:
    a, b = matrix(rng, 1, 140, 96, FLOAT32, False), matrix(rng, 1, 96, 136, FLOAT32, True)
    bias = rng.standard_normal(136).astype(np.float32)
    out = run(simt, a, b, FLOAT32, bias, activation, gap=gap)
    assert error(out, ACTIVATIONS[activation](product(a, b) + bias)) < 1e-3


def test_accumulate(simt: Any, rng: Any) -> None:
    a, b = matrix(rng, 2, 70, 64, FLOAT16, True), matrix(rng, 2, 64, 72, FLOAT16, False)
    addend = rng.standard_normal((2, 70, 72)).astype(np.float16)
    assert error(run(simt, a, b, FLOAT16, addend=addend), product(a, b) + addend) < 1e-3


@pytest.mark.parametrize("shared", ["none", "a", "b"])
def test_batches(simt: Any, rng: Any, shared: str) -> None:
    a = matrix(rng, 1 if shared == "a" else 5, 70, 72, FLOAT16, False)
    b = matrix(rng, 1 if shared == "b" else 5, 72, 65, FLOAT16, True)
    reference = product(a, b)
    a, b = (np.broadcast_to(x, (5, *x.shape[1:])) for x in (a, b))
    assert error(run(simt, a, b, FLOAT32), reference) < float32_bound(72)


def test_more_tiles_than_multiprocessors(simt: Any, rng: Any) -> None:
    a, b = matrix(rng, 1, 2400, 40, FLOAT16, False), matrix(rng, 1, 40, 300, FLOAT16, False)
    assert error(run(simt, a, b, FLOAT32), product(a, b)) < float32_bound(40)


def test_refuses(simt: Any, rng: Any) -> None:
    a, b = matrix(rng, 1, 64, 64, FLOAT32, False), matrix(rng, 1, 64, 64, FLOAT32, True)
    with pytest.raises(Exception, match="hopper_tf32"):  # columns of b are not contiguous
        run(simt, a, matrix(rng, 1, 64, 64, FLOAT32, False), FLOAT32)
    shifted = aligned((1, 64, 64), np.float32, offset=4)
    shifted[...] = a
    with pytest.raises(Exception, match="hopper_tf32"):  # not aligned to 16 bytes
        run(simt, shifted, b, FLOAT32)
    odd = aligned((1, 64, 65), np.float32)[:, :, :64]
    odd[...] = a
    with pytest.raises(Exception, match="hopper_tf32"):  # rows 260 bytes apart
        run(simt, odd, b, FLOAT32)
