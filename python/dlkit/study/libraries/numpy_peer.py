"""The workloads in NumPy, with every result preallocated."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from dlkit.study import conv_workloads, recurrent_workloads
from dlkit.study.libraries import Prepared, UnsupportedError
from dlkit.study.workloads import Arrays, Workload


def versions() -> dict[str, str]:
    """Return the versions in use, and which BLAS kernels were chosen."""
    found = {"numpy": np.__version__}
    try:
        from threadpoolctl import threadpool_info

        for library in threadpool_info():
            if library.get("user_api") == "blas":
                found["blas"] = (
                    f"{library['internal_api']} {library['version']} {library.get('architecture', '')}"
                )
    except ImportError:
        pass
    return found


def prepare(workload: Workload, inputs: Arrays, options: dict[str, Any]) -> Prepared:
    """Return the workload ready to run."""
    p, kind = workload.params, workload.kind
    if kind == "matmul":
        a = inputs["a"].T if p["trans_a"] else inputs["a"]
        b = inputs["b"].T if p["trans_b"] else inputs["b"]
        out = np.empty((p["m"], p["n"]), np.float32)
        return Prepared(partial(np.matmul, a, b, out=out), lambda: {"out": out})
    if kind in ("relu", "tanh", "sigmoid"):
        return _elementwise(kind, inputs["x"])
    if kind == "linear_relu":
        return _linear(inputs)
    if kind == "cross_entropy":
        return _cross_entropy(inputs)
    if kind == "adam":
        return _adam(inputs, p["lr"])
    if kind in conv_workloads.KINDS:
        raise UnsupportedError("NumPy has no convolutions of images")
    if kind in recurrent_workloads.KINDS:
        raise UnsupportedError("NumPy has no recurrent layers")
    raise UnsupportedError("NumPy has no automatic differentiation")


def _elementwise(kind: str, x: Any) -> Prepared:
    out = np.empty_like(x)
    if kind == "relu":
        return Prepared(partial(np.maximum, x, np.float32(0), out=out), lambda: {"out": out})
    if kind == "tanh":
        return Prepared(partial(np.tanh, x, out=out), lambda: {"out": out})

    def sigmoid() -> None:
        np.negative(x, out=out)
        np.exp(out, out=out)
        np.add(out, np.float32(1), out=out)
        np.reciprocal(out, out=out)

    return Prepared(sigmoid, lambda: {"out": out})


def _linear(inputs: Arrays) -> Prepared:
    x, weight, bias = inputs["x"], inputs["weight"].T, inputs["bias"]
    out = np.empty((x.shape[0], weight.shape[1]), np.float32)

    def run() -> None:
        np.matmul(x, weight, out=out)
        np.add(out, bias, out=out)
        np.maximum(out, np.float32(0), out=out)

    return Prepared(run, lambda: {"out": out})


def _cross_entropy(inputs: Arrays) -> Prepared:
    logits, labels = inputs["logits"], inputs["labels"]
    count = len(labels)
    rows = np.arange(count)
    grad, total, losses = np.empty_like(logits), np.empty((count, 1), np.float32), np.empty(count, np.float32)

    def run() -> None:
        np.subtract(logits, logits.max(axis=1, keepdims=True), out=grad)
        losses[:] = grad[rows, labels]
        np.exp(grad, out=grad)
        np.sum(grad, axis=1, keepdims=True, out=total)
        np.subtract(np.log(total[:, 0]), losses, out=losses)
        np.divide(grad, total * np.float32(count), out=grad)
        grad[rows, labels] -= np.float32(1 / count)

    return Prepared(run, lambda: {"loss": losses.mean(dtype=np.float64), "grad": grad})


def _adam(inputs: Arrays, lr: float) -> Prepared:
    param, grad = inputs["param"].copy(), inputs["grad"]
    m, v, work, step_by = (np.zeros_like(param) for _ in range(4))
    t = 0

    def run() -> None:
        nonlocal t
        t += 1
        np.subtract(grad, m, out=work)
        np.multiply(work, np.float32(0.1), out=work)
        np.add(m, work, out=m)
        np.multiply(v, np.float32(0.999), out=v)
        np.multiply(grad, grad, out=work)
        np.multiply(work, np.float32(0.001), out=work)
        np.add(v, work, out=v)
        np.multiply(v, np.float32(1 / (1 - 0.999**t)), out=work)
        np.sqrt(work, out=work)
        np.add(work, np.float32(1e-8), out=work)
        np.divide(m, work, out=step_by)
        np.multiply(step_by, np.float32(lr / (1 - 0.9**t)), out=step_by)
        np.subtract(param, step_by, out=param)

    return Prepared(run, lambda: {"change": param.astype(np.float64) - inputs["param"]})
