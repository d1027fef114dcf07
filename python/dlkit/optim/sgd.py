"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dlkit import kernels
from dlkit.autograd.base import whole
from dlkit.kernels import recording
from dlkit.kernels.backend import namespace
from dlkit.optim.optimizer import Optimizer, is_number


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's variant of it.

    With ``g = grad + weight_decay p``: ``v = momentum v + (1 - dampening) g`` (at first v = g), then ``p -= lr v``, or
    with `nesterov` ``p -= lr (g + momentum v)``. All parameters of a group are updated by one kernel.

    Parameters
    ----------
    params : iterable of Tensor or dict
    lr : float
    momentum, dampening, weight_decay : float
    nesterov : bool
        Needs momentum and no dampening.
    maximize : bool
        Go up the gradient.

    Notes
    -----
    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013; as PyTorch has it.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    _kept = ("momentum_buffer",)

    def check_settings(self, group: dict[str, Any]) -> None:
        """Raise ValueError for settings that make no sense."""
        for name in ("lr", "momentum", "weight_decay"):
            self._require(
                group, name, is_number(group[name]) and group[name] >= 0, "a finite number, 0 or more"
            )
        self._require(group, "dampening", is_number(group["dampening"]), "a finite number")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                f"SGD: nesterov is True with momentum {group['momentum']} and dampening {group['dampening']}; expected "
                "momentum above 0 and no dampening"
            )

    def update(self, group: dict[str, Any]) -> None:
        """Update the parameters of one group."""
        momentum = group["momentum"]
        # Parameters that have a velocity, and those that begin one.
        batches: dict[tuple[Any, bool], tuple[list[Any], list[Any], list[Any]]] = {}
        beginning: list[tuple[Any, Any]] = []
        for tensor in group["params"]:
            grad = tensor._grad
            if grad is None:
                continue
            array = tensor._array
            velocity, first = None, False
            if momentum:
                entry = self.state.get(tensor)
                velocity = entry.get("momentum_buffer") if entry else None
                if velocity is not None and velocity.__class__ is not array.__class__:
                    self._follow(entry, array)  # type: ignore[arg-type]
                    velocity = entry["momentum_buffer"]  # type: ignore[index]
                if velocity is None:
                    first = True
                    velocity = namespace(array).empty(array.shape, array.dtype)
                    beginning.append((tensor, velocity))
            key = (array.dtype, first)
            if key not in batches:
                batches[key] = ([], [], [])
            arrays, gradients, velocities = batches[key]
            arrays.append(array)
            gradients.append(whole(-grad._array) if group["maximize"] else grad._array)
            velocities.append(velocity)
            tensor._version += 1
        if recording.active() and any(first for _, first in batches):
            raise RuntimeError(
                "SGD: the first step with momentum cannot be recorded; expected one step before the recording"
            )
        for (_, first), (arrays, gradients, velocities) in batches.items():
            kernels.sgd_step(
                arrays,
                gradients,
                velocities if momentum else None,
                lr=group["lr"],
                momentum=momentum,
                dampening=group["dampening"],
                weight_decay=group["weight_decay"],
                nesterov=group["nesterov"],
                first=first,
                settings=self._replayed(group) if recording.active() else None,
            )
        # Not before the kernels have filled them: after an error there is no state that was never written.
        for tensor, velocity in beginning:
            self.state[tensor] = {"momentum_buffer": velocity}

    @staticmethod
    def _replayed(group: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        # For a step that is being recorded: the settings of each of its replays.
        tensors = [tensor for tensor in group["params"] if tensor._grad is not None]

        def settings() -> dict[str, Any]:
            for tensor in tensors:
                tensor._version += 1
            names = ("lr", "momentum", "dampening", "weight_decay", "nesterov")
            return {name: group[name] for name in names}

        return settings
