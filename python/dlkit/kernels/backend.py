"""The one place that picks a backend, and turns what callers pass into arrays that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BACKENDS = ("cpu",)


def check_backend(name: str, operation: str) -> None:
    """Raise ValueError unless `name` is a backend that this build of dlkit has."""
    if name not in BACKENDS:
        raise ValueError(f"{operation}: backend is {name!r}; expected one of {', '.join(BACKENDS)}")


def as_array(value: Any, operation: str, argument: str) -> NDArray[Any]:
    """Return `value` as a NumPy array, without a copy where it shares memory by DLPack or the buffer protocols.

    Raises
    ------
    TypeError
        If it is no array and cannot be made one without guessing.
    """
    if isinstance(value, np.ndarray):
        return value
    given = f"{operation}: {argument} is a {type(value).__name__}"
    try:
        if hasattr(value, "__array_interface__") or hasattr(value, "__array__"):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            return np.asarray(np.from_dlpack(value))
        if isinstance(value, (list, tuple, float, int)):
            array = np.asarray(value)
            return array.astype(np.float64) if array.dtype.kind in "fiu" else array
    except (AttributeError, BufferError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{given} that NumPy cannot make an array of: {error}") from error
    raise TypeError(f"{given}; expected an array (NumPy, DLPack or __array_interface__)")


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """Return " (did you mean 'x'?)" for the closest of `known`, or an empty string."""
    import difflib  # here, for the sake of `import dlkit`

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
