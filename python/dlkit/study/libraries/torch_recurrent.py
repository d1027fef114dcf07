"""The recurrent chapter's workloads in PyTorch.

Its LSTM has no layer normalisation. As its users write one: a loop of cells of `torch.nn.functional.layer_norm`, as in
its own benchmarks/fastrnns/custom_lstms.py, but for each gate normalised apart, as dlkit does. Best-configured: the
same as TorchScript, with the products of all inputs before the loop.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from dlkit.study.libraries import Prepared, UnsupportedError
from dlkit.study.recurrent_workloads import Arrays

_Module: Any = torch.nn.Module  # Any with and without PyTorch, so that type checks say the same


def _normal(a: torch.Tensor, gates: int) -> torch.Tensor:
    hidden = a.shape[-1] // gates
    return F.layer_norm(a.view(-1, gates, hidden), [hidden]).view(a.shape)


class _NormalisedCell(_Module):  # type: ignore[misc]
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        for part, shape in {
            "weight_ih": (4 * hidden, inputs),
            "weight_hh": (4 * hidden, hidden),
            **dict.fromkeys(("bias_ih", "bias_hh", "norm_ih", "norm_hh"), (4 * hidden,)),
            **dict.fromkeys(("norm_c", "norm_c_bias"), (hidden,)),
        }.items():
            self.register_parameter(f"{part}_l0", torch.nn.Parameter(torch.empty(shape)))

    def from_input(self, x: torch.Tensor) -> torch.Tensor:
        left: torch.Tensor = _normal(F.linear(x, self.weight_ih_l0), 4) * self.norm_ih_l0 + self.bias_ih_l0
        return left

    def step(self, left: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        right = _normal(F.linear(h, self.weight_hh_l0), 4) * self.norm_hh_l0 + self.bias_hh_l0
        i, f, g, o = (left + right).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        shown = F.layer_norm(c, c.shape[-1:], self.norm_c_l0, self.norm_c_bias_l0)
        return torch.sigmoid(o) * torch.tanh(shown), c


class _NormalisedLoop(_NormalisedCell):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        h = c = x.new_zeros(x.shape[1], self.weight_hh_l0.shape[1])
        states = []
        for row in x.unbind(0):
            h, c = self.step(self.from_input(row), h, c)
            states.append(h)
        return (torch.stack(states),)


class _NormalisedScript(_NormalisedCell):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        h = torch.zeros(x.shape[1], self.weight_hh_l0.shape[1])
        c = torch.zeros(x.shape[1], self.weight_hh_l0.shape[1])
        states: list[torch.Tensor] = []
        for left in self.from_input(x).unbind(0):
            h, c = self.step(left, h, c)
            states.append(h)
        return (torch.stack(states),)


def _layer(p: dict[str, Any], best: bool) -> Any:
    if p.get("layer_norm"):
        if p["cell"] != "lstm" or p["layers"] > 1 or p["directions"] > 1:
            raise UnsupportedError("layer normalisation of one LSTM layer alone")
        layer = (_NormalisedScript if best else _NormalisedLoop)(p["inputs"], p["hidden"])
        return torch.jit.script(layer) if best else layer
    make: Any = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "tanh": torch.nn.RNN}[p["cell"]]
    return make(p["inputs"], p["hidden"], p["layers"], bidirectional=p["directions"] == 2)


def prepare(kind: str, p: dict[str, Any], t: dict[str, torch.Tensor], best: bool = False) -> Prepared:
    """Return a workload ready to run."""
    layer = _layer(p, best)
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
