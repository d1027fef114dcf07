"""``dlkit train lm``: recurrent language models of words or characters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, isfinite, log, log2
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlkit import kernels, nn, optim
from dlkit.autograd import Tensor, no_grad
from dlkit.data import StreamBatches, load_corpus
from dlkit.data.corpora import CORPORA, END, UNITS, UNKNOWN, Corpus, frequent_words, read_corpus
from dlkit.kernels.backend import move, to_host
from dlkit.kernels.recurrent import CELLS
from dlkit.models import RecurrentLanguageModel
from dlkit.models.language_model import SOFTMAXES
from dlkit.train import Callback, Trainer, plots
from dlkit.train.non_finite import non_finite_error

from .folders import open_run, write_json
from .language_figures import surprise_lines
from .language_predictor import FORMAT
from .recipe import Recipe, Result, RunOptions, Target
from .settings import Settings, SettingsError, option
from .work import peak_memory, work_lines, work_of

PRESETS = ("plain", "small", "medium")
OPTIMIZERS = ("sgd", "adam")
_SAMPLED = {"words": 80, "characters": 400}
_SHOWN = {"words": 110, "characters": 420}


@dataclass(frozen=True)
class LMSettings(Settings):
    """A recurrent language model, and how it is trained."""

    preset: str = option(
        "plain",
        "Defaults of all other settings: small and medium are those of Zaremba et al. (2014).",
        group="Model",
        choices=PRESETS,
    )
    data: str = option("topics", "Text.", group="Data", choices=CORPORA)
    corpus: str | None = option(
        None,
        "A text file of one's own in place of --data, a sentence a line; of twenty lines the last two are held out.",
        group="Data",
    )
    min_count: int = option(1, "What occurs less often is <unk>.", group="Data", at_least=1, at_most=1 << 31)
    units: str = option("words", "What is predicted one at a time.", group="Data", choices=UNITS)
    cell: str = option("lstm", "Recurrent cell.", group="Model", choices=tuple(CELLS))
    dimensions: int = option(200, "Of the word vectors.", group="Model", at_least=1, at_most=1 << 16)
    hidden: int = option(200, "Units of each recurrent layer.", group="Model", at_least=1, at_most=1 << 16)
    layers: int = option(2, "Recurrent layers.", group="Model", at_least=1, at_most=100)
    dropout: float = option(
        0.0,
        "Share of what is not recurrent that is dropped in training: word vectors, what a layer passes on.",
        group="Model",
        at_least=0,
        below=1,
    )
    recurrent_dropout: float = option(
        0.0,
        "Share of the units that the recurrent weights do not see in training, the same ones at every step.",
        group="Model",
        at_least=0,
        below=1,
    )
    tied: bool = option(
        False, "The output layer's weights are the word vectors; needs as many units.", group="Model"
    )
    softmax: str = option(
        "full",
        "Scores of all words; for large vocabularies adaptive (Grave et al. 2017) or sampled (Jean et al. 2015).",
        group="Model",
        choices=SOFTMAXES,
    )
    cutoffs: tuple[int, ...] = option(
        (2000, 10000),
        "Words in front of each cluster of an adaptive softmax.",
        group="Model",
        at_least=1,
        empty=False,
    )
    div_value: float = option(
        4.0,
        "Of an adaptive softmax that is not tied: cluster i reads hidden / div_value^(i + 1) features.",
        group="Model",
        at_least=1,
        at_most=1 << 16,
    )
    samples: int = option(1000, "Words that a sampled softmax draws in each step.", group="Model", at_least=1)
    spread: float = option(0.1, "Weights begin uniform from minus this to this.", group="Model", above=0)
    steps: int = option(35, "Steps that gradients go back.", at_least=1, at_most=1 << 16)
    batch_size: int = option(20, "Stretches of the text that are read side by side.", at_least=1)
    epochs: int = option(13, "Passes over the text.", at_least=1)
    optimizer: str = option("sgd", "Update rule.", choices=OPTIMIZERS)
    lr: float = option(20.0, "Learning rate (of Adam, such as 0.002).", above=0)
    flat_epochs: int = option(4, "Epochs before the learning rate begins to fall.", at_least=0)
    decay: float = option(
        0.5, "What the learning rate is multiplied with after each epoch from then on.", above=0, at_most=1
    )
    clip_norm: float | None = option(0.25, "Scale gradients to at most this norm.", above=0)
    temperature: float = option(
        0.8, "Of the sample of text that is drawn in the end.", group="Run", at_least=0, at_most=10
    )

    def check(self) -> None:
        """Tied weights have one size."""
        if self.tied and self.dimensions != self.hidden:
            raise SettingsError(
                f"tied is set but dimensions is {self.dimensions} and hidden {self.hidden}, expected them equal"
            )
        if list(self.cutoffs) != sorted(set(self.cutoffs)):
            given = ",".join(map(str, self.cutoffs))
            raise SettingsError(f"cutoffs is {given}, expected each above the one before")

    @property
    def may_change(self) -> frozenset[str]:
        """The settings that a resumed run may change."""
        return frozenset({"epochs", "temperature"})


class CarriedState(Callback):
    """The state of the recurrent layers, which the next batch begins with: none at the beginning of an epoch.

    Attributes
    ----------
    arrays
        Of the layers; empty: none.
    """

    def __init__(self) -> None:
        self.arrays: list[Any] = []

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Forget the text's end."""
        if not trainer.partial.batches:
            self.arrays = []

    def state_dict(self) -> dict[str, Any]:
        """The state after the last batch."""
        return {"arrays": [to_host(array) for array in self.arrays]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after it."""
        self.arrays = list(state["arrays"])


class LanguageTrainer(Trainer):
    """A trainer whose batches follow each other in a text.

    Attributes
    ----------
    carried
        The state at the end of the last batch.
    """

    carried: CarriedState

    def _moved(self, x: Any, y: Any) -> tuple[Any, Any]:
        # A softmax that is not full sorts the targets on the host.
        assert isinstance(self.model, RecurrentLanguageModel)
        return move(x, self.device), y if self.model.softmax != "full" else move(y, self.device)

    def train_batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Learn from one batch, and keep the state; gradients end at its beginning."""
        state: Any = tuple(Tensor(move(array, self.device)) for array in self.carried.arrays) or None
        if state is not None and len(state) == 1:
            state = state[0]
        assert isinstance(self.model, RecurrentLanguageModel)
        loss, after = self.model.loss(x, y, state)
        value = loss.item()
        if not isfinite(value):
            with no_grad():
                outputs = self.model(x, state)[0]
            raise non_finite_error(self, value, x, y, outputs.data)
        self.optimizer.zero_grad()
        loss.backward()
        if self._clip is not None:
            self._clip()
        self.optimizer.step()
        self.carried.arrays = [s.data for s in (after if isinstance(after, tuple) else (after,))]
        return value, loss.data

    def evaluate(self, x: ArrayLike, y: ArrayLike) -> dict[str, float | None]:
        """The mean surprise at a text: x are its tokens but the last, y those after them."""
        assert isinstance(self.model, RecurrentLanguageModel)
        tokens = np.concatenate([np.asarray(x), np.asarray(y)[-1:]])
        return {"loss": float(self.model.surprises(tokens).mean()), "accuracy": None}


def train(settings: LMSettings, options: RunOptions) -> Result:
    """Train it, measure its perplexity, let it write."""
    corpus = _corpus(settings)
    cutoffs = [cutoff for cutoff in settings.cutoffs if cutoff < len(corpus.words)]
    if settings.softmax == "adaptive" and not cutoffs:
        raise SettingsError(
            f"cutoffs is {','.join(map(str, settings.cutoffs))}, expected at least one below the "
            f"{len(corpus.words)} {corpus.units} of {corpus.name}"
        )
    if settings.softmax == "sampled" and settings.samples > len(corpus.words):
        raise SettingsError(
            f"samples is {settings.samples}, expected at most the {len(corpus.words)} {corpus.units} of {corpus.name}: "
            f"more of them cost more than softmax full"
        )
    if settings.batch_size >= len(corpus.train):
        raise SettingsError(
            f"batch_size is {settings.batch_size}, expected fewer than the {len(corpus.train)} {corpus.units} of "
            f"{corpus.name}"
        )
    batches = StreamBatches(corpus.train, settings.batch_size, settings.steps)
    run = open_run("lm", settings, options, may_change=settings.may_change)
    kernels.manual_seed(settings.seed)
    arguments: dict[str, Any] = {
        "words": len(corpus.words),
        "dimensions": settings.dimensions,
        "hidden": settings.hidden,
        "layers": settings.layers,
        "cell": settings.cell,
        "dropout": settings.dropout,
        "recurrent_dropout": settings.recurrent_dropout,
        "tied": settings.tied,
        "spread": settings.spread,
        "softmax": settings.softmax,
        "cutoffs": cutoffs,
        "samples": settings.samples,
        "div_value": settings.div_value,
    }
    model = RecurrentLanguageModel(**arguments)
    model.to(options.device)
    write_json(
        run,
        "model.json",
        {
            "format": FORMAT,
            "model": "RecurrentLanguageModel",
            "arguments": arguments,
            "units": settings.units,
            "words": list(corpus.words),
        },
    )
    parameters = list(model.parameters())
    optimizer: optim.Optimizer
    if settings.optimizer == "adam":
        optimizer = optim.Adam(parameters, lr=settings.lr)
    else:
        optimizer = optim.SGD(parameters, lr=settings.lr)
    flat, decay = settings.flat_epochs, settings.decay
    carried = CarriedState()
    trainer = LanguageTrainer(
        model,
        optimizer,
        nn.CrossEntropyLoss(),
        scheduler=optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: decay ** max(epoch + 1 - flat, 0)),
        clip_norm=settings.clip_norm,
        callbacks=[carried],
        run=run,
        progress=options.progress,
    )
    trainer.carried = carried
    held_out = corpus.validation
    history = trainer.fit(
        batches, epochs=settings.epochs, validation=(held_out[:-1], held_out[1:]), resume=options.resume
    )

    surprises = model.surprises(corpus.test)
    loss = float(surprises.mean())
    work = work_of(history, options.device)
    metrics: dict[str, Any] = {
        "test_perplexity": exp(min(loss, 700.0)),
        "test_loss": loss,
        "test_bits": loss / log(2),
        "test_tokens": len(surprises),
        "val_perplexity": exp(min(float(history[-1]["val_loss"]), 700.0)),
        "train_perplexity": exp(min(float(history[-1]["train_loss"]), 700.0)),
        "epochs": trainer.epoch,
        "parameters": sum(int(p.data.size) for p in model.parameters()),
        "words": len(corpus.words),
        **work,
        "peak_memory": peak_memory(),
    }
    write_json(run, "result.json", {"recipe": "lm", "data": corpus.name, "units": corpus.units, **metrics})
    _show(run, corpus, model, surprises, history, settings)
    target = target_of(settings)
    return Result("lm", run.folder, metrics, _lines(metrics, target, corpus), target)


def target_of(settings: LMSettings) -> Target | None:
    """What the network must reach on its text; None where it is another one, or reads other tokens."""
    if settings.corpus is not None or settings.units != "words" or settings.min_count != 1:
        return None
    networks: list[tuple[dict[str, Any], Target | None]] = [({}, RECIPE.target(settings.data))]
    for given, target in networks + _FURTHER_TARGETS.get(settings.data, []):
        asked = RECIPE.settings(data=settings.data, **given)
        if all(getattr(settings, name) == getattr(asked, name) for name in _NETWORK):
            return target
    return None


def _corpus(settings: LMSettings) -> Corpus:
    if settings.corpus is None:
        corpus = load_corpus(settings.data, settings.units)
    else:
        corpus = read_corpus(settings.corpus, settings.units)
    return corpus if settings.min_count == 1 else frequent_words(corpus, settings.min_count)


def _show(
    run: Any,
    corpus: Corpus,
    model: RecurrentLanguageModel,
    surprises: NDArray[np.float64],
    history: Any,
    settings: LMSettings,
) -> None:
    title = f"{settings.cell} language model of {corpus.name}, {corpus.units}"
    plots.loss_curve(
        history, run.path("loss.png"), title=title, note="loss: natural logarithm of the perplexity"
    )
    shown = min(_SHOWN[corpus.units], len(surprises))
    surprise_lines(
        [corpus.words[i] for i in corpus.test[1 : shown + 1]],
        surprises[:shown] / log(2),
        run.path("surprise.png"),
        apart="" if corpus.units == "characters" else " ",
        title=f"{title}: bits of surprise at each of the test text's first {corpus.units}",
    )
    start = corpus.train[:1] if END not in corpus.words else corpus.numbers([END])
    forbidden = (corpus.words.index(UNKNOWN),) if UNKNOWN in corpus.words else ()
    rng = np.random.default_rng(settings.seed)
    drawn = model.sample(
        start, _SAMPLED[corpus.units], temperature=settings.temperature, rng=rng, forbidden=forbidden
    )
    run.path("sample.txt").write_text(corpus.text(drawn) + "\n", encoding="utf-8")


def _lines(metrics: dict[str, Any], target: Target | None, corpus: Corpus) -> list[tuple[str, str]]:
    each = corpus.units[:-1]
    lines = [
        (
            "test perplexity",
            f"{metrics['test_perplexity']:.2f} ({metrics['test_bits']:.3f} bits a {each}; "
            f"{metrics['test_tokens']:,} of them)",
        ),
        ("validation", f"{metrics['val_perplexity']:.2f}"),
    ]
    if target is not None:
        verdict = "reached" if target.reached(metrics) else "not reached"
        lines.append(("to reach", f"{target.text}: {verdict}"))
    uniform = f"{log2(metrics['words']):.2f} bits where all are equally likely"
    lines.append(
        ("model", f"{metrics['parameters']:,} parameters, {metrics['words']:,} {corpus.units} ({uniform})")
    )
    return lines + work_lines(metrics, metrics["epochs"])


#: A target is that of a network of this cell and these sizes, however it is trained.
_NETWORK = ("cell", "layers", "dimensions", "hidden")
#: Beside those of the defaults, with the settings that make the network.
_FURTHER_TARGETS: dict[str, list[tuple[dict[str, Any], Target | None]]] = {
    "ptb": [
        ({"preset": "medium"}, Target("at most 84", "test_perplexity", at_most=84.0)),
        (
            {"cell": "tanh", "layers": 1, "dimensions": 300, "hidden": 300},
            Target("at most 125", "test_perplexity", at_most=125.0),
        ),
    ]
}

RECIPE = Recipe(
    name="lm",
    summary="Recurrent language model: what comes next",
    settings_type=LMSettings,
    train=train,
    asked='"a text"',
    datasets=CORPORA,
    presets={
        "topics": {
            "dimensions": 128,
            "hidden": 128,
            "layers": 1,
            "dropout": 0.3,
            "epochs": 12,
            "optimizer": "adam",
            "lr": 4e-3,
            "flat_epochs": 6,
            "decay": 0.6,
            "clip_norm": 0.5,
        },
    },
    styles={
        "small": {"": {"steps": 20, "spread": 0.1}},
        "medium": {
            "": {
                "dimensions": 650,
                "hidden": 650,
                "dropout": 0.5,
                "spread": 0.05,
                "steps": 35,
                "lr": 35.0,
                "clip_norm": 5 / 35,
                "epochs": 39,
                "flat_epochs": 6,
                "decay": 1 / 1.2,
            }
        },
    },
    targets={
        "topics": Target("at most 130", "test_perplexity", at_most=130.0),
        "ptb": Target("at most 115", "test_perplexity", at_most=115.0),
        "wikitext2": Target("at most 150", "test_perplexity", at_most=150.0),
    },
)
