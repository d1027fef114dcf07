"""Conditional random fields of device arrays: checks, scratch memory, and one call of a kernel each.

Every function takes what the one of that name in `dlkit.kernels.crf` takes, where the texts are. Tags may be an array
of the host, whose range is checked; of those on the device none is, as nothing waits for it: the loss of a sequence
with a tag that is none is NaN.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from dlkit.kernels.backend import is_device_array
from dlkit.kernels.device_operands import code, common_backend, contiguous, pointer, same_dtype, text

_MOST_TAGS = 4096


class _Model:
    """What both functions are given: arrays of one device and dtype that fit each other."""

    def __init__(
        self, operation: str, emissions: Any, batch_sizes: Any, transitions: Any, start: Any, end: Any
    ) -> None:
        given = ("transitions", transitions), ("start", start), ("end", end)
        self.operation = operation
        self.backend = common_backend(operation, ("emissions", emissions), *given)
        self.dtype = code(operation, "emissions", emissions)
        if emissions.ndim != 2 or emissions.shape[1] < 1:
            raise ValueError(
                f"{operation}: emissions is {text(emissions.shape)}; expected (rows, tags), at least one tag"
            )
        self.rows, self.tags = emissions.shape
        if self.tags > _MOST_TAGS:
            raise ValueError(
                f"{operation}: emissions is {text(emissions.shape)}; expected at most {_MOST_TAGS} tags on a device"
            )
        for argument, array in given:
            if array is None:
                continue
            code(operation, argument, array)
            same_dtype(operation, ("emissions", emissions), (argument, array))
            expected = (self.tags, self.tags) if argument == "transitions" else (self.tags,)
            if array.shape != expected:
                of = f" but emissions is {text(emissions.shape)}" if argument == "transitions" else ""
                raise ValueError(
                    f"{operation}: {argument} is {text(array.shape)}{of}; expected {text(expected)}"
                )
        self.sizes = _checked_sizes(operation, batch_sizes, self.rows)
        self.batch = self.sizes[0]
        self.device = self.backend.device(emissions)
        self.kind = emissions.dtype
        self.stream = self.backend.stream(emissions)
        starts = np.concatenate([[0], np.cumsum(self.sizes, dtype=np.int64)])
        arrays = [emissions, transitions, start, end, self.put(starts)]
        self.arrays = [None if a is None else contiguous(self.backend, a) for a in arrays]

    def put(self, array: Any) -> Any:
        """Copy an array of the host to the device."""
        return self.backend.from_host(array, self.device)

    def arguments(self) -> tuple[int, ...]:
        """Return what both kernels take first."""
        sizes = self.rows, len(self.sizes), self.batch, self.tags
        return (self.stream, self.dtype, *sizes, *map(pointer, self.arrays))


def crf_loss(
    emissions: Any,
    tags: Any,
    batch_sizes: Any,
    transitions: Any,
    start: Any,
    end: Any,
    weights: Any,
) -> tuple[Any, Any, Any, Any, Any]:
    """Losses, and the gradients by emissions, transitions, start and end, None where `weights` is None.

    `weights` is a number, or an array of one for each sequence.
    """
    operation = "crf_loss"
    model = _Model(operation, emissions, batch_sizes, transitions, start, end)
    backend, xp, kind = model.backend, model.backend.xp, model.kind
    path = None if tags is None else contiguous(backend, _path(model, tags))
    losses = xp.empty((model.batch,), kind)
    if weights is None:
        backend.library.crf_loss(*model.arguments(), pointer(path), pointer(losses), 0, 0, 0, 0)
        return losses, None, None, None, None
    if isinstance(weights, (int, float)):
        each = xp.full((model.batch,), weights, kind)
    else:
        common_backend(operation, ("emissions", emissions), ("weights", weights))
        same_dtype(operation, ("emissions", emissions), ("weights", weights))
        if weights.shape != (model.batch,):
            raise ValueError(
                f"{operation}: weights is {text(weights.shape)}; expected ({model.batch},), one for each sequence"
            )
        each = contiguous(backend, weights)
    by_emissions = xp.empty((model.rows, model.tags), kind)
    square = model.tags * model.tags
    sums = xp.empty((square + 2 * model.tags,), kind)
    needed = backend.library.crf_loss_scratch(model.dtype, model.rows, model.tags, model.batch, True)
    scratch = backend.scratch(needed)
    backend.library.crf_loss(
        *(*model.arguments(), pointer(path), pointer(losses), pointer(each), pointer(by_emissions)),
        *(pointer(sums), pointer(scratch)),
    )
    by_transitions = sums[:square].reshape(model.tags, model.tags)
    return losses, by_emissions, by_transitions, sums[square : square + model.tags], sums[-model.tags :]


def crf_decode(emissions: Any, batch_sizes: Any, transitions: Any, start: Any, end: Any) -> tuple[Any, Any]:
    """As `dlkit.kernels.crf_decode`."""
    model = _Model("crf_decode", emissions, batch_sizes, transitions, start, end)
    backend, xp = model.backend, model.backend.xp
    path, scores = xp.empty((model.rows,), np.int64), xp.empty((model.batch,), model.kind)
    scratch = backend.scratch(backend.library.crf_decode_scratch(model.rows, model.tags))
    backend.library.crf_decode(*model.arguments(), pointer(path), pointer(scores), pointer(scratch))
    return path, scores


def _path(model: _Model, tags: Any) -> Any:
    # On the device, as integers of 64 bits.
    operation = model.operation
    there = is_device_array(tags)
    if not there and not isinstance(tags, np.ndarray):
        raise TypeError(f"{operation}: tags is a {type(tags).__name__}; expected an array of integers")
    if tags.dtype.kind not in "iu":
        raise TypeError(f"{operation}: tags has dtype {tags.dtype}; expected integers")
    if tags.shape != (model.rows,):
        raise ValueError(
            f"{operation}: tags is {text(tags.shape)}; expected ({model.rows},), one for each row of emissions"
        )
    if there:
        common_backend(operation, ("emissions", model.arrays[0]), ("tags", tags))
        return tags.astype(np.int64, copy=False)
    outside = (tags < 0) | (tags >= model.tags)
    if outside.any():
        at = int(outside.argmax())
        raise ValueError(f"{operation}: tags[{at}] is {tags[at]}; expected 0 to {model.tags - 1}")
    return model.put(tags.astype(np.int64, copy=False))


def _checked_sizes(operation: str, batch_sizes: Any, rows: int) -> list[int]:
    if not hasattr(batch_sizes, "__iter__"):
        raise TypeError("batch_sizes: expected a sequence of integers")
    sizes: list[int] = []
    total = 0
    for t, given in enumerate(batch_sizes):
        try:
            size = operator.index(given)
        except TypeError:
            raise TypeError(
                f"{operation}: batch_sizes is {given!r}; expected an integer of 64 bits"
            ) from None
        if size < 1 or (sizes and size > sizes[-1]):
            expected = f" after {sizes[-1]}; expected no increase" if size >= 1 else "; expected at least 1"
            raise ValueError(f"{operation}: batch_sizes[{t}] is {size}{expected}")
        total += size
        if total > rows:
            raise ValueError(
                f"{operation}: batch_sizes up to batch_sizes[{t}] add up to {total}; "
                f"expected the rows of emissions, {rows}"
            )
        sizes.append(size)
    if total != rows or not sizes:
        raise ValueError(
            f"{operation}: batch_sizes add up to {total}; expected the rows of emissions, {rows}, and at least one"
        )
    return sizes
