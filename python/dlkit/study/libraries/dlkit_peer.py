"""The workloads in dlkit: kernels where the peers have kernels, ``nn`` and ``optim`` where they train."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np

import dlkit
import dlkit.kernels as K
from dlkit.study import conv_workloads, recurrent_workloads, text_workloads
from dlkit.study.cnn_workloads import cnn_shapes
from dlkit.study.libraries import (
    Prepared,
    UnsupportedError,
    dlkit_conv,
    dlkit_lm,
    dlkit_nnlm,
    dlkit_recurrent,
    dlkit_tagger,
    dlkit_window,
)
from dlkit.study.libraries.dlkit_training import cut, load, training
from dlkit.study.workloads import CHECKED_RUNS, Arrays, Workload


def versions() -> dict[str, str]:
    """Return the version in use, and the instruction set its kernels were chosen for."""
    return {"dlkit": dlkit.__version__, "isa": str(K.config()["isa"])}


def prepare(workload: Workload, inputs: Arrays, options: dict[str, Any]) -> Prepared:
    """Return the workload ready to run; ``options["threads"]`` and ``options["variant"]`` are honoured."""
    K.set_num_threads(int(options["threads"]))
    p, kind = workload.params, workload.kind
    if kind == "matmul":
        return _matmul(p, inputs, options.get("variant"))
    if kind in ("relu", "tanh", "sigmoid"):
        out = np.empty_like(inputs["x"])
        operation = {"relu": K.relu, "tanh": K.tanh, "sigmoid": K.sigmoid}[kind]
        return Prepared(partial(operation, inputs["x"], out=out), lambda: {"out": out})
    if kind == "linear_relu":
        out = np.empty((p["m"], p["n"]), np.float32)
        run = partial(
            K.matmul,
            inputs["x"],
            inputs["weight"],
            out=out,
            trans_b=True,
            bias=inputs["bias"],
            activation="relu",
        )
        return Prepared(run, lambda: {"out": out})
    if kind == "cross_entropy":
        return _cross_entropy(inputs)
    if kind == "cross_entropy_autograd":
        return _cross_entropy_autograd(inputs)
    if kind in ("layer_norm", "batch_norm"):
        return _norm(kind, inputs)
    if kind == "adam":
        return _adam(inputs, p["lr"])
    if kind in conv_workloads.KINDS:
        return dlkit_conv.prepare(kind, p, inputs)
    if kind in recurrent_workloads.KINDS:
        return dlkit_recurrent.prepare(kind, p, inputs)
    if kind == "mlp_step":
        return _mlp(p, inputs)
    if kind == "cnn_step":
        return _cnn(p, inputs)
    if kind == "text_cnn_step":
        return _text_cnn(p, inputs)
    if kind == "tagger_step":
        return dlkit_tagger.prepare(p, inputs)
    if kind == "window_step":
        return dlkit_window.prepare(p, inputs)
    if kind == "lm_step":
        return dlkit_lm.prepare(p, inputs)
    if kind == "nnlm_step":
        return dlkit_nnlm.prepare(p, inputs)
    raise UnsupportedError(f"no {kind} for dlkit here")


def _matmul(p: dict[str, Any], inputs: Arrays, variant: str | None) -> Prepared:
    out = np.empty((p["m"], p["n"]), np.float32)
    settings: dict[str, Any] = {"out": out}
    if p["trans_a"]:
        settings["trans_a"] = True
    if p["trans_b"]:
        settings["trans_b"] = True
    if variant:
        settings["variant"] = variant
    return Prepared(partial(K.matmul, inputs["a"], inputs["b"], **settings), lambda: {"out": out})


def _cross_entropy(inputs: Arrays) -> Prepared:
    logits, labels = inputs["logits"], inputs["labels"]
    grad = np.empty_like(logits)
    scale = 1.0 / len(labels)
    losses = np.empty(0, np.float32)

    def run() -> None:
        nonlocal losses
        losses, _ = K.cross_entropy(logits, labels, grad_scale=scale, out=grad)

    return Prepared(run, lambda: {"loss": losses.mean(dtype=np.float64), "grad": grad})


def _cross_entropy_autograd(inputs: Arrays) -> Prepared:
    logits: Any = dlkit.Tensor(inputs["logits"], requires_grad=True)
    labels = dlkit.Tensor(inputs["labels"])
    loss_function = dlkit.nn.CrossEntropyLoss()
    kept: list[Any] = []

    def run() -> None:
        logits.grad = None
        loss = loss_function(logits, labels)
        loss.backward()
        kept[:] = [loss]

    return Prepared(run, lambda: {"loss": np.array(kept[0].item()), "grad": logits.grad.numpy()})


def _norm(kind: str, inputs: Arrays) -> Prepared:
    F = dlkit.nn.functional
    x, weight, bias = (dlkit.tensor(inputs[name], requires_grad=True) for name in ("x", "weight", "bias"))
    leaves = {"by_x": x, "by_weight": weight, "by_bias": bias}
    out = x

    def run() -> None:
        nonlocal out
        for leaf in leaves.values():
            leaf.zero_grad()
        if kind == "layer_norm":
            out = F.layer_norm(x, x.shape[-1], weight, bias)
        else:
            out = F.batch_norm(x, None, None, weight, bias, training=True)
        out.backward(inputs["grad"])

    def result() -> Arrays:
        found = {"out": out.data}
        for name, leaf in leaves.items():
            assert leaf.grad is not None
            found[name] = leaf.grad.data
        return found

    return Prepared(run, result)


def _adam(inputs: Arrays, lr: float) -> Prepared:
    param = inputs["param"].copy()
    params, grads = [param], [inputs["grad"]]
    first, second = [np.zeros_like(param)], [np.zeros_like(param)]
    step = 0

    def run() -> None:
        nonlocal step
        step += 1
        K.adam_step(params, grads, first, second, step=step, lr=lr)

    return Prepared(run, lambda: {"change": param.astype(np.float64) - inputs["param"]})


def _mlp(p: dict[str, Any], inputs: Arrays) -> Prepared:
    nn = dlkit.nn
    sizes = p["sizes"]
    modules: list[Any] = []
    state: dict[str, Any] = {}
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        modules += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        state[f"{2 * i}.weight"], state[f"{2 * i}.bias"] = inputs[f"weight{i}"], inputs[f"bias{i}"]
    model = nn.Sequential(*modules[:-1])
    model.load_state_dict(state)
    return _training("mlp_step", model, p, inputs)


def _cnn(p: dict[str, Any], inputs: Arrays) -> Prepared:
    nn = dlkit.nn
    modules: list[Any] = []
    state: dict[str, Any] = {}
    convolutions = len(p["filters"])
    for i, shape in enumerate(cnn_shapes(p)):
        if i == convolutions:
            modules.append(nn.Flatten())
        state[f"{len(modules)}.weight"], state[f"{len(modules)}.bias"] = (
            inputs[f"weight{i}"],
            inputs[f"bias{i}"],
        )
        if i < convolutions:
            padding = p["padding"] if i == 0 else 0
            modules += [
                nn.Conv2d(shape[1], shape[0], p["kernel"], padding=padding),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        else:
            modules += [nn.Linear(shape[1], shape[0]), nn.ReLU()]
    model = nn.Sequential(*modules[:-1])
    model.load_state_dict(state)
    return _training("cnn_step", model, p, inputs)


def _training(kind: str, model: Any, p: dict[str, Any], inputs: Arrays) -> Prepared:
    optimizer = dlkit.optim.Adam(model.parameters(), lr=p["lr"])
    loss_function = dlkit.nn.CrossEntropyLoss()
    batches = cut(dlkit.Tensor(inputs["x"]), dlkit.Tensor(inputs["y"]), p["batch"])
    return training(model, optimizer, lambda x, y: loss_function(model(x), y), batches, CHECKED_RUNS[kind])


def _text_cnn(p: dict[str, Any], inputs: Arrays) -> Prepared:
    model = dlkit.models.TextCNN(
        *(p["words"], 2, p["dimensions"], p["regions"], p["filters"]), dropout=0.0, max_norm=0.0
    )
    load(model, text_workloads.names_of(p), inputs)
    loss_function = dlkit.nn.CrossEntropyLoss()
    return training(
        model,
        dlkit.optim.Adam(model.parameters(), lr=p["lr"]),
        lambda x, y: loss_function(model(x), y),
        cut(inputs["x"], inputs["y"], p["batch"]),
        CHECKED_RUNS["text_cnn_step"],
    )
