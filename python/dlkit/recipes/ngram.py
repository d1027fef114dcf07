"""``dlkit train ngram``: n-gram language models with back-off and smoothing."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit.data import load_corpus
from dlkit.data.corpora import CORPORA, split_lines
from dlkit.data.text_file import require_file
from dlkit.data.wikipedia import load_text8
from dlkit.models import NGramCounts, NGramModel
from dlkit.models.ngram import MOST_ORDER, SMOOTHINGS, Scores, tune_k
from dlkit.train import RunFolder

from .folders import open_run, write_json
from .language_figures import surprise_lines
from .ngram_figures import perplexities
from .ngram_predictor import FORMAT, MODEL
from .recipe import Recipe, Result, RunOptions, Target
from .settings import Settings, SettingsError, option
from .work import peak_memory

#: What the course asks: words in order are likelier than the same words in another.
IN_ORDER, OUT_OF_ORDER = "the cat is small", "small the is cat"
_SHOWN = 110


@dataclass(frozen=True)
class NGramSettings(Settings):
    """An n-gram model, and the text that it is counted on."""

    data: str = option("topics", "Text.", group="Data", choices=(*CORPORA, "text8"))
    corpus: str | None = option(
        None,
        "A text file of one's own in place of --data, a sentence a line; of twenty lines the last two are held out.",
        group="Data",
    )
    order: int = option(5, "Words of the longest n-grams.", group="Model", at_least=1, at_most=MOST_ORDER)
    smoothing: str = option(
        "modified-kneser-ney", "How probabilities are made of counts.", group="Model", choices=SMOOTHINGS
    )
    k: float | None = option(
        None, "What add-k adds; none: the best on the validation text.", group="Model", above=0, below=1e12
    )
    katz_cutoff: int = option(
        5, "Katz takes counts above it at their word.", group="Model", at_least=2, at_most=100
    )
    min_count: int = option(
        1, "Words that occur less often are <unk>.", group="Model", at_least=1, at_most=2**32
    )
    sweep: bool = option(True, "Measure every smoothing at every order, too.", group="Run")
    arpa: bool = option(True, "Write the model as an ARPA file, too.", group="Run")


@dataclass(frozen=True)
class _Texts:
    """A text in three parts, as sentences."""

    name: str
    train: Sequence[str]
    validation: Sequence[str]
    test: Sequence[str]


def _texts(settings: NGramSettings) -> _Texts:
    if settings.corpus is not None:
        path = require_file(settings.corpus, "ngram: corpus")
        return _Texts(path.name, *split_lines(path))
    if settings.data == "text8":
        return _Texts("text8", *([part.decode("ascii")] for part in load_text8()))
    corpus = load_corpus(settings.data)

    def sentences(numbers: Any) -> list[str]:
        return corpus.text(numbers).split("\n")[:-1]

    return _Texts(corpus.name, *map(sentences, (corpus.train, corpus.validation, corpus.test)))


def train(settings: NGramSettings, options: RunOptions) -> Result:
    """Count, estimate, measure; write the model and what it makes of the test text."""
    if options.device != "cpu":
        raise SettingsError(
            f"ngram: device is {options.device}, expected cpu: n-grams are counted there alone"
        )
    texts = _texts(settings)
    run = open_run("ngram", settings, options, may_change={"sweep", "arpa"})
    run.rewind(-1)  # a run is short: one that was stopped begins again, and comes to the same bits

    start = time.perf_counter()
    # A line without words is one end of a sentence, as the recurrent models of these texts have it.
    counts = NGramCounts(texts.train, settings.order, min_count=settings.min_count, keep_empty=True)
    count_seconds = time.perf_counter() - start
    k = settings.k
    if settings.smoothing == "add-k" and k is None:
        k, _ = tune_k(counts, settings.order, texts.validation)
    model = _model(settings.order, settings.smoothing, settings, k)
    start = time.perf_counter()
    model.fit(counts)
    fit_seconds = time.perf_counter() - start
    start = time.perf_counter()
    scores = model.score(texts.test)
    score_seconds = time.perf_counter() - start
    metrics: dict[str, Any] = {
        "test_perplexity": scores.perplexity,
        "test_perplexity_of_known": scores.perplexity_of_known,
        "test_tokens": len(scores.words),
        "test_unknown": scores.unknown,
        "val_perplexity": model.score(texts.validation).perplexity,
        "k": k,
        "discounts": model.discounts,
        "sizes": list(model.sizes),
        "words": model.sizes[0],
        "train_tokens": counts.tokens,
        "model_bytes": model.nbytes,
        "bytes_per_ngram": model.nbytes / sum(model.sizes),
        "count_seconds": count_seconds,
        "estimate_seconds": fit_seconds,
        "counted_per_s": counts.tokens / count_seconds,
        "scored_per_s": len(scores.words) / score_seconds,
        "log10_in_order": model.log_prob(IN_ORDER, base=10),
        "log10_out_of_order": model.log_prob(OUT_OF_ORDER, base=10),
    }
    sweep = _sweep(settings, counts, texts, run) if settings.sweep else []
    metrics["sweep"] = sweep
    metrics["peak_memory"] = peak_memory()
    model.save(run.path(MODEL))
    if settings.arpa and settings.smoothing != "add-k":
        model.save_arpa(run.path("model.arpa"))
    write_json(run, "model.json", {"format": FORMAT, "file": MODEL, "order": model.order})
    title = f"{settings.smoothing} {settings.order}-gram model of {texts.name}"
    _show(run, model, scores, title, settings)
    if sweep:
        perplexities(sweep, run.path("perplexity.png"), title=f"test perplexity on {texts.name}")
    write_json(run, "result.json", {"recipe": "ngram", "data": texts.name, **_finite(metrics)})
    target = RECIPE.target(settings.data) if settings.corpus is None else None
    return Result("ngram", run.folder, metrics, _lines(metrics, target), target)


def _model(order: int, smoothing: str, settings: NGramSettings, k: float | None) -> NGramModel:
    return NGramModel(
        order, smoothing, k=1.0 if k is None else k, katz_cutoff=settings.katz_cutoff, keep_empty=True
    )


def _sweep(
    settings: NGramSettings, counts: NGramCounts, texts: _Texts, run: RunFolder
) -> list[dict[str, Any]]:
    """The test perplexity of every smoothing at every order."""
    found: list[dict[str, Any]] = []
    for smoothing in SMOOTHINGS:
        for order in range(1, settings.order + 1):
            k = settings.k
            if smoothing == "add-k" and k is None:
                k, _ = tune_k(counts, order, texts.validation, [10.0**i for i in range(-5, 1)])
            model = _model(order, smoothing, settings, k).fit(counts)
            record = {
                "smoothing": smoothing,
                "order": order,
                "k": k if smoothing == "add-k" else None,
                "test_perplexity": model.score(texts.test).perplexity,
                "val_perplexity": model.score(texts.validation).perplexity,
            }
            run.log(_finite({"epoch": len(found), **record}))
            found.append(record)
    return found


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """The same for JSON, which has no infinity."""

    def one(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, dict):
            return _finite(value)
        return [one(each) for each in value] if isinstance(value, list) else value

    return {name: one(value) for name, value in values.items()}


def _show(run: RunFolder, model: NGramModel, scores: Scores, title: str, settings: NGramSettings) -> None:
    shown = min(_SHOWN, len(scores.words))
    words = ["<eos>" if number == 2 else model.words[number] for number in scores.words[:shown]]
    surprise_lines(
        words,
        np.minimum(-scores.log_probs[:shown] / math.log(2), 60),
        run.path("surprise.png"),
        title=f"{title}: bits of surprise at each of the test text's first words",
    )
    drawn = [" ".join(model.sample(40, seed=settings.seed + i)) for i in range(5)]
    run.path("sample.txt").write_text("\n".join(drawn) + "\n", encoding="utf-8")


def _lines(metrics: dict[str, Any], target: Target | None) -> list[tuple[str, str]]:
    perplexity = metrics["test_perplexity"]
    unknown = metrics["test_unknown"]
    lines = [
        (
            "test perplexity",
            f"{perplexity:.2f} ({math.log2(perplexity):.3f} bits a word; {metrics['test_tokens']:,} of them, ends of "
            f"sentences counted{f', {unknown:,} unknown' if unknown else ''})",
        ),
    ]
    if unknown:
        lines.append(("of known words", f"{metrics['test_perplexity_of_known']:.2f}"))
    lines.append(("validation", f"{metrics['val_perplexity']:.2f}"))
    if target is not None:
        verdict = "reached" if target.reached(metrics) else "not reached"
        lines.append(("to reach", f"{target.text}: {verdict}"))
    if metrics["k"] is not None:
        lines.append(("k", f"{metrics['k']:g}"))
    one, other = metrics["log10_in_order"], metrics["log10_out_of_order"]
    sign = ">" if one > other else "=" if one == other else "<"
    lines += [
        ("word order", f"P({IN_ORDER}) = 10^{one:.2f} {sign} P({OUT_OF_ORDER}) = 10^{other:.2f}"),
        ("n-grams", " + ".join(f"{size:,}" for size in metrics["sizes"])),
        (
            "memory",
            f"{metrics['model_bytes'] / 1e6:.1f} MB, {metrics['bytes_per_ngram']:.1f} bytes an n-gram",
        ),
        (
            "counting",
            f"{metrics['train_tokens']:,} words in {metrics['count_seconds']:.2f} s, "
            f"{metrics['counted_per_s']:,.0f} a second; estimation {metrics['estimate_seconds']:.2f} s",
        ),
        ("scoring", f"{metrics['scored_per_s']:,.0f} words a second"),
    ]
    best: dict[str, dict[str, Any]] = {}
    for record in metrics["sweep"]:
        least = best.get(record["smoothing"])
        if least is None or record["test_perplexity"] < least["test_perplexity"]:
            best[record["smoothing"]] = record
    for smoothing, record in best.items():
        k = f", k {record['k']:g}" if record["k"] is not None else ""
        lines.append((smoothing, f"{record['test_perplexity']:.2f} at best, of order {record['order']}{k}"))
    return lines


RECIPE = Recipe(
    name="ngram",
    summary="n-gram language model with back-off and smoothing",
    settings_type=NGramSettings,
    train=train,
    asked='"a sentence"',
    datasets=(*CORPORA, "text8"),
    presets={"text8": {"sweep": False, "arpa": False}},
    targets={
        "topics": Target("at most 90", "test_perplexity", at_most=90.0),
        "ptb": Target("at most 142", "test_perplexity", at_most=142.0),
        "wikitext2": Target("at most 230", "test_perplexity", at_most=230.0),
        "text8": Target("at most 410", "test_perplexity", at_most=410.0),
    },
)
