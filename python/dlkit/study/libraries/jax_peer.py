"""The workloads in JAX: compiled once with ``jax.jit``, state donated, each run waited for."""

from __future__ import annotations

import itertools
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlkit.study import conv_workloads, recurrent_workloads, text_workloads
from dlkit.study.libraries import Prepared, UnsupportedError, jax_conv, jax_recurrent
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
    raise UnsupportedError(f"no {kind} for JAX here")


def _wait(results: Any) -> Any:
    """Return the results once they are computed."""
    wait: Any = jax.block_until_ready
    return wait(results)


def _function(function: Any, name: str, *arguments: Any) -> Prepared:
    compiled = jax.jit(function)
    return Prepared(
        lambda: compiled(*arguments).block_until_ready(), lambda: {name: np.asarray(compiled(*arguments))}
    )


def _loss(logits: Any, labels: Any) -> Any:
    picked = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked)


def _cross_entropy(logits: Any, labels: Any) -> Prepared:
    compiled = jax.jit(jax.value_and_grad(_loss))

    def result() -> Arrays:
        loss, grad = compiled(logits, labels)
        return {"loss": np.asarray(loss), "grad": np.asarray(grad)}

    return Prepared(lambda: _wait(compiled(logits, labels)), result)


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
        lambda: _wait(compiled(*arguments)),
        lambda: dict(zip(names, map(np.asarray, compiled(*arguments)), strict=True)),
    )


def _adam_update(state: Any, grads: Any, lr: float) -> Any:
    params, m, v, t = state
    t = t + 1
    m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, grads)
    v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, grads)
    first, second = 1 - 0.9**t, 1 - 0.999**t
    params = jax.tree.map(lambda p, m, v: p - lr * (m / first) / (jnp.sqrt(v / second) + 1e-8), params, m, v)
    return params, m, v, t


def _start(params: Any) -> Any:
    return (
        params,
        jax.tree.map(jnp.zeros_like, params),
        jax.tree.map(jnp.zeros_like, params),
        jnp.float32(0),
    )


def _adam(lr: float, inputs: Arrays) -> Prepared:
    update = jax.jit(lambda state, grad: _adam_update(state, grad, lr), donate_argnums=0)
    grad = jnp.asarray(inputs["grad"])
    state = _start(jnp.array(inputs["param"], copy=True))

    def run() -> None:
        nonlocal state
        state = _wait(update(state, grad))

    return Prepared(run, lambda: {"change": np.asarray(state[0]).astype(np.float64) - inputs["param"]})


def _mlp(p: dict[str, Any], inputs: Arrays) -> Prepared:
    layers = len(p["sizes"]) - 1

    def forward(params: Any, x: Any, y: Any) -> Any:
        for i, (weight, bias) in enumerate(params):
            x = x @ weight.T + bias
            if i < layers - 1:
                x = jax.nn.relu(x)
        return _loss(x, y)

    return _training(forward, _pairs(layers), p, inputs)


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
        return _loss(x, y)

    return _training(forward, _pairs(layers), p, inputs)


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
        return _loss(features @ v["output.weight"].T + v["output.bias"], y)

    return _training(forward, [(name,) for name in names], p, inputs, text_workloads.RUNS)


def _training(
    forward: Any, names: list[tuple[str, ...]], p: dict[str, Any], inputs: Arrays, runs: int = 5
) -> Prepared:
    size = p["batch"]

    def step(state: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(forward)(state[0], x, y)
        return _adam_update(state, grads, p["lr"]), loss

    compiled = jax.jit(step, donate_argnums=0)
    state = _start([tuple(jnp.array(inputs[name], copy=True) for name in pair) for pair in names])
    x, y = jnp.asarray(inputs["x"]), jnp.asarray(inputs["y"])
    batches = itertools.cycle([(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)])
    losses: list[Any] = []

    def run() -> None:
        nonlocal state
        images, labels = next(batches)
        state, loss = _wait(compiled(state, images, labels))
        if len(losses) < runs:
            losses.append(loss)

    def result() -> Arrays:
        parts = [
            (np.asarray(array).astype(np.float64) - inputs[name]).ravel()
            for arrays, pair in zip(state[0], names, strict=True)
            for array, name in zip(arrays, pair, strict=True)
        ]
        return {"losses": np.array([float(loss) for loss in losses]), "change": np.concatenate(parts)}

    return Prepared(run, result)
