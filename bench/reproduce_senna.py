"""Reproduce the feed-forward taggers: the course's, with and without word vectors, and SENNA's.

``make reproduce-senna`` runs it, as `reproduce_tagger` does the recurrent ones: its arguments are the same. Results go
to ``bench/results/reproduce-senna.json`` and, as a table, into ``docs/models/senna.md``.
"""

from __future__ import annotations

import sys
from typing import Any

import reproduce_tagger
from pages import MODELS, RESULTS
from reproduce_tagger import Row

_WORD2VEC: dict[str, Any] = {"data": "text8", "window": 2}
#: As the paper's vectors were made: of the 30,000 most frequent words.
_RANKING: dict[str, Any] = {"data": "text8"}
ROWS = (
    Row(
        *("window-ewt", "ewt", "UD English EWT, window of 5 words, random vectors", "test_accuracy"),
        recipe="window-tagger",
    ),
    Row(
        *(
            "window-ewt-vectors",
            "ewt",
            "the same, with vectors of 100 MB of Wikipedia",
            "test_accuracy",
            0.935,
        ),
        recipe="window-tagger",
        vectors=_WORD2VEC,
    ),
    Row(
        *(
            "window-ewt-plain",
            "ewt",
            "window of 5 words, no word made unknown, random vectors",
            "test_accuracy",
        ),
        settings={"word_dropout": 0.0},
        recipe="window-tagger",
    ),
    Row(
        *("window-ewt-plain-vectors", "ewt", "the same, with those vectors", "test_accuracy", 0.935),
        settings={"word_dropout": 0.0},
        recipe="window-tagger",
        vectors=_WORD2VEC,
    ),
    Row(
        *("window-ewt-ranking", "ewt", "the same, with the ranking language model's", "test_accuracy"),
        settings={"word_dropout": 0.0},
        recipe="window-tagger",
        vectors=_RANKING,
        vectors_recipe="ranking-lm",
    ),
    Row(
        *(
            "senna-ewt",
            "ewt",
            "UD English EWT, SENNA, window approach, vectors of word2vec",
            "test_accuracy",
            0.94,
        ),
        recipe="senna",
        vectors=_WORD2VEC,
    ),
    Row(
        *("senna-conll2000", "conll2000", "CoNLL-2000 chunks, the same", "seqeval_f1", 0.92),
        recipe="senna",
        vectors=_WORD2VEC,
    ),
    Row(
        *("sentence-ewt", "ewt", "UD English EWT, sentence approach", "test_accuracy"),
        settings={"approach": "sentence"},
        recipe="senna",
        vectors=_WORD2VEC,
    ),
    Row(
        *("sentence-conll2000", "conll2000", "CoNLL-2000 chunks, sentence approach", "seqeval_f1"),
        settings={"approach": "sentence"},
        recipe="senna",
        vectors=_WORD2VEC,
    ),
)


if __name__ == "__main__":
    sys.exit(
        reproduce_tagger.main(
            rows=ROWS,
            quick=Row(**{**vars(reproduce_tagger.QUICK), "recipe": "senna"}),
            name="reproduce-senna",
            file=RESULTS / "reproduce-senna.json",
            page=MODELS / "senna.md",
        )
    )
