"""Updates of word vectors of device arrays: checks, and one call of a kernel.

The words of a batch are taken at one time, not one after the other: each sees the matrices without, or with, what the
others do, and no step is lost. So a batch whose words share rows comes to a little something else from run to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.kernels.backend import backend_named, nearest
from dlkit.kernels.device_operands import code, common_backend, overlap, pointer, same_dtype, text

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPERATIONS = "sgns_update", "sghs_update", "cbow_update", "cbow_hs_update"


def ladders(backend: str) -> dict[str, list[tuple[str, str, str]]]:
    """Return (name, idea, needs) of each variant of each update."""
    rows = backend_named(backend).library.word2vec_variants()
    return dict.fromkeys(OPERATIONS, rows)


def update_words(
    operation: str,
    inputs: NDArray[np.int64],
    outputs: NDArray[np.int64],
    labels: NDArray[np.uint8],
    w_in: Any,
    w_out: Any,
    lr: float,
    cbow: bool,
    mean: bool,
    divide: bool,
    variant: str | None,
) -> float:
    """As ``_cpu.update_words``, of matrices on a device; rows are of the host. Waits for the loss."""
    backend = common_backend(operation, ("w_in", w_in), ("w_out", w_out))
    dtype = code(operation, "w_in", w_in)
    same_dtype(operation, ("w_in", w_in), ("w_out", w_out))
    for argument, matrix in (("w_in", w_in), ("w_out", w_out)):
        if matrix.ndim != 2:
            raise ValueError(f"{operation}: {argument} is {text(matrix.shape)}; expected (words, dimensions)")
        if not matrix.flags.c_contiguous:
            raise ValueError(f"{operation}: {argument} is not contiguous; expected rows one after the other")
    if w_in.shape[1] != w_out.shape[1]:
        raise ValueError(
            f"{operation}: w_in is {text(w_in.shape)} but w_out is {text(w_out.shape)}; expected as many columns"
        )
    if overlap(w_in, w_out):
        raise ValueError(f"{operation}: w_out overlaps w_in; expected memory of its own")
    _check_rows(operation, "contexts", inputs, w_in.shape[0])
    _check_rows(operation, "outputs", outputs, w_out.shape[0])
    if isinstance(lr, bool) or not isinstance(lr, (int, float, np.integer, np.floating)):
        raise TypeError(f"{operation}: lr is {lr!r}; expected a number")
    known = [name for name, *_ in backend.library.word2vec_variants()]
    if variant is not None and variant not in known:
        raise ValueError(
            f"{operation}: variant is {variant!r}; expected one of {', '.join(known)}{nearest(str(variant), known)}"
        )
    device = backend.device(w_in)
    put = [backend.from_host(array, device) for array in (inputs, outputs, labels)]
    loss = backend.xp.zeros((1,), np.float64)
    backend.library.update_words(
        *(operation, backend.stream(w_in), dtype, variant or "", w_in.shape[1]),
        *(w_in.shape[0], w_out.shape[0], pointer(w_in), pointer(w_out)),
        *(*inputs.shape, outputs.shape[-1], *map(pointer, put), outputs.ndim == 3),
        *(cbow, mean, divide, float(lr), pointer(loss)),
    )
    return float(backend.to_host(loss)[0])


def _check_rows(operation: str, argument: str, rows: NDArray[np.int64], count: int) -> None:
    if not rows.size:
        return
    for row in (int(rows.min()), int(rows.max())):
        if not -1 <= row < count:
            raise IndexError(
                f"{operation}: {argument} has row {row}; expected 0 to {count - 1}, or -1 for none"
            )
