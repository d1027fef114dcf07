"""The conv chapter's workloads in dlkit."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlkit.kernels as K
from dlkit.study.conv_workloads import POOL_KINDS, Arrays, output_size, weight_shape
from dlkit.study.libraries import Prepared


def prepare(kind: str, p: dict[str, Any], a: Arrays, variant: str | None = None) -> Prepared:
    """Return a workload ready to run; `variant` is a step of its ladder."""
    if kind in POOL_KINDS:
        return _pool(kind, p, a)
    flat = len(p["size"]) == 3
    settings = {**{name: p[name] for name in ("stride", "padding", "groups")}, "variant": variant}
    if kind == "conv_forward":
        forward = K.conv1d if flat else K.conv2d
        y = np.empty(output_size(p), np.float32)
        return Prepared(
            lambda: forward(a["x"], a["weight"], a["bias"], **settings, out=y), lambda: {"out": y}
        )
    if kind == "conv_input":
        by_input = K.conv1d_backward_input if flat else K.conv2d_backward_input
        dx, places = np.empty(p["size"], np.float32), p["size"][2:]
        return Prepared(
            lambda: by_input(a["grad"], a["weight"], places, **settings, out=dx), lambda: {"out": dx}
        )
    by_weight = K.conv1d_backward_weight if flat else K.conv2d_backward_weight
    dweight, dbias = np.empty(weight_shape(p), np.float32), np.empty(p["filters"], np.float32)
    kernel = dweight.shape[2:]
    return Prepared(
        lambda: by_weight(a["grad"], a["x"], kernel, **settings, out=dweight, out_bias=dbias),
        lambda: {"out": dweight, "bias": dbias},
    )


def _pool(kind: str, p: dict[str, Any], a: Arrays) -> Prepared:
    x, size = a["x"], (*p["size"][:2], p["size"][2] // 2, p["size"][3] // 2)
    if kind != "max_pool_backward":
        y, keep = np.empty(size, np.float32), "places" if kind == "max_pool_places" else False
        return Prepared(lambda: K.max_pool2d(x, 2, return_indices=keep, out=y), lambda: {"out": y})
    _, places = K.max_pool2d(x, 2, return_indices="places")
    dx = np.empty_like(x)
    return Prepared(
        lambda: K.max_pool2d_backward(a["grad"], places, x.shape[2:], 2, out=dx), lambda: {"out": dx}
    )
