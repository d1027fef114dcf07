"""A short list of kernels at sizes with tails, for compute-sanitizer: each variant of each chapter, once."""

from __future__ import annotations

import sys

import torch
from conv import DRY, OPERATIONS, Call
from device import DTYPES, Device
from layers import BUILDERS
from matmul import MODES, kernel_call, operand
from recurrent import CELLS, OTHERS, Layer
from word2vec import made_up_text


def word_vectors(device: Device) -> int:
    """Run the updates and the engine, with rows of one warp and of three."""
    text, counts = made_up_text(300, 60, 5, 50)
    words, ran = len(counts), 0
    for dim in (31, 300):
        padded = -(-dim // 16) * 16
        w_in, w_out, nodes = (device.random(words, padded) for _ in range(3))
        inputs = torch.randint(-1, words, (5, 6), device=device.torch)
        outputs = torch.randint(0, words, (5, 11), device=device.torch)
        labels = (torch.arange(11, device=device.torch) == 0).to(torch.uint8).repeat(5, 1)
        loss = torch.zeros(1, dtype=torch.float64, device=device.torch)
        for variant, *_ in device.module.word2vec_variants():
            for cbow in (False, True):
                device.module.update_words(
                    *("sgns_update", device.stream(), 0, variant, padded, words, words),
                    *(w_in.data_ptr(), w_out.data_ptr(), 5, 6, 11),
                    *(inputs.data_ptr(), outputs.data_ptr(), labels.data_ptr()),
                    *(False, cbow, True, False, 0.05, loss.data_ptr()),
                )
                ran += 1
        for skip_gram in (True, False):
            engine = device.module.Word2VecEngine(
                counts, skip_gram, True, False, 5, True, 3, True, dim, 1, 0.0, 0.75, 0
            )
            n = sum(counts)
            engine.train(
                *(text.tokens, w_in.data_ptr(), w_out.data_ptr(), nodes.data_ptr()),
                *(0, 0.05, 0.01, n, 0, n, 5, 0, 2, device.stream()),
            )
            ran += 1
    return ran


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
                        if device.clock.lost():
                            raise
                        print(f"{name} {mode} {layout}: {error}"[:120])
                        continue
                    ran += 1
    print(f"{ran} kernels ran: matmul", flush=True)
    for build in BUILDERS:
        operation = build(device, 5, 66)
        for rung in operation.rungs:
            operation.run(rung)
            ran += 1
    print(f"{ran} kernels ran: and layers", flush=True)
    for shape in DRY:
        for operation in OPERATIONS:
            for variant, *_ in device.module.conv_variants()[operation]:
                try:
                    Call(device, shape, operation).kernel(variant, 0)[1]()
                except ValueError as error:  # does not take it
                    print(f"{variant} {shape}: {error}"[:120])
                    continue
                ran += 1
    print(f"{ran} kernels ran: and convolutions", flush=True)
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
    print(f"{ran} kernels ran: and recurrent layers", flush=True)
    ran += word_vectors(device)
    if not device.dry_run:
        torch.cuda.synchronize()
    print(f"{ran} kernels ran, types {sorted(DTYPES.values())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
