"""``dlkit train bag-of-words``: words as one-hot vectors and sentences as bags of words, beside word vectors."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import kernels, nn, optim
from dlkit.autograd import Tensor, no_grad
from dlkit.data import (
    BagOfWords,
    Batches,
    DataError,
    SparseBatches,
    SparseRows,
    TextDataset,
    WordCorpus,
    load_text,
    words_of,
)
from dlkit.data.bag_of_words import WEIGHTINGS
from dlkit.data.text_file import require_file
from dlkit.data.vocabulary import Vocabulary
from dlkit.data.wikipedia import text8_path
from dlkit.models import KeyedVectors, SoftmaxRegression, Word2Vec
from dlkit.train import RunFolder, Trainer, plots

from .bag_figures import class_words, likeness_panels, pair_bars
from .bag_predictor import BagCard
from .card import FILE as CARD_FILE
from .folders import open_run, write_json
from .recipe import Recipe, Result, RunOptions, Target
from .settings import Settings, SettingsError, option
from .text_card import VOCABULARY
from .work import peak_memory

LABELLED = ("topics", "mr", "trec", "subj", "cr", "sst2", "sst5")
#: Pairs to compare by default: words that are alike, then some that are not.
_PAIRS = {
    "topics": "left right, true false, break continue, lists tuples, key value, global local, left tuples, "
    "break value, true key",
    "text8": "star sun, king queen, dog cat, paris london, river lake, good bad, star queen, dog london, river king",
}
_SENTENCES = {
    "topics": "break leaves a loop | continue goes on with the next iteration of statements; "
    "lists are mutable | a tuple cannot be changed; "
    "the debugger prints source lines | an operand is converted to complex; "
    "the value of the key is in the dictionary | the name of the class is in the module",
    "text8": "the king ruled england | his queen governed a french kingdom; "
    "a star shines at night | the sun gives light during each day; "
    "dogs hunt animals | this band released two albums; "
    "the name of the king is in the book | the name of the river is in the south",
}
_SHOWN = 10  # words of a class
_PIECE = 1000  # words of a document, where a text has no lines
_FREQUENT = 5000  # words that pairs are looked for in, where none are given
_BLOCK = 1 << 20  # elements of a sparse table that meet the word vectors together

Pair = tuple[str, str]


@dataclass(frozen=True)
class BagOfWordsSettings(Settings):
    """The text, what of it is shown, its word vectors, and the classifier."""

    data: str = option(
        "topics", "Sentences with labels; text8 has none.", group="Data", choices=(*LABELLED, "text8")
    )
    corpus: str | None = option(
        None,
        "A text file of one's own, a document a line, without labels; .gz, .xz, .bz2, too.",
        group="Data",
    )
    min_count: int = option(1, "Words that occur less often have no column.", group="Data", at_least=1)
    pairs: str | None = option(
        None, "Words to compare, such as 'star sun, king queen'; none: some of the text's.", group="Data"
    )
    sentences: str | None = option(
        None, "Sentences to compare, such as 'the sun shines | a star glows; one | another'.", group="Data"
    )
    vectors: str | None = option(
        None, "Word vectors from a file or a run folder; none: they are trained on the text.", group="Model"
    )
    vector_size: int = option(100, "Elements of a word vector.", group="Model", at_least=1, at_most=1 << 16)
    vector_epochs: int = option(40, "Passes over the text to train them.", group="Model", at_least=1)
    vector_min_count: int = option(
        3, "Words that occur less often have no vector.", group="Model", at_least=1
    )
    weighting: str = option(
        "tf-idf", "Elements of the bags of the classifier that is kept.", choices=WEIGHTINGS
    )
    epochs: int = option(15, "Passes over the training sentences.", at_least=1)
    batch_size: int = option(64, "Sentences per update.", at_least=1)
    lr: float = option(0.01, "Adam's learning rate.", above=0)
    weight_decay: float = option(0.0, "Pull of the weights towards zero.", at_least=0)

    def check(self) -> None:
        """Pairs are pairs."""
        parse_pairs(self.pairs or "")
        parse_sentences(self.sentences or "")


@dataclass
class _Text:
    """A text as documents of numbers of words."""

    name: str
    bag: BagOfWords
    counts: SparseRows
    source: Any  # of word vectors
    cut: Any  # a sentence into words
    dataset: TextDataset | None = None


def parse_pairs(text: str) -> list[Pair]:
    """``a b, c d`` as pairs of words."""
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        words = part.split()
        if len(words) != 2:
            raise SettingsError(f"pairs has {part!r}, expected two words, as in 'star sun, king queen'")
        pairs.append((words[0], words[1]))
    return pairs


def parse_sentences(text: str) -> list[Pair]:
    """``one | another; one | another`` as pairs of sentences."""
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        both = [each.strip() for each in part.split("|")]
        if len(both) != 2 or not all(both):
            raise SettingsError(
                f"sentences has {part!r}, expected two, as in 'the sun shines | a star glows'"
            )
        pairs.append((both[0], both[1]))
    return pairs


def train(settings: BagOfWordsSettings, options: RunOptions) -> Result:
    """Count, train word vectors, compare both; where there are labels, classify by each."""
    if options.device != "cpu":
        raise SettingsError(
            f"bag-of-words: device is {options.device}, expected cpu: its word vectors are trained there alone"
        )
    if settings.vectors is not None and not Path(settings.vectors).exists():
        raise DataError(f"bag-of-words: vectors is {settings.vectors}: there is no such file or folder")
    if settings.corpus is not None:
        require_file(settings.corpus, "bag-of-words: corpus")
    text = _read(settings)
    run = open_run("bag-of-words", settings, options, may_change={"epochs", "pairs", "sentences"})
    start = time.perf_counter()
    wv = _vectors(settings, text)
    if settings.vectors is None:
        wv.save(run.folder)
    metrics: dict[str, Any] = {
        "words": len(text.bag),
        "documents": len(text.counts),
        "vectors": len(wv),
        "dimensions": wv.vector_size,
        "vector_seconds": time.perf_counter() - start,
    }
    pairs = _word_pairs(settings, text, wv)
    metrics["pairs"] = [
        {"words": list(pair), "one_hot": one_hot(text.bag, *pair), "vectors": wv.similarity(*pair)}
        for pair in pairs
    ]
    if pairs:
        metrics["first_pair"] = metrics["pairs"][0]["vectors"]
    of_words = _word_table(text.bag, wv)
    metrics["sentences"] = _sentence_pairs(settings, text, of_words)
    metrics["memory"] = memory(text.counts, wv.vector_size)
    _draw(run, text, wv, metrics)
    if text.dataset is not None:
        metrics.update(_classify(settings, options, text, text.dataset, of_words, run))
    metrics["peak_memory"] = peak_memory()
    table = _table(metrics)
    run.path("table.txt").write_text(table, encoding="utf-8")
    write_json(run, "result.json", {"recipe": "bag-of-words", "data": text.name, **metrics})
    target = RECIPE.target(settings.data) if settings.corpus is None else None
    return Result("bag-of-words", run.folder, metrics, _lines(metrics, target), target)


# --- The text --------------------------------------------------------------------------------------------------------


def _read(settings: BagOfWordsSettings) -> _Text:
    if settings.corpus is None and settings.data != "text8":
        dataset = load_text(settings.data, phrases=False)
        rows = dataset.split().train
        sentences = [dataset.sentences[row] for row in rows]
        bag = BagOfWords.of(sentences, min_count=settings.min_count)
        if not len(bag):
            raise DataError(f"{dataset.name}: no word is left by min_count={settings.min_count}")

        def cut(sentence: str) -> list[str]:
            return words_of(sentence, lower=dataset.lower)

        return _Text(dataset.name, bag, bag.transform(sentences), sentences, cut, dataset)
    path = Path(settings.corpus) if settings.corpus is not None else text8_path()
    name = path.name if settings.corpus is not None else "text8"
    piece: dict[str, Any] = {} if settings.corpus is not None else {"max_sentence": _PIECE}
    corpus = WordCorpus.build(path, min_count=settings.min_count, errors="replace", **piece)
    tokens = np.asarray(corpus.tokens)
    ends = tokens < 0
    document = np.cumsum(ends)[~ends]
    documents = int(ends.sum())
    counts = SparseRows.counted(document, tokens[~ends], (documents, len(corpus.words)))
    bag = BagOfWords(
        corpus.words,
        documents=documents,
        document_counts=np.bincount(counts.indices, minlength=len(corpus.words)),
    )
    return _Text(name, bag, counts, path, str.split)


def _vectors(settings: BagOfWordsSettings, text: _Text) -> KeyedVectors:
    if settings.vectors is not None:
        wv = KeyedVectors.load(settings.vectors)
        if not any(word in wv for word in text.bag.words):
            raise DataError(f"bag-of-words: vectors is {settings.vectors}: it has no word of {text.name}")
        return wv
    model = Word2Vec(
        text.source,
        vector_size=settings.vector_size,
        epochs=settings.vector_epochs,
        min_count=settings.vector_min_count,
        alpha=0.05 if text.dataset is not None else 0.025,
        sample=1e-3 if text.dataset is not None else 1e-4,
        seed=settings.seed,
        deterministic=True,
    )
    return model.wv


# --- What is alike ---------------------------------------------------------------------------------------------------


def one_hot(bag: BagOfWords, one: str, other: str) -> float:
    """The cosine of two words' one-hot vectors: 1 if they are the same word, else 0."""
    return bag.transform([[one], [other]]).cosine(0, 1)


def _word_pairs(settings: BagOfWordsSettings, text: _Text, wv: KeyedVectors) -> list[Pair]:
    given = settings.pairs
    if given is None and settings.corpus is None and settings.vectors is None:
        given = _PAIRS.get(settings.data)
    if given is not None:
        pairs = parse_pairs(given)
        if settings.pairs is None:  # the text's own differ a little between versions of Python
            return [pair for pair in pairs if all(word in wv and word in text.bag for word in pair)]
        for word in (word for pair in pairs for word in pair):
            wv.get_index(word)  # names the nearest spelling
            if word not in text.bag:
                raise DataError(f"bag-of-words: pairs has {word!r}, which is no word of {text.name}")
        return pairs
    both = [word for word in wv.index_to_key[:_FREQUENT] if word in text.bag]
    if len(both) < 3:
        return []
    at = np.unique(np.geomspace(min(30, len(both)), len(both), 7).astype(int) - 1)
    pairs = []
    for word in (both[i] for i in at):
        near = next((near for near, _ in wv.most_similar(word, topn=50) if near in text.bag), None)
        if near is not None and (near, word) not in pairs:
            pairs.append((word, near))
    # Beside those that are alike, some that have nothing to do with each other.
    return pairs + [(pairs[i][0], pairs[i + 1][1]) for i in range(min(3, len(pairs) - 1))]


def _word_table(bag: BagOfWords, wv: KeyedVectors) -> NDArray[np.float32]:
    """The vector of each column's word at length 1; zeros where there is none."""
    table = np.zeros((len(bag), wv.vector_size), np.float32)
    known = [(at, wv.key_to_index[word]) for at, word in enumerate(bag.words) if word in wv]
    if known:
        at, rows = np.array(known).T
        table[at] = wv.vectors[rows] * wv.scale[rows, None]
    return table


def mean_vectors(counts: SparseRows, of_words: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the vectors of each document's words, at length 1, shape (documents, dimensions)."""
    parts = []
    most = max(1, _BLOCK // max(1, int(np.diff(counts.starts).max(initial=1))))
    for begin in range(0, len(counts), most):
        total = counts.take(np.arange(begin, min(begin + most, len(counts)))) @ of_words
        lengths = np.linalg.norm(total, axis=1, keepdims=True)
        parts.append((total / np.where(lengths > 0, lengths, 1)).astype(np.float32))
    return np.concatenate(parts)


def _sentence_pairs(
    settings: BagOfWordsSettings, text: _Text, of_words: NDArray[np.float32]
) -> list[dict[str, Any]]:
    given = settings.sentences
    if given is None and settings.corpus is None and settings.vectors is None:
        given = _SENTENCES.get(settings.data)
    found = []
    weighted = _with(text.bag, "tf-idf")
    for pair in parse_sentences(given or ""):
        cut = [text.cut(sentence) for sentence in pair]
        counts = text.bag.transform(cut)
        for number, sentence in enumerate(pair):
            if counts.starts[number] == counts.starts[number + 1]:
                raise DataError(
                    f"bag-of-words: sentences has {sentence!r}, of which no word is in {text.name}"
                )
        means = mean_vectors(counts, of_words).astype(np.float64)
        found.append(
            {
                "sentences": list(pair),
                "shared": sorted(set(cut[0]) & set(cut[1])),
                "counts": counts.cosine(0, 1),
                "tf_idf": weighted.weighted(counts).cosine(0, 1),
                "mean_vectors": float(means[0] @ means[1]),
            }
        )
    return found


def _with(bag: BagOfWords, weighting: str) -> BagOfWords:
    return BagOfWords(bag.words, weighting, documents=bag.documents, document_counts=bag.document_counts)


def memory(counts: SparseRows, dimensions: int) -> dict[str, int]:
    """Bytes of the words and of the documents, in each representation; numbers of 4 bytes."""
    documents, words = counts.shape
    return {
        "one_hot_with_zeros": 4 * words * words,
        "one_hot_as_numbers": 4 * words,
        "word_vectors": 4 * words * dimensions,
        "bags_with_zeros": 4 * documents * words,
        "bags_sparse": counts.nbytes,
        "mean_vectors": 4 * documents * dimensions,
    }


# --- The classifiers -------------------------------------------------------------------------------------------------


def _classify(
    settings: BagOfWordsSettings,
    options: RunOptions,
    text: _Text,
    dataset: TextDataset,
    of_words: NDArray[np.float32],
    run: RunFolder,
) -> dict[str, Any]:
    """The accuracy of a linear classifier on each representation; the one that was asked for is kept."""
    split = dataset.split()
    y, labels = dataset.labels[split.train], dataset.labels[split.test]
    test_counts = text.bag.transform([dataset.sentences[row] for row in split.test])
    bag = _with(text.bag, settings.weighting)
    card = BagCard(
        list(dataset.classes),
        settings.weighting,
        bag.documents,
        [] if bag.document_counts is None else bag.document_counts.tolist(),
        dataset.lower,
        dataset.name.startswith("sst"),
    )
    write_json(run, CARD_FILE, card.as_dict())
    Vocabulary(bag.words).save(run.path(VOCABULARY))
    found: dict[str, float] = {}
    kept: dict[str, Any] = {}
    for weighting in (
        settings.weighting,
        *(each for each in ("counts", "tf-idf") if each != settings.weighting),
    ):
        own = _with(text.bag, weighting)
        test = own.weighted(test_counts).dense()
        batches = SparseBatches(own.weighted(text.counts), y, settings.batch_size, seed=settings.seed)
        first = not found
        model, history = _fit(settings, options, batches, test, labels, dataset, run if first else None)
        predicted = _answers(model, test)
        found[weighting] = float((predicted == labels).mean())
        if first:
            kept = {"model": model, "history": history, "predicted": predicted}
    # At length 10: a step of Adam moves each weight as far, whatever the inputs, and those of bags are larger.
    means, test = (10 * mean_vectors(counts, of_words) for counts in (text.counts, test_counts))
    dense = Batches(means, y, settings.batch_size, seed=settings.seed)
    model, _ = _fit(settings, options, dense, test, labels, dataset, None)
    found["mean of vectors"] = float((_answers(model, test) == labels).mean())
    title = f"bag-of-words on {dataset.name}"
    plots.loss_curve(kept["history"], run.path("loss.png"), title=title, watched="test")
    plots.confusion_matrix(
        labels,
        kept["predicted"],
        run.path("confusion.png"),
        classes=dataset.classes,
        title=f"{title}, test sentences",
    )
    weight = np.asarray(kept["model"].weight.data, np.float64)
    weight = weight - weight.mean(axis=0)
    order = np.argsort(-weight, axis=1, kind="stable")[:, :_SHOWN]
    class_words(
        dataset.classes,
        [
            [(bag.words[at], max(float(weight[number, at]), 0.0)) for at in line]
            for number, line in enumerate(order.tolist())
        ],
        run.path("words.png"),
        title=f"{title}: the words that speak most for each class",
    )
    wrong = int(np.count_nonzero(kept["predicted"] != labels))
    return {
        "test_accuracy": 1 - wrong / len(labels),
        "test_wrong": wrong,
        "test_samples": len(labels),
        "accuracy": found,
        "parameters": sum(int(p.data.size) for p in kept["model"].parameters()),
        "train_seconds": float(sum(record["seconds"] for record in kept["history"])),
        "epochs": len(kept["history"]),
    }


def _fit(
    settings: BagOfWordsSettings,
    options: RunOptions,
    batches: Any,
    test: NDArray[np.float32],
    labels: NDArray[np.int64],
    dataset: TextDataset,
    run: RunFolder | None,
) -> tuple[SoftmaxRegression, Any]:
    kernels.manual_seed(settings.seed)
    model = SoftmaxRegression(test.shape[1], len(dataset.classes))
    adam = optim.Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    trainer = Trainer(
        model, adam, nn.CrossEntropyLoss(), run=run, progress=options.progress and run is not None
    )
    resume = options.resume and run is not None
    history = trainer.fit(batches, epochs=settings.epochs, validation=(test, labels), resume=resume)
    return model, history


def _answers(model: SoftmaxRegression, samples: NDArray[np.float32]) -> NDArray[np.int64]:
    with no_grad():
        answers: NDArray[np.int64] = np.asarray(model(Tensor(samples)).data).argmax(axis=1)
    return answers


# --- What is shown ---------------------------------------------------------------------------------------------------


def _draw(run: RunFolder, text: _Text, wv: KeyedVectors, metrics: dict[str, Any]) -> None:
    words = list(dict.fromkeys(word for pair in metrics["pairs"] for word in pair["words"]))[:16]
    if words:
        hot = text.bag.transform([[word] for word in words]).dense()
        near = np.stack([wv.get_vector(word, norm=True) for word in words]).astype(np.float64)
        likeness_panels(
            words,
            {
                "one-hot vectors": (hot @ hot.T).astype(np.float64),
                f"word vectors of {text.name}": near @ near.T,
            },
            run.path("likeness.png"),
            title=f"How alike are two words? One-hot vectors of {len(text.bag):,} numbers, word vectors of "
            f"{wv.vector_size}",
        )
    if metrics["sentences"]:
        pair_bars(
            ["\n".join(_short(sentence) for sentence in pair["sentences"]) for pair in metrics["sentences"]],
            {
                "counts": [pair["counts"] for pair in metrics["sentences"]],
                "tf-idf": [pair["tf_idf"] for pair in metrics["sentences"]],
                "mean of word vectors": [pair["mean_vectors"] for pair in metrics["sentences"]],
            },
            run.path("sentences.png"),
            title="How alike are two sentences?",
        )


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _table(metrics: dict[str, Any]) -> str:
    lines = []
    if metrics["pairs"]:
        width = max(len(", ".join(pair["words"])) for pair in metrics["pairs"])
        lines.append(f"{'words':<{width}}  one-hot  vectors")
        for pair in metrics["pairs"]:
            name = ", ".join(pair["words"])
            lines.append(f"{name:<{width}}  {pair['one_hot']:>7.3f}  {pair['vectors']:>7.3f}")
        lines.append("")
    if metrics["sentences"]:
        lines.append(" counts  tf-idf  vectors  sentences")
        for pair in metrics["sentences"]:
            shared = f"   ({', '.join(pair['shared'])})" if pair["shared"] else ""
            lines.append(
                f"{pair['counts']:>7.3f} {pair['tf_idf']:>7.3f}  {pair['mean_vectors']:>7.3f}  "
                f"{' | '.join(pair['sentences'])}{shared}"
            )
        lines += ["(in parentheses: the words that both have)", ""]
    lines.append("memory")
    lines += [f"{name.replace('_', ' '):<20} {size_of(size):>10}" for name, size in metrics["memory"].items()]
    if "accuracy" in metrics:
        lines += ["", "linear classifier    test accuracy"]
        lines += [f"{name:<20} {share:>10.2%}" for name, share in metrics["accuracy"].items()]
    return "\n".join(lines) + "\n"


def size_of(count: int) -> str:
    """Bytes as a person reads them."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def _lines(metrics: dict[str, Any], target: Target | None) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for pair in metrics["pairs"]:
        lines.append(
            (", ".join(pair["words"]), f"one-hot {pair['one_hot']:.0f}, vectors {pair['vectors']:.2f}")
        )
    for pair in metrics["sentences"]:
        said = f"counts {pair['counts']:.2f}, tf-idf {pair['tf_idf']:.2f}, vectors {pair['mean_vectors']:.2f}"
        lines.append(("sentences", f"{said}: {' | '.join(map(_short, pair['sentences']))}"))
    sizes = {name: size_of(size) for name, size in metrics["memory"].items()}
    lines += [
        (
            "words",
            f"{metrics['words']:,}: one-hot with zeros {sizes['one_hot_with_zeros']}, as numbers "
            f"{sizes['one_hot_as_numbers']}; vectors {sizes['word_vectors']}",
        ),
        (
            "documents",
            f"{metrics['documents']:,}: bags with zeros {sizes['bags_with_zeros']}, sparse {sizes['bags_sparse']}; "
            f"mean vectors {sizes['mean_vectors']}",
        ),
    ]
    if "accuracy" in metrics:
        shares = ", ".join(f"{name} {share:.2%}" for name, share in metrics["accuracy"].items())
        wrong = f"{metrics['test_wrong']} of {metrics['test_samples']} wrong"
        lines += [
            ("test accuracy", f"{metrics['test_accuracy']:.2%} ({wrong})"),
            ("by input", f"{shares}, a linear classifier each"),
            ("training", f"{metrics['epochs']} epochs in {metrics['train_seconds']:.2f} s"),
        ]
    if target is not None:
        verdict = "reached" if target.reached(metrics) else "not reached"
        lines.append(("to reach", f"{target.text}: {verdict}"))
    return lines


RECIPE = Recipe(
    name="bag-of-words",
    summary="One-hot vectors and bags of words beside word vectors; a linear classifier of sentences",
    settings_type=BagOfWordsSettings,
    train=train,
    asked='"a sentence"',
    datasets=(*LABELLED, "text8"),
    presets={
        "text8": {"min_count": 5, "vector_min_count": 5, "vector_epochs": 2},
        **{data: {"vector_epochs": 15 if data == "trec" else 5} for data in LABELLED[1:]},
    },
    targets={
        "topics": Target("70% of test sentences", "test_accuracy", at_least=0.70),
        "mr": Target("74% of the first fold", "test_accuracy", at_least=0.74),
        "trec": Target("85% of test questions", "test_accuracy", at_least=0.85),
        "subj": Target("90% of the first fold", "test_accuracy", at_least=0.90),
        "cr": Target("79% of the first fold", "test_accuracy", at_least=0.79),
        "sst2": Target("80% of test sentences", "test_accuracy", at_least=0.80),
        "sst5": Target("38% of test sentences", "test_accuracy", at_least=0.38),
        "text8": Target("cosine of star and sun of at least 0.5", "first_pair", at_least=0.5),
    },
)
