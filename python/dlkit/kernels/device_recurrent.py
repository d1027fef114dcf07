"""Recurrent layers of device arrays: checks, scratch memory, and one call of the kernels for all directions.

Every function takes what those of `dlkit.kernels.recurrent` hand over, where the texts are. Errors are in the words
that the CPU's kernels use. Nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlkit.kernels import precision as precisions
from dlkit.kernels.backend import backend_named
from dlkit.kernels.device_operands import code, common_backend, contiguous, overlap, pointer, text

if TYPE_CHECKING:
    from dlkit.kernels.recurrent import CellTraits, RecurrentWeights

#: Of `RecurrentWeights`, what kernels of devices take: they have no layer normalisation.
_PARTS = "weight_ih", "weight_hh", "bias_ih", "bias_hh", "peepholes"


def ladders(backend: str) -> dict[str, list[tuple[str, str, str]]]:
    """Return (name, idea, needs) of each variant that a backend has."""
    return {"recurrent": backend_named(backend).library.recurrent_variants()}


class _Layer:
    """What both passes are given: arrays of one device and dtype that fit each other."""

    def __init__(
        self,
        operation: str,
        x: Any,
        weights: Sequence[RecurrentWeights],
        batch_sizes: Sequence[int],
        mask: Any,
        traits: CellTraits,
        settings: tuple[str, bool, str | None],
        others: tuple[tuple[str, Any], ...],
    ) -> None:
        self.operation, self.traits, self.x, self.weights = operation, traits, x, weights
        _require_no_norms(operation, weights)
        parts = tuple((f, a) for w in weights for f, a in zip(_PARTS, w, strict=False))
        self.backend = common_backend(operation, ("x", x), *parts, ("mask", mask), *others)
        self.dtype = code(operation, "x", x)
        if x.ndim != 2:
            raise ValueError(f"{operation}: x is {text(x.shape)}; expected (rows, inputs)")
        self.cell, self.new_z, self.variant = settings
        self.rows, self.inputs = x.shape
        self.hidden = weights[0].hh.shape[1]
        for w in weights:
            shape, gates = w.hh.shape, traits.gates
            if len(shape) != 2 or shape[1] < 1 or shape[0] != gates * shape[1]:
                raise ValueError(
                    f"{operation}: weight_hh is {text(shape)}; expected ({gates} H, H) with H at least 1"
                )
            self.like("weight_hh", w.hh, (gates * self.hidden, self.hidden))
        self.batch_sizes = self.backend.library.recurrent_batch_sizes(batch_sizes, self.rows, operation)
        self.batch = self.batch_sizes[0]
        width = traits.gates * self.hidden
        for w in weights:
            if w.ih is None:
                raise ValueError(f"{operation}: weight_ih is None; expected an array")
            self.like("weight_ih", w.ih, (width, self.inputs))
            self.like("bias_ih", w.ih_bias, (width,))
            self.like("bias_hh", w.hh_bias, (width,))
            self.like("peepholes", w.peepholes, (3, self.hidden))
        self.mask = self.states("mask", mask)
        if not traits.has_c and any(w.peepholes is not None for w in weights):
            raise ValueError(
                f"{operation}: peepholes are given but the cell is {self.cell}; expected an LSTM"
            )
        self.precision = precisions.code(None, operation) if self.dtype == 0 else 0
        self.input = contiguous(self.backend, x)
        self.arrays = [
            tuple(None if a is None else contiguous(self.backend, a) for a in w[: len(_PARTS)])
            for w in weights
        ]

    def like(self, argument: str, array: Any, shape: tuple[int, ...]) -> None:
        """Raise unless an array, or None, has the dtype of x and a shape."""
        if array is None:
            return
        code(self.operation, argument, array)
        if array.dtype != self.x.dtype:
            raise TypeError(
                f"{self.operation}: {argument} is {array.dtype.name} but x is {self.x.dtype.name}; expected one dtype"
            )
        if array.shape != shape:
            raise ValueError(f"{self.operation}: {argument} is {text(array.shape)}; expected {text(shape)}")

    def states(self, argument: str, states: Any) -> list[Any]:
        """Return the states of each direction, or None for each."""
        if states is None:
            return [None] * len(self.weights)
        directions = len(self.weights)
        if states.ndim != 3 or states.shape[0] != directions:
            raise ValueError(
                f"{self.operation}: {argument} is {text(states.shape)}; expected ({directions}, B, H)"
            )
        each = [states[d] for d in range(directions)]
        for state in each:
            self.like(argument, state, (self.batch, self.hidden))
        return [contiguous(self.backend, state) for state in each]

    def outputs(self, argument: str, array: Any) -> tuple[Any, list[Any], int]:
        """Return an array of what all directions put out, its columns of each, and the elements from row to row."""
        if array is None:
            return None, [None] * len(self.weights), 0
        self.like(argument, array, (self.rows, len(self.weights) * self.hidden))
        array = contiguous(self.backend, array)
        columns = [array[:, d * self.hidden : (d + 1) * self.hidden] for d in range(len(self.weights))]
        return array, columns, array.shape[1]

    def settings(self) -> tuple[Any, ...]:
        """Return what the module of kernels takes first."""
        return (
            *(self.backend.stream(self.x), self.dtype, self.precision, self.variant, self.cell, self.new_z),
            *(self.batch_sizes, self.rows, self.inputs, self.hidden),
        )

    def addresses(self, direction: int) -> tuple[int, ...]:
        """Return where the weights of a direction are."""
        return tuple(pointer(array) for array in self.arrays[direction])

    def run(self, call: Any, *arguments: Any) -> None:
        """Call the kernels with as much scratch memory as they say they take."""
        nbytes = call(*arguments, 0, 0)
        scratch = self.backend.scratch(nbytes)
        call(*arguments, pointer(scratch), nbytes)


def recurrent(
    operation: str,
    x: Any,
    weights: Sequence[RecurrentWeights],
    batch_sizes: Sequence[int],
    h0: Any,
    c0: Any,
    mask: Any,
    keep: bool,
    traits: CellTraits,
    settings: tuple[str, bool, str | None],
) -> tuple[Any, Any, Any, tuple[Any, ...] | None]:
    """As `dlkit.kernels.recurrent`, of arrays on one device; the last is the reserve of each direction."""
    layer = _Layer(
        *(operation, x, weights, batch_sizes, mask, traits, settings), others=(("h0", h0), ("c0", c0))
    )
    backend, xp, directions = layer.backend, layer.backend.xp, len(weights)
    first_h, first_c = layer.states("h0", h0), layer.states("c0", c0)
    y, columns, stride = layer.outputs("y", xp.empty((layer.rows, directions * layer.hidden), x.dtype))
    shape = directions, layer.batch, layer.hidden
    hn = xp.empty(shape, x.dtype)
    cn = xp.empty(shape, x.dtype) if traits.has_c else None
    reserves = [
        xp.empty((layer.rows, traits.slots, layer.hidden), x.dtype) if keep else None for _ in weights
    ]
    passes = tuple(
        (
            *(layer.addresses(d), pointer(layer.input), pointer(layer.mask[d])),
            *(pointer(first_h[d]), pointer(first_c[d]), pointer(columns[d]), stride),
            *(pointer(hn[d]), pointer(None if cn is None else cn[d]), pointer(reserves[d])),
        )
        for d in range(directions)
    )
    layer.run(backend.library.recurrent, layer.settings(), passes)
    return y, hn, cn, tuple(reserves) if keep else None


def recurrent_backward(
    operation: str,
    reserves: Sequence[Any],
    x: Any,
    weights: Sequence[RecurrentWeights],
    batch_sizes: Sequence[int],
    y: Any,
    dy: Any,
    dhn: Any,
    dcn: Any,
    mask: Any,
    by_x: bool,
    by_state: bool,
    out: Sequence[RecurrentWeights] | None,
    accumulate: bool,
    traits: CellTraits,
    settings: tuple[str, bool, str | None],
) -> tuple[Any, Any, Any, Sequence[RecurrentWeights]]:
    """As `dlkit.kernels.recurrent_backward`, of arrays on one device."""
    others = [("y", y), ("dy", dy), ("dhn", dhn), ("dcn", dcn), *(("reserve", r) for r in reserves)]
    if out is not None:
        _require_no_norms(operation, out)
        others += [(f"d{name}", a) for w in out for name, a in zip(_PARTS, w, strict=False)]
    layer = _Layer(*(operation, x, weights, batch_sizes, mask, traits, settings), others=tuple(others))
    backend, xp, directions = layer.backend, layer.backend.xp, len(weights)
    _, y_columns, y_stride = layer.outputs("y", y)
    _, dy_columns, dy_stride = layer.outputs("dy", dy)
    last_h, last_c = layer.states("dhn", dhn), layer.states("dcn", dcn)
    if out is None:
        out = [type(w)(*(None if a is None else xp.empty(a.shape, x.dtype) for a in w)) for w in weights]
        accumulate = False
    width = traits.gates * layer.hidden
    shapes = (width, layer.inputs), (width, layer.hidden), (width,), (width,), (3, layer.hidden)
    written = [("reserve", reserve) for reserve in reserves]
    for reserve in reserves:
        layer.like("reserve", reserve, (layer.rows, traits.slots, layer.hidden))
    for w in out:
        for name, array, shape in zip(_PARTS, w, shapes, strict=False):
            layer.like(f"d{name}", array, shape)
            if array is not None:
                written.append((f"d{name}", array))
    _require_apart(layer, written, [("y", y), ("dy", dy), ("dhn", dhn), ("dcn", dcn), ("mask", mask)])
    dx = xp.empty(x.shape, x.dtype) if by_x else None
    state = directions, layer.batch, layer.hidden
    dh0 = xp.empty(state, x.dtype) if by_state else None
    dc0 = xp.empty(state, x.dtype) if by_state and traits.has_c else None
    passes = tuple(
        (
            *(layer.addresses(d), pointer(layer.input), pointer(layer.mask[d])),
            *(pointer(y_columns[d]), y_stride, pointer(reserves[d]), pointer(dy_columns[d]), dy_stride),
            *(pointer(last_h[d]), pointer(last_c[d]), pointer(dx)),
            *(pointer(None if dh0 is None else dh0[d]), pointer(None if dc0 is None else dc0[d])),
            tuple(pointer(array) for array in out[d][: len(_PARTS)]),
        )
        for d in range(directions)
    )
    layer.run(backend.library.recurrent_backward, layer.settings(), passes, bool(accumulate))
    return dx, dh0, dc0, out


def _require_no_norms(operation: str, weights: Sequence[RecurrentWeights]) -> None:
    if any(a is not None for w in weights for a in w[len(_PARTS) :]):
        raise ValueError(
            f"{operation}: norm_ih, norm_hh or norm_c is given and x is on a device; expected None "
            "(dlkit.nn.recurrent_steps normalises there)"
        )


def _require_apart(layer: _Layer, written: list[tuple[str, Any]], read: list[tuple[str, Any]]) -> None:
    read = [("x", layer.x), *((n, a) for w in layer.weights for n, a in zip(_PARTS, w, strict=False)), *read]
    for at, (argument, array) in enumerate(written):
        if not array.flags.c_contiguous or array.data.ptr % array.itemsize:
            raise ValueError(
                f"{layer.operation}: {argument} is not contiguous; expected a C-contiguous array"
            )
        for name, other in [*read, *written[:at]]:
            if other is not None and overlap(array, other):
                raise ValueError(f"{layer.operation}: {argument} overlaps {name}; expected memory of its own")
