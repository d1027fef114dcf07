"""The module: something with parameters that maps tensors to tensors."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from dlkit.autograd.base import as_array, make, mark_changed, shape_text
from dlkit.autograd.gradients import clear
from dlkit.autograd.tensor import Tensor, cuda_name, target
from dlkit.kernels.backend import device_of, is_device_name, move
from dlkit.nn.parameter import Parameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

Self = TypeVar("Self", bound="Module")
Hook = Callable[..., Any]


def float_dtype(dtype: Any, operation: str) -> np.dtype[Any]:
    """Return float32 or float64 as NumPy's dtype.

    Raises
    ------
    TypeError
        If `dtype` is something else.
    """
    wanted: np.dtype[Any] | None
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        wanted = None
    if dtype is None or wanted is None or wanted not in (np.float32, np.float64):
        shown = repr(dtype) if wanted is None or dtype is None else wanted
        device = " or a device such as 'cuda'" if operation == "to" else ""
        raise TypeError(f"{operation}: dtype is {shown}; expected float32 or float64{device}") from None
    return wanted


class IncompatibleKeys(NamedTuple):
    """Names that `Module.load_state_dict` found on one side alone."""

    missing_keys: list[str]
    unexpected_keys: list[str]


_next_hook = itertools.count().__next__


class HookHandle:
    """What registers a hook, and removes it: call `remove`, or the handle itself, or use it in a with statement."""

    def __init__(self, hooks: dict[int, Hook], hook: Hook) -> None:
        if not callable(hook):
            raise TypeError(f"register_hook: hook is a {type(hook).__name__}; expected a callable")
        self._hooks, self._key = hooks, _next_hook()
        hooks[self._key] = hook

    def remove(self) -> None:
        """Remove the hook, if it is still there."""
        self._hooks.pop(self._key, None)

    __call__ = remove

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class Module:
    """Base of layers and models. Parameters, modules and buffers assigned to attributes are registered.

    Subclasses call ``super().__init__()`` first and define `forward`; calling the module runs it.

    Attributes
    ----------
    training : bool
        Whether layers such as Dropout behave as in training. See `train` and `eval`.

    Examples
    --------
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = Parameter([1.0])
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> list(Scale().state_dict())
    ['factor']
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _modules: dict[str, Module | None]
    _buffers: dict[str, Tensor | None]
    _transient: set[str]  # names of buffers that state_dict leaves out
    _forward_hooks: dict[int, Hook]
    _forward_pre_hooks: dict[int, Hook]

    def __init__(self) -> None:
        fields = self.__dict__
        fields["training"] = True
        fields["_parameters"] = {}
        fields["_modules"] = {}
        fields["_buffers"] = {}
        fields["_transient"] = set()
        fields["_forward_hooks"] = {}
        fields["_forward_pre_hooks"] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output. Every subclass defines it."""
        raise TypeError(f"{type(self).__name__}: forward is not defined; a Module's subclass defines it")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`, and the hooks around it."""
        if self._forward_pre_hooks or self._forward_hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook in tuple(self._forward_pre_hooks.values()):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*args, **kwargs)
        for hook in tuple(self._forward_hooks.values()):
            replaced = hook(self, args, result)
            if replaced is not None:
                result = replaced
        return result

    def register_forward_hook(self, hook: Hook) -> HookHandle:
        """Call ``hook(module, args, output)`` after `forward`; what it returns, if not None, replaces the output.

        Returns
        -------
        HookHandle
            Its ``remove()`` removes the hook.
        """
        return HookHandle(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Hook) -> HookHandle:
        """Call ``hook(module, args)`` before `forward`; what it returns, if not None, replaces the arguments.

        Returns
        -------
        HookHandle
            Its ``remove()`` removes the hook.
        """
        return HookHandle(self._forward_pre_hooks, hook)

    # Registration. What is registered is also an ordinary attribute, so that reading one costs nothing extra.

    def __setattr__(self, name: str, value: Any) -> None:
        fields = self.__dict__
        if "_parameters" not in fields:
            if isinstance(value, (Parameter, Module)):
                raise AttributeError(
                    f"{type(self).__name__}: {name} assigned before Module.__init__; call super().__init__() first"
                )
            fields[name] = value
            return
        if isinstance(value, Parameter):
            self._claim(name, self._parameters)
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._claim(name, self._modules)
            self._modules[name] = value
        elif name in self._parameters:
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}.{name}: value is a {type(value).__name__}; "
                    "expected a Parameter or None (change values with .data or .copy_())"
                )
            self._parameters[name] = None
        elif name in self._buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"{type(self).__name__}.{name}: value is a {type(value).__name__}; expected a Tensor or None"
                )
            self._buffers[name] = value
        elif name in self._modules:
            if value is not None:
                raise TypeError(
                    f"{type(self).__name__}.{name}: value is a {type(value).__name__}; expected a Module or None"
                )
            self._modules[name] = None
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._claim(name, None)

    def _claim(self, name: str, registry: Any) -> None:
        # The name is to be in this registry alone. What replaces something there takes its place in the order.
        for other in (self._parameters, self._modules, self._buffers):
            if other is not registry:
                other.pop(name, None)
        self._transient.discard(name)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Register a parameter under a name; None for one that this module goes without."""
        self._check_name(name, "register_parameter")
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(
                f"register_parameter: {name} is a {type(parameter).__name__}; expected a Parameter or None"
            )
        self._claim(name, self._parameters)
        self._parameters[name] = parameter
        self.__dict__[name] = parameter

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Register a tensor that is part of the state but not learned.

        Parameters
        ----------
        name : str
        tensor : Tensor or array or None
        persistent : bool
            Whether `state_dict` holds it.
        """
        self._check_name(name, "register_buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            tensor = Tensor(as_array(tensor, "register_buffer", name))
        self._claim(name, self._buffers)
        self._buffers[name] = tensor
        self.__dict__[name] = tensor
        if not persistent:
            self._transient.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a module under a name."""
        self._check_name(name, "add_module")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: {name} is a {type(module).__name__}; expected a Module or None")
        self._claim(name, self._modules)
        self._modules[name] = module
        self.__dict__[name] = module

    def _check_name(self, name: str, operation: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"{operation}: call super().__init__() of {type(self).__name__} first")
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(
                f"{operation}: name is {name!r}; expected a string that is not empty and has no dot"
            )
        registered = name in self._parameters or name in self._buffers or name in self._modules
        if hasattr(self, name) and not registered:
            raise KeyError(f"{operation}: {type(self).__name__} has an attribute {name!r} already")

    # What is in it.

    def named_modules(self, memo: set[int] | None = None, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield each module in the tree, itself first, with its dotted name; each once."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """Yield each module in the tree, itself first; each once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules directly in this one, with their names."""
        for name, module in self._modules.items():
            if module is not None:
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the modules directly in this one."""
        for _, module in self.named_children():
            yield module

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Yield each parameter with its dotted name; one that is used in several places once."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix=prefix) if recurse else [(prefix, self)]:
            for name, parameter in module._parameters.items():
                if parameter is not None and id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield f"{path}.{name}" if path else name, parameter

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield each parameter; one that is used in several places once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Yield each buffer with its dotted name."""
        for path, module in self.named_modules(prefix=prefix) if recurse else [(prefix, self)]:
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    yield f"{path}.{name}" if path else name, buffer

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield each buffer."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter of a dotted name.

        Raises
        ------
        AttributeError
            If there is none.
        """
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._parameters.get(name)
        if found is None:
            raise AttributeError(f"get_parameter: {type(self).__name__} has no parameter {target!r}")
        return found

    def get_submodule(self, target: str) -> Module:
        """Return the module of a dotted name; itself for an empty one.

        Raises
        ------
        AttributeError
            If there is none.
        """
        module: Module = self
        for name in target.split(".") if target else ():
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(f"get_submodule: {type(self).__name__} has no module {target!r}")
            module = found
        return module

    # State.

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield prefix + name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._transient:
                yield prefix + name, buffer
        for name, module in self._modules.items():
            if module is not None:
                yield from module._state(f"{prefix}{name}.")

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return all parameters and persistent buffers by dotted name, as PyTorch names them.

        Returns
        -------
        dict of str to array
            The arrays themselves, on the device that the module is on: copy them to keep what they hold now.
            `save_safetensors` copies them to the host.
        """
        return {name: tensor._array for name, tensor in self._state()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy parameters and buffers from what `state_dict` gave, here or in PyTorch.

        Parameters
        ----------
        state_dict : mapping of str to array or tensor
            Converted to the dtype, and copied to the device, that the module has.
        strict : bool
            Whether names on one side alone are an error.

        Returns
        -------
        IncompatibleKeys

        Raises
        ------
        TypeError
            If it is no mapping, or holds something that is no array of numbers. Nothing is changed then.
        ValueError
            If shapes differ, or names do and `strict` is set. Nothing is changed then.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: state_dict is a {type(state_dict).__name__}; expected a mapping of names to arrays "
                "(read a file with load_safetensors)"
            )
        own = dict(self._state())
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        problems = []
        if strict and missing:
            problems.append(f"missing: {', '.join(missing)}")
        if strict and unexpected:
            problems.append(f"unexpected: {', '.join(map(str, unexpected))}")
        arrays = {}
        for name, tensor in own.items():
            if name in state_dict:
                array = as_array(without_graph(state_dict[name]), "load_state_dict", name, half=True)
                if array.shape != tensor.shape:
                    problems.append(
                        f"{name} is {shape_text(array.shape)}, expected {shape_text(tensor.shape)}"
                    )
                arrays[name] = array
        if problems and any(str(name).rpartition(".")[2].startswith("weight_hr_l") for name in unexpected):
            problems.append("weight_hr_l… are of an LSTM with proj_size, which dlkit.nn.LSTM does not have")
        if problems:
            raise ValueError(
                f"load_state_dict: the state does not fit {type(self).__name__}: {'; '.join(problems)}"
            )
        for name, array in arrays.items():
            there = own[name]._array
            np.copyto(there, move(array, device_of(there)), casting="unsafe")
            mark_changed(own[name])
        return IncompatibleKeys(missing, unexpected)

    # Modes and conversions.

    def train(self: Self, mode: bool = True) -> Self:
        """Set `training` in the whole tree."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: Self) -> Self:
        """Set `training` to False in the whole tree: Dropout passes its input on, BatchNorm uses its averages."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the gradients of all parameters away, or with ``set_to_none=False`` set them to 0."""
        for parameter in self.parameters():
            if set_to_none:
                clear(parameter)
            elif parameter._grad is not None:
                parameter._grad._array.fill(0)

    def apply(self: Self, function: Callable[[Module], Any]) -> Self:
        """Call a function with every module in the tree, the innermost first."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    def to(self: Self, *what: Any, dtype: Any = None, device: str | None = None) -> Self:
        """Convert parameters and floating-point buffers, or move all of them to a device, in place.

        Parameters
        ----------
        *what
            float32 or float64, a device (``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"simt"``), or one of each.
        dtype, device : optional
            The same by name.

        Returns
        -------
        Module
            Itself. Gradients go along to a device; another dtype drops them. An optimizer, made before or after,
            takes its state along at its next step.

        Raises
        ------
        DeviceUnavailableError
            If the device is not there; the message says what is missing. Nothing is changed then.
        """
        for value in what:
            if not is_device_name(value):
                float_dtype(value, "to")
        wanted, there = target(what, None if dtype is None else float_dtype(dtype, "to"), device, "to")
        for tensor in [*self.parameters(), *self.buffers()]:
            if wanted is not None and tensor.dtype.kind == "f" and tensor.dtype != wanted:
                tensor._grad = tensor._buffer = None
                tensor._array = tensor._array.astype(wanted)
            if there is not None and device_of(tensor._array) != there:
                tensor._buffer = None
                if tensor._grad is not None:
                    tensor._grad = make(move(tensor._grad._array, there))
                tensor._array = move(tensor._array, there)
                mark_changed(tensor)
        return self

    def cpu(self: Self) -> Self:
        """Move it to the CPU, in place."""
        return self.to("cpu")

    def cuda(self: Self, index: int | None = None) -> Self:
        """Move it to a GPU, by default CuPy's current one, in place."""
        return self.to(cuda_name(index))

    def float(self: Self) -> Self:
        """Convert to float32, in place."""
        return self.to(np.float32)

    def double(self: Self) -> Self:
        """Convert to float64, in place."""
        return self.to(np.float64)

    def extra_repr(self) -> str:
        """Return what `repr` shows between the parentheses."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): " + repr(module).replace("\n", "\n  ") for name, module in self._modules.items()]
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        body = "".join(f"\n  {line}" for line in ([extra, *lines] if extra else lines))
        return f"{type(self).__name__}({body}\n)"


def without_graph(value: Any) -> Any:
    """Return the value, detached if it is a PyTorch tensor: those give no array while they require a gradient."""
    if not isinstance(value, Tensor) and hasattr(value, "detach"):
        return value.detach().cpu()
    return value


__all__ = ["IncompatibleKeys", "Module", "Parameter"]


@contextmanager
def evaluation_mode(module: Module) -> Iterator[None]:
    """Return a context in which a module and its parts are in evaluation mode.

    After it each has its own mode again, also a part that was taken out of training by hand. Gradients are recorded
    as before: `dlkit.no_grad` turns them off.

    Parameters
    ----------
    module : Module

    Raises
    ------
    TypeError
        It is no module.

    Examples
    --------
    >>> import dlkit as dl
    >>> dropout = dl.nn.Dropout(0.5)
    >>> with dl.nn.evaluation_mode(dropout), dl.no_grad():
    ...     dropout(dl.Tensor([1.0, 2.0])).tolist()
    [1.0, 2.0]
    >>> dropout.training
    True
    """
    if not isinstance(module, Module):
        raise TypeError(f"evaluation_mode: module is a {type(module).__name__}; expected a Module")
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
