"""The conv chapter's workloads in PyTorch; with ``best`` in the channels-last layout, inputs given in it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from dlkit.study.conv_workloads import POOL_KINDS
from dlkit.study.libraries import Prepared


def prepare(kind: str, p: dict[str, Any], t: dict[str, torch.Tensor], best: bool) -> Prepared:
    """Return a workload ready to run."""
    last = torch.channels_last

    def laid_out(a: torch.Tensor) -> torch.Tensor:
        if not best or a.ndim < 3:
            return a
        return (a if a.ndim == 4 else a.unsqueeze(2)).contiguous(memory_format=last)

    a = {name: laid_out(array) for name, array in t.items()}
    if kind in POOL_KINDS:
        return _pool(kind, a)
    flat = len(p["size"]) == 3  # one dimension
    stride, padding = [p["stride"]], [p["padding"]]
    if not flat:
        stride, padding = stride * 2, padding * 2
    elif best:
        stride, padding = [1, *stride], [0, *padding]
    ones = [1] * len(stride)
    if kind == "conv_forward":
        convolve = F.conv1d if flat and not best else F.conv2d
        kept: list[Any] = [None]

        def run() -> None:
            with torch.no_grad():
                kept[0] = convolve(a["x"], a["weight"], a["bias"], stride, padding, 1, p["groups"])

        return Prepared(run, lambda: {"out": _numpy(kept[0], flat and best)})

    by_input = kind == "conv_input"
    shape = (
        p["size"]
        if by_input
        else [p["filters"], p["size"][1] // p["groups"], *[p["kernel"]] * (len(p["size"]) - 2)]
    )
    # The array that the gradient does not depend on has a part in the call all the same.
    other = laid_out(torch.zeros(shape))
    x, weight = (other, a["weight"]) if by_input else (a["x"], other)
    mask = [True, False, False] if by_input else [False, True, True]
    result: list[Any] = [None]

    def run_backward() -> None:
        result[0] = torch.ops.aten.convolution_backward(
            *(a["grad"], x, weight, [p["filters"]], stride, padding, ones, False, [0] * len(ones)),
            *(p["groups"], mask),
        )

    def answers() -> dict[str, Any]:
        if by_input:
            return {"out": _numpy(result[0][0], flat and best)}
        return {"out": _numpy(result[0][1], flat and best), "bias": result[0][2].numpy()}

    return Prepared(run_backward, answers)


def _numpy(a: torch.Tensor, flat: bool) -> Any:
    a = a.contiguous()
    return (a.squeeze(2) if flat else a).numpy()


def _pool(kind: str, a: dict[str, torch.Tensor]) -> Prepared:
    kept: list[Any] = [None]
    if kind != "max_pool_backward":

        def run() -> None:
            with torch.no_grad():
                kept[0] = F.max_pool2d(a["x"], 2)

    else:
        _, indices = F.max_pool2d(a["x"], 2, return_indices=True)

        def run() -> None:
            kept[0] = torch.ops.aten.max_pool2d_with_indices_backward(
                a["grad"], a["x"], [2, 2], [2, 2], [0, 0], [1, 1], False, indices
            )

    return Prepared(run, lambda: {"out": kept[0].contiguous().numpy()})
