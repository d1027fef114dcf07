"""Words and their vectors: neighbours, analogies, distances, tests and files, with gensim's names."""

from __future__ import annotations

import codecs
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dlkit.data.word_vectors import Format, folder_file, format_named, read_word_vectors, write_word_vectors
from dlkit.kernels.matmul import matmul
from dlkit.kernels.nearest import nearest

from .embedding_map import METHODS, EmbeddingMap, chosen_method, principal_components, t_sne
from .word_analogies import EPSILON, answer_analogies
from .word_pairs import Correlation, compare_pairs
from .word_table import UnknownWordError, WordTable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

_BLOCK = 1 << 22  # elements of intermediate results


class KeyedVectors(WordTable):
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
    Names and results are those of gensim's ``KeyedVectors``, but for a word without a vector: methods raise
    `UnknownWordError`, a KeyError that names the nearest spelling, where some of gensim's leave it out. The cosine with
    a vector of zeros is 0. Cosines are computed from the vectors and their lengths: there is no normalised copy. Where
    `vectors` is changed from outside, ``fill_norms(force=True)`` must follow.

    Of gensim's class these are not there: ``wmdistance``, ``intersect_word2vec_format``, attributes of words besides
    "count", keys that are no words, tables without words, ``indexer`` of ``most_similar``, ``fvocab`` of the files, and
    its pickles: ``save`` and ``load`` are of the formats named there.
    """

    def vectors_for_all(
        self, keys: Iterable[str | int], allow_inference: bool = True, copy_vecattrs: bool = False
    ) -> KeyedVectors:
        """Return the words of `keys` that have a vector, each once, in that order, with copies of their vectors.

        Parameters
        ----------
        keys
            Words or their numbers; those without a vector are left out.
        allow_inference
            gensim's; of no effect, since no vectors are made up.
        copy_vecattrs
            Whether counts go along.

        Raises
        ------
        ValueError
            No word has a vector.
        """
        rows = list(dict.fromkeys(row for key in keys if (row := self.get_index(key, default=-1)) >= 0))
        if not rows:
            raise ValueError("vectors_for_all: keys has no word with a vector, expected at least one")
        counts = self.counts[rows] if copy_vecattrs and self.counts is not None else None
        return KeyedVectors([self.index_to_key[row] for row in rows], self.vectors[rows], counts)

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
        _whole("most_similar", "topn", topn)
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
        _whole("most_similar_cosmul", "topn", topn)
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
                similar[weights < 0] + np.float32(EPSILON)
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
        _at_least_one("nearest", topn)
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

    def most_similar_to_given(self, key1: str | int, keys_list: Sequence[str | int]) -> Any:
        """Return which of some words has the largest cosine to `key1`."""
        if len(keys_list) == 0:
            raise ValueError("most_similar_to_given: keys_list is empty, expected at least one word")
        return keys_list[int(np.argmax([self.similarity(key1, key) for key in keys_list]))]

    @staticmethod
    def cosine_similarities(vector_1: ArrayLike, vectors_all: ArrayLike) -> NDArray[Any]:
        """Return the cosines of a vector, shape (dimensions,), and others, shape (vectors, dimensions)."""
        one, others = np.asarray(vector_1), np.asarray(vectors_all)
        if one.ndim != 1 or others.ndim != 2 or others.shape[1] != len(one):
            raise ValueError(
                f"cosine_similarities: vector_1 is {one.shape} and vectors_all {others.shape}, expected (dimensions,) "
                "and (vectors, dimensions)"
            )
        lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(one)
        products = others @ one
        cosines: NDArray[Any] = np.divide(
            products, lengths, out=np.zeros(len(others), lengths.dtype), where=lengths > 0
        )
        return cosines

    def relative_cosine_similarity(self, wa: str | int, wb: str | int, topn: int = 10) -> float:
        """Return the cosine of two words over the sum of those of `wa` and its `topn` neighbours.

        Above 0.10 for ten neighbours, the two are more alike than words that are merely near (Leeuwenberg et al. 2016).

        Raises
        ------
        ValueError
            There are no neighbours, or the sum is 0.
        """
        _at_least_one("relative_cosine_similarity", topn)
        total = sum(cosine for _, cosine in self.most_similar([wa], topn=topn))
        if total == 0:
            raise ValueError(f"relative_cosine_similarity: the cosines of {wa!r} and its neighbours sum to 0")
        return self.similarity(wa, wb) / float(total)

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
        return answer_analogies(self, analogies, end, case_insensitive, dummy4unknown, similarity_function)

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
        return compare_pairs(self, pairs, delimiter, encoding, end, case_insensitive, dummy4unknown)

    # --- Files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], format: Format | None = None) -> Path:
        """Write words, vectors and counts.

        Parameters
        ----------
        path
            A file, whose name tells the format: .safetensors, .npz, .bin (word2vec's binary), else word2vec's text; the
            last two compressed where .gz, .xz or .bz2 follows. Or a folder, or a name without an ending, which becomes
            one: its ``vectors.safetensors``, or where that package, which reads it, is not installed ``vectors.npz``.
        format
            "text", "binary", "glove", "npz" or "safetensors", whatever the name. Text and binary have no counts, and
            their words no ASCII white space.

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
            return self.save(target / folder_file())
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
        max_bytes: int | None = None,
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
        max_bytes
            Largest file accepted, and most bytes that a compressed one may unpack to. None: a file of any size, and
            8 GiB of a compressed one.

        Raises
        ------
        DataNotFoundError
            There is no such file, or no file of vectors in the folder.
        DataError
            The file is not what it claims to be.
        """
        read = read_word_vectors(path, limit=limit, unicode_errors=unicode_errors, max_bytes=max_bytes)
        return cls(read.words, read.vectors, read.counts)

    def save_word2vec_format(
        self,
        fname: str | os.PathLike[str],
        fvocab: None = None,
        binary: bool = False,
        total_vec: int | None = None,
        write_header: bool = True,
        prefix: str = "",
        append: bool = False,
        sort_attr: str = "count",
    ) -> Path:
        """Write word2vec's text or binary, byte for byte as gensim does; without the header GloVe's text.

        Words with counts go by falling count. `prefix` stands before each word. `fvocab`, `total_vec`, `append` and
        `sort_attr` are taken for the sake of gensim's signature, with its defaults alone.

        Raises
        ------
        ValueError
            An argument is another than its default, or a word has ASCII white space.
        """
        operation = "save_word2vec_format"
        _alone(operation, "fvocab", fvocab, None)
        _alone(operation, "total_vec", total_vec, None, len(self))
        _alone(operation, "append", append, False)
        _alone(operation, "sort_attr", sort_attr, "count")
        if not isinstance(prefix, str):
            raise ValueError(f"{operation}: prefix is {prefix!r}, expected a text")
        if binary and not write_header:
            raise ValueError(f"{operation}: write_header is False, expected True for binary")
        words, vectors = self.index_to_key, self.vectors
        if self.counts is not None and (self.counts[1:] > self.counts[:-1]).any():
            order = np.argsort(-self.counts, kind="stable")
            words, vectors = [words[row] for row in order.tolist()], vectors[order]
        if prefix:
            words = [prefix + word for word in words]
        written: Format = "binary" if binary else "text" if write_header else "glove"
        return write_word_vectors(fname, words, vectors, format=written)

    @classmethod
    def load_word2vec_format(
        cls,
        fname: str | os.PathLike[str],
        fvocab: None = None,
        binary: bool | None = None,
        encoding: str = "utf8",
        unicode_errors: Literal["replace", "strict"] = "strict",
        limit: int | None = None,
        datatype: DTypeLike = np.float32,
        no_header: bool | None = None,
        *,
        max_bytes: int | None = None,
    ) -> KeyedVectors:
        """Read word2vec's text or binary, as gensim's method of this name; the content tells which it is.

        `unicode_errors`, `limit` and `max_bytes` are those of `load`. The others are taken for the sake of gensim's
        signature: `fvocab`, `encoding` and `datatype` with its defaults alone.

        Raises
        ------
        ValueError
            An argument is another than its default; or as `load`.
        """
        operation = "load_word2vec_format"
        _alone(operation, "fvocab", fvocab, None)
        try:
            utf8 = codecs.lookup(encoding).name == "utf-8"
        except (LookupError, TypeError, ValueError):
            utf8 = False
        if not utf8:
            raise ValueError(f"{operation}: encoding is {encoding!r}, expected 'utf8'")
        try:
            single = np.dtype(datatype) == np.float32
        except TypeError:
            single = False
        if not single:
            raise ValueError(f"{operation}: datatype is {datatype!r}, expected float32")
        return cls.load(fname, limit=limit, unicode_errors=unicode_errors, max_bytes=max_bytes)

    # --- What the methods share ----------------------------------------------------------------------------------

    def _clip(
        self, operation: str, start: int, end: int | None, restrict_vocab: int | None
    ) -> tuple[int, int]:
        _whole(operation, "restrict_vocab", restrict_vocab)
        _whole(operation, "clip_start", start, none=False)
        _whole(operation, "clip_end", end)
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
                rows.append(self._checked_vector(key))
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


def _whole(operation: str, name: str, value: Any, none: bool = True) -> None:
    if (value is None and none) or (isinstance(value, (int, np.integer)) and not isinstance(value, bool)):
        return
    expected = "None or an integer" if none else "an integer"
    raise ValueError(f"{operation}: {name} is {value!r}, expected {expected}")


def _alone(operation: str, name: str, value: Any, *expected: Any) -> None:
    if not any(type(value) is type(one) and value == one for one in expected):
        raise ValueError(f"{operation}: {name} is {value!r}, expected {expected[0]!r}")


def _at_least_one(operation: str, topn: Any) -> None:
    _whole(operation, "topn", topn, none=False)
    if topn < 1:
        raise ValueError(f"{operation}: topn is {topn}, expected at least 1")


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


__all__ = ["Correlation", "KeyedVectors", "UnknownWordError"]
