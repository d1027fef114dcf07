"""Every convolution variant, forward and both gradients, against cuDNN through PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from device import Device, main, relative_error
from record import Record
from timing import Contender, Deadline, compare, input_sets

SLOW_SECONDS = 0.02  # a variant that is predicted to take longer for one call is left out
OPERATIONS = ("", "_backward_input", "_backward_weight")
MODES = [("float32", 0), ("tf32", 1)]


@dataclass(frozen=True)
class Shape:
    """n x channels x height x width -> filters, kernel."""

    n: int
    channels: int
    height: int
    width: int
    filters: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    def __str__(self) -> str:
        text = f"{self.n}x{self.channels}x{self.height}x{self.width} -> {self.filters}, "
        text += f"{self.kernel[0]}x{self.kernel[1]}"
        for name, value, default in (("stride", self.stride, 1), ("groups", self.groups, 1)):
            text += f", {name} {value}" if value != default else ""
        return text


SHAPES = [
    Shape(64, 1, 28, 28, 20, (5, 5)),
    Shape(64, 20, 12, 12, 50, (5, 5)),
    Shape(128, 32, 28, 28, 64, (3, 3), padding=(1, 1)),
    Shape(32, 64, 56, 56, 64, (3, 3), padding=(1, 1)),
    Shape(32, 128, 28, 28, 128, (3, 3), padding=(1, 1)),
    Shape(32, 256, 14, 14, 256, (3, 3), padding=(1, 1)),
    Shape(32, 64, 56, 56, 128, (3, 3), stride=2, padding=(1, 1)),
    Shape(32, 256, 14, 14, 1024, (1, 1)),
    Shape(8, 3, 224, 224, 64, (7, 7), stride=2, padding=(3, 3)),
    Shape(32, 64, 56, 56, 64, (3, 3), padding=(1, 1), groups=64),
    Shape(50, 300, 1, 56, 100, (1, 3)),
    Shape(50, 300, 1, 56, 100, (1, 5)),
]
DRY = [Shape(1, 3, 7, 8, 5, (3, 3), padding=(1, 1)), Shape(1, 4, 6, 6, 4, (3, 3), padding=(1, 1), groups=4)]


class Call:
    """One operation on one set of arrays: operands, the result, and how PyTorch computes it."""

    def __init__(self, device: Device, shape: Shape, operation: str) -> None:
        self.device, self.shape, self.operation = device, shape, operation
        kernel = shape.kernel
        self.x = device.random(shape.n, shape.channels, shape.height, shape.width)
        self.weight = device.random(shape.filters, shape.channels // shape.groups, *kernel)
        self.grad = torch.randn_like(self.torch_forward(self.x, self.weight))
        self.first, self.second = {
            "": (self.x, self.weight),
            "_backward_input": (self.grad, self.weight),
            "_backward_weight": (self.grad, self.x),
        }[operation]
        result = {"": self.grad, "_backward_input": self.x, "_backward_weight": self.weight}[operation]
        self.out = torch.full_like(result, float("nan"))
        size = {"": (0, 0), "_backward_input": (shape.height, shape.width), "_backward_weight": kernel}[
            operation
        ]
        pads = (shape.padding[0], shape.padding[0], shape.padding[1], shape.padding[1])
        geometry = (shape.stride, shape.stride, *pads, 1, 1, shape.groups)
        self.arguments = tuple(self.first.shape), tuple(self.second.shape), size, geometry
        self.flops = 2 * self.grad.numel() * self.weight[0].numel()

    def torch_forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        s = self.shape
        return F.conv2d(x, weight, None, s.stride, s.padding, 1, s.groups)

    def torch_result(self, x: torch.Tensor, weight: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        if self.operation == "":
            return self.torch_forward(x, weight)
        s, wanted = self.shape, self.operation == "_backward_input"
        found = torch.ops.aten.convolution_backward(
            grad, x, weight, None, [s.stride] * 2, list(s.padding), [1, 1], False, [0, 0], s.groups,
            [wanted, not wanted, False],
        )  # fmt: skip
        result: torch.Tensor = found[0] if wanted else found[1]
        return result

    def peer(self, layout: torch.memory_format) -> Callable[[], torch.Tensor]:
        """Return PyTorch's call, on copies of the arrays in that layout."""
        arrays = [a.contiguous(memory_format=layout) for a in (self.x, self.weight, self.grad)]
        return lambda: self.torch_result(*arrays)

    def kernel(self, variant: str | None, precision: int) -> tuple[str, Callable[[], None]]:
        """Return the name of the variant that runs, and the module's call."""
        device, which = self.device, OPERATIONS.index(self.operation)
        leading = which, 2, 0, precision, variant
        _, name, needed = device.module.conv_plan(*leading, *self.arguments)
        workspace = device.bytes(needed)

        def call() -> None:
            device.module.conv(
                device.stream(), *leading, *self.arguments, self.first.data_ptr(), self.second.data_ptr(), 0,
                self.out.data_ptr(), False, False, workspace.data_ptr() if needed else 0,
            )  # fmt: skip

        return name, call


def measure(device: Device, deadline: Deadline, record: Record) -> None:
    """Record a row for each shape, operation and mode."""
    torch.backends.cudnn.benchmark = True
    variants = device.module.conv_variants()
    rate: dict[tuple[str, str, str], float] = {}  # operations a second, from earlier rows
    for mode, precision in MODES:
        torch.backends.cudnn.allow_tf32 = mode == "tf32"
        for shape in DRY if device.dry_run else SHAPES:
            for operation in OPERATIONS:
                name = "conv2d" + operation
                with record.row(
                    f"{name} {shape}, {mode}", mode=mode, operation=name, shape=str(shape)
                ) as row:
                    if deadline.left() == 0:
                        row["failure"] = "no time left"
                        continue
                    _measure_row(
                        *(device, deadline, record, row, shape, operation, mode, precision),
                        *(variants[operation], rate),
                    )


def _measure_row(
    device: Device, deadline: Deadline, record: Record, row: dict[str, Any], shape: Shape, operation: str, mode: str,
    precision: int, variants: list[Any], rate: dict[tuple[str, str, str], float],
) -> None:  # fmt: skip
    first = Call(device, shape, operation)
    size = 4 * (first.x.numel() + first.weight.numel() + first.grad.numel())
    count = input_sets(size, device.cache_bytes, 2 if device.dry_run else 16)
    calls = [first, *(Call(device, shape, operation) for _ in range(count - 1))]
    reference = first.torch_result(*(a.double() for a in (first.x, first.weight, first.grad)))
    row.update(flops=first.flops, left_out={})

    def check() -> float:
        error = relative_error(first.out, reference)
        first.out.fill_(float("nan"))
        return error

    contenders = [
        Contender("torch", [call.peer(torch.contiguous_format) for call in calls]),
        Contender("torch channels_last", [call.peer(torch.channels_last) for call in calls]),
    ]
    for variant in [None, *(name for name, *_ in variants)]:
        if variant is not None and variant.startswith("tensor") and mode == "float32":
            continue
        name = "automatic" if variant is None else variant
        known = rate.get((mode, operation, name))
        if known is not None and first.flops / known > SLOW_SECONDS:
            row["left_out"][name] = "slow"
            continue
        try:
            found = [call.kernel(variant, precision) for call in calls]
        except ValueError as error:
            row["left_out"][name] = str(error)[:200]
            continue
        if variant is None:
            row["choice"] = found[0][0]
        contenders.append(Contender(name, [call for _, call in found], check))
    results = compare(contenders, device.clock, deadline, record.start, rounds=2 if device.dry_run else 7)
    row["results"] = [result.record() for result in results]
    for entry in row["results"]:
        if "seconds" in entry:
            rate[mode, operation, entry["name"]] = first.flops / entry["seconds"]


if __name__ == "__main__":
    main("conv", measure)
