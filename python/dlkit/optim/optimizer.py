"""The optimizer: groups of parameters with settings, and the state it keeps for each parameter."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dlkit.autograd.base import TensorBase, as_array
from dlkit.autograd.gradients import clear
from dlkit.autograd.mode import enable_grad
from dlkit.autograd.tensor import Tensor
from dlkit.kernels.backend import device_of, is_device_array, move, to_host


def is_number(value: Any) -> bool:
    """Return whether it is a finite real number, and no truth value."""
    return (
        isinstance(value, (int, float, np.number))
        and not isinstance(value, bool)
        and bool(np.isfinite(value))
    )


class Optimizer:
    """Base of all optimizers.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict
        What to optimize; a dict is a group, with ``params`` and settings that differ from the defaults.
    defaults : dict
        Settings of groups that do not name them.

    Attributes
    ----------
    param_groups : list of dict
        Change a setting, such as ``lr``, by assigning to it.
    state : dict
        What is kept for each parameter.

    Raises
    ------
    TypeError
        If something to optimize is no tensor.
    ValueError
        If there is nothing to optimize, a tensor is no leaf, or appears twice.
    """

    # Names of what is kept for each parameter; None where a subclass does not say.
    _kept: tuple[str, ...] | None = None

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        kind = type(self).__name__
        if isinstance(params, (TensorBase, np.ndarray, Mapping, str)) or not isinstance(params, Iterable):
            raise TypeError(
                f"{kind}: params is a {type(params).__name__}; expected an iterable of tensors or dicts (write "
                "model.parameters(), or [tensor])"
            )
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[dict[str, Any]] = []
        given = params if isinstance(params, (set, frozenset)) else list(params)
        if not given:
            raise ValueError(f"{kind}: params is empty; expected at least one tensor")
        groups = given if isinstance(next(iter(given)), Mapping) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group: a dict with ``params`` and, optionally, settings."""
        kind = type(self).__name__
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(
                f"{kind}: a group is a {type(param_group).__name__}; expected a dict with 'params'"
            )
        unknown = [
            name for name in param_group if name not in self.defaults and name not in ("params", "initial_lr")
        ]
        if unknown:
            raise ValueError(
                f"{kind}: a group has the setting {unknown[0]!r}; expected some of {', '.join(self.defaults)}"
            )
        listed = param_group["params"]
        if isinstance(listed, (set, frozenset)):
            raise TypeError(
                f"{kind}: params is a {type(listed).__name__}; expected a list (sets have no order)"
            )
        if isinstance(listed, np.ndarray) or not isinstance(listed, (TensorBase, Iterable)):
            raise TypeError(
                f"{kind}: params is a {type(listed).__name__}; expected a Tensor or a list of them"
            )
        listed = [listed] if isinstance(listed, TensorBase) else list(listed)
        tensors = [entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry for entry in listed]
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for i, tensor in enumerate(tensors):
            if not isinstance(tensor, TensorBase):
                raise TypeError(f"{kind}: parameter {i} is a {type(tensor).__name__}; expected a Tensor")
            if tensor._node is not None:
                raise ValueError(f"{kind}: parameter {i} is the result of {tensor._node.op}; expected a leaf")
            if tensor._array.dtype not in (np.float32, np.float64):
                raise TypeError(
                    f"{kind}: parameter {i} is of dtype {tensor._array.dtype}; expected float32 or float64"
                )
            if id(tensor) in known:
                raise ValueError(f"{kind}: parameter {i} appears more than once")
            known.add(id(tensor))
        group = {"params": tensors, **{k: param_group.get(k, v) for k, v in self.defaults.items()}}
        if "initial_lr" in param_group:
            group["initial_lr"] = param_group["initial_lr"]
        self.check_settings(group)
        self.param_groups.append(group)

    def check_settings(self, group: dict[str, Any]) -> None:
        """Raise ValueError for settings that make no sense."""

    def check_saved(self, saved: Mapping[str, Any]) -> None:
        """Raise ValueError for a saved group that this optimizer cannot go on from."""

    def _require(self, group: dict[str, Any], name: str, accepted: bool, expected: str) -> None:
        if not accepted:
            raise ValueError(f"{type(self).__name__}: {name} is {group[name]!r}; expected {expected}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the gradients of all parameters away, or with ``set_to_none=False`` set them to 0."""
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor._grad is not None:
                    if set_to_none:
                        clear(tensor)
                    else:
                        tensor._grad._array.fill(0)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and its gradients first; what it returns is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            self.update(group)
        return loss

    def update(self, group: dict[str, Any]) -> None:
        """Update the parameters of one group. Every optimizer defines it."""
        raise TypeError(f"{type(self).__name__}: update is not defined; an Optimizer's subclass defines it")

    def state_dict(self) -> dict[str, Any]:
        """Return state and settings, in PyTorch's layout: parameters are numbered in order.

        Returns
        -------
        dict
            ``state``: for each parameter's number, a dict of arrays and numbers (the arrays themselves, not copies).
            ``param_groups``: the settings, with the parameters' numbers.
        """
        numbers = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        return {
            "state": {numbers[id(p)]: dict(entry) for p, entry in self.state.items()},
            "param_groups": [
                {
                    **{k: v for k, v in group.items() if k != "params"},
                    "params": [numbers[id(p)] for p in group["params"]],
                }
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over state and settings from what `state_dict` gave, here or in PyTorch. Arrays are copied.

        Raises
        ------
        ValueError
            If groups, parameters or shapes differ. Nothing is changed then.
        """
        kind = type(self).__name__
        try:
            saved_groups, saved_state = state_dict["param_groups"], state_dict["state"]
        except (IndexError, KeyError, TypeError):
            raise ValueError(
                f"{kind}: the state is not one of state_dict; expected 'state' and 'param_groups'"
            ) from None
        sizes = [len(group["params"]) for group in self.param_groups]
        try:
            saved_sizes = [len(group["params"]) for group in saved_groups]
            entries = {key: dict(entry) for key, entry in saved_state.items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(
                f"{kind}: the state is not one of state_dict; expected groups with 'params', and a dict per parameter"
            ) from None
        if sizes != saved_sizes:
            raise ValueError(
                f"{kind}: the state has groups of {saved_sizes} parameters; the optimizer has groups of {sizes}"
            )
        for saved in saved_groups:
            self.check_saved(saved)
        parameters = [p for group in self.param_groups for p in group["params"]]
        numbers = [number for group in saved_groups for number in group["params"]]
        by_number = dict(zip(numbers, parameters, strict=True))
        state: dict[Tensor, dict[str, Any]] = {}
        for number, entry in entries.items():
            key = (
                int(number) if isinstance(number, str) and number.isdigit() else number
            )  # JSON's keys are strings
            if key not in by_number:
                raise ValueError(
                    f"{kind}: the state has an entry for parameter {number}, which is in no group"
                )
            parameter = by_number[key]
            if not entry:
                continue
            if self._kept is not None and set(entry) != set(self._kept):
                raise ValueError(
                    f"{kind}: the state has {', '.join(map(str, entry))} for parameter {number}; "
                    f"expected {', '.join(self._kept)}"
                )
            state[parameter] = {name: self._loaded(name, value, parameter) for name, value in entry.items()}
        groups = []
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            settings = {
                name: copy.deepcopy(value)
                for name, value in saved.items()
                if name in group or name in ("initial_lr", "swap_lr")
            }
            for name, value in settings.items():
                if isinstance(value, list) and isinstance(group.get(name), tuple):
                    settings[name] = tuple(value)
                elif hasattr(value, "item"):  # PyTorch's lr may be a tensor
                    settings[name] = value.item()
            groups.append({**group, **settings, "params": group["params"]})
        for group in groups:
            self.check_settings(group)
        # The same dicts as before: schedulers and callers hold them.
        for group, new in zip(self.param_groups, groups, strict=True):
            group.update(new)
        self.state = state

    def _loaded(self, name: str, value: Any, parameter: Tensor) -> Any:
        if name == "step":
            step = value.item() if hasattr(value, "item") else value
            if not is_number(step) or step < 0 or step != int(step):
                raise ValueError(f"{type(self).__name__}: step is {step!r}; expected an integer of 0 or more")
            return int(step)
        if value is None or (self._kept is None and isinstance(value, (int, float, str, bool))):
            return value
        array = np.array(
            to_host(as_array(value, type(self).__name__, name)), parameter._array.dtype, order="C"
        )
        if array.shape != parameter._array.shape:
            raise ValueError(
                f"{type(self).__name__}: {name} is {array.shape}; "
                f"expected the parameter's shape {parameter._array.shape}"
            )
        return move(array, device_of(parameter._array))

    def _follow(self, entry: dict[str, Any], array: Any) -> None:
        # The module has been moved to another device since: its state goes along.
        there = device_of(array)
        for name, value in entry.items():
            if isinstance(value, np.ndarray) or is_device_array(value):
                entry[name] = move(value, there)

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            settings = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            lines.append(f"  group {i}: {len(group['params'])} parameters, {settings}")
        return f"{type(self).__name__} (\n" + "\n".join(lines) + "\n)"
