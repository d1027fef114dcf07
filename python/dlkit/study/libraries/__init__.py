"""How each library does each workload, as its users would call it.

Every module here has ``versions() -> dict`` and ``prepare(workload, inputs, options) -> Prepared``, and is
imported in a worker process only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray


class UnsupportedError(Exception):
    """A library has no such operation; the message says so and becomes the reason in the table."""


class Prepared(NamedTuple):
    """A workload ready to run.

    ``run`` does it once, completely; ``result`` returns what the runs so far amount to, to be checked.
    """

    run: Callable[[], Any]
    result: Callable[[], dict[str, NDArray[Any]]]
