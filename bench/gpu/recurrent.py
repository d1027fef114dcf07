"""Recurrent layers over whole sequences, forward and a training step, against cuDNN through PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from device import Device, main, relative_error
from timing import Contender, Deadline, compare

#: Steps, sequences, inputs, units.
SHAPES = [
    (35, 20, 200, 200),
    (35, 20, 650, 650),
    (35, 20, 1024, 1024),
    (35, 64, 650, 650),
    (35, 64, 1024, 1024),
    (35, 20, 1500, 1500),
    (50, 32, 100, 128),
    (28, 128, 28, 128),
    (100, 1, 128, 128),
]
DRY = [(3, 2, 3, 10)]
CELLS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "tanh": torch.nn.RNN}
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
    """One layer in one direction: its arrays, and how the module and PyTorch run it."""

    def __init__(self, device: Device, cell: str, shape: tuple[int, int, int, int]) -> None:
        self.device, self.cell = device, cell
        steps, batch, inputs, hidden = self.shape = shape
        rows, width = steps * batch, GATES[cell] * hidden
        self.x, self.dy = device.random(rows, inputs), device.random(rows, hidden)
        sizes = (width, inputs), (width, hidden), (width,), (width,)
        self.weights = [device.random(*size) * hidden**-0.5 for size in sizes]
        self.gradients = [torch.empty_like(w) for w in self.weights]
        self.y, self.dx = device.empty(rows, hidden), device.empty(rows, inputs)
        self.hn, self.cn = device.empty(batch, hidden), device.empty(batch, hidden)
        self.reserve = device.empty(rows, SLOTS[cell] * hidden)
        self.peer: Any = None
        if cell in CELLS:
            self.peer = CELLS[cell](inputs, hidden).to(device.torch)
            with torch.no_grad():
                for parameter, weight in zip(self.peer.parameters(), self.weights, strict=True):
                    parameter.copy_(weight)
            self.peer.flatten_parameters()
        self.input = self.x.view(steps, batch, inputs).clone().requires_grad_()
        self.choice = ""
        self.flops = 2 * rows * width * (inputs + hidden)

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
                *(device.stream(), 0, precision, variant, self.cell, False, False),
                *([batch] * steps, steps * batch, inputs, hidden),
            )

        weights = (*(w.data_ptr() for w in self.weights), 0)
        forward = (
            *(weights, self.x.data_ptr(), 0, 0, 0, self.y.data_ptr(), hidden, self.hn.data_ptr()),
            *(self.cn.data_ptr() if has_c else 0, self.reserve.data_ptr() if training else 0),
        )
        backward = (
            *(weights, self.x.data_ptr(), 0, self.y.data_ptr(), hidden, self.reserve.data_ptr()),
            *(self.dy.data_ptr(), hidden, 0, 0, self.dx.data_ptr(), False, 0, 0),
            *((*(g.data_ptr() for g in self.gradients), 0), False),
        )
        module = device.module
        if variant is None:
            self.choice = module.recurrent_choice(settings())
        sizes = [module.recurrent(settings(), *forward, 0, 0)]
        if training:
            sizes.append(module.recurrent_backward(settings(), *backward, 0, 0))
        scratch = device.bytes(max(sizes))

        def call() -> None:
            module.recurrent(settings(), *forward, scratch.data_ptr(), sizes[0])
            if training:
                module.recurrent_backward(settings(), *backward, scratch.data_ptr(), sizes[1])

        return call

    def check(self, training: bool) -> Callable[[], float]:
        """Return what compares the last call's results with PyTorch's in float64."""
        if self.peer is None:
            return lambda: 0.0 if bool(torch.isfinite(self.y).all()) else float("nan")
        wide = CELLS[self.cell](*self.shape[2:]).double().to(self.device.torch)
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


def measure(device: Device, deadline: Deadline) -> dict[str, Any]:
    """Return a row for each cell, shape and mode."""
    rows = []
    variants = [name for name, *_ in device.module.recurrent_variants()]
    shapes = DRY if device.dry_run else SHAPES
    plan = [(mode, cell, shape) for mode in MODES for cell in CELLS for shape in shapes]
    plan += [(MODES[0], cell, shape) for cell in OTHERS for shape in shapes[:2]]
    for (mode, precision), cell, shape in plan:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"
        for training in (False, True):
            what = "training step" if training else "forward"
            row: dict[str, Any] = {
                "mode": mode, "operation": f"{cell} {what}", "shape": "x".join(map(str, shape)), "left_out": {},
            }  # fmt: skip
            rows.append(row)
            if deadline.left() == 0:
                row["failure"] = "no time left"
                continue
            try:
                _measure_row(device, deadline, row, Layer(device, cell, shape), precision, training, variants)
            except Exception as error:
                row["failure"] = f"{type(error).__name__}: {error}"[:300]
    return {"rows": rows}


def _measure_row(
    device: Device, deadline: Deadline, row: dict[str, Any], layer: Layer, precision: int, training: bool,
    variants: list[str],
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
    results = compare(contenders, device.clock, deadline, rounds=2 if device.dry_run else 7)
    row["results"] = [result.record() for result in results]


if __name__ == "__main__":
    main("recurrent", measure)
