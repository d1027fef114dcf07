"""Documents as bags of words: which words they have and how often, whatever the order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError
from .sparse_rows import SparseRows
from .vocabulary import Vocabulary

WEIGHTINGS = ("counts", "binary", "tf-idf")


class BagOfWords:
    """Turns documents into rows with a column for each word.

    ``counts``: how often the word occurs. ``binary``: 1 if it does. ``tf-idf``: the count times ``ln((1 + N) / (1 + n))
    + 1``, n the documents with the word of N, and the row then scaled to length 1, as scikit-learn has it.

    A bag of one word is that word's one-hot vector, and a bag of counts is the sum of the one-hot vectors of its words.

    Parameters
    ----------
    words
        Of the columns, in order.
    weighting
        One of the three above.
    documents
        N, for tf-idf.
    document_counts
        n of each word, for tf-idf.

    Raises
    ------
    DataError
        An argument is none of these.

    Examples
    --------
    >>> import dlkit as dl
    >>> bag = dl.data.BagOfWords(["sun", "star", "shines"])
    >>> rows = bag.transform([["the", "sun", "shines"], ["star", "star", "shines"]])
    >>> rows.dense().tolist()
    [[1.0, 0.0, 1.0], [0.0, 2.0, 1.0]]
    >>> round(rows.cosine(0, 1), 3)
    0.316
    """

    def __init__(
        self,
        words: Iterable[str],
        weighting: str = "counts",
        *,
        documents: int = 0,
        document_counts: ArrayLike | None = None,
    ) -> None:
        if weighting not in WEIGHTINGS:
            raise DataError(
                f"BagOfWords: weighting is {weighting!r}, expected one of {', '.join(WEIGHTINGS)}"
            )
        self.words = list(words)
        self.weighting = weighting
        self.column = {word: at for at, word in enumerate(self.words)}
        if len(self.column) < len(self.words):
            raise DataError("BagOfWords: words has a word twice, expected each once")
        self.documents = documents
        self.document_counts: NDArray[np.int64] | None = None
        self.idf: NDArray[np.float64] | None = None
        if document_counts is not None:
            counts = np.asarray(document_counts)
            ok = counts.shape == (len(self.words),) and (counts.dtype.kind in "iu" or not counts.size)
            if not ok or (counts.size and not 0 <= int(counts.min()) <= int(counts.max()) <= documents):
                raise DataError(
                    f"BagOfWords: document_counts is {counts.dtype} {counts.shape}, expected integers of shape "
                    f"({len(self.words)},), 0 to documents ({documents})"
                )
            self.document_counts = counts.astype(np.int64)
            self.idf = np.log((1 + documents) / (1 + self.document_counts)) + 1
        elif weighting == "tf-idf":
            raise DataError("BagOfWords: tf-idf needs document_counts and documents")

    @classmethod
    def of(
        cls,
        sentences: Sequence[Sequence[str]],
        weighting: str = "counts",
        *,
        min_count: int = 1,
        max_size: int | None = None,
    ) -> BagOfWords:
        """Take the words of some documents, the most frequent first, and count the documents of each.

        Parameters
        ----------
        sentences
            The documents, as lists of words.
        weighting
            As for the class.
        min_count, max_size
            As for `Vocabulary.of`.
        """
        words = list(Vocabulary.of(sentences, min_count, max_size))
        bag = cls(words)
        rows = bag.transform(sentences)
        counts = np.bincount(rows.indices, minlength=len(words))
        return cls(words, weighting, documents=len(sentences), document_counts=counts)

    def __len__(self) -> int:
        """How many words, and columns, there are."""
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        """Whether a word has a column."""
        return word in self.column

    def transform(self, sentences: Sequence[Sequence[str]]) -> SparseRows:
        """The rows of some documents; words without a column are left out."""
        if isinstance(sentences, str) or any(isinstance(sentence, str) for sentence in sentences):
            raise DataError("BagOfWords: sentences is a text, expected lists of words")
        get = self.column.get
        columns = [[at for at in map(get, sentence) if at is not None] for sentence in sentences]
        rows = np.repeat(np.arange(len(columns)), [len(each) for each in columns])
        flat = np.fromiter((at for each in columns for at in each), np.int64, len(rows))
        return self.weighted(SparseRows.counted(rows, flat, (len(columns), len(self))))

    def weighted(self, counts: SparseRows) -> SparseRows:
        """Rows of counts as `weighting` has them."""
        values = counts.values
        if self.weighting == "binary":
            values = np.ones_like(values)
        elif self.weighting == "tf-idf":
            assert self.idf is not None
            weighted = values * self.idf[counts.indices]
            squares = np.bincount(counts.row_of, weighted**2, minlength=len(counts))
            values = (weighted / np.sqrt(squares)[counts.row_of]).astype(np.float32)
        return SparseRows(counts.starts, counts.indices, values, counts.columns)
