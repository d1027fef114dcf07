"""What the machine can do at most: a copy's bytes a second, operations a second with and without tensor cores."""

from __future__ import annotations

import torch
from device import Device, main
from record import Record
from timing import Contender, Deadline, compare


def measure(device: Device, deadline: Deadline, record: Record) -> None:
    """Record the ceilings, each measured through PyTorch."""
    found: dict[str, float | None] = {}
    record.entries["ceilings"] = found
    count = 1 << 14 if device.dry_run else 1 << 28
    x, y = device.random(count), device.empty(count)
    (copy,) = compare([Contender("copy", [lambda: y.copy_(x)])], device.clock, deadline, record.start)
    found["copy_bandwidth"] = 8.0 * count / copy.record()["seconds"] if copy.seconds else None
    side = 64 if device.dry_run else 8192
    for name, dtype, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("fp16", torch.float16, False),
        ("tf32", torch.float32, True),
        ("fp32", torch.float32, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (device.random(side, side, dtype=dtype) for _ in range(2))
        out = torch.empty(side, side, dtype=dtype, device=device.torch)

        def product(a: torch.Tensor = a, b: torch.Tensor = b, out: torch.Tensor = out) -> object:
            return torch.matmul(a, b, out=out)

        (result,) = compare([Contender(name, [product])], device.clock, deadline, record.start, rounds=5)
        found[name] = 2.0 * side**3 / result.record()["seconds"] if result.seconds else None
    torch.backends.cuda.matmul.allow_tf32 = False
    record.entries["running"] = None
    record.save()


if __name__ == "__main__":
    main("ceilings", measure)
