"""The workloads in JAX: compiled once with ``jax.jit``, state donated, each run waited for."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.study import conv_workloads, recurrent_workloads, text_workloads
from dlkit.study.libraries import Prepared, UnsupportedError, jax_conv, jax_recurrent, jax_words
from dlkit.study.libraries.jax_training import adam_update, loss_of, start, training, wait
from dlkit.study.workloads import Arrays, Workload


def versions() -> dict[str, str]:
    """Return the versions in use."""
    return {"jax": jax.__version__, "jaxlib": version("jaxlib")}


def prepare(workload: Workload, inputs: Arrays, options: dict[str, Any]) -> Prepared:
    """Return the workload compiled and ready to run."""
    p, kind = workload.params, workload.kind
    t = {name: jnp.asarray(array) for name, array in inputs.items()}
    if kind == "matmul":
        trans_a, trans_b = p["trans_a"], p["trans_b"]
        return _function(
            lambda a, b: jnp.matmul(a.T if trans_a else a, b.T if trans_b else b), "out", t["a"], t["b"]
        )
    if kind in ("relu", "tanh", "sigmoid"):
        return _function(
            {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}[kind], "out", t["x"]
        )
    if kind == "linear_relu":
        return _function(
            lambda x, w, bias: jax.nn.relu(x @ w.T + bias), "out", t["x"], t["weight"], t["bias"]
        )
    if kind in ("cross_entropy", "cross_entropy_autograd"):
        return _cross_entropy(t["logits"], t["labels"])
    if kind in ("layer_norm", "batch_norm"):
        return _norm(kind, t)
    if kind == "adam":
        return _adam(p["lr"], inputs)
    if kind in conv_workloads.KINDS:
        return jax_conv.prepare(kind, p, t)
    if kind in recurrent_workloads.KINDS:
        return jax_recurrent.prepare(kind, p, t)
    if kind == "mlp_step":
        return _mlp(p, inputs)
    if kind == "cnn_step":
        return _cnn(p, inputs)
    if kind == "text_cnn_step":
        return _text_cnn(p, inputs)
    if kind in ("tagger_step", "lm_step"):
        return jax_words.prepare(kind, p, inputs)
    if kind == "nnlm_step":
        return jax_words.prepare_feed_forward(p, inputs)
    if kind == "window_step":
        return jax_words.prepare_window(p, inputs)
    raise UnsupportedError(f"no {kind} for JAX here")


def _function(function: Any, name: str, *arguments: Any) -> Prepared:
    compiled = jax.jit(function)
    return Prepared(
        lambda: compiled(*arguments).block_until_ready(), lambda: {name: np.asarray(compiled(*arguments))}
    )


def _cross_entropy(logits: Any, labels: Any) -> Prepared:
    compiled = jax.jit(jax.value_and_grad(loss_of))

    def result() -> Arrays:
        loss, grad = compiled(logits, labels)
        return {"loss": np.asarray(loss), "grad": np.asarray(grad)}

    return Prepared(lambda: wait(compiled(logits, labels)), result)


def _norm(kind: str, t: dict[str, Any]) -> Prepared:
    axes = (-1,) if kind == "layer_norm" else (0, *range(2, t["x"].ndim))
    per_channel = (1, -1) + (1,) * (t["x"].ndim - 2)

    def normalise(x: Any, weight: Any, bias: Any) -> Any:
        if kind == "batch_norm":
            weight, bias = weight.reshape(per_channel), bias.reshape(per_channel)
        centred = x - x.mean(axes, keepdims=True)
        return centred * jax.lax.rsqrt((centred**2).mean(axes, keepdims=True) + 1e-5) * weight + bias

    def step(x: Any, weight: Any, bias: Any, grad: Any) -> Any:
        out, backward = jax.vjp(normalise, x, weight, bias)
        return out, *backward(grad)

    compiled = jax.jit(step)
    arguments = (t["x"], t["weight"], t["bias"], t["grad"])
    names = ("out", "by_x", "by_weight", "by_bias")
    return Prepared(
        lambda: wait(compiled(*arguments)),
        lambda: dict(zip(names, map(np.asarray, compiled(*arguments)), strict=True)),
    )


def _adam(lr: float, inputs: Arrays) -> Prepared:
    update = jax.jit(lambda state, grad: adam_update(state, grad, lr), donate_argnums=0)
    grad = jnp.asarray(inputs["grad"])
    state = start(jnp.array(inputs["param"], copy=True))

    def run() -> None:
        nonlocal state
        state = wait(update(state, grad))

    return Prepared(run, lambda: {"change": np.asarray(state[0]).astype(np.float64) - inputs["param"]})


def _mlp(p: dict[str, Any], inputs: Arrays) -> Prepared:
    layers = len(p["sizes"]) - 1

    def forward(params: Any, x: Any, y: Any) -> Any:
        for i, (weight, bias) in enumerate(params):
            x = x @ weight.T + bias
            if i < layers - 1:
                x = jax.nn.relu(x)
        return loss_of(x, y)

    return training(forward, _pairs(layers), p, inputs)


def _cnn(p: dict[str, Any], inputs: Arrays) -> Prepared:
    convolutions = len(p["filters"])
    layers = convolutions + len(p["sizes"]) - 1

    def forward(params: Any, x: Any, y: Any) -> Any:
        for i, (weight, bias) in enumerate(params):
            if i < convolutions:
                edge = p["padding"] if i == 0 else 0
                x = jax.lax.conv_general_dilated(x, weight, (1, 1), [(edge, edge)] * 2) + bias[:, None, None]
                x = jax.nn.relu(x)
                x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
                continue
            if i == convolutions:
                x = x.reshape(len(x), -1)
            x = x @ weight.T + bias
            if i < layers - 1:
                x = jax.nn.relu(x)
        return loss_of(x, y)

    return training(forward, _pairs(layers), p, inputs)


def _pairs(layers: int) -> list[tuple[str, ...]]:
    return [(f"weight{i}", f"bias{i}") for i in range(layers)]


def _text_cnn(p: dict[str, Any], inputs: Arrays) -> Prepared:
    names = text_workloads.names_of(p)

    def forward(params: Any, x: Any, y: Any) -> Any:
        v = {name: value for name, (value,) in zip(names, params, strict=True)}
        table = v["embedding"] * (jnp.arange(p["words"]) > 0)[:, None]  # the padding's vector is not learned
        vectors = table[x].transpose(0, 2, 1)
        pooled = [
            (
                jax.lax.conv_general_dilated(vectors, v[f"conv{i}.weight"], (1,), "VALID")
                + v[f"conv{i}.bias"][:, None]
            ).max(axis=2)
            for i in range(len(p["regions"]))
        ]
        features = jax.nn.relu(jnp.concatenate(pooled, axis=1))
        return loss_of(features @ v["output.weight"].T + v["output.bias"], y)

    return training(forward, [(name,) for name in names], p, inputs, text_workloads.RUNS)
