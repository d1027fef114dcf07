"""``dlkit train nnlm``: the feed-forward neural language model, alone and mixed with an n-gram model."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite, log, log2
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit import kernels, nn, optim
from dlkit.autograd import no_grad
from dlkit.data import Batches, DataError, load_corpus, read_word_vectors
from dlkit.data.corpora import CORPORA, END, UNKNOWN, Corpus, frequent_words, read_corpus
from dlkit.kernels.backend import to_host
from dlkit.models import (
    FeedForwardLanguageModel,
    KeyedVectors,
    MixtureLanguageModel,
    NGramModel,
    mixture_weight,
)
from dlkit.models.feed_forward_language_model import MOST_ORDER
from dlkit.models.mixture import mixed_log_probs
from dlkit.models.ngram import MOST_ORDER as MOST_NGRAM_ORDER
from dlkit.train import RunFolder, Trainer, plots
from dlkit.train.non_finite import non_finite_error

from .card import FILE
from .folders import open_run, write_json
from .language_figures import mixture_curve, surprise_lines
from .ngram_predictor import MODEL as NGRAMS
from .nnlm_predictor import FORMAT
from .optimizers import OPTIMIZERS, SCHEDULES
from .recipe import Recipe, Result, RunOptions, Target
from .settings import Settings, SettingsError, option
from .work import peak_memory, work_lines, work_of

#: One pass over a million words is enough for the mixture.
_LARGE_TEXT = {"batch_size": 256, "lr": 3e-3, "epochs": 1}
_SAMPLED = 80
_SHOWN = 110


@dataclass(frozen=True)
class NNLMSettings(Settings):
    """A feed-forward language model, the n-gram model that it is mixed with, and how it is trained."""

    data: str = option("topics", "Text.", group="Data", choices=CORPORA)
    corpus: str | None = option(
        None,
        "A text file of one's own in place of --data, a sentence a line; of twenty lines the last two are held out.",
        group="Data",
    )
    min_count: int = option(
        1, "Words that occur less often are <unk>.", group="Data", at_least=1, at_most=1 << 31
    )
    vectors: str | None = option(
        None, "Word vectors to begin with: a word2vec file, text or binary.", group="Data"
    )
    order: int = option(
        5, "Each word is predicted from one less before it.", group="Model", at_least=2, at_most=MOST_ORDER
    )
    dimensions: int = option(
        60, "Of random word vectors; else the file's.", group="Model", at_least=1, at_most=1 << 16
    )
    hidden: int = option(100, "Units of the hidden layer.", group="Model", at_least=1, at_most=1 << 16)
    direct: bool = option(
        False, "Connect the word vectors with the output, past the hidden layer, too.", group="Model"
    )
    across: bool = option(
        False, "See words before the end of a line behind it; n-gram models never do.", group="Model"
    )
    dropout: float = option(
        0.0,
        "Share of the word vectors' numbers and of the hidden units that is dropped in training.",
        group="Model",
        at_least=0,
        below=1,
    )
    spread: float = option(
        0.05,
        "Weights begin uniform from minus this to this; 0: as their layers do.",
        group="Model",
        at_least=0,
    )
    ngram_order: int = option(
        3,
        "Order of the n-gram model that the network is mixed with, interpolated Kneser-Ney; 0: none.",
        group="Model",
        at_least=0,
        at_most=MOST_NGRAM_ORDER,
    )
    batch_size: int = option(128, "Words per update.", at_least=1)
    epochs: int = option(10, "Passes over the text.", at_least=1)
    optimizer: str = option("adam", "Update rule.", choices=OPTIMIZERS)
    lr: float = option(1e-3, "Learning rate (of SGD, such as 0.5).", above=0)
    weight_decay: float = option(0.0, "Pull of the weights towards zero.", at_least=0)
    schedule: str = option(
        "cosine", "Learning rate over time: constant, or falling to zero along a cosine.", choices=SCHEDULES
    )
    clip_norm: float | None = option(None, "Scale gradients to at most this norm.", above=0)
    temperature: float = option(
        0.8, "Of the sample of text that is drawn in the end.", group="Run", at_least=0, at_most=10
    )

    @property
    def may_change(self) -> frozenset[str]:
        """The settings that a resumed run may change."""
        return frozenset({"temperature", *(["epochs"] if self.schedule == "constant" else [])})


class FeedForwardTrainer(Trainer):
    """A trainer of words after their contexts, that is judged by the surprise at a text."""

    model: FeedForwardLanguageModel

    def train_batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Learn from one batch."""
        loss = self.model.loss(x, y)
        value = loss.item()
        if not isfinite(value):
            with no_grad():
                scores = self.model(x)
            raise non_finite_error(self, value, x, y, scores.data)
        self.optimizer.zero_grad()
        loss.backward()
        if self._clip is not None:
            self._clip()
        self.optimizer.step()
        # Not the scores: to count the words that are guessed right would take as long as a product.
        return value, loss.data

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> dict[str, float | None]:
        """The mean surprise at a text: x are its tokens but the last, y those after them."""
        tokens = np.concatenate([np.asarray(x), np.asarray(y)[-1:]])
        return {"loss": float(self.model.surprises(tokens).mean()), "accuracy": None}


def train(settings: NNLMSettings, options: RunOptions) -> Result:
    """Train it, count n-grams, find the best mixture, measure perplexities, let it write."""
    corpus = _corpus(settings)
    end = corpus.words.index(END)
    ngrams = _ngrams(settings, corpus)
    table = _vectors(settings, corpus)
    run = open_run("nnlm", settings, options, may_change=settings.may_change)
    kernels.manual_seed(settings.seed)
    arguments: dict[str, Any] = {
        "words": len(corpus.words),
        "order": settings.order,
        "dimensions": settings.dimensions if table is None else table.shape[1],
        "hidden": settings.hidden,
        "direct": settings.direct,
        "dropout": settings.dropout,
        "spread": settings.spread,
        "end": end,
        "across": settings.across,
    }
    model = FeedForwardLanguageModel(**arguments)
    if table is not None:
        model.set_vectors(table)
    model.set_frequencies(np.bincount(corpus.train, minlength=len(corpus.words)))
    model.to(options.device)
    card = {"format": FORMAT, "model": "FeedForwardLanguageModel", "arguments": arguments}
    write_json(run, FILE, {**card, "words": list(corpus.words), "weight": None})

    text = np.concatenate([[end], corpus.train])
    batches = Batches(model.contexts(text), corpus.train, settings.batch_size, seed=settings.seed)
    optimizer = _optimizer(settings, model)
    schedule = None
    if settings.schedule == "cosine":
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=settings.epochs * len(batches))
    trainer = FeedForwardTrainer(
        model,
        optimizer,
        nn.CrossEntropyLoss(),
        scheduler=schedule,
        scheduler_interval="step",
        clip_norm=settings.clip_norm,
        run=run,
        progress=options.progress,
    )
    validation, test = (np.concatenate([[end], part]) for part in (corpus.validation, corpus.test))
    history = trainer.fit(
        batches,
        epochs=settings.epochs,
        validation=(validation[:-1], validation[1:]),
        resume=options.resume,
    )

    scored = _Scored.of(model, ngrams, corpus, validation, test)
    if ngrams is not None:
        ngrams.save(run.path(NGRAMS))
    write_json(run, FILE, {**card, "words": list(corpus.words), "weight": scored.weight})
    loss = float(-scored.test.mean())
    metrics: dict[str, Any] = {
        "test_perplexity": _perplexity(scored.test),
        "test_loss": loss,
        "test_bits": loss / log(2),
        "test_tokens": len(scored.test),
        "val_perplexity": _perplexity(scored.validation),
        "network_test_perplexity": _perplexity(scored.network[1]),
        "network_val_perplexity": _perplexity(scored.network[0]),
        "ngram_test_perplexity": None if scored.ngrams is None else _perplexity(scored.ngrams[1]),
        "ngram_val_perplexity": None if scored.ngrams is None else _perplexity(scored.ngrams[0]),
        "weight": scored.weight,
        "train_perplexity": exp(min(float(history[-1]["train_loss"]), 700.0)),
        "epochs": trainer.epoch,
        "parameters": sum(int(p.data.size) for p in model.parameters()),
        "words": len(corpus.words),
        **work_of(history, options.device),
        "peak_memory": peak_memory(),
    }
    write_json(run, "result.json", {"recipe": "nnlm", "data": corpus.name, **metrics})
    _show(run, corpus, model, ngrams, scored, history, settings)
    target = RECIPE.target(settings.data) if settings.corpus is None else None
    return Result("nnlm", run.folder, metrics, _lines(metrics, target, settings), target)


@dataclass(frozen=True)
class _Scored:
    """Log-probabilities of the words of the validation and the test text, shape (words,) each.

    `network` and `ngrams` are pairs of both, of either model alone; `ngrams` and `weight`, that of the network, are
    None without an n-gram model.
    """

    validation: NDArray[np.float64]
    test: NDArray[np.float64]
    network: tuple[NDArray[np.float64], NDArray[np.float64]]
    ngrams: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    weight: float | None = None

    @classmethod
    def of(
        cls,
        model: FeedForwardLanguageModel,
        ngrams: NGramModel | None,
        corpus: Corpus,
        validation: NDArray[np.int64],
        test: NDArray[np.int64],
    ) -> _Scored:
        network = -model.surprises(validation), -model.surprises(test)
        if ngrams is None:
            return cls(*network, network)
        mixture = MixtureLanguageModel(model, ngrams, corpus.words, 0.5)
        counted = -mixture.ngram_surprises(validation), -mixture.ngram_surprises(test)
        weight = mixture_weight(network[0], counted[0])
        both = [mixed_log_probs(network[i], counted[i], weight) for i in (0, 1)]
        return cls(both[0], both[1], network, counted, weight)


def _corpus(settings: NNLMSettings) -> Corpus:
    corpus = load_corpus(settings.data) if settings.corpus is None else read_corpus(settings.corpus)
    return corpus if settings.min_count == 1 else frequent_words(corpus, settings.min_count)


def _ngrams(settings: NNLMSettings, corpus: Corpus) -> NGramModel | None:
    if not settings.ngram_order:
        return None
    sentences = corpus.text(corpus.train).split("\n")[:-1]
    try:
        # A line without words is one end of a sentence, as the network has it.
        return NGramModel(settings.ngram_order, "modified-kneser-ney", keep_empty=True).fit(sentences)
    except ValueError as error:
        raise DataError(f"{corpus.name}: {error}") from None


def _vectors(settings: NNLMSettings, corpus: Corpus) -> NDArray[np.float32] | None:
    if settings.vectors is None:
        return None
    found = read_word_vectors(settings.vectors, keep=set(corpus.words))
    table, known = found.table(corpus.words, seed=settings.seed)
    if not known:
        raise SettingsError(f"nnlm: vectors {settings.vectors} has none of the words of {corpus.name}")
    return table


def _optimizer(settings: NNLMSettings, model: nn.Module) -> optim.Optimizer:
    kind: Any = {"sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW}[settings.optimizer]
    made: optim.Optimizer = kind(list(model.parameters()), lr=settings.lr, weight_decay=settings.weight_decay)
    return made


def _perplexity(log_probs: NDArray[np.float64]) -> float:
    return exp(min(float(-log_probs.mean()), 700.0))


def _show(
    run: RunFolder,
    corpus: Corpus,
    model: FeedForwardLanguageModel,
    ngrams: NGramModel | None,
    scored: _Scored,
    history: Any,
    settings: NNLMSettings,
) -> None:
    title = f"feed-forward {settings.order}-gram network of {corpus.name}"
    plots.loss_curve(
        history, run.path("loss.png"), title=title, note="loss: natural logarithm of the perplexity"
    )
    whole: Any = model
    mixed = title
    if ngrams is not None and scored.ngrams is not None and scored.weight is not None:
        whole = MixtureLanguageModel(model, ngrams, corpus.words, scored.weight)
        mixed = f"{title}, mixed with {settings.ngram_order}-grams"
        mixture_curve(
            {
                "validation": (scored.network[0], scored.ngrams[0]),
                "test": (scored.network[1], scored.ngrams[1]),
            },
            scored.weight,
            run.path("mixture.png"),
            title=mixed,
        )
    shown = min(_SHOWN, len(scored.test))
    surprise_lines(
        [corpus.words[i] for i in corpus.test[:shown]],
        -scored.test[:shown] / log(2),
        run.path("surprise.png"),
        title=f"{mixed}: bits of surprise at each of the test text's first words",
    )
    KeyedVectors(corpus.words, to_host(model.embedding.weight.data)).save(run.folder)
    forbidden = (corpus.words.index(UNKNOWN),) if UNKNOWN in corpus.words else ()
    drawn = whole.sample(
        corpus.numbers([END]),
        _SAMPLED,
        temperature=settings.temperature,
        rng=np.random.default_rng(settings.seed),
        forbidden=forbidden,
    )
    run.path("sample.txt").write_text(corpus.text(drawn) + "\n", encoding="utf-8")


def _lines(metrics: dict[str, Any], target: Target | None, settings: NNLMSettings) -> list[tuple[str, str]]:
    lines = [
        (
            "test perplexity",
            f"{metrics['test_perplexity']:.2f} ({metrics['test_bits']:.3f} bits a word; {metrics['test_tokens']:,} of "
            f"them)",
        ),
        ("validation", f"{metrics['val_perplexity']:.2f}"),
    ]
    if metrics["weight"] is not None:
        lines += [
            (
                "of that",
                f"the network with weight {metrics['weight']:.3f}, {settings.ngram_order}-grams with "
                f"{1 - metrics['weight']:.3f}",
            ),
            (
                "network alone",
                f"{metrics['network_test_perplexity']:.2f} (validation {metrics['network_val_perplexity']:.2f})",
            ),
            (
                "n-grams alone",
                f"{metrics['ngram_test_perplexity']:.2f} (validation {metrics['ngram_val_perplexity']:.2f})",
            ),
        ]
    if target is not None:
        verdict = "reached" if target.reached(metrics) else "not reached"
        lines.append(("to reach", f"{target.text}: {verdict}"))
    uniform = f"{log2(metrics['words']):.2f} bits where all are equally likely"
    lines.append(("model", f"{metrics['parameters']:,} parameters, {metrics['words']:,} words ({uniform})"))
    return lines + work_lines(metrics, metrics["epochs"])


RECIPE = Recipe(
    name="nnlm",
    summary="Feed-forward language model of n-grams, mixed with their counts",
    settings_type=NNLMSettings,
    train=train,
    asked='"a text"',
    datasets=CORPORA,
    presets={"ptb": _LARGE_TEXT, "wikitext2": _LARGE_TEXT},
    targets={
        "topics": Target("at most 90", "test_perplexity", at_most=90.0),
        "ptb": Target("at most 140", "test_perplexity", at_most=140.0),
        "wikitext2": Target("at most 220", "test_perplexity", at_most=220.0),
    },
)
