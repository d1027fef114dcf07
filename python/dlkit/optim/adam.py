"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dlkit import kernels
from dlkit.autograd.base import whole
from dlkit.kernels import recording
from dlkit.kernels.backend import namespace
from dlkit.optim.optimizer import Optimizer, is_number


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
    _kept = ("step", "exp_avg", "exp_avg_sq")

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
        for name in ("lr", "eps", "weight_decay"):
            self._require(
                group, name, is_number(group[name]) and group[name] >= 0, "a finite number, 0 or more"
            )
        betas = group["betas"]
        self._require(
            group,
            "betas",
            isinstance(betas, (tuple, list))
            and len(betas) == 2
            and all(is_number(b) and 0 <= b < 1 for b in betas),
            "two numbers from 0 to below 1",
        )

    def check_saved(self, saved: Mapping[str, Any]) -> None:
        """Raise ValueError for settings, saved by PyTorch, that mean another optimizer."""
        kind = type(self).__name__
        if saved.get("amsgrad"):
            raise ValueError(f"{kind}: the state was saved with amsgrad=True; expected one without")
        decoupled = saved.get("decoupled_weight_decay", self._decoupled)
        if bool(decoupled) != self._decoupled and saved.get("weight_decay"):
            raise ValueError(
                f"{kind}: the state was saved with decoupled_weight_decay={decoupled}; "
                f"expected one of {'AdamW' if self._decoupled else 'Adam'}"
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
                    "exp_avg": namespace(array).zeros(array.shape, array.dtype),
                    "exp_avg_sq": namespace(array).zeros(array.shape, array.dtype),
                }
            elif entry["exp_avg"].__class__ is not array.__class__:
                self._follow(entry, array)
            step = entry["step"] = entry["step"] + 1
            if key is None or step != key[0] or array.dtype is not key[1]:
                key = (step, array.dtype)
                if key not in batches:
                    batches[key] = ([], [], [], [])
                arrays, gradients, means, squares = batches[key]
            arrays.append(array)
            gradients.append(whole(-grad._array) if group["maximize"] else grad._array)
            means.append(entry["exp_avg"])
            squares.append(entry["exp_avg_sq"])
            tensor._version += 1
        beta1, beta2 = group["betas"]
        made: list[Any] = []
        try:
            for key, (arrays, gradients, means, squares) in batches.items():
                kernels.adam_step(
                    arrays,
                    gradients,
                    means,
                    squares,
                    step=key[0],
                    lr=group["lr"],
                    beta1=beta1,
                    beta2=beta2,
                    eps=group["eps"],
                    weight_decay=group["weight_decay"],
                    decoupled=self._decoupled,
                    settings=self._replayed(group, key) if recording.active() else None,
                )
                made.append(key)
        except BaseException:
            # Steps that were not made do not count.
            for tensor in group["params"]:
                if tensor._grad is not None and (state[tensor]["step"], tensor._array.dtype) not in made:
                    state[tensor]["step"] -= 1
            raise

    def _replayed(self, group: dict[str, Any], key: Any) -> Callable[[], dict[str, Any]]:
        # For a step that is being recorded: what each of its replays makes of the parameters of one call.
        entries = []
        for tensor in group["params"]:
            entry = self.state.get(tensor)
            if tensor._grad is not None and entry is not None and (entry["step"], tensor._array.dtype) == key:
                entries.append((tensor, entry))

        def settings() -> dict[str, Any]:
            for tensor, entry in entries:
                entry["step"] += 1
                tensor._version += 1
            beta1, beta2 = group["betas"]
            return {
                "step": entries[0][1]["step"],
                "lr": group["lr"],
                "beta1": beta1,
                "beta2": beta2,
                "eps": group["eps"],
                "weight_decay": group["weight_decay"],
            }

        return settings


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
