"""Sentences from the command line, from a file or from standard input, for a text model."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dlkit.data.text_file import lines_of, read_bytes
from dlkit.recipes.bag_predictor import BagPredictor
from dlkit.recipes.text_predictor import TextPredictor

from .inputs import InputError

_MAX_BYTES = 1 << 26


def read_sentences(text: str) -> list[str]:
    """The sentences that an argument stands for.

    Parameters
    ----------
    text
        ``-``: standard input, a sentence per line; the name of a file: the same; anything else is a sentence.

    Raises
    ------
    InputError, dlkit.data.DataError
        There is no sentence, or the file cannot be read or is no text.
    """
    if text == "-":
        content, name = sys.stdin.buffer.read(_MAX_BYTES + 1), "standard input"
        if len(content) > _MAX_BYTES:
            raise InputError(f"{name} has more than {_MAX_BYTES} bytes")
    elif _is_file(text):
        content, name = read_bytes(text, _MAX_BYTES), text
    else:
        if not text.strip():
            raise InputError("the sentence is empty")
        if len(text.split()) == 1 and (
            os.sep in text or text.lower().endswith((".txt", ".csv", ".tsv", ".gz"))
        ):
            raise InputError(f"{text}: no such file (a sentence of more than one word is taken as it is)")
        return [text]
    found = [line.strip() for line in lines_of(content, name) if line.strip()]
    if not found:
        raise InputError(f"{name} holds no sentence")
    return found


def known_words(predictor: TextPredictor | BagPredictor, sentences: list[str]) -> str:
    """A note for the reader where a sentence has no word that the model knows; else nothing."""
    strange = [
        number
        for number, sentence in enumerate(sentences)
        if not any(word in predictor.vocabulary for word in predictor.words(sentence))
    ]
    if not strange:
        return ""
    some = ", ".join(map(str, strange[:5])) + (", …" if len(strange) > 5 else "")
    return f"no word of row {some} is known to the model: the answer is a guess"


def _is_file(text: str) -> bool:
    try:
        return os.path.lexists(text) and Path(text).exists()
    except (OSError, ValueError):  # longer than a name may be, or with a zero byte
        return False
