"""The recurrent chapter's workloads in PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from dlkit.study.libraries import Prepared
from dlkit.study.recurrent_workloads import Arrays


def prepare(kind: str, p: dict[str, Any], t: dict[str, torch.Tensor]) -> Prepared:
    """Return a workload ready to run."""
    make: Any = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "tanh": torch.nn.RNN}[p["cell"]]
    layer = make(p["inputs"], p["hidden"], p["layers"], bidirectional=p["directions"] == 2)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(t[name])
    x = t["x"]
    kept: list[torch.Tensor] = [x]
    if kind == "recurrent_forward":
        layer.eval()

        def forward() -> None:
            with torch.inference_mode():
                kept[0] = layer(x)[0]

        return Prepared(forward, lambda: {"out": kept[0].numpy()})
    x.requires_grad_()

    def step() -> None:
        x.grad = None
        layer.zero_grad(set_to_none=True)
        y = layer(x)[0]
        torch.autograd.backward(y, t["grad"])
        kept[0] = y.detach()

    def result() -> Arrays:
        assert x.grad is not None
        gradients = {f"by_{name}": parameter.grad.numpy() for name, parameter in layer.named_parameters()}
        return {"out": kept[0].numpy(), "by_x": x.grad.numpy(), **gradients}

    return Prepared(step, result)
