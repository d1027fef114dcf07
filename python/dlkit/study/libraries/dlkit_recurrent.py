"""The recurrent chapter's workloads in dlkit: `dlkit.nn`'s layers, as their users call them."""

from __future__ import annotations

from typing import Any

import dlkit as dl
from dlkit import nn
from dlkit.study.libraries import Prepared
from dlkit.study.recurrent_workloads import Arrays, names, parts_of


def prepare(kind: str, p: dict[str, Any], a: Arrays) -> Prepared:
    """Return a workload ready to run."""
    layer = nn.Recurrent(
        *(p["cell"], p["inputs"], p["hidden"], p["layers"]),
        bidirectional=p["directions"] == 2,
        layer_norm=p.get("layer_norm", False),
    )
    state = {part + suffix: a[part + suffix] for _, _, suffix in names(p) for part in parts_of(p)}
    layer.load_state_dict(state)
    x = dl.tensor(a["x"])
    kept: list[Any] = [x]
    if kind == "recurrent_forward":

        def forward() -> None:
            with dl.no_grad():
                kept[0] = layer(x)[0]

        return Prepared(forward, lambda: {"out": kept[0].numpy()})
    x.requires_grad = True

    def step() -> None:
        x.zero_grad()
        layer.zero_grad()
        y = layer(x)[0]
        y.backward(a["grad"])
        kept[0] = y

    def result() -> Arrays:
        gradients = {
            f"by_{name}": q.grad.numpy() for name, q in layer.named_parameters() if q.grad is not None
        }
        assert x.grad is not None
        return {"out": kept[0].numpy(), "by_x": x.grad.numpy(), **gradients}

    return Prepared(step, result)
