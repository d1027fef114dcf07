"""Whether operations are recorded: the switch that `no_grad` turns off, one for each Python thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., object])


class _Mode(threading.local):
    enabled: bool = True


mode = _Mode()


def is_grad_enabled() -> bool:
    """Return whether operations on tensors are recorded in this thread."""
    return mode.enabled


class set_grad_enabled:  # noqa: N801 (PyTorch's name)
    """Turn recording on or off: at once as a function, until the end of the block as a context manager.

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


class _Guard:
    """A context manager and decorator that sets the mode, and sets it back."""

    __slots__ = ("_previous",)
    _enabled = False

    def __init__(self) -> None:
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(mode.enabled)
        mode.enabled = self._enabled

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        mode.enabled = self._previous.pop()

    def __call__(self, function: _Function) -> _Function:
        """Return `function` with the mode set while it runs."""

        @functools.wraps(function)
        def wrapper(*args: object, **kwargs: object) -> object:
            with type(self)():
                return function(*args, **kwargs)

        return cast("_Function", wrapper)


class no_grad(_Guard):  # noqa: N801 (PyTorch's name)
    """Record nothing: ``with dl.no_grad(): ...`` or ``@dl.no_grad()``.

    Results do not require gradients, keep no graph alive, and tensors that require gradients may be changed in place.
    """

    __slots__ = ()


class enable_grad(_Guard):  # noqa: N801 (PyTorch's name)
    """Record again, inside a `no_grad`."""

    __slots__ = ()
    _enabled = True
