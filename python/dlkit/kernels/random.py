"""Random numbers: one seed, a NumPy generator for what Python draws, a counter for what kernels draw.

Kernels (dropout) take their numbers from Philox4x32-10, where each number is a function of (seed, position in
the stream): `next_offset` hands out positions, so that a second pass over the same positions, in backward,
sees the same numbers. Python code draws from `generator`, a :class:`numpy.random.Generator` on the same seed.
"""

from __future__ import annotations

import operator
import threading
from typing import Any

import numpy as np

_WORDS = 4  # a Philox block holds four numbers; streams begin at a block
_lock = threading.Lock()
_seed: int | None = None
_offset = 0
_generator: np.random.Generator | None = None


def _seed_or_entropy() -> int:
    # Called with the lock held. Without manual_seed, each process has numbers of its own.
    global _seed
    if _seed is None:
        entropy = np.random.SeedSequence().entropy
        _seed = int(entropy) & (2**63 - 1) if isinstance(entropy, int) else 0
    return _seed


def manual_seed(seed: int) -> None:
    """Start all of dlkit's random numbers anew from `seed`.

    Parameters
    ----------
    seed : int
        From 0 to 2**64 - 1.

    Raises
    ------
    TypeError, ValueError
        If `seed` is no such integer.
    """
    global _seed, _offset, _generator
    try:
        value = operator.index(seed)
    except TypeError:
        raise TypeError(f"manual_seed: seed is a {type(seed).__name__}; expected an integer") from None
    if not 0 <= value < 2**64:
        raise ValueError(f"manual_seed: seed is {value}; expected 0 to 2**64 - 1")
    with _lock:
        _seed, _offset, _generator = value, 0, None


def initial_seed() -> int:
    """Return the seed in use: the last `manual_seed`, else one that the operating system's entropy gave."""
    with _lock:
        return _seed_or_entropy()


def generator() -> np.random.Generator:
    """Return the generator that Python code draws from. It changes with `manual_seed` and `set_state`."""
    global _generator
    with _lock:
        if _generator is None:
            _generator = np.random.Generator(np.random.Philox(_seed_or_entropy()))
        return _generator


def next_offset(count: int) -> tuple[int, int]:
    """Reserve `count` numbers of the kernels' stream.

    Returns
    -------
    (seed, offset) : tuple of int
        For ``dlkit.kernels.dropout(..., seed=seed, offset=offset)``. Offsets are multiples of four.
    """
    global _offset
    if count < 0:
        raise ValueError(f"next_offset: count is {count}; expected 0 or more")
    with _lock:
        begin = _offset
        _offset = (begin + -(-count // _WORDS) * _WORDS) % 2**64
        return _seed_or_entropy(), begin


def position() -> tuple[int, int]:
    """Return the seed, and the offset that `next_offset` would hand out next."""
    with _lock:
        return _seed_or_entropy(), _offset


def get_state() -> dict[str, Any]:
    """Return everything that later numbers depend on, as a dictionary that JSON can hold."""
    bits: Any = generator().bit_generator.state
    with _lock:
        return {
            "seed": _seed_or_entropy(),
            "offset": _offset,
            "generator": {
                "counter": [int(word) for word in bits["state"]["counter"]],
                "key": [int(word) for word in bits["state"]["key"]],
                "buffer": [int(word) for word in bits["buffer"]],
                "buffer_pos": int(bits["buffer_pos"]),
                "has_uint32": int(bits["has_uint32"]),
                "uinteger": int(bits["uinteger"]),
            },
        }


def set_state(state: dict[str, Any]) -> None:
    """Go on from a state of `get_state`: the same numbers follow.

    Raises
    ------
    ValueError
        If `state` is not such a dictionary. Nothing changes then.
    """
    global _seed, _offset, _generator
    try:
        seed, offset, bits = int(state["seed"]), int(state["offset"]), state["generator"]
        if not (0 <= seed < 2**64 and 0 <= offset < 2**64):
            raise ValueError("seed and offset must be from 0 to 2**64 - 1")
        philox = np.random.Philox(seed)
        philox.state = {
            "bit_generator": "Philox",
            "state": {
                "counter": np.array(bits["counter"], dtype=np.uint64),
                "key": np.array(bits["key"], dtype=np.uint64),
            },
            "buffer": np.array(bits["buffer"], dtype=np.uint64),
            "buffer_pos": int(bits["buffer_pos"]),
            "has_uint32": int(bits["has_uint32"]),
            "uinteger": int(bits["uinteger"]),
        }
        restored = np.random.Generator(philox)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        raise ValueError(
            f"set_state: state is not one of get_state ({type(error).__name__}: {error})"
        ) from error
    with _lock:
        _seed, _offset, _generator = seed, offset, restored
