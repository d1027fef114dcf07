"""Recurrent layers over whole sequences, of one direction and of both, forward and a training step, against cuDNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from device import Device, main, relative_error
from record import Record
from timing import Contender, Deadline, compare

#: Steps, sequences, inputs, units.
SHAPES = [
    (35, 20, 200, 200),
    (35, 20, 650, 650),
    (35, 20, 1024, 1024),
    (35, 64, 650, 650),
    (35, 64, 1024, 1024),
    (35, 20, 1500, 1500),
    (35, 64, 1500, 1500),
    (20, 20, 2048, 2048),
    (35, 4, 2048, 2048),
    (50, 32, 100, 128),
    (28, 128, 28, 128),
    (100, 1, 128, 128),
]
DRY = [(3, 2, 3, 10)]
CELLS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "tanh": torch.nn.RNN}
#: Of layers of both directions.
BOTH = [(50, 32, 100, 128), (35, 20, 650, 650), (35, 20, 1024, 1024)]
#: Cells that cuDNN has not, and what stands for it.
OTHERS = ("coupled_lstm", "gru_reset_first", "input_gate", "interpolate")
GATES = {
    "lstm": 4,
    "gru": 3,
    "tanh": 1,
    "coupled_lstm": 3,
    "gru_reset_first": 3,
    "input_gate": 3,
    "interpolate": 2,
}
SLOTS = {
    "lstm": 6,
    "gru": 5,
    "tanh": 2,
    "coupled_lstm": 5,
    "gru_reset_first": 5,
    "input_gate": 4,
    "interpolate": 3,
}
MODES = [("float32", 0), ("tf32", 1)]


class Layer:
    """One layer: its arrays, and how the module and PyTorch run it."""

    def __init__(
        self, device: Device, cell: str, shape: tuple[int, int, int, int], directions: int = 1
    ) -> None:
        self.device, self.cell, self.directions = device, cell, directions
        steps, batch, inputs, hidden = self.shape = shape
        rows, width = steps * batch, GATES[cell] * hidden
        self.x, self.dy = device.random(rows, inputs), device.random(rows, directions * hidden)
        sizes = directions * ((width, inputs), (width, hidden), (width,), (width,))
        self.weights = [device.random(*size) * hidden**-0.5 for size in sizes]
        self.gradients = [torch.empty_like(w) for w in self.weights]
        self.y, self.dx = device.empty(rows, directions * hidden), device.empty(rows, inputs)
        self.hn, self.cn = (device.empty(directions * batch, hidden) for _ in range(2))
        self.reserve = device.empty(directions * rows, SLOTS[cell] * hidden)
        self.peer: Any = None
        if cell in CELLS:
            self.peer = CELLS[cell](inputs, hidden, bidirectional=directions == 2).to(device.torch)
            with torch.no_grad():
                for parameter, weight in zip(self.peer.parameters(), self.weights, strict=True):
                    parameter.copy_(weight)
            self.peer.flatten_parameters()
        self.input = self.x.view(steps, batch, inputs).clone().requires_grad_()
        self.choice = ""
        self.flops = 2 * directions * rows * width * (inputs + hidden)

    def torch_step(self, training: bool, layer: Any = None, x: Any = None) -> torch.Tensor:
        """Run PyTorch's layer."""
        layer, x = layer or self.peer, self.input if x is None else x
        if not training:
            with torch.no_grad():
                return layer(x)[0]  # type: ignore[no-any-return]
        for tensor in (x, *layer.parameters()):
            tensor.grad = None
        y = layer(x)[0]
        y.backward(self.dy.view_as(y).to(y.dtype))
        return y  # type: ignore[no-any-return]

    def kernels(self, variant: str | None, precision: int, training: bool) -> Callable[[], None]:
        """Return the module's calls."""
        device, (steps, batch, inputs, hidden) = self.device, self.shape
        has_c = self.cell.endswith("lstm")

        def settings() -> tuple[Any, ...]:
            return (
                *(device.stream(), 0, precision, variant, self.cell, False),
                *([batch] * steps, steps * batch, inputs, hidden),
            )

        def at(array: torch.Tensor, direction: int, size: int) -> int:
            return array.data_ptr() + array.element_size() * direction * size

        def four(arrays: list[torch.Tensor], direction: int) -> tuple[int, ...]:
            return (*(array.data_ptr() for array in arrays[4 * direction : 4 * direction + 4]), 0)

        forward, backward, stride = [], [], self.directions * hidden
        for d in range(self.directions):
            y, dy = at(self.y, d, hidden), at(self.dy, d, hidden)
            reserve = at(self.reserve, d, steps * batch * self.reserve.shape[1]) if training else 0
            hn, cn = (at(states, d, batch * hidden) for states in (self.hn, self.cn))
            weights, x = four(self.weights, d), self.x.data_ptr()
            forward.append((weights, x, 0, 0, 0, y, stride, hn, cn if has_c else 0, reserve))
            backward.append(
                (
                    *(weights, x, 0, y, stride, reserve, dy, stride, 0, 0),
                    *(self.dx.data_ptr(), 0, 0, four(self.gradients, d)),
                )
            )
        module, passes, back = device.module, tuple(forward), tuple(backward)
        if variant is None:
            self.choice = module.recurrent_choice(settings(), self.directions)
        sizes = [module.recurrent(settings(), passes, 0, 0)]
        if training:
            sizes.append(module.recurrent_backward(settings(), back, False, 0, 0))
        scratch = device.bytes(max(sizes))

        def call() -> None:
            module.recurrent(settings(), passes, scratch.data_ptr(), sizes[0])
            if training:
                module.recurrent_backward(settings(), back, False, scratch.data_ptr(), sizes[1])

        return call

    def check(self, training: bool) -> Callable[[], float]:
        """Return what compares the last call's results with PyTorch's in float64."""
        if self.peer is None:
            return lambda: 0.0 if bool(torch.isfinite(self.y).all()) else float("nan")
        wide = CELLS[self.cell](*self.shape[2:], bidirectional=self.directions == 2)
        wide = wide.double().to(self.device.torch)
        wide.load_state_dict({name: value.double() for name, value in self.peer.state_dict().items()})
        x = self.input.detach().double().requires_grad_()
        pairs = [(self.y, self.torch_step(training, wide, x).detach().view_as(self.y))]
        if training:
            pairs.append((self.dx, x.grad.view_as(self.dx)))
            pairs += [(g, p.grad) for g, p in zip(self.gradients, wide.parameters(), strict=True)]

        def error() -> float:
            found = max(relative_error(out, reference) for out, reference in pairs)
            for out, _ in pairs:
                out.fill_(float("nan"))
            return found

        return error


def measure(device: Device, deadline: Deadline, record: Record) -> None:
    """Record a row for each cell, shape and mode."""
    variants = [name for name, *_ in device.module.recurrent_variants()]
    shapes = DRY if device.dry_run else SHAPES
    plan = [(mode, cell, shape, 1) for mode in MODES for cell in CELLS for shape in shapes]
    both = DRY if device.dry_run else BOTH
    plan[len(shapes) :] = [
        *((MODES[0], cell, shape, 2) for cell in ("lstm", "gru") for shape in both),
        *((MODES[0], cell, shape, 1) for cell in OTHERS for shape in shapes[:2]),
        *plan[len(shapes) :],
    ]
    for (mode, precision), cell, shape, directions in plan:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"
        for training in (False, True):
            what = ", both directions" * (directions - 1) + (" training step" if training else " forward")
            name, extents = f"{cell}{what}", "x".join(map(str, shape))
            with record.row(
                f"{name} {extents}, {mode}", mode=mode, operation=name, shape=extents, left_out={}
            ) as row:
                if deadline.left() == 0:
                    row["failure"] = "no time left"
                    continue
                layer = Layer(device, cell, shape, directions)
                _measure_row(device, deadline, record, row, layer, precision, training, variants)


def _measure_row(
    device: Device, deadline: Deadline, record: Record, row: dict[str, Any], layer: Layer, precision: int,
    training: bool, variants: list[str],
) -> None:  # fmt: skip
    row["flops"] = layer.flops * (3 if training else 1)
    check = layer.check(training)
    contenders = []
    if layer.peer is not None:
        contenders.append(Contender("torch", [lambda: layer.torch_step(training)]))
    for variant in [None, *variants]:
        if variant == "naive" and not device.dry_run:
            row["left_out"][variant] = "slow"
            continue
        try:
            call = layer.kernels(variant, precision, training)
        except ValueError as error:  # does not take it
            row["left_out"][variant or "automatic"] = str(error)[:200]
            continue
        contenders.append(Contender(variant or "automatic", [call], check))
    row["choice"] = layer.choice
    results = compare(contenders, device.clock, deadline, record.start, rounds=2 if device.dry_run else 7)
    row["results"] = [result.record() for result in results]


if __name__ == "__main__":
    main("recurrent", measure)
