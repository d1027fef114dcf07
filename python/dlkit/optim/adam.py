"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlkit import kernels
from dlkit.optim.optimizer import Optimizer


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g^2``,
    ``p -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)`` at step t. All parameters of a group are updated by
    one kernel, in one pass over memory.

    Parameters
    ----------
    params : iterable of Tensor or dict
    lr : float
    betas : pair of float
    eps : float
    weight_decay : float
        ``weight_decay p`` is added to the gradient.
    maximize : bool
        Go up the gradient.

    Notes
    -----
    Kingma & Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """

    _decoupled = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def check_settings(self, group: dict[str, Any]) -> None:
        """Raise ValueError for settings that make no sense."""
        self._require(group, "lr", group["lr"] >= 0, "0 or more")
        self._require(group, "eps", group["eps"] >= 0, "0 or more")
        self._require(group, "weight_decay", group["weight_decay"] >= 0, "0 or more")
        betas = group["betas"]
        self._require(
            group,
            "betas",
            len(betas) == 2 and all(0 <= b < 1 for b in betas),
            "two numbers from 0 to below 1",
        )

    def update(self, group: dict[str, Any]) -> None:
        """Update the parameters of one group."""
        state = self.state
        # One call for all parameters of one dtype that have made as many steps: as a rule, all.
        key: Any = None
        batches: dict[Any, tuple[list[Any], list[Any], list[Any], list[Any]]] = {}
        arrays: list[Any]
        for tensor in group["params"]:
            grad = tensor._grad
            if grad is None:
                continue
            array = tensor._array
            entry = state.get(tensor)
            if entry is None:
                entry = state[tensor] = {
                    "step": 0,
                    "exp_avg": np.zeros(array.shape, array.dtype),
                    "exp_avg_sq": np.zeros(array.shape, array.dtype),
                }
            step = entry["step"] = entry["step"] + 1
            if key is None or step != key[0] or array.dtype is not key[1]:
                key = (step, array.dtype)
                if key not in batches:
                    batches[key] = ([], [], [], [])
                arrays, gradients, means, squares = batches[key]
            arrays.append(array)
            gradients.append(-grad._array if group["maximize"] else grad._array)
            means.append(entry["exp_avg"])
            squares.append(entry["exp_avg_sq"])
            tensor._version += 1
        beta1, beta2 = group["betas"]
        for (step, _), (arrays, gradients, means, squares) in batches.items():
            kernels.adam_step(
                arrays,
                gradients,
                means,
                squares,
                step=step,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                decoupled=self._decoupled,
            )


class AdamW(Adam):
    """Adam with decoupled weight decay: p shrinks by ``lr weight_decay p``, and the gradient is left alone.

    Parameters
    ----------
    params : iterable of Tensor or dict
    lr : float
    betas : pair of float
    eps : float
    weight_decay : float
    maximize : bool
        Go up the gradient.

    Notes
    -----
    Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019.
    """

    _decoupled = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize=maximize)
