"""Word2Vec: from a text to word vectors, with gensim's names."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from inspect import signature
from json import dumps, loads
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.data.errors import DataError
from dlkit.data.word_corpus import (
    CorpusVocabulary,
    EncodedText,
    Errors,
    Progress,
    Reading,
    WordCorpus,
    check_counting,
)
from dlkit.nn import load_safetensors, save_safetensors

from .gensim_arguments import check_arguments
from .keyed_vectors import KeyedVectors
from .word2vec_trainer import EpochReport, Position, TrainingProgress, Word2VecTrainer

__all__ = ["Word2Vec"]

_SETTINGS, _MATRICES = "word2vec.json", "training.safetensors"
_FORMAT = "dlkit-word2vec-1"
_CHECKSUM = "checksum"  # of the vectors that the other matrices belong to


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
    errors: Errors = "strict"
    max_sentence: int = 10000


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
        Words more frequent than this share of the text are left out now and then; 0: none is. From 1 on a count: see
        `Word2VecTrainer`.
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
    errors : {"strict", "replace", "ignore"}
        What becomes of words of a text that are no UTF-8: an error that names the line; U+FFFD; these bytes are left
        out.
    max_sentence : int
        Longer sentences are cut after so many words.
    folder : path, optional
        Where the text's temporary files lie; default: as `tempfile` chooses, `TMPDIR`.
    progress : callable, optional
        Called with a `TrainingProgress` some times a second.
    reading_progress : callable, optional
        Called while a text is read: see `dlkit.data.WordCorpus.build`.
    callbacks : sequence of callables
        Each is called with this model and an `EpochReport` after each epoch.
    **gensim
        What gensim's class takes besides and changes nothing here, such as ``compute_loss=True``; what would change
        something, such as ``trim_rule``, is refused.

    Attributes
    ----------
    wv : KeyedVectors
        The vectors as they are now: a copy.
    reports : list of EpochReport
        Of all epochs so far.
    vector_size, window, alpha, epochs, and the other settings
        As given.
    corpus_count, corpus_total_words : int
        Sentences and words of the text that the vocabulary was built of.

    Raises
    ------
    TypeError, ValueError
        If a setting is out of its bounds, or of those of the device. All are looked at before a text is read.
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
        errors: Errors = "strict",
        max_sentence: int = 10000,
        folder: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        progress: Callable[[TrainingProgress], None] | None = None,
        reading_progress: Progress | None = None,
        callbacks: Sequence[Callable[[Word2Vec, EpochReport], None]] = (),
        **gensim: Any,
    ) -> None:
        check_arguments("Word2Vec", gensim, signature(Word2Vec).parameters)
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
            errors,
            max_sentence,
        )
        self.workers, self.deterministic, self.device = workers, deterministic, device
        self.folder, self.progress, self.reading_progress = folder, progress, reading_progress
        self.callbacks = _callables("Word2Vec", callbacks)
        self.reports: list[EpochReport] = []
        self._vocabulary: CorpusVocabulary | None = None
        self._corpus: EncodedText | None = None
        self._trainer: Word2VecTrainer | None = None
        self._vectors: KeyedVectors | None = None
        # A setting that is out of bounds is found before anything is read.
        self._new_trainer([1]).check_fit(epochs, alpha, min_alpha, workers)
        check_counting("Word2Vec", min_count, max_vocab_size, max_final_vocab)
        Reading(**self._reading).checked("Word2Vec")
        source = _source("Word2Vec", sentences, corpus_file, needed=False)
        if source is not None:
            self.build_vocab(source)
            self.train()

    def __getattr__(self, name: str) -> Any:
        # Only names that are nowhere else come here.
        if name in _Settings.__dataclass_fields__:
            return getattr(self.settings, name)
        raise AttributeError(f"Word2Vec has no attribute {name!r}")

    @property
    def _reading(self) -> dict[str, Any]:
        """How texts are read, as `dlkit.data.WordCorpus.build` takes it."""
        return {
            "errors": self.settings.errors,
            "max_sentence": self.settings.max_sentence,
            "workers": self.workers if self.device == "cpu" else None,  # on a device these are sentences
            "folder": self.folder,
            "progress": self.reading_progress,
        }

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
        **gensim: Any,
    ) -> None:
        """Count the words of a text, and keep it for `train`.

        Parameters
        ----------
        sentences, corpus_file
            As for the class.
        update : bool
            Add the text's new words to those there are, and its counts to theirs. Vectors stay; those of the nodes of
            hierarchical softmax begin anew, since another tree has other nodes. `max_final_vocab` bounds both.
        **gensim
            `corpus_iterable`, gensim's name for `sentences`, and as for the class.

        Raises
        ------
        DataError
            If the text cannot be read, or no word of it is left.
        ValueError
            If there is a vocabulary and `update` is false, or none and it is true.
        """
        sentences = gensim.pop("corpus_iterable", sentences)
        check_arguments("build_vocab", gensim, signature(self.build_vocab).parameters)
        source = _source("build_vocab", sentences, corpus_file)
        s = self.settings
        limits: dict[str, Any] = {"max_vocab_size": s.max_vocab_size, "max_final_vocab": s.max_final_vocab}
        if not update:
            if self._trainer is not None:
                raise ValueError(
                    "build_vocab: there is a vocabulary already; expected update=True, or a new Word2Vec"
                )
            corpus = WordCorpus.build(source, s.min_count, **limits, **self._reading)
            trainer = self._new_trainer(corpus.counts.tolist())
        else:
            if self._vocabulary is None or self._trainer is None:
                raise ValueError("build_vocab: update is true but there is no vocabulary yet")
            corpus = self._vocabulary.extend(source, s.min_count, **limits, **self._reading)
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
        callbacks: Sequence[Callable[[Word2Vec, EpochReport], None]] | None = None,
        **gensim: Any,
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
        callbacks : sequence of callables, optional
            In the place of the model's.
        **gensim
            `corpus_iterable`, gensim's name for `sentences`, `total_examples`, `total_words` and what else changes
            nothing here.

        Returns
        -------
        list of EpochReport

        Raises
        ------
        ValueError
            If there is no vocabulary, or no text.
        DataError
            If the text cannot be read, or has no word of the vocabulary.
        """
        sentences = gensim.pop("corpus_iterable", sentences)
        check_arguments("train", gensim, signature(self.train).parameters)
        called = self.callbacks if callbacks is None else _callables("train", callbacks)
        s = self.settings
        epochs = s.epochs if epochs is None else epochs
        rates = (
            s.alpha if start_alpha is None else start_alpha,
            s.min_alpha if end_alpha is None else end_alpha,
        )
        if self._trainer is None or self._vocabulary is None:
            raise ValueError("train: there is no vocabulary; expected a call of build_vocab first")
        self._trainer.check_fit(epochs, *rates, self.workers)
        source = _source("train", sentences, corpus_file, needed=False)
        if source is not None:
            text: EncodedText | None = self._vocabulary.encode(source, **self._reading)
        else:
            text = self._corpus
        if text is None:
            raise ValueError("train: there is no text; expected sentences or corpus_file")
        if not text.kept_words:
            raise DataError("train: no word of the text is in the vocabulary")
        self._vectors = None

        def after(report: EpochReport) -> None:
            self._vectors = None
            self.reports.append(report)
            for callback in called:
                callback(self, report)

        return self._trainer.fit(
            text,
            epochs=epochs,
            alpha=rates[0],
            min_alpha=rates[1],
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
    def corpus_count(self) -> int:
        """Sentences of the text that the vocabulary was built of, with a word that is in it."""
        return 0 if self._corpus is None else self._corpus.sentences

    @property
    def corpus_total_words(self) -> int:
        """Words of the text that the vocabulary was built of, in it or not."""
        return 0 if self._corpus is None else self._corpus.total_words

    @property
    def vocabulary(self) -> CorpusVocabulary:
        """The words and their counts."""
        if self._vocabulary is None:
            raise ValueError("vocabulary: there is none; expected a call of build_vocab first")
        return self._vocabulary

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

        Its three files take their names at the end, one after the other: what was there is whole until then.

        Parameters
        ----------
        path : path
            A folder, or a name that is free, with an ending or without.

        Raises
        ------
        ValueError
            If there is no vocabulary, or no name.
        NotADirectoryError
            If it is a file.
        OSError
            If the folder cannot be written.
        """
        if not os.fspath(path):
            raise ValueError("Word2Vec.save: path is empty; expected the name of a folder")
        folder = Path(path)
        vectors, position = self.wv, self.trainer.position
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(
                f"Word2Vec.save: {folder} is a file; expected a folder, or a name that is free "
                "(wv.save writes the vectors into one file)"
            )
        matrices = {"outputs": self.outputs, "nodes": self.nodes}
        record = {
            "format": _FORMAT,
            **asdict(self.settings),
            "reports": [asdict(report) for report in self.reports],
            "position": list(position),
        }
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as whole:
            vectors.save(whole)
            save_safetensors(
                {
                    **{name: m for name, m in matrices.items() if m is not None},
                    _CHECKSUM: np.array([_checksum(vectors.vectors)], np.int64),
                },
                Path(whole) / _MATRICES,
            )
            (Path(whole) / _SETTINGS).write_text(dumps(record, indent=1) + "\n", encoding="utf-8")
            for file in Path(whole).iterdir():
                os.replace(file, folder / file.name)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **settings: Any) -> Word2Vec:
        """Read what `save` wrote.

        Training that was interrupted goes on by ``train(text, start=model.trainer.position)``.

        Parameters
        ----------
        path : path
        **settings
            workers, deterministic, device, folder, progress, reading_progress, callbacks, as for the class.

        Raises
        ------
        OSError
            If there is no such folder.
        ValueError
            If it is no model of this kind, or is damaged.
        """
        folder = Path(path)
        if folder.is_file():
            raise NotADirectoryError(
                f"Word2Vec.load: {folder} is a file; expected the folder that `save` made "
                "(KeyedVectors.load reads files of vectors)"
            )
        try:
            record = loads((folder / _SETTINGS).read_text(encoding="utf-8"))
            if not isinstance(record, dict) or record.pop("format", None) != _FORMAT:
                raise ValueError("no format")
            reports = [EpochReport(**report) for report in record.pop("reports", [])]
            position = Position(*record.pop("position", [0]))
            model = cls(**record, **settings)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"Word2Vec.load: {folder / _SETTINGS} is no model's settings ({error})"
            ) from error
        vectors = KeyedVectors.load(folder)
        counts = getattr(vectors, "counts", None)
        if counts is None:
            raise ValueError(f"Word2Vec.load: {folder} has no counts of words")
        model.reports = reports
        model._vocabulary = CorpusVocabulary(vectors.index_to_key, counts)
        model._trainer = trainer = model._new_trainer([int(count) for count in counts])
        trainer.position = position
        matrices = {"vectors": vectors.vectors, **load_safetensors(folder / _MATRICES)}
        if _CHECKSUM in matrices and matrices[_CHECKSUM].tolist() != [_checksum(vectors.vectors)]:
            raise ValueError(
                f"Word2Vec.load: {folder}: its vectors are not those that {_MATRICES} belongs to"
            )
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


def _callables(operation: str, callbacks: Any) -> tuple[Any, ...]:
    if not isinstance(callbacks, Iterable):
        raise TypeError(
            f"{operation}: callbacks is a {type(callbacks).__name__}; expected a list of callables"
        )
    listed = tuple(callbacks)
    for callback in listed:
        if not callable(callback):
            hint = (
                " (gensim's: lambda model, report: callback.on_epoch_end(model))"
                if hasattr(callback, "on_epoch_end")
                else ""
            )
            raise TypeError(
                f"{operation}: callbacks has a {type(callback).__name__}; expected what can be called with a model "
                f"and a report{hint}"
            )
    return listed


def _checksum(vectors: NDArray[np.float32]) -> int:
    return zlib.crc32(np.ascontiguousarray(vectors).data)


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
