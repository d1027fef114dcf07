"""The workloads in PyTorch: as its tutorials write them, and, with ``best``, as its tuning guide does."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dlkit.study import conv_workloads, recurrent_workloads, text_workloads
from dlkit.study.cnn_workloads import cnn_shapes
from dlkit.study.libraries import (
    Prepared,
    UnsupportedError,
    torch_conv,
    torch_lm,
    torch_nnlm,
    torch_recurrent,
    torch_tagger,
    torch_window,
)
from dlkit.study.libraries.torch_training import cut, load, training
from dlkit.study.workloads import CHECKED_RUNS, Arrays, Workload


def versions() -> dict[str, str]:
    """Return the versions in use."""
    found = {"torch": torch.__version__, "threads": str(torch.get_num_threads())}
    found["vector"] = torch.backends.cpu.get_cpu_capability()
    return found


def prepare(workload: Workload, inputs: Arrays, options: dict[str, Any]) -> Prepared:
    """Return the workload ready to run; ``options["threads"]`` and ``options["best"]`` are honoured."""
    torch.set_num_threads(int(options["threads"]))
    best = bool(options.get("best"))
    p, kind = workload.params, workload.kind
    t = {name: torch.from_numpy(array) for name, array in inputs.items()}
    if kind == "matmul":
        a = t["a"].t() if p["trans_a"] else t["a"]
        b = t["b"].t() if p["trans_b"] else t["b"]
        out = torch.empty(p["m"], p["n"])
        return Prepared(partial(torch.mm, a, b, out=out), lambda: {"out": out.numpy()})
    if kind in ("relu", "tanh", "sigmoid"):
        return _elementwise(kind, t["x"])
    if kind == "linear_relu":
        return _linear(t["x"], t["weight"], t["bias"])
    if kind in ("cross_entropy", "cross_entropy_autograd"):
        return _cross_entropy(t["logits"], t["labels"])
    if kind in ("layer_norm", "batch_norm"):
        return _norm(kind, t)
    if kind == "adam":
        return _adam(inputs, p["lr"], best)
    if kind in conv_workloads.KINDS:
        return torch_conv.prepare(kind, p, t, best)
    if kind in recurrent_workloads.KINDS:
        return torch_recurrent.prepare(kind, p, t, best)
    if kind == "mlp_step":
        return _mlp(p, inputs, best)
    if kind == "cnn_step":
        return _cnn(p, inputs, best)
    if kind == "text_cnn_step":
        return _text_cnn(p, inputs, best)
    if kind == "tagger_step":
        return torch_tagger.prepare(p, inputs, best)
    if kind == "window_step":
        return torch_window.prepare(p, inputs, best)
    if kind == "lm_step":
        return torch_lm.prepare(p, inputs, best)
    if kind == "nnlm_step":
        return torch_nnlm.prepare(p, inputs, best)
    raise UnsupportedError(f"no {kind} for PyTorch here")


def _elementwise(kind: str, x: torch.Tensor) -> Prepared:
    out = torch.empty_like(x)
    if kind == "relu":
        return Prepared(partial(torch.clamp, x, min=0, out=out), lambda: {"out": out.numpy()})
    operation = torch.tanh if kind == "tanh" else torch.sigmoid
    return Prepared(partial(operation, x, out=out), lambda: {"out": out.numpy()})


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Prepared:
    kept: list[torch.Tensor] = [x]

    def run() -> None:
        kept[0] = F.linear(x, weight, bias).relu_()

    return Prepared(run, lambda: {"out": kept[0].numpy()})


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> Prepared:
    logits.requires_grad_()
    kept: list[torch.Tensor] = [logits]

    def run() -> None:
        logits.grad = None
        loss = F.cross_entropy(logits, labels)
        torch.autograd.backward(loss)
        kept[0] = loss

    def result() -> Arrays:
        assert logits.grad is not None
        return {"loss": np.array(kept[0].item()), "grad": logits.grad.numpy()}

    return Prepared(run, result)


def _norm(kind: str, t: dict[str, torch.Tensor]) -> Prepared:
    x, weight, bias = (t[name].requires_grad_() for name in ("x", "weight", "bias"))
    kept: list[torch.Tensor] = [x]

    def run() -> None:
        x.grad = weight.grad = bias.grad = None
        if kind == "layer_norm":
            out = F.layer_norm(x, x.shape[-1:], weight, bias)
        else:
            out = F.batch_norm(x, None, None, weight, bias, training=True)
        torch.autograd.backward(out, t["grad"])
        kept[0] = out

    def result() -> Arrays:
        assert x.grad is not None
        assert weight.grad is not None
        assert bias.grad is not None
        gradients = {"by_x": x.grad, "by_weight": weight.grad, "by_bias": bias.grad}
        return {name: a.detach().numpy() for name, a in {"out": kept[0], **gradients}.items()}

    return Prepared(run, result)


def _adam(inputs: Arrays, lr: float, best: bool) -> Prepared:
    param = torch.nn.Parameter(torch.from_numpy(inputs["param"].copy()))
    param.grad = torch.from_numpy(inputs["grad"])
    optimizer = torch.optim.Adam([param], lr=lr, fused=True if best else None)
    return Prepared(
        optimizer.step,
        lambda: {"change": param.detach().numpy().astype(np.float64) - inputs["param"]},
    )


def _mlp(p: dict[str, Any], inputs: Arrays, best: bool) -> Prepared:
    sizes = p["sizes"]
    modules: list[torch.nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        linear = torch.nn.Linear(fan_in, fan_out)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(inputs[f"weight{i}"]))
            linear.bias.copy_(torch.from_numpy(inputs[f"bias{i}"]))
        modules += [linear, torch.nn.ReLU()]
    return _training("mlp_step", torch.nn.Sequential(*modules[:-1]), p, inputs, best)


def _cnn(p: dict[str, Any], inputs: Arrays, best: bool) -> Prepared:
    modules: list[torch.nn.Module] = []
    convolutions = len(p["filters"])
    for i, shape in enumerate(cnn_shapes(p)):
        if i == convolutions:
            modules.append(torch.nn.Flatten())
        layer: torch.nn.Conv2d | torch.nn.Linear
        if i < convolutions:
            padding = p["padding"] if i == 0 else 0
            layer = torch.nn.Conv2d(shape[1], shape[0], p["kernel"], padding=padding)
            modules += [layer, torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        else:
            layer = torch.nn.Linear(shape[1], shape[0])
            modules += [layer, torch.nn.ReLU()]
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(inputs[f"weight{i}"]))
            assert layer.bias is not None
            layer.bias.copy_(torch.from_numpy(inputs[f"bias{i}"]))
    model: Any = torch.nn.Sequential(*modules[:-1])
    if best:
        model = model.to(memory_format=torch.channels_last)  # which the stubs do not know
    return _training("cnn_step", model, p, inputs, best)


def _training(kind: str, model: torch.nn.Module, p: dict[str, Any], inputs: Arrays, best: bool) -> Prepared:
    optimizer = torch.optim.Adam(model.parameters(), lr=p["lr"], fused=True if best else None)
    x, y = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"])
    if best and x.ndim == 4:
        x = x.to(memory_format=torch.channels_last)
    return training(model, optimizer, cut(x, y, p["batch"]), CHECKED_RUNS[kind])


_Module: Any = torch.nn.Module  # Any with and without PyTorch, so that type checks say the same


class _TextCNN(_Module):  # type: ignore[misc]
    # Kim's network, as PyTorch's users write it.

    def __init__(self, p: dict[str, Any]) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(p["words"], p["dimensions"], padding_idx=0)
        self.convs = torch.nn.ModuleList(
            [torch.nn.Conv1d(p["dimensions"], p["filters"], region) for region in p["regions"]]
        )
        self.output = torch.nn.Linear(len(p["regions"]) * p["filters"], 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        vectors = self.embedding(x).transpose(1, 2)
        pooled = [F.relu(conv(vectors)).max(dim=2)[0] for conv in self.convs]
        scores: torch.Tensor = self.output(torch.cat(pooled, 1))
        return scores


def _text_cnn(p: dict[str, Any], inputs: Arrays, best: bool) -> Prepared:
    model = _TextCNN(p)
    load(model, text_workloads.names_of(p), inputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=p["lr"], fused=True if best else None)
    x, y = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"])
    return training(model, optimizer, cut(x, y, p["batch"]), CHECKED_RUNS["text_cnn_step"])
