"""Adadelta."""

from __future__ import annotations

from typing import Any

from dlkit import kernels
from dlkit.autograd.base import whole
from dlkit.kernels import recording
from dlkit.kernels.backend import namespace
from dlkit.optim.optimizer import Optimizer, is_number


class Adadelta(Optimizer):
    """Adadelta: steps in the units of the parameter itself, from running means of squared gradients and changes.

    ``s = rho s + (1 - rho) g^2``, ``d = sqrt(u + eps) / sqrt(s + eps) g``, ``u = rho u + (1 - rho) d^2``,
    ``p -= lr d``. All parameters of a group are updated by one kernel, in one pass over memory.

    Parameters
    ----------
    params : iterable of Tensor or dict
    lr : float
        1: the method as it was published.
    rho : float
        What of the means is kept at each step.
    eps : float
    weight_decay : float
        ``weight_decay p`` is added to the gradient.
    maximize : bool
        Go up the gradient.

    Notes
    -----
    Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012. Arguments and state are PyTorch's.
    """

    _kept = ("step", "square_avg", "acc_delta")

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def check_settings(self, group: dict[str, Any]) -> None:
        """Raise ValueError for settings that make no sense."""
        for name in ("lr", "eps", "weight_decay"):
            self._require(
                group, name, is_number(group[name]) and group[name] >= 0, "a finite number, 0 or more"
            )
        self._require(
            group, "rho", is_number(group["rho"]) and 0 <= group["rho"] <= 1, "a number from 0 to 1"
        )

    def update(self, group: dict[str, Any]) -> None:
        """Update the parameters of one group."""
        if recording.active():
            raise RuntimeError("Adadelta: a step of it cannot be recorded; expected SGD or Adam")
        batches: dict[Any, tuple[list[Any], list[Any], list[Any], list[Any]]] = {}
        for tensor in group["params"]:
            grad = tensor._grad
            if grad is None:
                continue
            array = tensor._array
            entry = self.state.get(tensor)
            if entry is None:
                zeros = namespace(array).zeros
                entry = self.state[tensor] = {
                    "step": 0,
                    "square_avg": zeros(array.shape, array.dtype),
                    "acc_delta": zeros(array.shape, array.dtype),
                }
            elif entry["square_avg"].__class__ is not array.__class__:
                self._follow(entry, array)
            lists = batches.setdefault(array.dtype, ([], [], [], []))
            gradient = whole(-grad._array) if group["maximize"] else grad._array
            for one, value in zip(
                lists, (array, gradient, entry["square_avg"], entry["acc_delta"]), strict=True
            ):
                one.append(value)
        settings = {name: group[name] for name in ("lr", "rho", "eps", "weight_decay")}
        for dtype, lists in batches.items():
            kernels.adadelta_step(*lists, **settings)
            for tensor in group["params"]:
                if tensor._grad is not None and tensor._array.dtype == dtype:
                    self.state[tensor]["step"] += 1
                    tensor._version += 1
