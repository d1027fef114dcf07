"""What is compared in the conv chapter: convolutions, their two gradients, and pooling.

Plain data, inputs from a seed, and answers in float64 by NumPy, as in `dlkit.study.workloads`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

PARTS = {"forward": "forward", "input": "gradient of the input", "weight": "gradients of weight and bias"}
POOL_KINDS = {
    "max_pool": "forward",
    "max_pool_places": "forward, places kept",
    "max_pool_backward": "backward",
}
KINDS = ("conv_forward", "conv_input", "conv_weight", *POOL_KINDS)


@dataclass(frozen=True)
class Shape:
    """A convolution: an input (n, channels, height, width), or (n, channels, width), and its filters."""

    size: tuple[int, ...]
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def name(self) -> str:
        """What a table calls it."""
        dims = len(self.size) - 2
        text = "×".join(map(str, self.size)) + f" → {self.filters}, {'×'.join([str(self.kernel)] * dims)}"
        text += f", stride {self.stride}" if self.stride > 1 else ""
        return text + (", depthwise" if self.groups > 1 else "")


# Two LeNets, the stages of a residual network, its first layer, depthwise, and sentences of 56 words in 300 numbers.
SHAPES = [
    Shape((64, 1, 28, 28), 20, 5),
    Shape((64, 20, 12, 12), 50, 5),
    Shape((128, 32, 28, 28), 64, 3, padding=1),
    Shape((32, 64, 56, 56), 64, 3, padding=1),
    Shape((32, 128, 28, 28), 128, 3, padding=1),
    Shape((32, 256, 14, 14), 256, 3, padding=1),
    Shape((32, 64, 56, 56), 128, 3, stride=2, padding=1),
    Shape((32, 256, 14, 14), 1024, 1),
    Shape((8, 3, 224, 224), 64, 7, stride=2, padding=3),
    Shape((32, 64, 56, 56), 64, 3, padding=1, groups=64),
    Shape((50, 300, 56), 100, 3),
    Shape((50, 300, 56), 100, 4),
    Shape((50, 300, 56), 100, 5),
]
# Next to them: no cliff.
ODD_SHAPES = [
    Shape((64, 1, 29, 29), 19, 5),
    Shape((50, 21, 13, 11), 49, 5),
    Shape((100, 33, 27, 27), 65, 3, padding=1),
    Shape((31, 65, 55, 57), 63, 3, padding=1),
    Shape((30, 96, 13, 13), 100, 3, padding=1),
    Shape((17, 512, 7, 7), 512, 3, padding=1),
    Shape((31, 65, 55, 57), 63, 3, stride=2, padding=1),
    Shape((33, 255, 15, 13), 513, 1),
    Shape((7, 3, 225, 223), 63, 7, stride=2, padding=3),
    Shape((16, 48, 57, 55), 48, 5, padding=2, groups=48),
    Shape((49, 299, 41), 99, 3),
]
POOLS = [(128, 64, 28, 28), (64, 20, 24, 24), (31, 63, 27, 29)]

QUICK = [Shape((2, 3, 10, 10), 4, 3, padding=1), Shape((2, 5, 12), 3, 3)]


def conv_params(shape: Shape, part: str) -> dict[str, Any]:
    """Return the params of a workload: plain values."""
    return {
        "size": list(shape.size),
        "filters": shape.filters,
        "kernel": shape.kernel,
        "stride": shape.stride,
        "padding": shape.padding,
        "groups": shape.groups,
        "part": part,
    }


def output_size(p: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape of the output."""
    places = [(s + 2 * p["padding"] - p["kernel"]) // p["stride"] + 1 for s in p["size"][2:]]
    return (p["size"][0], p["filters"], *places)


def costs(p: dict[str, Any]) -> tuple[float, float]:
    """Return FLOPs, and bytes of float32 that must be moved."""
    dims = len(p["size"]) - 2
    depth = p["size"][1] // p["groups"] * p["kernel"] ** dims
    out = float(np.prod(output_size(p)))
    return 2.0 * out * depth, 4.0 * (out + float(np.prod(p["size"])) + p["filters"] * depth)


def weight_shape(p: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape of the filters."""
    return (p["filters"], p["size"][1] // p["groups"], *[p["kernel"]] * (len(p["size"]) - 2))


def make_inputs(kind: str, p: dict[str, Any], rng: np.random.Generator) -> Arrays:
    """Return the arrays that a workload starts from."""

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32)

    if kind in ("max_pool", "max_pool_places"):
        return {"x": normal(*p["size"])}
    if kind == "max_pool_backward":
        return {"x": normal(*p["size"]), "grad": normal(*p["size"][:2], *(s // 2 for s in p["size"][2:]))}
    found: Arrays = {}
    if kind != "conv_input":
        found["x"] = normal(*p["size"])
    if kind != "conv_weight":
        found["weight"] = normal(*weight_shape(p))
    if kind == "conv_forward":
        found["bias"] = normal(p["filters"])
    else:
        found["grad"] = normal(*output_size(p))
    return found


def reference(kind: str, p: dict[str, Any], a: Arrays) -> Arrays:
    """Return the answers in float64, given the inputs in float64."""
    if kind in POOL_KINDS:
        return _pool_reference(kind, a)
    dims, groups = len(p["size"]) - 2, p["groups"]
    size = tuple(p["size"]) if dims == 2 else (*p["size"][:2], 1, p["size"][2])
    out = output_size(p) if dims == 2 else (*output_size(p)[:2], 1, output_size(p)[2])
    n, pad = size[0], (p["padding"] if dims == 2 else 0, p["padding"])
    padded = np.zeros((n, groups, size[1] // groups, size[2] + 2 * pad[0], size[3] + 2 * pad[1]))
    inner = (..., slice(pad[0], pad[0] + size[2]), slice(pad[1], pad[1] + size[3]))
    if "x" in a:
        padded[inner] = a["x"].reshape(n, groups, -1, *size[2:])
    kernel = (p["kernel"] if dims == 2 else 1, p["kernel"])
    filters = p["filters"] // groups
    taps = list(_taps(kernel, p["stride"], out[2:]))

    def rows(view: NDArray[Any]) -> NDArray[Any]:
        return view.reshape(n, groups, view.shape[2], -1)

    if kind == "conv_forward":
        weight = a["weight"].reshape(groups, filters, -1, *kernel)
        y = np.zeros((n, groups, filters, out[2] * out[3]))
        for u, v, place in taps:
            y += weight[None, ..., u, v] @ rows(padded[..., place[0], place[1]])
        return {"out": (y.reshape(out) + a["bias"][:, None, None]).reshape(output_size(p))}
    grad = a["grad"].reshape(n, groups, filters, -1)
    if kind == "conv_input":
        weight = a["weight"].reshape(groups, filters, -1, *kernel)
        for u, v, place in taps:
            share = np.swapaxes(weight[None, ..., u, v], -1, -2) @ grad
            padded[..., place[0], place[1]] += share.reshape(n, groups, -1, *out[2:])
        return {"out": padded[inner].reshape(p["size"])}
    dweight = np.zeros((groups, filters, size[1] // groups, *kernel))
    for u, v, place in taps:
        dweight[..., u, v] = (grad @ np.swapaxes(rows(padded[..., place[0], place[1]]), -1, -2)).sum(axis=0)
    return {"out": dweight.reshape(weight_shape(p)), "bias": a["grad"].sum(axis=(0, *range(2, dims + 2)))}


def _taps(
    kernel: Sequence[int], stride: int, out: Sequence[int]
) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    # Each element of the kernel, and what of the padded input it meets.
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            step = (1 if kernel[0] == 1 and out[0] == 1 else stride, stride)
            yield (
                *(u, v),
                (slice(u, u + step[0] * out[0], step[0]), slice(v, v + step[1] * out[1], step[1])),
            )


def _pool_reference(kind: str, a: Arrays) -> Arrays:
    x = a["x"]
    h, w = x.shape[2] // 2, x.shape[3] // 2
    windows = x[:, :, : 2 * h, : 2 * w].reshape(*x.shape[:2], h, 2, w, 2).swapaxes(3, 4)
    windows = windows.reshape(*x.shape[:2], h, w, 4)
    if kind != "max_pool_backward":
        return {"out": windows.max(axis=-1)}
    best = windows.argmax(axis=-1)
    shares = (best[..., None] == np.arange(4)) * a["grad"][..., None]
    dx = np.zeros_like(x)
    places = shares.reshape(*x.shape[:2], h, w, 2, 2).swapaxes(3, 4).reshape(*x.shape[:2], 2 * h, 2 * w)
    dx[:, :, : 2 * h, : 2 * w] = places
    return {"out": dx}
