"""Modules made of modules: one after another, or a list of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dlkit.nn.activation import ReLU, Sigmoid, Tanh
from dlkit.nn.conv import Conv1d, Conv2d
from dlkit.nn.functional import linear
from dlkit.nn.linear import Linear
from dlkit.nn.module import Module
from dlkit.nn.pooling import MaxPool1d, MaxPool2d

# What a layer computes together with the activation that follows it.
_FUSED: dict[type, dict[type, str]] = {
    Linear: {ReLU: "relu", Sigmoid: "sigmoid", Tanh: "tanh"},
    Conv1d: {ReLU: "relu"},
    Conv2d: {ReLU: "relu"},
}
# What a convolution of as many dimensions computes, too, with or without a ReLU between.
_POOLS: dict[type, type] = {Conv1d: MaxPool1d, Conv2d: MaxPool2d}


class _Listed(Module):
    """What a list of modules can do. They are named by their numbers, as in PyTorch."""

    def _listed(self) -> list[Module]:
        return [module for module in self._modules.values() if module is not None]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._listed())

    def __getitem__(self, index: Any) -> Any:
        """Return the module of that number; for a slice, the same kind of list."""
        modules = self._listed()
        if isinstance(index, slice):
            return self._like(modules[index])
        return modules[self._number(index)]

    def _number(self, index: Any) -> int:
        kind = type(self).__name__
        if not hasattr(index, "__index__"):
            raise TypeError(f"{kind}: index is a {type(index).__name__}; expected an integer or a slice")
        number, count = int(index.__index__()), len(self._modules)
        if not -count <= number < count:
            raise IndexError(f"{kind}: index is {number}; there are {count} modules")
        return number

    def _like(self, modules: list[Module]) -> Module:
        return type(self)(modules)  # type: ignore[call-arg]

    def __setitem__(self, index: int, module: Module) -> None:
        """Replace the module of that number."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: value is a {type(module).__name__}; expected a Module")
        setattr(self, list(self._modules)[self._number(index)], module)

    def append(self, module: Module) -> Any:
        """Add a module at the end, and return the list."""
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__}: append is given a {type(module).__name__}; expected a Module"
            )
        self.add_module(str(len(self._modules)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add modules at the end, and return the list."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"{type(self).__name__}: modules is a {type(modules).__name__}; expected an iterable of Modules"
            )
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put a module before the one of that number, and return the list. Those after it are numbered anew."""
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__}: insert is given a {type(module).__name__}; expected a Module"
            )
        modules = self._listed()
        modules.insert(index, module)
        self._number_anew(modules)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take the module of that number out, and return it. Those after it are numbered anew."""
        modules = self._listed()
        module = modules.pop(self._number(index))
        self._number_anew(modules)
        return module

    def __delitem__(self, index: Any) -> None:
        """Take one module or a slice of them out."""
        modules = self._listed()
        del modules[index if isinstance(index, slice) else self._number(index)]
        self._number_anew(modules)

    def _number_anew(self, modules: list[Module]) -> None:
        for name in list(self._modules):
            delattr(self, name)
        for i, module in enumerate(modules):
            self.add_module(str(i), module)


class Sequential(_Listed):
    """Modules, each of which gets what the one before returns.

    Parameters
    ----------
    *modules : Module, or one dict of str to Module
        Named "0", "1", … or by the dictionary's keys.

    Notes
    -----
    A Linear and a ReLU, Sigmoid or Tanh after it run as one kernel, forward and backward, as do a convolution and a
    ReLU, a max-pooling, or both after it: then the convolution's output is never in memory as a whole. The names in
    ``state_dict`` are those of the modules; modules with hooks, and subclasses, are called one by one.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        named: Iterable[tuple[str, Any]]
        if len(modules) == 1 and isinstance(modules[0], dict):
            named = modules[0].items()
        else:
            named = ((str(i), module) for i, module in enumerate(modules))
        for name, module in named:
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: module {name} is a {type(module).__name__}; expected a Module")
            self.add_module(name, module)

    def _like(self, modules: list[Module]) -> Module:
        return Sequential(*modules)

    def forward(self, x: Any) -> Any:
        """Pass the input through all modules."""
        waiting: Any = None  # a layer whose activation may come next
        fused: str | None = None  # that activation, where a pooling may come next
        module: Any
        for module in self._modules.values():
            kind = module.__class__
            if waiting is not None:
                plain = module is not None and _plain(module)
                if fused is None and plain and kind in _FUSED[waiting.__class__]:
                    fused = _FUSED[waiting.__class__][kind]
                    if waiting.__class__ is Linear:
                        x, waiting, fused = _run(waiting, x, fused), None, None
                    continue
                if plain and kind is _POOLS.get(waiting.__class__) and not module.return_indices:
                    x, waiting, fused = waiting.convolve_and_pool(x, module.window(), fused), None, None
                    continue
                x, waiting, fused = _run(waiting, x, fused), None, None
            if kind in _FUSED and _plain(module):
                waiting = module
            elif module is not None:
                x = module(x)
        return x if waiting is None else _run(waiting, x, fused)


def _run(layer: Any, x: Any, activation: str | None) -> Any:
    if layer.__class__ is Linear:
        return linear(x, layer.weight, layer.bias, activation)
    return layer.convolve(x, activation)


def _plain(module: Any) -> bool:
    # Nobody watches it, or has given this one a forward of its own.
    fields = module.__dict__
    return not fields["_forward_hooks"] and not fields["_forward_pre_hooks"] and "forward" not in fields


class ModuleList(_Listed):
    """A list of modules, registered under their numbers.

    Parameters
    ----------
    modules : iterable of Module
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)
