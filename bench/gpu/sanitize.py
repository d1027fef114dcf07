"""A short list of kernels at sizes with tails, for compute-sanitizer: each variant of each chapter, once."""

from __future__ import annotations

import sys

import torch
from conv import DRY, OPERATIONS, Call
from device import DTYPES, Device
from layers import BUILDERS
from matmul import MODES, kernel_call, operand
from recurrent import CELLS, OTHERS, Layer


def main() -> int:
    """Run them; the sanitizer's own exit code says what it found."""
    device = Device("--dry-run" in sys.argv)
    ran = 0
    names = [name for name, *_ in device.module.matmul_variants()]
    for m, k, n in ((129, 72, 136), (33, 17, 5)):
        for dtype, precision, mode in MODES:
            for layout in ("nn", "nt", "tn"):
                a, b = (
                    operand(device, m, k, dtype, layout[0] == "t"),
                    operand(device, k, n, dtype, layout[1] == "t"),
                )
                for name in names:
                    c = device.empty(m, n, dtype=dtype)
                    try:
                        kernel_call(device, name, precision, a, b, c)()
                    except Exception as error:  # does not take it
                        print(f"{name} {mode} {layout}: {error}"[:120])
                        continue
                    ran += 1
    for build in BUILDERS:
        operation = build(device, 5, 66)
        for rung in operation.rungs:
            operation.run(rung)
            ran += 1
    for shape in DRY:
        for operation in OPERATIONS:
            for variant, *_ in device.module.conv_variants()[operation]:
                try:
                    Call(device, shape, operation).kernel(variant, 0)[1]()
                except ValueError as error:  # does not take it
                    print(f"{variant} {shape}: {error}"[:120])
                    continue
                ran += 1
    layers = [(cell, 1) for cell in (*CELLS, *OTHERS)] + [("lstm", 2), ("gru", 2)]
    for cell, directions in layers:
        layer = Layer(device, cell, (3, 5, 7, 33), directions)
        for variant, *_ in device.module.recurrent_variants():
            try:
                layer.kernels(variant, 0, True)()
            except ValueError as error:  # does not take it
                print(f"{variant} {cell}: {error}"[:120])
                continue
            ran += 1
    if not device.dry_run:
        torch.cuda.synchronize()
    print(f"{ran} kernels ran, types {sorted(DTYPES.values())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
