"""Words and their vectors: neighbours, analogies, and the tests of both, with gensim's names."""

from __future__ import annotations

import difflib
import math
import os
import warnings
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from dlkit.data.errors import DataError
from dlkit.data.text_file import lines_of, read_bytes
from dlkit.data.word_vectors import VECTOR_FILES, Format, format_named, read_word_vectors, write_word_vectors
from dlkit.kernels.matmul import matmul
from dlkit.kernels.nearest import nearest

from .embedding_map import METHODS, EmbeddingMap, chosen_method, principal_components, t_sne

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: In a folder: the file that `KeyedVectors.save` writes and `KeyedVectors.load` reads, the preferred one first.
_EPSILON = 0.000001  # of 3CosMul, as in the paper
_BLOCK = 1 << 22  # elements of intermediate results
_SPELLED = 50_000  # words, the most frequent, that a spelling is looked for in


class UnknownWordError(KeyError, ValueError):
    """A word has no vector."""

    def __str__(self) -> str:
        # KeyError shows its argument's repr; here there is one plain sentence.
        return str(self.args[0]) if self.args else ""


class Correlation(NamedTuple):
    """A coefficient of correlation, and how likely one as large or larger is where there is none.

    Attributes
    ----------
    statistic
        From -1 to 1; NaN where one side is constant.
    pvalue
        Two-sided, of Student's t with n - 2 degrees of freedom.
    """

    statistic: float
    pvalue: float


class KeyedVectors:
    """Words and their vectors.

    Parameters
    ----------
    words : sequence of str
        No two alike; by convention the most frequent first, which is what `restrict_vocab` relies on.
    vectors : array of shape (words, dimensions)
        float32 is taken as it is, without a copy; it may be a slice of a wider matrix.
    counts : integer array of shape (words,), optional
        How often each word was in the text.

    Attributes
    ----------
    vectors : float32 array of shape (words, dimensions)
    index_to_key : list of str
    key_to_index : dict of str to int
    counts : int64 array of shape (words,), or None

    Raises
    ------
    ValueError
        If shapes do not fit, a word is there twice, or a number is not finite.

    Notes
    -----
    Names and results are those of gensim's ``KeyedVectors``, but for a word without a vector: every method raises
    `UnknownWordError`, a KeyError that names the nearest spelling, where some of gensim's leave it out. The cosine with
    a vector of zeros is 0. Cosines are computed from the vectors and their lengths: there is no normalised copy. Where
    `vectors` is changed, ``fill_norms(force=True)`` must follow.
    """

    def __init__(self, words: Sequence[str], vectors: ArrayLike, counts: ArrayLike | None = None) -> None:
        table = np.asarray(vectors)
        if table.ndim != 2 or table.dtype.kind not in "fiu" or len(table) != len(words) or 0 in table.shape:
            raise DataError(
                f"KeyedVectors: vectors is {table.dtype} {table.shape}, expected ({len(words)}, dimensions) for "
                f"{len(words)} words, neither of them 0"
            )
        self.vectors: NDArray[np.float32] = table.astype(np.float32, copy=False)
        self.index_to_key: list[str] = list(words)
        self.key_to_index: dict[str, int] = {word: i for i, word in enumerate(self.index_to_key)}
        if len(self.key_to_index) < len(self.index_to_key):
            twice = next(word for i, word in enumerate(self.index_to_key) if self.key_to_index[word] != i)
            raise DataError(f"KeyedVectors: words has {twice!r} twice, expected each once")
        self.counts: NDArray[np.int64] | None = None
        if counts is not None:
            given = np.asarray(counts)
            if given.shape != (len(self),) or given.dtype.kind not in "iu":
                raise DataError(
                    f"KeyedVectors: counts is {given.dtype} {given.shape}, expected integers of shape ({len(self)},)"
                )
            self.counts = given.astype(np.int64)
        self._norms: NDArray[np.float32] | None = None
        self._scale: NDArray[np.float32] | None = None
        self.fill_norms()

    # --- Words and their vectors ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many words there are."""
        return len(self.index_to_key)

    def __contains__(self, word: object) -> bool:
        return word in self.key_to_index

    def __repr__(self) -> str:
        return f"KeyedVectors<{len(self)} words, {self.vector_size} dimensions>"

    @property
    def vector_size(self) -> int:
        """Numbers of each vector."""
        return int(self.vectors.shape[1])

    @property
    def norms(self) -> NDArray[np.float32]:
        """Length of each vector, shape (words,)."""
        self.fill_norms()
        assert self._norms is not None
        return self._norms

    @property
    def scale(self) -> NDArray[np.float32]:
        """One over the length of each vector, 0 for one of zeros; shape (words,)."""
        self.fill_norms()
        assert self._scale is not None
        return self._scale

    def fill_norms(self, force: bool = False) -> None:
        """Compute the lengths of the vectors, again if `force`: for vectors that have changed."""
        if self._norms is not None and not force:
            return
        norms = np.empty(len(self))
        rows = max(1, _BLOCK // self.vector_size)
        for begin in range(0, len(self), rows):
            block = self.vectors[begin : begin + rows]
            np.sqrt(
                np.einsum("ij,ij->i", block, block, dtype=np.float64), out=norms[begin : begin + len(block)]
            )
        if not np.isfinite(norms).all():
            word = self.index_to_key[int((~np.isfinite(norms)).argmax())]
            raise DataError(
                f"KeyedVectors: the vector of {word!r} holds NaN or infinity, expected finite numbers"
            )
        least = float(np.finfo(np.float32).tiny)
        with np.errstate(over="ignore"):
            self._norms = norms.astype(np.float32)
            self._scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > least).astype(
                np.float32
            )

    def get_index(self, key: str | int, default: int | None = None) -> int:
        """Return the row of a word; a row's number is itself.

        Raises
        ------
        UnknownWordError
            There is no such word, and no default.
        """
        if isinstance(key, str):
            row = self.key_to_index.get(key)
            if row is not None:
                return row
            if default is not None:
                return default
            raise UnknownWordError(f"{key!r} has no vector{self._spelled(key)}")
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            if 0 <= key < len(self):
                return int(key)
            if default is not None:
                return default
            raise UnknownWordError(f"there is no word {key}, expected 0 to {len(self) - 1}")
        raise TypeError(f"KeyedVectors: key is a {type(key).__name__}, expected a word or its number")

    def _spelled(self, word: str) -> str:
        for form in (word.lower(), word.capitalize(), word.upper(), word.replace(" ", "_")):
            if form in self.key_to_index:
                return f" (did you mean {form!r}?)"
        by_lower: dict[str, str] = {}
        for key in self.index_to_key[:_SPELLED]:
            if abs(len(key) - len(word)) <= 2:
                by_lower.setdefault(key.lower(), key)
        close = difflib.get_close_matches(word[:60].lower(), list(by_lower), n=1, cutoff=0.6)
        return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""

    def get_vector(self, key: str | int, norm: bool = False) -> NDArray[np.float32]:
        """Return the vector of a word, read-only; with `norm` at length 1."""
        row = self.get_index(key)
        vector: NDArray[np.float32] = self.vectors[row].view()
        if norm:
            vector = vector * self.scale[row]
        vector.setflags(write=False)
        return vector

    def __getitem__(self, key: str | int | Sequence[str | int]) -> NDArray[np.float32]:
        """The vector of a word, or those of several as rows."""
        if isinstance(key, (str, int, np.integer)):
            return self.get_vector(key)
        return self.vectors[[self.get_index(each) for each in key]]

    def get_normed_vectors(self) -> NDArray[np.float32]:
        """Return all vectors at length 1: a copy."""
        return self.vectors * self.scale[:, None]

    def get_vecattr(self, key: str | int, attr: str) -> int:
        """Return what is known of a word besides its vector: "count"."""
        row = self.get_index(key)
        if attr != "count" or self.counts is None:
            raise KeyError(
                f"attribute {attr!r} is not known, expected {'count' if self.counts is not None else 'none'}"
            )
        return int(self.counts[row])

    # --- Neighbours ----------------------------------------------------------------------------------------------

    def most_similar(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
    ) -> Any:
        """Find the words whose vectors have the largest cosine with a sum of vectors at length 1 (3CosAdd).

        Parameters
        ----------
        positive, negative
            What is added and taken away: a word, its number, a vector, or a pair of one of these and a weight; or a
            list of them.
        topn
            How many; None: the cosines of all.
        clip_start, clip_end
            Only words of these numbers are candidates.
        restrict_vocab
            Short for ``clip_start=0, clip_end=restrict_vocab``: the most frequent words.

        Returns
        -------
        list of (str, float)
            The nearest first, without the words that were given. With ``topn=None`` a float32 array: the cosine of
            each candidate, those that were given among them.

        Raises
        ------
        UnknownWordError
            A word has no vector.
        ValueError
            There is neither a positive nor a negative word, or a number is out of its bounds.

        Notes
        -----
        Mikolov, Yih & Zweig, "Linguistic regularities in continuous space word representations", 2013.
        """
        start, end = self._clip("most_similar", clip_start, clip_end, restrict_vocab)
        keys, weights = self._weighted(positive, negative)
        if not keys:
            raise ValueError(
                "most_similar: there is neither a positive nor a negative word, expected at least one"
            )
        query, given = self._sum(keys, weights)
        if topn is None:
            return matmul(self.vectors[start:end], query) * self.scale[start:end]
        if topn < 1:
            return []
        rows, cosines = nearest(
            query, self.vectors[start:end], min(topn + len(given), end - start), scale=self.scale[start:end]
        )
        found = [
            (self.index_to_key[row + start], cosine)
            for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True)
            if row >= 0 and row + start not in given
        ]
        return found[:topn]

    def most_similar_cosmul(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        restrict_vocab: int | None = None,
    ) -> Any:
        """Find the words with the largest product of similarities to `positive` over that to `negative` (3CosMul).

        Similarities are ``(1 + cosine) / 2``. Where a sum lets one large term decide, the product weighs all alike.

        Parameters
        ----------
        positive, negative
            Words, their numbers, or vectors; `positive` at least one.
        topn, restrict_vocab
            As for `most_similar`.

        Returns
        -------
        list of (str, float)
            The best first, without the words that were given; with ``topn=None`` the score of each.

        Raises
        ------
        UnknownWordError
            A word has no vector.
        ValueError
            There is no positive word, or a number is out of its bounds.

        Notes
        -----
        Levy & Goldberg, "Linguistic regularities in sparse and explicit word representations", 2014, equation 4.
        """
        _, end = self._clip("most_similar_cosmul", 0, None, restrict_vocab)
        keys, weights = self._weighted(positive, negative)
        if not (weights > 0).any():
            raise ValueError("most_similar_cosmul: there is no positive word, expected at least one")
        if (abs(weights) != 1).any():
            raise ValueError("most_similar_cosmul: a word has a weight, expected none")
        if topn is not None and topn < 1:
            return []
        terms, given = self._terms(keys)
        scores = np.empty(end, np.float32)
        rows = max(1, _BLOCK // (self.vector_size + len(keys)))
        for begin in range(0, end, rows):
            stop = min(begin + rows, end)
            cosines = matmul(terms, self.vectors[begin:stop], trans_b=True) * self.scale[begin:stop]
            similar = (1 + cosines) / 2
            scores[begin:stop] = similar[weights > 0].prod(axis=0) / (
                similar[weights < 0] + np.float32(_EPSILON)
            ).prod(axis=0)
        if topn is None:
            return scores
        k = min(topn + len(given), end)
        best = np.argpartition(-scores, k - 1)[:k]
        best = best[np.lexsort((best, -scores[best]))]
        found = [(self.index_to_key[row], float(scores[row])) for row in best.tolist() if row not in given]
        return found[:topn]

    def similar_by_word(
        self, word: str | int, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> Any:
        """Find the words nearest to one: `most_similar` of it."""
        return self.most_similar(positive=[word], topn=topn, restrict_vocab=restrict_vocab)

    similar_by_key = similar_by_word

    def similar_by_vector(
        self, vector: ArrayLike, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> Any:
        """Find the words nearest to a vector: `most_similar` of it."""
        return self.most_similar(
            positive=[np.asarray(vector, np.float32)], topn=topn, restrict_vocab=restrict_vocab
        )

    def nearest(
        self, queries: Sequence[str | int] | ArrayLike, topn: int = 10, restrict_vocab: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the nearest words of many at once, exactly.

        Parameters
        ----------
        queries
            Words, or vectors of shape (queries, dimensions). A word is not its own neighbour.
        topn
            Neighbours of each, 1 to the number of candidates.
        restrict_vocab
            Only so many words, the most frequent, are candidates.

        Returns
        -------
        indices : int64 array of shape (queries, topn)
            Numbers of words, the nearest first; -1 where there is no further one.
        cosines : float32 array of shape (queries, topn)
        """
        _, end = self._clip("nearest", 0, None, restrict_vocab)
        if topn < 1:
            raise ValueError(f"nearest: topn is {topn}, expected at least 1")
        own: NDArray[np.int64] | None = None
        if isinstance(queries, np.ndarray) and queries.dtype.kind == "f":
            table = np.asarray(queries, np.float32)
            if table.ndim != 2 or table.shape[1] != self.vector_size:
                raise ValueError(
                    f"nearest: queries is {table.shape}, expected (queries, {self.vector_size}), or words"
                )
            lengths = np.linalg.norm(table.astype(np.float64), axis=1, keepdims=True)
            table = np.divide(table, lengths, out=np.zeros(table.shape), where=lengths > 0).astype(np.float32)
        else:
            keys: Any = [queries] if isinstance(queries, str) else queries
            own = np.array([self.get_index(key) for key in keys], np.int64)
            table = self.vectors[own] * self.scale[own, None]
        if len(table) == 0:
            return np.empty((0, topn), np.int64), np.empty((0, topn), np.float32)
        k = min(topn + (own is not None), end)
        rows, cosines = nearest(table, self.vectors[:end], k, scale=self.scale[:end])
        if own is not None:
            # The word itself goes, or where it is not among them the last.
            gone = rows == own[:, None]
            gone[~gone.any(axis=1), -1] = k > topn
            order = np.argsort(gone, axis=1, kind="stable")[:, :topn]
            rows, cosines = np.take_along_axis(rows, order, 1), np.take_along_axis(cosines, order, 1)
            rows[rows == own[:, None]] = -1
        if rows.shape[1] < topn:
            more = ((0, 0), (0, topn - rows.shape[1]))
            rows, cosines = np.pad(rows, more, constant_values=-1), np.pad(cosines, more)
        cosines[rows < 0] = -np.inf
        return rows, cosines

    def map(
        self,
        words: Sequence[str | int] | None = None,
        *,
        topn: int = 1000,
        near: int = 0,
        method: str = "auto",
        neighbours: int = 8,
        perplexity: float | None = None,
        seed: int = 0,
    ) -> EmbeddingMap:
        """Lay words out in the plane, for `dlkit.train.draw_embedding_map` and `dlkit.train.write_embedding_page`.

        Vectors are taken at length 1, so that distances go with cosines.

        Parameters
        ----------
        words
            Which; None: the first `topn`, by convention the most frequent.
        topn
            How many, where `words` is None.
        near
            Of each of `words`, so many of its nearest are added.
        method
            ``"pca"``, principal components by NumPy; ``"tsne"``, by scikit-learn: see `t_sne` for what it shows;
            ``"auto"``: t-SNE for 50 words or more, where scikit-learn is installed.
        neighbours
            How many of each are looked up, among all words.
        perplexity, seed
            Of t-SNE.

        Returns
        -------
        EmbeddingMap

        Raises
        ------
        UnknownWordError
            A word has no vector.
        ImportError
            t-SNE without scikit-learn.
        ValueError
            Another method, no words, fewer than 4 for t-SNE, or a number is out of its bounds.
        """
        if method not in METHODS:
            raise ValueError(f"map: method is {method!r}, expected one of {', '.join(METHODS)}")
        for name, value, least in (("topn", topn, 1), ("near", near, 0), ("neighbours", neighbours, 0)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"map: {name} is {value!r}, expected an integer of at least {least}")
        given = range(min(topn, len(self))) if words is None else _listed(words)
        rows = list(dict.fromkeys(self.get_index(key) for key in given))
        if not rows:
            raise ValueError("map: words is empty, expected at least one word")
        asked = len(rows)
        if near:
            around, _ = self.nearest(rows, min(near, len(self)))
            rows = list(dict.fromkeys(rows + [row for row in around.ravel().tolist() if row >= 0]))
        table = self.vectors[rows] * self.scale[rows, None]
        explained = None
        if method == "auto":
            method = chosen_method(len(rows))
        if method == "pca":
            points, shares = principal_components(table)
            explained = (float(shares[0]), float(shares[1]))
        else:
            points = t_sne(table, perplexity=perplexity, seed=seed)
        count = min(neighbours, len(self) - 1)
        beside, cosines = (
            self.nearest(rows, count)
            if count
            else (np.empty((len(rows), 0), np.int64), np.empty((len(rows), 0), np.float32))
        )
        beside[self.scale[rows] == 0] = -1  # a vector of zeros is near to nothing
        known = rows + sorted(set(beside[beside >= 0].tolist()) - set(rows))
        place = {row: at for at, row in enumerate(known)}
        place[-1] = -1
        return EmbeddingMap(
            words=[self.index_to_key[row] for row in rows],
            points=points,
            method=method,
            explained=explained,
            known=[self.index_to_key[row] for row in known],
            neighbours=np.array([[place[row] for row in line] for line in beside.tolist()], np.int64).reshape(
                len(rows), count
            ),
            cosines=cosines,
            dimensions=self.vector_size,
            counts=None if self.counts is None else self.counts[rows],
            asked=asked,
        )

    # --- Distances -----------------------------------------------------------------------------------------------

    def similarity(self, w1: str | int, w2: str | int) -> float:
        """Return the cosine of two words."""
        return float(self.get_vector(w1, norm=True) @ self.get_vector(w2, norm=True))

    def distance(self, w1: str | int, w2: str | int) -> float:
        """Return one minus the cosine of two words."""
        return 1 - self.similarity(w1, w2)

    def distances(self, word_or_vector: Any, other_words: Sequence[str | int] = ()) -> NDArray[np.float32]:
        """Return the distances of a word, or a vector, to others; without any to all words."""
        query, _ = self._sum([word_or_vector], np.ones(1))
        if len(other_words) == 0:
            return 1 - matmul(self.vectors, query) * self.scale
        rows = [self.get_index(word) for word in other_words]
        return 1 - matmul(self.vectors[rows], query) * self.scale[rows]

    def n_similarity(self, ws1: Sequence[str | int], ws2: Sequence[str | int]) -> float:
        """Return the cosine of the means of two lists of words, their vectors at their own lengths."""
        if len(ws1) == 0 or len(ws2) == 0:
            raise ValueError("n_similarity: a list of words is empty, expected at least one word in each")
        one, other = (self[list(words)].mean(axis=0, dtype=np.float64) for words in (ws1, ws2))
        lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
        return float(one @ other) / lengths if lengths > 0 else 0.0

    def rank_by_centrality(
        self, words: Sequence[str | int], use_norm: bool = True
    ) -> list[tuple[float, Any]]:
        """Return words with their cosine to the mean of all, the largest first."""
        if len(words) == 0:
            raise ValueError("rank_by_centrality: there are no words, expected at least one")
        table = np.stack([self.get_vector(word, norm=use_norm) for word in words])
        mean = table.mean(axis=0)
        length = float(np.linalg.norm(mean))
        cosines = table @ (mean / length if length > 0 else mean)
        return sorted(zip(cosines.tolist(), words, strict=True), reverse=True)

    def doesnt_match(self, words: Sequence[str]) -> str:
        """Return the word that is least like the others: of the smallest cosine to the mean of all.

        As in gensim, words without a vector are left out, with a warning.
        """
        known = [word for word in words if word in self]
        if len(known) < len(words):
            unknown = sorted(set(words) - set(known))
            warnings.warn(f"doesnt_match: no vectors for {', '.join(unknown)}", stacklevel=2)
        return str(self.rank_by_centrality(known)[-1][1])

    def closer_than(self, key1: str | int, key2: str | int) -> list[str]:
        """Return the words that are nearer to `key1` than `key2` is."""
        first, second = self.get_index(key1), self.get_index(key2)
        distances = self.distances(first)
        return [self.index_to_key[i] for i in np.flatnonzero(distances < distances[second]) if i != first]

    def rank(self, key1: str | int, key2: str | int) -> int:
        """Return the place of `key2` among the neighbours of `key1`: 1 for the nearest."""
        return len(self.closer_than(key1, key2)) + 1

    # --- Tests of vectors ----------------------------------------------------------------------------------------

    def evaluate_word_analogies(
        self,
        analogies: str | os.PathLike[str],
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        similarity_function: Literal["most_similar", "most_similar_cosmul"] = "most_similar",
    ) -> tuple[float, list[dict[str, Any]]]:
        """Answer questions of the form "a is to b as c is to what?".

        Parameters
        ----------
        analogies
            A file, compressed or not: sections that begin with ``: name``, four words on each line.
        restrict_vocab
            Only the first so many words are known; questions with others are left out.
        case_insensitive
            Whether all words count as in upper case; of several of one word the first is taken.
        dummy4unknown
            Whether questions with unknown words count as answered wrongly, not left out.
        similarity_function
            "most_similar" (3CosAdd) or "most_similar_cosmul" (3CosMul).

        Returns
        -------
        score : float
            The share of right answers.
        sections : list of dict
            With "section", its name; "correct" and "incorrect", lists of (a, b, c, expected). The last is "Total
            accuracy".

        Raises
        ------
        DataError
            The file cannot be read, is no text, or a question comes before the first section.

        Notes
        -----
        Mikolov, Chen, Corrado & Dean 2013. All questions are answered together: for 3CosAdd by `nearest`, for 3CosMul
        from the cosines of all words in questions with a block of the vocabulary.
        """
        if similarity_function not in ("most_similar", "most_similar_cosmul"):
            raise ValueError(
                f"evaluate_word_analogies: similarity_function is {similarity_function!r}, expected 'most_similar' or "
                "'most_similar_cosmul'"
            )
        _, end = self._clip("evaluate_word_analogies", 0, None, restrict_vocab)
        known, same = self._folded(end, case_insensitive)
        sections: list[dict[str, Any]] = []
        asked: list[tuple[list[Any], list[Any], tuple[str, ...]]] = []
        rows: list[list[int]] = []
        name = os.fspath(analogies)
        for number, line in enumerate(lines_of(read_bytes(analogies), name), start=1):
            if line.startswith(": "):
                sections.append({"section": line.lstrip(": ").strip(), "correct": [], "incorrect": []})
                continue
            if not line.strip():
                continue
            if not sections:
                raise DataError(
                    f"{name}: line {number} comes before the first section, expected ': name' first"
                )
            words = tuple((line.upper() if case_insensitive else line).split())
            if len(words) != 4:
                continue
            found = [known.get(word, -1) for word in words]
            section = sections[-1]
            if min(found) < 0:
                if dummy4unknown:
                    section["incorrect"].append(words)
                continue
            rows.append(found)
            asked.append((section["correct"], section["incorrect"], words))
        if rows:
            questions = np.array(rows, np.int64)
            solve = self._cos_add if similarity_function == "most_similar" else self._cos_mul
            answers = solve(questions, end, same)
            right = (answers >= 0) & (same[answers] == questions[:, 3])
            for (correct, incorrect, words), is_right in zip(asked, right.tolist(), strict=True):
                (correct if is_right else incorrect).append(words)
        total: dict[str, Any] = {
            "section": "Total accuracy",
            "correct": list(chain.from_iterable(section["correct"] for section in sections)),
            "incorrect": list(chain.from_iterable(section["incorrect"] for section in sections)),
        }
        sections.append(total)
        answered = len(total["correct"]) + len(total["incorrect"])
        return len(total["correct"]) / answered if answered else 0.0, sections

    def evaluate_word_pairs(
        self,
        pairs: str | os.PathLike[str],
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[Correlation, Correlation, float]:
        """Compare cosines with what people said of pairs of words.

        Parameters
        ----------
        pairs
            A file, compressed or not: two words and a number on each line; lines that begin with # are comments.
        delimiter
            What is between them.
        encoding
            Of the file.
        restrict_vocab, case_insensitive
            As for `evaluate_word_analogies`.
        dummy4unknown
            Whether pairs with unknown words count with a similarity of 0, not left out.

        Returns
        -------
        pearson : Correlation
        spearman : Correlation
        oov_ratio : float
            Percentage of pairs with an unknown word.

        Raises
        ------
        DataError
            The file cannot be read, or no pair of it is known.
        """
        _, end = self._clip("evaluate_word_pairs", 0, None, restrict_vocab)
        known, _ = self._folded(end, case_insensitive)
        name = os.fspath(pairs)
        gold: list[float] = []
        rows: list[tuple[int, int]] = []
        unknown = 0
        for line in lines_of(read_bytes(pairs), name, encoding):
            columns = (line.upper() if case_insensitive else line).split(delimiter)
            if line.startswith("#") or len(columns) != 3:
                continue
            try:
                value = float(columns[2])
            except ValueError:
                continue
            if not math.isfinite(value):
                continue
            one, other = known.get(columns[0], -1), known.get(columns[1], -1)
            if min(one, other) < 0:
                unknown += 1
                if not dummy4unknown:
                    continue
            rows.append((one, other))
            gold.append(value)
        if not rows:
            raise DataError(
                f"{name}: no pair of known words, expected lines of two words and a number, separated by {delimiter!r}"
            )
        index = np.array(rows, np.int64)
        first, second = self.vectors[index[:, 0]], self.vectors[index[:, 1]]
        cosines = np.einsum("ij,ij->i", first, second, dtype=np.float64)
        cosines *= self.scale[index[:, 0]].astype(np.float64) * self.scale[index[:, 1]]
        cosines[index.min(axis=1) < 0] = 0
        scores = np.array(gold)
        ratio = 100 * unknown / (len(rows) if dummy4unknown else len(rows) + unknown)
        return _pearson(scores, cosines), _pearson(_ranks(scores), _ranks(cosines)), ratio

    def _folded(self, end: int, case_insensitive: bool) -> tuple[dict[str, int], NDArray[np.int64]]:
        """The rows of the first `end` words by what they are in upper case, and of each the first that is the same."""
        if not case_insensitive:
            known = (
                self.key_to_index
                if end == len(self)
                else {k: i for i, k in enumerate(self.index_to_key[:end])}
            )
            return known, np.arange(end)
        first: dict[str, int] = {}
        same = np.fromiter(
            (first.setdefault(word.upper(), row) for row, word in enumerate(self.index_to_key[:end])),
            np.int64,
            end,
        )
        return first, same

    def _cos_add(self, questions: NDArray[np.int64], end: int, same: NDArray[np.int64]) -> NDArray[np.int64]:
        """The answer to each question: of the five nearest that are not a, b or c the first not the same as these."""
        answers = np.empty(len(questions), np.int64)
        k = min(8, end)
        for begin in range(0, len(questions), 4096):
            part = questions[begin : begin + 4096, :3]
            a, b, c = (self.vectors[part[:, i]] * self.scale[part[:, i], None] for i in range(3))
            rows, _ = nearest(b + c - a, self.vectors[:end], k, scale=self.scale[:end])
            others = (rows[:, :, None] != part[:, None, :]).all(axis=2) & (rows >= 0)
            allowed = others & (np.cumsum(others, axis=1) <= 5)
            allowed &= (same[rows][:, :, None] != part[:, None, :]).all(axis=2)
            found = rows[np.arange(len(rows)), allowed.argmax(axis=1)]
            answers[begin : begin + len(part)] = np.where(allowed.any(axis=1), found, -1)
        return answers

    def _cos_mul(self, questions: NDArray[np.int64], end: int, same: NDArray[np.int64]) -> NDArray[np.int64]:
        """The answer to each question: the best by 3CosMul that is not the same as a, b or c."""
        words, at = np.unique(questions[:, :3], return_inverse=True)
        a, b, c = at.reshape(len(questions), 3).T
        terms = self.vectors[words] * self.scale[words, None]
        best = np.zeros(len(questions), np.float32)
        answers = np.full(len(questions), -1, np.int64)
        columns = max(1, min(4096, _BLOCK // len(words)))
        some = max(1, _BLOCK // (4 * columns))
        alike = np.flatnonzero(np.isin(same[:end], words))  # words that are the same as one in a question
        alike_term = np.searchsorted(words, same[alike])
        for begin in range(0, end, columns):
            stop = min(begin + columns, end)
            similar = (1 + matmul(terms, self.vectors[begin:stop], trans_b=True) * self.scale[begin:stop]) / 2
            under = 1 / (similar + np.float32(_EPSILON))
            # Nothing is the answer to a question that it stands in: its product is 0, all others are above.
            inside = (alike >= begin) & (alike < stop)
            for table in (similar, under):
                table[alike_term[inside], alike[inside] - begin] = 0
            for first in range(0, len(questions), some):
                part = slice(first, first + some)
                scores = similar[b[part]]
                scores *= similar[c[part]]
                scores *= under[a[part]]
                winners = scores.argmax(axis=1)
                values = scores[np.arange(len(scores)), winners]
                better = values > best[part]
                best[part][better] = values[better]
                answers[part][better] = winners[better] + begin
        return answers

    # --- Files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], format: Format | None = None) -> Path:
        """Write words, vectors and counts.

        Parameters
        ----------
        path
            A file, whose name tells the format: .safetensors, .npz, .bin (word2vec's binary), else word2vec's text. Or
            a folder, or a name without an ending, which becomes one: its ``vectors.safetensors``, or where that package
            is not installed ``vectors.npz``.
        format
            "text", "binary", "glove", "npz" or "safetensors", whatever the name. Text and binary have no counts.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        DataError
            A word does not fit the format.
        """
        target = Path(path)
        if format is None and (target.is_dir() or not target.suffix):
            target.mkdir(parents=True, exist_ok=True)
            try:
                return self.save(target / VECTOR_FILES[0])
            except ImportError:
                return self.save(target / VECTOR_FILES[1])
        return write_word_vectors(
            target,
            self.index_to_key,
            self.vectors,
            format=format_named(target) if format is None else format,
            counts=self.counts,
        )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        limit: int | None = None,
        unicode_errors: Literal["replace", "strict"] = "replace",
    ) -> KeyedVectors:
        """Read what `save` or another program wrote, as `dlkit.data.read_word_vectors` does.

        Parameters
        ----------
        path
            A file of word2vec (text or binary), fastText (.vec), GloVe (.txt), NumPy (.npz) or safetensors, as its
            content tells; or a folder with ``vectors.safetensors`` or ``vectors.npz``.
        limit
            Only so many words from the beginning are read.
        unicode_errors
            What becomes of words that are no UTF-8: "replace" or "strict".

        Raises
        ------
        DataNotFoundError
            There is no such file, or no file of vectors in the folder.
        DataError
            The file is not what it claims to be.
        """
        read = read_word_vectors(path, limit=limit, unicode_errors=unicode_errors)
        return cls(read.words, read.vectors, read.counts)

    def save_word2vec_format(
        self, fname: str | os.PathLike[str], binary: bool = False, write_header: bool = True
    ) -> Path:
        """Write word2vec's text or binary, byte for byte as gensim does; without the header GloVe's text."""
        if binary and not write_header:
            raise ValueError("save_word2vec_format: write_header is False, expected True for binary")
        return self.save(fname, "binary" if binary else "text" if write_header else "glove")

    @classmethod
    def load_word2vec_format(
        cls,
        fname: str | os.PathLike[str],
        binary: bool | None = None,
        unicode_errors: Literal["replace", "strict"] = "strict",
        limit: int | None = None,
        no_header: bool | None = None,
    ) -> KeyedVectors:
        """Read word2vec's text or binary, as gensim's method of this name; the content tells which it is.

        `binary` and `no_header` are taken for the sake of gensim's signature.
        """
        return cls.load(fname, limit=limit, unicode_errors=unicode_errors)

    # --- What the methods share ----------------------------------------------------------------------------------

    def _clip(
        self, operation: str, start: int, end: int | None, restrict_vocab: int | None
    ) -> tuple[int, int]:
        if restrict_vocab is not None:
            if restrict_vocab < 1:
                raise ValueError(
                    f"{operation}: restrict_vocab is {restrict_vocab}, expected None or at least 1"
                )
            start, end = 0, restrict_vocab
        end = len(self) if end is None else min(end, len(self))
        if not 0 <= start < end:
            raise ValueError(
                f"{operation}: clip_start is {start} and clip_end {end}, expected 0 <= clip_start < clip_end"
            )
        return start, end

    @staticmethod
    def _weighted(positive: Any, negative: Any) -> tuple[list[Any], NDArray[np.float64]]:
        keys: list[Any] = []
        weights: list[float] = []
        for items, sign in ((positive, 1.0), (negative, -1.0)):
            for item in _listed(items):
                if isinstance(item, (tuple, list)):
                    if len(item) != 2:
                        raise ValueError(f"KeyedVectors: {item!r} is no pair of a word and its weight")
                    keys.append(item[0])
                    weights.append(float(item[1]))
                else:
                    keys.append(item)
                    weights.append(sign)
        if not np.isfinite(weights).all():
            raise ValueError(f"KeyedVectors: a weight is not finite: {weights}")
        return keys, np.array(weights)

    def _terms(self, keys: Iterable[Any]) -> tuple[NDArray[np.float32], set[int]]:
        """Vectors of words at length 1, and vectors as they are, as rows; and the words' numbers."""
        rows: list[NDArray[np.float32]] = []
        given: set[int] = set()
        for key in keys:
            if isinstance(key, np.ndarray):
                if key.shape != (self.vector_size,) or not np.isfinite(key).all():
                    raise ValueError(
                        f"KeyedVectors: a vector is {key.dtype} {key.shape}, expected ({self.vector_size},), finite"
                    )
                rows.append(key.astype(np.float32))
            else:
                row = self.get_index(key)
                given.add(row)
                rows.append(self.vectors[row] * self.scale[row])
        return np.stack(rows), given

    def _sum(self, keys: list[Any], weights: NDArray[np.float64]) -> tuple[NDArray[np.float32], set[int]]:
        """The weighted sum at length 1."""
        terms, given = self._terms(keys)
        total = weights @ terms.astype(np.float64)
        length = float(np.linalg.norm(total))
        return (total / length if length > 0 else total).astype(np.float32), given


def _listed(items: Any) -> list[Any]:
    if items is None:
        return []
    single = isinstance(items, (str, int, np.integer)) or (isinstance(items, np.ndarray) and items.ndim == 1)
    if single:
        return [items]
    # A pair of a word and a number is one word with its weight, not two.
    if isinstance(items, tuple) and len(items) == 2 and isinstance(items[1], float):
        return [items]
    return list(items)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The places of values in their order; of equal ones the mean of theirs."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return (last - (sizes - 1) / 2)[group]


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> Correlation:
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.linalg.norm(x) * np.linalg.norm(y))
    if len(x) < 3 or spread == 0:
        return Correlation(math.nan if spread == 0 else math.copysign(1.0, float(x @ y)), math.nan)
    r = max(-1.0, min(1.0, float(x @ y) / spread))
    return Correlation(r, _p_value(r, len(x)))


def _p_value(r: float, n: int) -> float:
    """The share of samples of n independent normal pairs with a correlation beyond r, either way.

    Its density is that of sin(t) with t of density cos(t)^(n - 3) from -pi/2 to pi/2: integrated from asin(|r|) on by
    Gauss and Legendre's rule.
    """
    start = math.asin(abs(r))
    nodes, weights = np.polynomial.legendre.leggauss(100)
    # What is more than 40 decay lengths away adds nothing.
    reach = min(math.pi / 2 - start, 40 / max((n - 3) * math.tan(start) if start < 1.57 else math.inf, 1e-9))
    reach = max(reach, min(math.pi / 2 - start, 12 / math.sqrt(n)))
    t = start + (nodes + 1) / 2 * reach
    tail = float(np.sum(weights * np.cos(t) ** (n - 3))) * reach / 2
    whole = math.sqrt(math.pi) * math.exp(math.lgamma((n - 2) / 2) - math.lgamma((n - 1) / 2))
    return min(1.0, 2 * tail / whole)


__all__ = ["Correlation", "KeyedVectors", "UnknownWordError"]
