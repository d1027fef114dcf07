"""Word2Vec: from a text to word vectors, with gensim's names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from json import dumps, loads
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.data.word_corpus import CorpusVocabulary, EncodedText, WordCorpus
from dlkit.nn import load_safetensors, save_safetensors

from .keyed_vectors import KeyedVectors
from .word2vec_trainer import EpochReport, Position, TrainingProgress, Word2VecTrainer

__all__ = ["Word2Vec"]

_SETTINGS, _MATRICES = "word2vec.json", "training.safetensors"
_FORMAT = "dlkit-word2vec-1"


@dataclass(frozen=True)
class _Settings:
    """What a model is made with; the names are gensim's."""

    vector_size: int
    alpha: float
    window: int
    min_count: int
    max_vocab_size: int | None
    max_final_vocab: int | None
    sample: float
    seed: int
    min_alpha: float
    sg: bool
    hs: bool
    negative: int
    ns_exponent: float
    cbow_mean: bool
    divide: bool | None
    epochs: int
    shrink_windows: bool
    variant: str | None
    shared_negatives: int | None


class Word2Vec:
    """Word vectors by skip-gram or CBOW, with negative sampling or hierarchical softmax.

    With a text it counts its words and trains; without one, `build_vocab` and `train` do that.

    Parameters
    ----------
    sentences : path or iterable of sequences of str, optional
        A text file, plain or compressed (.gz, .xz, .bz2), a sentence a line; or sentences as lists of words.
    corpus_file : path, optional
        The same as a path for `sentences`, as gensim has it.
    vector_size : int
        Elements of a vector.
    alpha, min_alpha : float
        The learning rate at the beginning and at the end.
    window : int
        The largest distance between a word and those of its context.
    min_count : int
        Words that occur less often are left out.
    max_vocab_size, max_final_vocab : int, optional
        See `dlkit.data.WordCorpus.build`.
    sample : float
        Words more frequent than this share of the text are left out now and then; 0: none is.
    seed : int
    workers : int, optional
        Threads; default: as many as kernels have. Several work without locks, so that vectors differ a little from run
        to run; one gives the same bits each time. On a device: sentences in flight (`Word2VecTrainer.fit`).
    sg, hs : bool
        Skip-gram, else CBOW; hierarchical softmax.
    negative : int
        Negatives drawn for each word; 0: none.
    ns_exponent : float
        Negatives are drawn by their count to this power.
    cbow_mean : bool
        CBOW predicts from the mean of the context, not the sum.
    divide : bool, optional
        See `dlkit.kernels.cbow_update`; default: as gensim.
    epochs : int
    shrink_windows : bool
        Draw each word's window from 1 to `window`.
    deterministic : bool
        The same bits for any number of workers, at the speed of one.
    variant : str, optional
        One of ``dlkit.kernels.variants("sgns_update")``; on a device ``matrix`` alone.
    shared_negatives : int, optional
        Words of a sentence in succession that have the same negatives. Default: 3 of CBOW on the CPU, else 1; on a
        device 1 alone.
    device : str
        Where training is done: ``cpu``, ``cuda``, ``cuda:1`` or ``simt``. Texts are read on the CPU, and vectors are on
        the host after each epoch.
    progress : callable, optional
        Called with a `TrainingProgress` some times a second.
    callbacks : sequence of callables
        Each is called with this model and an `EpochReport` after each epoch.

    Attributes
    ----------
    wv : KeyedVectors
        The vectors as they are now: a copy.
    reports : list of EpochReport
        Of all epochs so far.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its bounds, or of those of the device.
    DeviceUnavailableError
        If the device is not there.
    DataError
        If the text cannot be read, or no word of it is left.

    Notes
    -----
    The negatives of a word are drawn once, for all words of its context, where the original program draws them for each
    pair anew: it is what makes it fast (Ji et al. 2016; csrc/word2vec/matrix.cpp).

    Examples
    --------
    >>> import dlkit as dl
    >>> sentences = [["the", "star", "shines"], ["the", "sun", "shines"]] * 50
    >>> model = dl.Word2Vec(sentences, vector_size=8, min_count=1, sample=0, workers=1)
    >>> len(model.wv), model.wv["sun"].shape
    (4, (8,))
    """

    def __init__(
        self,
        sentences: Any = None,
        corpus_file: str | os.PathLike[str] | None = None,
        *,
        vector_size: int = 100,
        alpha: float = 0.025,
        window: int = 5,
        min_count: int = 5,
        max_vocab_size: int | None = None,
        max_final_vocab: int | None = None,
        sample: float = 1e-3,
        seed: int = 1,
        workers: int | None = None,
        min_alpha: float = 1e-4,
        sg: bool | int = False,
        hs: bool | int = False,
        negative: int = 5,
        ns_exponent: float = 0.75,
        cbow_mean: bool | int = True,
        divide: bool | None = None,
        epochs: int = 5,
        shrink_windows: bool = True,
        deterministic: bool = False,
        variant: str | None = None,
        shared_negatives: int | None = None,
        device: str = "cpu",
        progress: Callable[[TrainingProgress], None] | None = None,
        callbacks: Sequence[Callable[[Word2Vec, EpochReport], None]] = (),
    ) -> None:
        self.settings = _Settings(
            vector_size,
            alpha,
            window,
            min_count,
            max_vocab_size,
            max_final_vocab,
            sample,
            seed,
            min_alpha,
            bool(sg),
            bool(hs),
            negative,
            ns_exponent,
            bool(cbow_mean),
            divide,
            epochs,
            shrink_windows,
            variant,
            shared_negatives,
        )
        self.workers, self.deterministic, self.device = workers, deterministic, device
        self.progress, self.callbacks = progress, tuple(callbacks)
        self.reports: list[EpochReport] = []
        self._vocabulary: CorpusVocabulary | None = None
        self._corpus: EncodedText | None = None
        self._trainer: Word2VecTrainer | None = None
        self._vectors: KeyedVectors | None = None
        self._new_trainer([1])  # a setting that is out of bounds is found before anything is read
        source = _source("Word2Vec", sentences, corpus_file, needed=False)
        if source is not None:
            self.build_vocab(source)
            self.train()

    @property
    def _readers(self) -> int | None:
        """Threads that read texts: on a device `workers` are sentences."""
        return self.workers if self.device == "cpu" else None

    def _new_trainer(self, counts: Sequence[int]) -> Word2VecTrainer:
        s = self.settings
        return Word2VecTrainer(
            counts,
            vector_size=s.vector_size,
            window=s.window,
            sg=s.sg,
            negative=s.negative,
            hs=s.hs,
            sample=s.sample,
            ns_exponent=s.ns_exponent,
            cbow_mean=s.cbow_mean,
            divide=s.divide,
            shrink_windows=s.shrink_windows,
            seed=s.seed,
            variant=s.variant,
            shared_negatives=s.shared_negatives,
            device=self.device,
        )

    def build_vocab(
        self,
        sentences: Any = None,
        corpus_file: str | os.PathLike[str] | None = None,
        *,
        update: bool = False,
    ) -> None:
        """Count the words of a text, and keep it for `train`.

        Parameters
        ----------
        sentences, corpus_file
            As for the class.
        update : bool
            Add the text's new words to those there are, and its counts to theirs. Vectors stay; those of the nodes of
            hierarchical softmax begin anew, since another tree has other nodes.

        Raises
        ------
        DataError
            If the text cannot be read, or no word of it is left.
        ValueError
            If there is a vocabulary and `update` is false, or none and it is true.
        """
        source = _source("build_vocab", sentences, corpus_file)
        s = self.settings
        if not update:
            if self._trainer is not None:
                raise ValueError(
                    "build_vocab: there is a vocabulary already; expected update=True, or a new Word2Vec"
                )
            corpus = WordCorpus.build(
                source,
                s.min_count,
                max_vocab_size=s.max_vocab_size,
                max_final_vocab=s.max_final_vocab,
                workers=self._readers,
            )
            trainer = self._new_trainer(corpus.counts.tolist())
        else:
            if self._vocabulary is None or self._trainer is None:
                raise ValueError("build_vocab: update is true but there is no vocabulary yet")
            corpus = self._vocabulary.extend(source, s.min_count, workers=self._readers)
            trainer = self._new_trainer(corpus.counts.tolist())
            assert corpus.previous is not None
            known = corpus.previous >= 0
            for new, old in (
                (trainer.vectors, self._trainer.vectors),
                (trainer.outputs, self._trainer.outputs),
            ):
                if new is not None and old is not None:
                    new[known] = old[corpus.previous[known]]
        self._corpus, self._vocabulary, self._trainer, self._vectors = (
            corpus,
            corpus.vocabulary,
            trainer,
            None,
        )

    def train(
        self,
        sentences: Any = None,
        corpus_file: str | os.PathLike[str] | None = None,
        *,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
        first_epoch: int = 0,
        start: Position | None = None,
        checkpoint_seconds: float | None = None,
        checkpoint: Callable[[Position], None] | None = None,
    ) -> list[EpochReport]:
        """Train on a text, or on that which the vocabulary was built of.

        Ctrl-C ends it with KeyboardInterrupt; the vectors are then those that had been reached, and
        ``trainer.position`` says where that is.

        Parameters
        ----------
        sentences, corpus_file
            As for the class; words that the vocabulary lacks are left out. None: the text of `build_vocab`.
        epochs : int, optional
        start_alpha, end_alpha : float, optional
            The learning rate at the beginning and at the end. Default: what the model was made with.
        first_epoch : int
            Begin with this one of the epochs, as training that goes on does.
        start, checkpoint_seconds, checkpoint
            To go on within an epoch, and to be able to: see `Word2VecTrainer.fit`.

        Returns
        -------
        list of EpochReport

        Raises
        ------
        ValueError
            If there is no vocabulary, or no text.
        DataError
            If the text cannot be read.
        """
        if self._trainer is None or self._vocabulary is None:
            raise ValueError("train: there is no vocabulary; expected a call of build_vocab first")
        source = _source("train", sentences, corpus_file, needed=False)
        if source is not None:
            text: EncodedText | None = self._vocabulary.encode(source, workers=self._readers)
        else:
            text = self._corpus
        if text is None:
            raise ValueError("train: there is no text; expected sentences or corpus_file")
        s = self.settings
        self._vectors = None

        def after(report: EpochReport) -> None:
            self._vectors = None
            self.reports.append(report)
            for callback in self.callbacks:
                callback(self, report)

        return self._trainer.fit(
            text,
            epochs=s.epochs if epochs is None else epochs,
            alpha=s.alpha if start_alpha is None else start_alpha,
            min_alpha=s.min_alpha if end_alpha is None else end_alpha,
            first_epoch=first_epoch,
            start=start,
            checkpoint_seconds=checkpoint_seconds,
            checkpoint=checkpoint,
            workers=self.workers,
            deterministic=self.deterministic,
            progress=self.progress,
            after_epoch=after,
        )

    @property
    def wv(self) -> KeyedVectors:
        """The vectors as they are now."""
        if self._vocabulary is None or self._trainer is None:
            raise ValueError("wv: there is no vocabulary; expected a call of build_vocab first")
        if self._vectors is None:
            self._vectors = KeyedVectors(
                self._vocabulary.words, self._trainer.vectors.copy(), self._vocabulary.counts
            )
        return self._vectors

    @property
    def trainer(self) -> Word2VecTrainer:
        """The matrices and the engine."""
        if self._trainer is None:
            raise ValueError("trainer: there is no vocabulary; expected a call of build_vocab first")
        return self._trainer

    @property
    def outputs(self) -> NDArray[np.float32] | None:
        """The output matrix of negative sampling, gensim's ``syn1neg``: a view, or None."""
        return None if self._trainer is None else self._trainer.outputs

    @property
    def nodes(self) -> NDArray[np.float32] | None:
        """The vectors of the Huffman tree's inner nodes, gensim's ``syn1``: a view, or None."""
        return None if self._trainer is None else self._trainer.nodes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that training goes on from into a folder: what `KeyedVectors.save` does, and the other matrices.

        Raises
        ------
        ValueError
            If there is no vocabulary.
        OSError
            If the folder cannot be written.
        """
        folder = Path(path)
        self.wv.save(folder)
        matrices = {"outputs": self.outputs, "nodes": self.nodes}
        save_safetensors({name: m for name, m in matrices.items() if m is not None}, folder / _MATRICES)
        record = {"format": _FORMAT, **asdict(self.settings), "epochs_done": len(self.reports)}
        (folder / _SETTINGS).write_text(dumps(record, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str], **settings: Any) -> Word2Vec:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path
        **settings
            workers, deterministic, device, progress, callbacks, as for the class.

        Raises
        ------
        OSError
            If there is no such folder.
        ValueError
            If it is no model of this kind, or is damaged.
        """
        folder = Path(path)
        try:
            record = loads((folder / _SETTINGS).read_text(encoding="utf-8"))
            if not isinstance(record, dict) or record.pop("format", None) != _FORMAT:
                raise ValueError("no format")
            record.pop("epochs_done", None)
            model = cls(**record, **settings)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"Word2Vec.load: {folder / _SETTINGS} is no model's settings ({error})"
            ) from error
        vectors = KeyedVectors.load(folder)
        counts = getattr(vectors, "counts", None)
        if counts is None:
            raise ValueError(f"Word2Vec.load: {folder} has no counts of words")
        model._vocabulary = CorpusVocabulary(vectors.index_to_key, counts)
        model._trainer = trainer = model._new_trainer([int(count) for count in counts])
        matrices = {"vectors": vectors.vectors, **load_safetensors(folder / _MATRICES)}
        for name, to in (
            ("vectors", trainer.vectors),
            ("outputs", trainer.outputs),
            ("nodes", trainer.nodes),
        ):
            if to is None:
                continue
            if name not in matrices or matrices[name].shape != to.shape:
                shape = matrices[name].shape if name in matrices else None
                raise ValueError(f"Word2Vec.load: {folder}: {name} is {shape}; expected {to.shape}")
            to[...] = matrices[name]
        return model


def _source(operation: str, sentences: Any, corpus_file: Any, *, needed: bool = True) -> Any:
    if sentences is not None and corpus_file is not None:
        raise ValueError(f"{operation}: sentences and corpus_file are both given; expected one of them")
    source = corpus_file if sentences is None else sentences
    if source is None and needed:
        raise ValueError(f"{operation}: no text is given; expected sentences or corpus_file")
    if source is not None and not isinstance(source, str | os.PathLike | Iterable):
        raise TypeError(
            f"{operation}: sentences is a {type(source).__name__}; expected a path or lists of words"
        )
    return source
