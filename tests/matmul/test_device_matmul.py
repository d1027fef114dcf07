"""The CUDA kernels against float64: on the SIMT machine, and on a GPU where there is one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FLOAT32, FLOAT64, FLOAT16, BFLOAT16 = range(4)
_HOLDS: dict[int, Any] = {FLOAT32: np.float32, FLOAT64: np.float64, FLOAT16: np.float16, BFLOAT16: np.uint16}
# Half a unit in the last place, relative: of the types, and of what float32 may be rounded to.
_ROUNDING = {FLOAT32: 2.0**-24, FLOAT64: 2.0**-53, FLOAT16: 2.0**-11, BFLOAT16: 2.0**-8}
_PRECISION = {"float32": (0, 0.0), "tf32": (1, 2.0**-11), "bf16": (2, 2.0**-8)}
_ACTIVATIONS: list[Callable[[Any], Any]] = [
    lambda x: x,
    lambda x: np.maximum(x, 0),
    lambda x: 1 / (1 + np.exp(-x)),
    np.tanh,
]

LADDER = [
    "naive",
    "coalesced",
    "tiled",
    "register_tile",
    "vectorised",
    "warp_tiled",
    "splitk",
    "mma_tf32",
    "mma_16bit",
]
TILES = [f"warp_tiled/{tile}" for tile in ("256x128", "128x128", "128x64", "64x64", "32x64", "64x32")]
TENSOR_TILES = ["mma_tf32/128x256", "mma_tf32/128x128", "mma_tf32/64x64"]
TENSOR_TILES_16 = ["mma_16bit/128x256", "mma_16bit/128x128", "mma_16bit/64x64"]


def _needs(variant: str | None) -> tuple[int, str]:
    """A dtype and a precision that the variant takes."""
    base = (variant or "").split("/")[0]
    return (
        (BFLOAT16, "float32")
        if base == "mma_16bit"
        else (FLOAT32, "tf32" if base == "mma_tf32" else "float32")
    )


def encode(values: Any, dtype: int) -> Any:
    """float64 to what memory holds; bfloat16 as its bits, rounded to nearest even."""
    if dtype != BFLOAT16:
        return values.astype(_HOLDS[dtype])
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def decode(held: Any, dtype: int) -> Any:
    if dtype != BFLOAT16:
        return held.astype(np.float64)
    return (held.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _placed(
    device: Any, values: Any, dtype: int, order: str, row_pad: int, offset: int
) -> tuple[Any, Any, int]:
    """(batch, rows, cols) to memory of the device: the address of the first element, strides as (row, col, batch)."""
    batch, rows, cols = values.shape
    inner, outer = (cols, rows) if order == "C" else (rows, cols)
    held = np.full((batch, outer, inner + row_pad), encode(np.array(np.nan), dtype))
    held[:, :, :inner] = encode(values if order == "C" else values.transpose(0, 2, 1), dtype)
    memory = device.put(held, offset)
    strides = (inner + row_pad, 1) if order == "C" else (1, inner + row_pad)
    return memory, strides, outer * (inner + row_pad)


class Product:
    """One call on fresh random operands, beside its result in float64."""

    def __init__(self, device: Any, rng: np.random.Generator, m: int, k: int, n: int, **options: Any) -> None:
        get = options.get
        self.device, self.m, self.n, self.k = device, m, n, k
        self.batch: int = get("batch", 1)
        self.variant: str | None = get("variant")
        needed_dtype, needed_precision = _needs(self.variant)
        self.dtype: int = get("dtype", needed_dtype)
        self.out_dtype: int = get("out_dtype", self.dtype)
        self.precision, self.input_rounding = _PRECISION[get("precision", needed_precision)]
        orders, pad, offset = get("orders", "CC"), get("pad", 0), get("offset", 0)
        self.activation: int = get("activation", 0)
        self.accumulate: bool = get("accumulate", False)

        shared_b = get("shared_b", False)
        a = decode(encode(rng.standard_normal((self.batch, m, k)), self.dtype), self.dtype)
        b = decode(encode(rng.standard_normal((1 if shared_b else self.batch, k, n)), self.dtype), self.dtype)
        self.a, (self.a_row, self.a_col), self.a_batch = _placed(
            device, a, self.dtype, orders[0], pad, offset
        )
        self.b, (self.b_row, self.b_col), self.b_batch = _placed(
            device, b, self.dtype, orders[1], pad, offset
        )
        if shared_b:
            self.b_batch = 0
        exact = np.matmul(a, b)
        size = np.matmul(np.abs(a), np.abs(b))
        self.bias = None
        if get("bias", False):
            bias = decode(encode(rng.standard_normal(n), self.out_dtype), self.out_dtype)
            self.bias = device.put(encode(bias, self.out_dtype), offset)
            exact, size = exact + bias, size + np.abs(bias)
        # What C holds before, and what lies between its rows, is NaN where nothing is to be read.
        self.c_row = n + pad
        held = np.full((self.batch, m, self.c_row), encode(np.array(np.nan), self.out_dtype))
        if self.accumulate:
            start = decode(encode(rng.standard_normal((self.batch, m, n)), self.out_dtype), self.out_dtype)
            held[:, :, :n] = encode(start, self.out_dtype)
            exact, size = exact + start, size + np.abs(start)
        self.start, self.offset = held, offset
        self.exact, self.size = _ACTIVATIONS[self.activation](exact), size

    def workspace_bytes(self) -> int:
        return int(
            self.device.module.matmul_workspace(
                self.dtype, self.out_dtype, self.variant, self.precision, self.m, self.n, self.k, self.batch,
                self.a_row, self.a_col, self.b_row, self.b_col,
            )
        )  # fmt: skip

    def run(self) -> Any:
        """The bits of the result."""
        c = self.device.put(self.start, self.offset)
        bytes_needed = self.workspace_bytes()
        workspace = self.device.put(np.full(bytes_needed // 4, np.nan, np.float32), 0)
        address = self.device.address
        self.device.module.matmul(
            0, self.dtype, self.out_dtype, self.variant, self.precision, self.m, self.n, self.k, self.batch,
            address(self.a), self.a_row, self.a_col, self.a_batch,
            address(self.b), self.b_row, self.b_col, self.b_batch,
            address(c), self.c_row, self.m * self.c_row,
            0 if self.bias is None else address(self.bias), self.activation, self.accumulate,
            address(workspace) if bytes_needed else 0, bytes_needed,
        )  # fmt: skip
        held = self.device.get(c)
        assert np.array_equal(held[:, :, self.n :], self.start[:, :, self.n :], equal_nan=True)
        return held[:, :, : self.n]

    def check(self) -> None:
        out = decode(self.run(), self.out_dtype)
        assert out.shape == self.exact.shape
        if not out.size:
            return
        error = np.abs(out - self.exact)
        sums = 2 * _ROUNDING[FLOAT64 if self.dtype == FLOAT64 else FLOAT32]
        last = _ROUNDING[self.out_dtype]
        bound = (8 * sums + 2 * self.input_rounding) * self.size + 2 * last * np.abs(self.exact) + 8 * sums
        assert (error <= bound).all(), f"{(error > bound).sum()} of {error.size} elements are off"
        norm = np.linalg.norm(self.exact)
        if out.size >= 64 and self.activation == 0:
            relative = 4 * sums * (self.k + 8) ** 0.5 + 2 * self.input_rounding + 2 * last
            assert np.linalg.norm(error) <= relative * norm


@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF"])
@pytest.mark.parametrize("variant", [None, *LADDER])
def test_every_layout(device: Any, rng: np.random.Generator, variant: str | None, orders: str) -> None:
    """Tails of every size, in all four layouts."""
    for m, k, n in [(1, 1, 1), (33, 17, 9), (5, 70, 131), (66, 40, 64), (130, 9, 36)]:
        Product(device, rng, m, k, n, variant=variant, orders=orders).check()


@pytest.mark.parametrize("variant", TILES + TENSOR_TILES + TENSOR_TILES_16)
def test_every_tile(device: Any, rng: np.random.Generator, variant: str) -> None:
    """Whole tiles and cut ones, deeper than there are stages; aligned or not by what is drawn."""
    rows, cols = (int(x) for x in variant.split("/")[1].split("x"))
    deep = 200 if "mma_16bit" in variant else 100
    options = [(rows, deep, cols), (rows + 3, 25, cols + 8), (rows - 5, deep + 3, cols // 2 + 1)]
    for (m, k, n), orders in zip(options, rng.permutation(["CC", "CF", "FC", "FF"]), strict=False):
        Product(device, rng, m, k, n, variant=variant, orders=str(orders)).check()


@pytest.mark.parametrize("variant", [None, *LADDER])
def test_misaligned(device: Any, rng: np.random.Generator, variant: str | None) -> None:
    """Starts and rows at no multiple of 16 bytes, NaN around all of them."""
    for offset, pad in itertools.product((0, 1, 2), (0, 1, 4)):
        orders = str(rng.choice(["CC", "CF", "FC", "FF"]))
        Product(device, rng, 20, 36, 44, variant=variant, orders=orders, offset=offset, pad=pad).check()


@pytest.mark.parametrize("activation", range(4))
@pytest.mark.parametrize("variant", [None, *LADDER])
def test_endings(device: Any, rng: np.random.Generator, variant: str | None, activation: int) -> None:
    for m, k, n in [(20, 13, 36), (7, 33, 5)]:
        Product(device, rng, m, k, n, variant=variant, activation=activation, bias=True).check()
        Product(device, rng, m, k, n, variant=variant, activation=activation).check()
        if activation == 0:
            Product(device, rng, m, k, n, variant=variant, accumulate=True, bias=True).check()
            Product(device, rng, m, k, n, variant=variant, accumulate=True).check()


@pytest.mark.parametrize("variant", [None, *LADDER])
def test_batches(device: Any, rng: np.random.Generator, variant: str | None) -> None:
    for shared_b in (False, True):
        Product(device, rng, 9, 20, 17, variant=variant, batch=3, shared_b=shared_b, bias=True).check()


@pytest.mark.parametrize("variant", [None, *LADDER])
def test_empty(device: Any, rng: np.random.Generator, variant: str | None) -> None:
    """Without k the sum is 0; without rows, columns or products there is nothing to do."""
    Product(device, rng, 5, 0, 9, variant=variant, bias=True, activation=2).check()
    Product(device, rng, 5, 0, 9, variant=variant, accumulate=True).check()
    for m, k, n, batch in [(0, 3, 4, 1), (3, 3, 0, 1), (3, 3, 4, 0)]:
        Product(device, rng, m, k, n, variant=variant, batch=batch).check()


_TYPES = [
    (FLOAT64, FLOAT64),
    (FLOAT16, FLOAT16),
    (FLOAT16, FLOAT32),
    (BFLOAT16, BFLOAT16),
    (BFLOAT16, FLOAT32),
]
_OF_TYPES = [(v, *t) for v in ("naive", "coalesced", "tiled", "register_tile", None) for t in _TYPES]
_OF_TYPES += [(v, *t) for v in ("mma_16bit", "splitk") for t in _TYPES[1:]]


@pytest.mark.parametrize(("variant", "dtype", "out_dtype"), _OF_TYPES)
def test_types(
    device: Any, rng: np.random.Generator, variant: str | None, dtype: int, out_dtype: int
) -> None:
    for orders, pad in (("CC", 0), ("FC", 1), ("CF", 4), ("FF", 8)):
        options = {"variant": variant, "dtype": dtype, "out_dtype": out_dtype, "orders": orders, "pad": pad}
        Product(device, rng, 35, 72, 40, bias=True, activation=1, **options).check()
        Product(device, rng, 16, 33, 24, accumulate=True, **options).check()


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF"])
def test_precisions(device: Any, rng: np.random.Generator, precision: str, orders: str) -> None:
    """float32 operands that may be rounded, by the default, by tensor cores, and in slices of K."""
    for variant in (None, {"tf32": "mma_tf32", "bf16": "mma_16bit"}[precision], "splitk", "tiled"):
        for pad in (0, 1):
            Product(
                device,
                rng,
                37,
                150,
                70,
                variant=variant,
                dtype=FLOAT32,
                precision=precision,
                orders=orders,
                pad=pad,
            ).check()


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_slices(device: Any, rng: np.random.Generator, precision: str) -> None:
    """Long sums of small results, of which some slices are cut."""
    for m, k, n in [(3, 700, 5), (40, 301, 33)]:
        for options in ({"bias": True, "activation": 3}, {"accumulate": True}, {"batch": 2}):
            product = Product(device, rng, m, k, n, variant="splitk", precision=precision, **options)
            assert product.workspace_bytes() > 0
            product.check()


@pytest.mark.parametrize("variant", [None, *LADDER])
def test_same_bits(device: Any, rng: np.random.Generator, variant: str | None) -> None:
    product = Product(device, rng, 40, 200, 30, variant=variant, bias=True)
    first = product.run()
    assert np.array_equal(first, product.run())


@pytest.mark.parametrize("variant", LADDER)
def test_large_offsets(simt: Any, rng: np.random.Generator, variant: str, tmp_path: Path) -> None:
    """Rows so far apart that an element's number needs more than 32 bits, in a file that is mostly hole."""
    dtype, precision = _needs(variant)
    stride, (m, k, n) = 2**31 + 8, (3, 4, 2)
    hold = _HOLDS[dtype]
    memory = np.memmap(tmp_path / "a", hold, "w+", shape=stride * (m - 1) + 16)
    a = decode(encode(rng.standard_normal((m, k)), dtype), dtype)
    b = decode(encode(rng.standard_normal((k, n)), dtype), dtype)
    for i in range(m):
        memory[i * stride : i * stride + k] = encode(a[i], dtype)
    result = np.zeros((m, n), np.float32)
    held = encode(b, dtype)
    code = _PRECISION[precision][0]
    size = simt.module.matmul_workspace(dtype, FLOAT32, variant, code, m, n, k, 1, stride, 1, n, 1)
    workspace = simt.put(np.zeros(size // 4, np.float32), 0)
    simt.module.matmul(
        0, dtype, FLOAT32, variant, code, m, n, k, 1, memory.ctypes.data, stride, 1, 0, held.ctypes.data, n, 1, 0,
        result.ctypes.data, n, m * n, 0, 0, False, simt.address(workspace) if size else 0, size,
    )  # fmt: skip
    assert np.linalg.norm(result - a @ b) <= 0.01 * np.linalg.norm(a @ b)


_DEFAULTS: dict[str, Any] = {
    "stream": 0, "dtype": 0, "out_dtype": 0, "variant": None, "precision": 0, "m": 2, "n": 3, "k": 4, "batch": 1,
    "a": 64, "a_row": 4, "a_col": 1, "a_batch": 8, "b": 64, "b_row": 3, "b_col": 1, "b_batch": 12,
    "c": 64, "c_row": 3, "c_batch": 6, "bias": 0, "activation": 0, "accumulate": False,
    "workspace": 0, "workspace_bytes": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": 4}, r"dtype is 4; expected 0 \(float32\), 1 \(float64\), 2 \(float16\) or 3 \(bfloat16\)"),
        ({"out_dtype": 2}, "out_dtype is 2; expected 0, dtype"),
        ({"dtype": 2, "out_dtype": 3}, r"out_dtype is 3; expected 2, dtype, or 0 \(float32\)"),
        ({"precision": 3}, "precision is 3; expected 0"),
        (
            {"dtype": 1, "out_dtype": 1, "precision": 1},
            "precision is 1; expected 0 where dtype is not float32",
        ),
        ({"m": -1}, "m is -1; expected 0 to 2147482623"),
        ({"k": 2**31}, "k is 2147483648; expected 0 to 2147482623"),
        ({"batch": -2}, "batch is -2; expected 0 or more"),
        ({"a_row": 4, "a_col": 2}, r"a has strides \(4, 2\); expected one of them to be 1, none negative"),
        ({"b_row": -3}, r"b has strides \(-3, 1\); expected one of them to be 1"),
        ({"c_row": 2}, "c_row is 2; expected n or more, 3"),
        ({"batch": 2, "c_batch": 5}, "c_batch is 5; expected 6 or more"),
        ({"activation": 4}, "activation is 4; expected 0"),
        ({"activation": 1, "accumulate": True}, "activation is 1; expected 0 with accumulate"),
        ({"variant": "fast"}, "variant is 'fast'; expected None or one of naive, coalesced"),
        ({"variant": "warp_tiled/1x1"}, "variant is 'warp_tiled/1x1'; expected"),
        (
            {"variant": "mma_tf32"},
            "variant 'mma_tf32' needs float32 with precision tf32; given float32 with precision",
        ),
        ({"variant": "splitk", "dtype": 1, "out_dtype": 1}, "variant 'splitk' needs .*; given float64"),
        ({"variant": "splitk"}, "workspace_bytes is 0; expected [0-9]+ or more"),
        ({"a": 0}, "a is at address 0; expected a multiple of 4, not 0"),
        ({"c": 66}, "c is at address 66; expected a multiple of 4"),
        ({"a_row": 2**61}, "a has extents .* expected no more bytes than an address can count"),
    ],
)
def test_wrong_arguments(device: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^matmul: {message}"):
        device.module.matmul(**{**_DEFAULTS, **arguments})


def test_variants(device: Any) -> None:
    assert [row[0] for row in device.module.matmul_variants()][: len(LADDER)] == LADDER


@pytest.mark.parametrize(
    ("shape", "dtype", "precision", "choice"),
    [
        ((4096, 4096, 4096), FLOAT32, 0, "warp_tiled"),
        ((64, 784, 512), FLOAT32, 0, "splitk"),
        ((20, 650, 2600), FLOAT32, 0, "splitk"),
        ((700, 650, 10000), FLOAT32, 0, "warp_tiled"),
        ((100, 100, 100), FLOAT64, 0, "register_tile"),
    ],
)
def test_choice(device: Any, shape: tuple[int, int, int], dtype: int, precision: int, choice: str) -> None:
    m, k, n = shape
    assert device.module.matmul_choice(dtype, dtype, precision, m, n, k, 1, k, 1, n, 1) == choice


@pytest.fixture
def counts(simt: Any) -> Any:
    """What the launches of a 64 x 64 x 64 product did."""
    before = simt.module.get_mode()
    simt.module.set_mode("count")

    def count(variant: str) -> list[dict[str, Any]]:
        product = Product(simt, np.random.default_rng(0), 64, 64, 64, variant=variant)
        simt.module.reset_counters()
        product.run()
        return [dict(row) for row in simt.module.counters()]

    yield count
    simt.module.set_mode(before)


def test_counts_of_naive(counts: Any) -> None:
    """4 blocks of 32 warps. For each k a warp reads 32 elements of A, each in another sector, and one of B."""
    (row,) = counts("naive")
    warps = 4 * 32
    assert row["grid"] == (4, 1, 1)
    assert row["block"] == (32, 32, 1)
    assert row["flops"] == 2 * 64**3
    assert row["global_load_requests"] == warps * 64 * 2
    assert row["global_load_sectors"] == warps * 64 * (32 + 1)
    assert row["global_store_sectors"] == warps * 32
    assert row["shared_load_requests"] == row["shared_store_requests"] == 0


def test_counts_of_coalesced(counts: Any) -> None:
    """The lanes go along rows: one element of A, and 32 neighbours of B in 4 sectors."""
    (row,) = counts("coalesced")
    warps = 4 * 32
    assert row["global_load_sectors"] == warps * 64 * (1 + 4)
    assert row["global_store_sectors"] == warps * 4


def test_counts_of_tiled(counts: Any) -> None:
    """Two tiles along k. A warp copies a row of each, 4 sectors, and reads 2 words for each k without conflict."""
    (row,) = counts("tiled")
    warps = 4 * 32
    assert row["flops"] == 2 * 64**3
    assert row["global_load_sectors"] == warps * 2 * (4 + 4)
    assert row["global_store_sectors"] == warps * 4
    assert row["shared_store_wavefronts"] == warps * 2 * 2
    assert row["shared_load_wavefronts"] == warps * 64 * 2
    assert row["shared_load_conflicts"] == row["shared_store_conflicts"] == 0
