"""What the recipes of taggers share: settings, the trainer, scores, what a run leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit import kernels, nn, optim
from dlkit.data import load_tagged, read_tagged, read_word_vectors
from dlkit.data.lexicon import Lexicon, OwnWords, read_lexicon
from dlkit.data.segmentation import words_from
from dlkit.data.tagged_registry import JOINT, tagged_names
from dlkit.data.tagged_set import SPANS, TASKS, TaggedSentence, TaggedSet
from dlkit.data.tagger_batches import TaggerBatches
from dlkit.data.tagger_features import EncodedSentence, SpellingTable, TaggerFeatures
from dlkit.data.vocabulary import Vocabulary
from dlkit.kernels.backend import move
from dlkit.models.tagger import Tagger
from dlkit.train import AverageWeights, Callback, EarlyStopping, RunFolder, Trainer, plots
from dlkit.train.non_finite import non_finite_error

from .card import FILE
from .folders import open_run, write_json
from .optimizers import SCHEDULES
from .recipe import Recipe, Result, RunOptions, Target
from .settings import Settings, SettingsError, option
from .tagger_predictor import FEATURES, FORMAT, TAGGERS, run_tagger
from .tagger_scores import JUDGED_BY, allowed_tags, report, scores_of, seqeval_f1
from .work import peak_memory, work_lines, work_of

DATASETS = tuple(tagged_names())
OUTPUTS = ("softmax", "crf")
_CUTTING = {"python": "python", "ewt": "english", "wnut17": "english", "conll2000": "english"}
_SHOWN_MISTAKES = 60


@dataclass(frozen=True)
class TaggingSettings(Settings):
    """What every tagger reads, and how it is trained."""

    data: str = option("python", "Set of tagged sentences.", group="Data", choices=DATASETS)
    corpus: str | None = option(
        None,
        "Tagged sentences of one's own in place of --data: CoNLL-U, or columns of tokens and tags; a file, of which a "
        "tenth is held out, or a folder of three, whose names hold train, dev and test.",
        group="Data",
    )
    task: str = option(
        "auto",
        "What the tags of --corpus say; auto: entities where they are all of IOB2, else each token's class.",
        group="Data",
        choices=("auto", *TASKS),
    )
    vectors: str | None = option(
        None,
        "Word vectors to begin with: a run folder of word2vec or ranking-lm, or a file of word2vec, fastText or GloVe.",
        group="Data",
    )
    min_count: int = option(1, "A word that is there less often is unknown.", group="Data", at_least=1)
    lower: bool = option(True, "Look words up in lower case (characters stay as they are).", group="Data")
    digits: bool = option(True, "Look words up with all digits as 0.", group="Data")
    lexicon: str | None = option(
        None,
        "For words of Chinese: a file with a word a line (and its count, as jieba's); where they lie is read, too.",
        group="Data",
    )
    own_words: bool = option(
        False,
        "For words of Chinese: where words of the training sentences lie is read, too, but not those that one "
        "sentence alone has.",
        group="Data",
    )
    joint: bool = option(
        False, "For words of Chinese: find their parts of speech together with them.", group="Data"
    )
    capitals: bool = option(False, "Read how a word is capitalised.", group="Model")
    suffixes: bool = option(False, "Read a word's last two and three letters.", group="Model")
    pos: bool = option(True, "Read parts of speech, where the sentences have them.", group="Model")
    discrete_dimensions: int = option(
        10,
        "Of the vectors of capitals, suffixes, parts of speech, and places of listed words.",
        group="Model",
        at_least=1,
        at_most=1 << 16,
    )
    dimensions: int = option(
        100, "Of random word vectors; else the file's.", group="Model", at_least=1, at_most=1 << 16
    )
    output: str = option(
        "softmax",
        "Each token by itself, or whole sequences of tags: a conditional random field.",
        group="Model",
        choices=OUTPUTS,
    )
    word_dropout: float = option(
        0.25,
        "a: a word that is there n times is made unknown with probability a / (a + n) in training.",
        at_least=0,
    )
    epochs: int = option(10, "Passes over the training sentences, at most.", at_least=1)
    batch_size: int = option(32, "Sentences per update.", at_least=1)
    patience: int = option(
        0,
        "Stop after this many epochs without a better validation score, and keep the best weights. 0: never, and keep "
        "the last.",
        at_least=0,
    )
    average: float = option(
        0.0,
        "End with a moving average of the weights, of which an update leaves this share. 0: with the last weights.",
        at_least=0,
        below=1,
    )
    lr: float = option(2e-3, "Learning rate of Adam.", above=0)
    weight_decay: float = option(0.0, "Pull of the weights towards zero.", at_least=0)
    schedule: str = option(
        "cosine", "Learning rate over time: constant, or falling to zero along a cosine.", choices=SCHEDULES
    )
    clip_norm: float | None = option(5.0, "Scale gradients to at most this norm.", above=0)

    def check(self) -> None:
        """Data sets have a task; the best weights and an average are two ends."""
        if self.task != "auto" and self.corpus is None:
            raise SettingsError(f"task is {self.task} but corpus is not given: a data set has its own")
        if self.patience and self.average:
            raise SettingsError("patience and average are both given, expected one of them")

    @property
    def may_change(self) -> frozenset[str]:
        """The settings that a resumed run may change."""
        return frozenset({"epochs"} if self.schedule == "constant" else set())

    @property
    def discrete(self) -> list[str]:
        """The discrete features that are read, of those that the sentences have."""
        return [
            *(["capitals"] if self.capitals else []),
            *(["suffix-2", "suffix-3"] if self.suffixes else []),
            *(["pos"] if self.pos else []),
        ]


@dataclass
class _Watched:
    """What is tagged after each epoch."""

    sentences: Sequence[TaggedSentence]
    encoded: Sequence[EncodedSentence]
    task: str
    allowed: Any


class TaggerTrainer(Trainer):
    """A trainer of packed batches, that makes rare words unknown now and then.

    Attributes
    ----------
    hide, hide_bigrams
        The probability with which each word of the vocabulary is made unknown, shape (words,), or None; and each pair.
    table
        Of the spellings.
    watched
        The validation sentences.
    """

    hide: NDArray[np.float32] | None = None
    hide_bigrams: NDArray[np.float32] | None = None
    table: SpellingTable
    watched: _Watched

    def _moved(self, x: Any, y: Any) -> tuple[Any, Any]:
        return x, move(y, self.device)  # the tagger takes numbers of the host

    def train_batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Learn from one batch."""
        x = x._replace(words=_hidden(x.words, self.hide), bigrams=_hidden(x.bigrams, self.hide_bigrams))
        model: Any = self.model
        scores = model(*x.inputs)
        loss = model.loss(scores, y, x.batch_sizes)
        value = loss.item()
        if not isfinite(value):
            raise non_finite_error(self, value, x.words, y, scores.data)
        self.optimizer.zero_grad()
        loss.backward()
        if self._clip is not None:
            self._clip()
        self.optimizer.step()
        # The best tags of a random field are not those of the scores alone.
        return value, scores.data.ravel() if model.has_crf else scores.data

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> dict[str, float | None]:
        """Loss and scores of the watched sentences, whatever x and y."""
        watched, model = self.watched, self.model
        assert isinstance(model, Tagger)
        tags, _, loss = run_tagger(model, self.table, watched.encoded, watched.allowed, with_loss=True)
        names = self.table.features.tags
        predicted = [[names[i] for i in numbers] for numbers in tags]
        return {"loss": loss, **scores_of(watched.task, watched.sentences, predicted)}


def train_tagger(
    recipe: Recipe,
    settings: TaggingSettings,
    options: RunOptions,
    kind: str,
    more: Callable[[TaggerFeatures], dict[str, Any]],
    *,
    characters: bool = False,
    bigram_min_count: int | None = None,
    bigram_dropout: float = 0.0,
) -> Result:
    """Train a tagger, tag the test sentences.

    Parameters
    ----------
    recipe
        Whose tagger it is.
    kind
        A key of `dlkit.recipes.tagger_predictor.TAGGERS`.
    more
        Its arguments beside those that all have.
    characters
        Whether it reads the characters of words.
    bigram_min_count
        It reads pairs of neighbours that are there so often; None: none.
    bigram_dropout
        As `word_dropout`, for these.
    """
    dataset = _dataset(settings)
    listed = None if settings.lexicon is None else read_lexicon(settings.lexicon)
    own = OwnWords((_words(s) for s in dataset.train), listed) if settings.own_words else None
    lexicon = listed if own is None else own.lexicon
    features, vectors = _features(settings, dataset, characters, bigram_min_count, lexicon)
    run = open_run(recipe.name, settings, options, may_change=settings.may_change)
    kernels.manual_seed(settings.seed)
    arguments: dict[str, Any] = {
        "words": len(features.words),
        "tags": len(features.tags),
        "dimensions": settings.dimensions if vectors is None else vectors.shape[1],
        "discrete": [len(values) for values in features.discrete.values()],
        "discrete_dimensions": settings.discrete_dimensions,
        "crf": settings.output == "crf",
        **more(features),
    }
    model = TAGGERS[kind][0](**arguments)
    if vectors is not None:
        model.set_vectors(vectors)
    model.to(options.device)
    card = {"format": FORMAT, "model": kind, "arguments": arguments}
    write_json(run, FILE, {**card, "task": dataset.task, "cutting": _cutting(dataset, features)})
    features.save(run.path(FEATURES))

    table = SpellingTable(features)
    encoded = [
        table.encode(*sentence, hidden=frozenset() if own is None else own.hidden(_words(sentence)))
        for sentence in dataset.train
    ]
    batches = TaggerBatches(encoded, table, settings.batch_size, seed=settings.seed)
    optimizer = optim.Adam(list(model.parameters()), lr=settings.lr, weight_decay=settings.weight_decay)
    schedule = None
    if settings.schedule == "cosine":
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=settings.epochs * len(batches))
    judged = JUDGED_BY[dataset.task]
    callbacks: list[Callback] = []
    if settings.patience:
        callbacks.append(EarlyStopping(f"val_{judged}", patience=settings.patience, mode="max"))
    if settings.average:
        callbacks.append(AverageWeights(settings.average))
    trainer = TaggerTrainer(
        model,
        optimizer,
        nn.CrossEntropyLoss(),
        scheduler=schedule,
        scheduler_interval="step",
        clip_norm=settings.clip_norm,
        callbacks=callbacks,
        run=run,
        progress=options.progress,
    )
    allowed = allowed_tags(dataset.task, features.tags)
    trainer.table = table
    watched = [table.encode(*sentence) for sentence in dataset.validation]
    trainer.watched = _Watched(dataset.validation, watched, dataset.task, allowed)
    if settings.word_dropout:
        trainer.hide = _hide(settings.word_dropout, [s.words for s in encoded], len(features.words))
    if bigram_dropout and features.bigrams is not None:
        trainer.hide_bigrams = _hide(
            bigram_dropout, [s.bigrams[:, 0] for s in encoded], len(features.bigrams)
        )
    index = np.arange(len(watched))
    history = trainer.fit(batches, epochs=settings.epochs, validation=(index, index), resume=options.resume)

    test = [table.encode(*sentence) for sentence in dataset.test]
    numbers, confidence, loss = run_tagger(model, table, test, allowed, with_loss=True, with_confidence=True)
    predicted = [[features.tags[i] for i in each] for each in numbers]
    scores = scores_of(dataset.task, dataset.test, predicted)
    kept = trainer.evaluate(
        index, index
    )  # of the weights that the run ends with: the best, an average, or the last
    metrics: dict[str, Any] = {
        **{f"test_{name}": value for name, value in scores.items()},
        "test_loss": loss,
        "test_sentences": len(test),
        "test_tokens": sum(len(s.tokens) for s in dataset.test),
        **_known(features, dataset.test, predicted),
        **{f"val_{name}": kept[name] for name in (judged, "joint_f1") if name in kept},
        "epochs": trainer.epoch,
        "parameters": sum(int(p.data.size) for p in model.parameters()),
        "words": len(features.words),
        "tags": len(features.tags),
        "stop_reason": trainer.stop_reason,
        **work_of(history, options.device),
        "peak_memory": peak_memory(),
    }
    if dataset.task in SPANS:
        metrics["seqeval_f1"] = seqeval_f1(dataset.test, predicted)
    write_json(run, "result.json", {"recipe": recipe.name, "data": dataset.name, **metrics})
    _show(run, recipe.name, dataset, features, predicted, confidence, history)
    target = recipe.target(settings.data) if settings.corpus is None else None
    return Result(recipe.name, run.folder, metrics, _lines(metrics, target, dataset), target)


def _dataset(settings: TaggingSettings) -> TaggedSet:
    joint = {"joint": True} if settings.joint else {}
    if settings.corpus is not None:
        if settings.joint and settings.task != "segmentation":
            raise SettingsError(f"joint is true, but task is {settings.task}, expected segmentation")
        dataset = read_tagged(settings.corpus, None if settings.task == "auto" else settings.task, **joint)
    else:
        if settings.joint and settings.data not in JOINT:
            raise SettingsError(
                f"joint is true, but {settings.data} has no parts of speech of words of characters, expected data "
                f"{' or '.join(JOINT)}, or corpus"
            )
        dataset = load_tagged(settings.data, **joint)
    if dataset.task != "segmentation":
        for name in ("lexicon", "own_words"):
            value = getattr(settings, name)
            if value:
                raise SettingsError(
                    f"{name} is {value}, but {dataset.name} is no text of characters whose words are to be found"
                )
    return dataset


def _words(sentence: TaggedSentence) -> list[str]:
    return words_from(sentence.tokens, sentence.tags)


def _features(
    settings: TaggingSettings,
    dataset: TaggedSet,
    characters: bool,
    bigram_min_count: int | None,
    lexicon: Lexicon | None,
) -> tuple[TaggerFeatures, NDArray[np.float32] | None]:
    common: dict[str, Any] = {
        "min_count": settings.min_count,
        "characters": characters and dataset.task != "segmentation",
        "bigrams": bigram_min_count is not None,
        "bigram_min_count": bigram_min_count or 1,
        "discrete": [name for name in settings.discrete if name != "pos" or dataset.has_pos],
        "lower": settings.lower,
        "digits": settings.digits,
        "lexicon": lexicon,
    }
    features = TaggerFeatures.of(dataset.train, dataset.tags, **common)
    if settings.vectors is None:
        return features, None
    # Words of the other parts are known, too, where the file has a vector for them.
    others = {
        features.normal(t) for part in (dataset.validation, dataset.test) for s in part for t in s.tokens
    }
    found = read_word_vectors(settings.vectors, keep=others | set(features.words))
    further = [word for word in found.words if word in others and word not in features.words]
    features = TaggerFeatures.of(dataset.train, dataset.tags, **common, further_words=further)
    table, known = found.table(features.words.words, seed=settings.seed)
    if not known:
        raise SettingsError(f"vectors {settings.vectors} has none of the words of {dataset.name}")
    return features, table


def _hide(a: float, numbers: Sequence[NDArray[np.int64]], entries: int) -> NDArray[np.float32]:
    """How probably each entry of a vocabulary is made unknown (Kiperwasser & Goldberg, 2016)."""
    hide: NDArray[np.float32] = a / (
        a + np.bincount(np.concatenate(numbers), minlength=entries).astype(np.float32)
    )
    hide[[Vocabulary.PADDING, Vocabulary.UNKNOWN]] = 0
    return hide


def _hidden(numbers: Any, hide: NDArray[np.float32] | None) -> Any:
    """Numbers of which some are made unknown; as they are where nothing is to be hidden."""
    if hide is None:
        return numbers
    drawn = kernels.random.generator().random(numbers.shape, dtype=np.float32)
    return np.where(drawn < hide[numbers], Vocabulary.UNKNOWN, numbers)


def _cutting(dataset: TaggedSet, features: TaggerFeatures) -> str:
    """How a text of one's own becomes what the tagger reads."""
    if dataset.task == "segmentation":
        return "characters"
    return "pos" if "pos" in features.discrete else _CUTTING.get(dataset.name, "spaces")


def _known(
    features: TaggerFeatures, sentences: Sequence[TaggedSentence], predicted: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """How well tokens are tagged that the training part does not have."""
    strange = right = 0
    for sentence, tags in zip(sentences, predicted, strict=True):
        for token, true, found in zip(sentence.tokens, sentence.tags, tags, strict=True):
            if features.normal(token) not in features.words:
                strange, right = strange + 1, right + (true == found)
    return {"test_unknown": strange, "test_unknown_accuracy": right / strange if strange else None}


def _show(
    run: RunFolder,
    recipe: str,
    dataset: TaggedSet,
    features: TaggerFeatures,
    predicted: Sequence[Sequence[str]],
    confidence: Sequence[NDArray[np.float64]],
    history: Any,
) -> None:
    title = f"{recipe} on {dataset.name}"
    plots.loss_curve(history, run.path("loss.png"), title=title)
    true = [tag for sentence in dataset.test for tag in sentence.tags]
    said = [tag for tags in predicted for tag in tags]
    there = {*true, *said}
    names = [tag for tag in features.tags if tag in there]
    number = {tag: i for i, tag in enumerate(names)}
    kept = [i for i, tag in enumerate(true) if tag in number]  # not those that the training part lacks
    classes = np.array([number[true[i]] for i in kept]), np.array([number[said[i]] for i in kept])
    plots.confusion_matrix(*classes, run.path("confusion.png"), classes=names, title=title)
    rows = report(dataset.task, dataset.test, predicted)
    width = max(len(row[0]) for row in rows)
    lines = [f"{'':<{width}}  precision  recall      f1   there"]
    lines += [f"{kind:<{width}}  {p:9.2%} {r:7.2%} {f:7.2%} {n:7d}" for kind, p, r, f, n in rows]
    run.path("report.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_mistakes(run, dataset.test, predicted, confidence)


def _write_mistakes(
    run: RunFolder,
    sentences: Sequence[TaggedSentence],
    predicted: Sequence[Sequence[str]],
    confidence: Sequence[NDArray[np.float64]],
) -> None:
    """The tokens that were tagged wrong with most confidence, each with its neighbours."""
    found = [
        (float(confidence[row][at]), row, at)
        for row, sentence in enumerate(sentences)
        for at, tag in enumerate(sentence.tags)
        if predicted[row][at] != tag
    ]
    found.sort(key=lambda each: (-each[0], each[1:]))
    lines = [f"{len(found)} tokens wrong; those with most confidence"]
    for share, row, at in found[:_SHOWN_MISTAKES]:
        tokens = sentences[row].tokens
        before, after = " ".join(tokens[max(at - 6, 0) : at]), " ".join(tokens[at + 1 : at + 7])
        lines.append(
            f"{share:7.2%}  {predicted[row][at]:<10} is {sentences[row].tags[at]:<10}  "
            f"{before} [{tokens[at]}] {after}"
        )
    run.path("mistakes.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lines(metrics: dict[str, Any], target: Target | None, dataset: TaggedSet) -> list[tuple[str, str]]:
    tokens = f"{metrics['test_accuracy']:.2%} of {metrics['test_tokens']:,} tokens"
    lines = []
    if dataset.task != "tokens":
        what = "words" if dataset.task == "segmentation" else dataset.task
        lines.append(
            (
                f"test F1 of {what}",
                f"{metrics['test_f1']:.2%} (precision {metrics['test_precision']:.2%}, recall "
                f"{metrics['test_recall']:.2%})",
            )
        )
        if "test_joint_f1" in metrics:
            lines.append(("with their kinds", f"{metrics['test_joint_f1']:.2%}"))
        if metrics.get("seqeval_f1") is not None:
            lines.append(("by seqeval", f"{metrics['seqeval_f1']:.2%}"))
    lines.append(("test accuracy", tokens))
    if target is not None:
        verdict = "reached" if target.reached(metrics) else "not reached"
        lines.append(("to reach", f"{target.text}: {verdict}"))
    if metrics["test_unknown"]:
        lines.append(
            ("unknown words", f"{metrics['test_unknown_accuracy']:.2%} of {metrics['test_unknown']:,}")
        )
    lines.append(
        (
            "model",
            f"{metrics['parameters']:,} parameters, {metrics['words']:,} words, {metrics['tags']} tags",
        )
    )
    lines += work_lines(metrics, metrics["epochs"])
    if metrics["stop_reason"]:
        lines.append(("stopped early", metrics["stop_reason"]))
    return lines
