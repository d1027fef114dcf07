"""Sets of sentences by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from .python_docs import load_python_docs
from .sentence_sets import load_polarity, load_sst, load_trec
from .text_dataset import TextDataset

_LOADERS: dict[str, Callable[[], TextDataset]] = {
    "topics": load_python_docs,
    "mr": lambda: load_polarity("mr"),
    "trec": load_trec,
    "subj": lambda: load_polarity("subj"),
    "cr": lambda: load_polarity("cr"),
    "sst2": lambda: load_sst(2),
    "sst5": lambda: load_sst(5),
}


def text_names() -> list[str]:
    """The names that `load_text` knows."""
    return list(_LOADERS)


def load_text(name: str, *, phrases: bool = True) -> TextDataset:
    """Load a set of labelled sentences.

    Parameters
    ----------
    name
        ``"topics"`` (the interpreter's own documentation, needs no network), ``"mr"``, ``"trec"``, ``"subj"``,
        ``"cr"``, ``"sst2"`` or ``"sst5"`` (looked for in the folder ``DLKIT_DATA``, else downloaded; checksums are
        verified either way).
    phrases
        Whether the treebank's phrases are training samples, too (sst2, sst5).

    Raises
    ------
    ValueError
        Unknown name (the message suggests the nearest).
    DataError
        A file is damaged. `DataNotFoundError` if there is none.
    """
    key = str(name).strip().lower().replace("_", "-")
    if key not in _LOADERS:
        near = difflib.get_close_matches(key, _LOADERS, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"load_text: unknown set of sentences {name!r}, expected one of {', '.join(_LOADERS)}{hint}"
        )
    if key in ("sst2", "sst5"):
        return load_sst(int(key[-1]), phrases=phrases)
    return _LOADERS[key]()
