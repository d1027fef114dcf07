"""Whether operations are recorded: the switch that `no_grad` turns off, one for each Python thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., object])


class _Mode(threading.local):
    enabled: bool = True


mode = _Mode()


def is_grad_enabled() -> bool:
    """Return whether operations on tensors are recorded in this thread."""
    return mode.enabled


def _decorated(guard: Callable[[], Any], function: _Function) -> _Function:
    # A generator's body runs whenever it is resumed, not when it is called.
    import inspect  # here, for the sake of `import dlkit`

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generating(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
            return (yield from _resumed(guard, function(*args, **kwargs)))

        return cast("_Function", generating)

    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> object:
        with guard():
            return function(*args, **kwargs)

    return cast("_Function", wrapper)


def _resumed(guard: Callable[[], Any], generator: Any) -> Generator[Any, Any, Any]:
    resume, given = generator.send, None
    while True:
        try:
            with guard():
                value = resume(given)
        except StopIteration as stop:
            return stop.value
        try:
            resume, given = generator.send, (yield value)
        except GeneratorExit:
            with guard():
                generator.close()
            raise
        except BaseException as error:
            resume, given = generator.throw, error


class set_grad_enabled:  # noqa: N801 (PyTorch's name)
    """Turn recording on or off: at once as a function, for a block as a context manager, or as a decorator.

    Parameters
    ----------
    enabled : bool
    """

    __slots__ = ("_enabled", "_previous")

    def __init__(self, enabled: bool) -> None:
        self._enabled = bool(enabled)
        self._previous = mode.enabled
        mode.enabled = self._enabled

    def __enter__(self) -> None:
        mode.enabled = self._enabled

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        mode.enabled = self._previous

    def __call__(self, function: _Function) -> _Function:
        """Return `function` with the mode set while it runs."""
        mode.enabled = self._previous
        return _decorated(functools.partial(set_grad_enabled, self._enabled), function)


class _Guard:
    """A context manager and decorator that sets the mode, and sets it back."""

    __slots__ = ("_previous",)
    _enabled = False
    _previous: list[bool]

    def __new__(cls, function: Any = None) -> Any:
        guard = super().__new__(cls)
        guard._previous = []
        if function is None:
            return guard
        if not callable(function):
            raise TypeError(
                f"{cls.__name__}: given a {type(function).__name__}; expected a function to decorate"
            )
        return guard(function)  # @no_grad without parentheses

    def __enter__(self) -> None:
        self._previous.append(mode.enabled)
        mode.enabled = self._enabled

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        mode.enabled = self._previous.pop()

    def __call__(self, function: _Function) -> _Function:
        """Return `function` with the mode set while it runs."""
        return _decorated(type(self), function)


class no_grad(_Guard):  # noqa: N801 (PyTorch's name)
    """Record nothing: ``with dl.no_grad(): ...`` or ``@dl.no_grad()``.

    Results do not require gradients, keep no graph alive, and tensors that require gradients may be changed in place.
    """

    __slots__ = ()


class enable_grad(_Guard):  # noqa: N801 (PyTorch's name)
    """Record again, inside a `no_grad`."""

    __slots__ = ()
    _enabled = True
