"""What gensim's methods of the same names take besides: programs that were written for it run as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlkit.kernels.backend import nearest

_ANY = object()
#: Arguments that change nothing here, by method, each with the value that it must have. The rest is refused: what it
#: asks for is not done.
_CHANGE_NOTHING: dict[str, dict[str, Any]] = {
    "Word2Vec": {
        "batch_words": _ANY,  # workers take pieces of the text
        "comment": _ANY,
        "compute_loss": _ANY,  # it is always there, in `reports`
        "hashfxn": _ANY,  # of gensim's first vectors
        "null_word": 0,
        "sorted_vocab": 1,
        "trim_rule": None,
    },
    "build_vocab": {"keep_raw_vocab": False, "progress_per": _ANY, "trim_rule": None},
    "train": {
        "compute_loss": _ANY,
        "queue_factor": _ANY,
        "report_delay": _ANY,
        "total_examples": _ANY,  # how long the text is, which is known here
        "total_words": _ANY,
        "word_count": 0,
    },
}


def check_arguments(method: str, given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse what changes something in gensim and would change nothing here, and names that nobody knows.

    Raises
    ------
    TypeError, ValueError
        Names the argument.
    """
    known = _CHANGE_NOTHING[method]
    for name, value in given.items():
        if name not in known:
            raise TypeError(f"{method}: there is no argument {name!r}{nearest(name, [*own, *known])}")
        if known[name] is not _ANY and value != known[name]:
            raise ValueError(
                f"{method}: {name} is {value!r}; expected {known[name]!r}: gensim's others are not there"
            )
