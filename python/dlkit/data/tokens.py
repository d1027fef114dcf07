"""Sentences cut into words, by the rules of Kim's experiments (*Convolutional Neural Networks for Sentence
Classification*, EMNLP 2014).

- Letters A-Z, digits and ``( ) , ! ? ' ``` stay; any other character is a space: full stops, hyphens and letters with
  accents go.
- The endings ``'s 've n't 're 'd 'll`` are words of their own; so are ``, ! ( ) ?``.
- Upper case becomes lower case, but in TREC, where it tells names.

The sentences of the Stanford treebank are cut already: there only the first and the last rule hold.
"""

from __future__ import annotations

import re

_OTHER = re.compile(r"[^A-Za-z0-9(),!?'`]+")
# One pass: an ending where a word goes on into it, or one of the marks.
_APART = re.compile(r"n't|'(?:s|ve|re|d|ll)|[,!()?]")


def words_of(sentence: str, *, lower: bool = True) -> list[str]:
    """Cut a sentence into words.

    Parameters
    ----------
    sentence
        Any text; it may be empty or hold nothing that makes a word.
    lower
        Whether to turn upper case into lower case.

    Returns
    -------
    list of str
        The words, none of them empty or with a space in it.

    Examples
    --------
    >>> words_of("It isn't bad -- it's (very) good!")
    ['it', 'is', "n't", 'bad', 'it', "'s", '(', 'very', ')', 'good', '!']
    """
    text = _APART.sub(_spaced, _OTHER.sub(" ", sentence))
    return (text.lower() if lower else text).split()


def treebank_words(sentence: str) -> list[str]:
    """Clean a sentence that is cut already.

    Examples
    --------
    >>> treebank_words("It 's a lovely film .")
    ['it', "'s", 'a', 'lovely', 'film']
    """
    return _OTHER.sub(" ", sentence).lower().split()


def _spaced(match: re.Match[str]) -> str:
    found = match[0]
    return f" {found}" if len(found) > 1 else f" {found} "
