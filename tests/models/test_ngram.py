"""The n-gram model as its users have it: settings, scores, samples, files."""

from __future__ import annotations

import json
import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.data import DataError, load_corpus
from dlkit.models import NGramCounts, NGramFileError, NGramModel
from dlkit.models.ngram import SMOOTHINGS

SENTENCES = [
    "the cat is small",
    "the dog is small",
    "a cat sat on the dog",
    "is the cat on it",
    "the cat sat",
]


def test_settings_that_do_not_fit():
    for order in (0, -1, 13):
        with pytest.raises(ValueError, match=f"order is {order}; expected an integer from 1 to 12"):
            NGramModel(order)
    with pytest.raises(TypeError, match="order is a float"):
        NGramModel(2.0)
    with pytest.raises(ValueError, match="order is True"):
        NGramCounts(SENTENCES, True)
    with pytest.raises(ValueError, match="smoothing is 'kn'; expected one of mle"):
        NGramModel(2, "kn")
    for k in (0, -1, math.nan, math.inf, "x", None):
        with pytest.raises(ValueError, match="k is"):
            NGramModel(2, "add-k", k=k)
    with pytest.raises(ValueError, match="katz_cutoff is 1"):
        NGramModel(2, "katz", katz_cutoff=1)
    with pytest.raises(ValueError, match="min_count is 0"):
        NGramModel(2, min_count=0)
    with pytest.raises(ValueError, match="the counts are of order 2; expected 3 or more"):
        NGramModel(3).fit(NGramCounts(SENTENCES, 2))
    for ask in ("sizes", "words", "nbytes"):
        with pytest.raises(ValueError, match="no n-grams yet"):
            getattr(NGramModel(2), ask)
    with pytest.raises(ValueError, match="score: the model has no n-grams yet"):
        NGramModel(2).log_prob("a")
    with pytest.raises(ValueError, match="the n-gram has 3 words; expected 1 to 2"):
        NGramCounts(SENTENCES, 2).count("the cat is")


def test_scores_agree_with_each_other():
    model = NGramModel(3).fit(SENTENCES)
    text = ["the cat sat on a dog", "zebra is small"]
    scores = model.score(text)
    sums = model.log_probs(text)
    assert len(scores.words) == 7 + 4
    assert sums == pytest.approx([scores.log_probs[:7].sum(), scores.log_probs[7:].sum()])
    assert model.log_prob(text[0]) == pytest.approx(sums[0])
    assert model.log_prob(text[0], base=10) == pytest.approx(sums[0] / math.log(10))
    assert model.perplexity(text) == pytest.approx(math.exp(-sums.sum() / 11))
    assert scores.unknown == 1
    known = np.delete(scores.log_probs, 7)
    assert scores.perplexity_of_known == pytest.approx(math.exp(-known.mean()))
    assert [s.word for s in model.word_scores(text[1])] == ["zebra", "is", "small", "</s>"]
    assert model.log_probs([]).shape == (0,)
    assert "cat" in model
    assert "zebra" not in model


def test_zero_probability_is_infinite_perplexity():
    model = NGramModel(2, "mle").fit(SENTENCES)
    assert model.perplexity(["the zebra"]) == math.inf
    assert math.isfinite(model.perplexity(["the cat is small"]))


def test_samples():
    model = NGramModel(3).fit(SENTENCES)
    assert model.sample(20, seed=3) == model.sample(20, seed=3)
    assert len({tuple(model.sample(20, seed=i)) for i in range(8)}) > 1
    first = model.probabilities()
    assert model.sample(20, temperature=0)[0] == model.words[int(np.argmax(first[3:])) + 3]
    for seed in range(20):
        drawn = model.sample(40, "the cat", seed=seed)
        assert not {"<s>", "</s>", "<unk>"} & set(drawn)
        assert set(drawn) <= set(model.words)
    assert model.sample(0) == []
    with pytest.raises(ValueError, match="temperature is -1"):
        model.sample(3, temperature=-1)
    # Long contexts go on from the same last words.
    long = ["the"] * 30
    assert model.sample(5, long, seed=1) == model.sample(5, long[:20], seed=1)


def test_frequencies_of_samples_are_the_probabilities():
    model = NGramModel(2).fit(SENTENCES)
    drawn = [(model.sample(1, seed=i, forbidden=()) or ["</s>"])[0] for i in range(3000)]
    p = model.probabilities()
    for word, expected in zip(model.words, p, strict=True):
        assert drawn.count(word) / 3000 == pytest.approx(expected, abs=0.035)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_saved_and_loaded(tmp_path, smoothing):
    path = tmp_path / "model.ngram"
    for order in (1, 3):
        model = NGramModel(order, smoothing, k=0.25).fit(SENTENCES)
        model.save(path)
        again = NGramModel.load(path)
        assert (again.order, again.smoothing, again.k, again.sizes) == (order, smoothing, 0.25, model.sizes)
        assert again.words == model.words
        text = ["the small cat", "zebra sat on the dog"]
        np.testing.assert_array_equal(again.log_probs(text), model.log_probs(text))
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.ngram"]


def test_damaged_files(tmp_path):
    path = tmp_path / "model.ngram"
    NGramModel(3).fit(SENTENCES).save(path)
    content = path.read_bytes()
    for changed, message in (
        (b"", "ends within|no n-gram model"),
        (b"x" * 100, "this is no n-gram model"),
        (content[:40], "ends within its header"),
        (content[:-1], "checksum"),
        (content + b"x", "checksum"),
        (content[:-60] + bytes([content[-60] ^ 1]) + content[-59:], "checksum"),
    ):
        path.write_bytes(changed)
        with pytest.raises(NGramFileError, match=message) as caught:
            NGramModel.load(path)
        assert str(path) in str(caught.value)
    with pytest.raises(NGramFileError, match="no such file"):
        NGramModel.load(tmp_path / "none")


@pytest.mark.parametrize("save", ["save", "save_arpa"])
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch, save):
    model = NGramModel(3).fit(SENTENCES)
    folder = tmp_path / "folder"
    folder.mkdir()
    write = getattr(model, save)
    with monkeypatch.context() as patched:
        # Before any work: nothing is written beside it first.
        patched.setattr("tempfile.NamedTemporaryFile", None)
        with pytest.raises(
            IsADirectoryError, match=f"{save}: path is {folder}, a folder; expected that of a file"
        ):
            write(folder)
        with pytest.raises(
            FileNotFoundError, match=f"{save}: path is {folder}/no/model; its folder is not there"
        ):
            write(folder / "no" / "model")
    target = folder / "model"
    target.write_text("of before")

    def fail(*_):
        raise OSError("the disk is full")

    for name in ("os.chmod", "os.replace"):
        with monkeypatch.context() as patched:
            patched.setattr(name, fail)
            with pytest.raises(OSError, match="the disk is full"):
                write(target)
        assert [entry.name for entry in folder.iterdir()] == ["model"]
        assert target.read_text() == "of before"
    write(target)
    assert [entry.name for entry in folder.iterdir()] == ["model"]


def _sealed(path, header, rest):
    import hashlib

    text = json.dumps(header).encode()
    body = b"dlkit-ngram-1\n" + len(text).to_bytes(8, "little") + text + rest
    path.write_bytes(body + hashlib.sha256(body).digest())


def _parts(path):
    content = path.read_bytes()[:-32]
    length = int.from_bytes(content[14:22], "little")
    return json.loads(content[22 : 22 + length]), content[22 + length :]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_hostile_files_with_a_good_checksum(tmp_path_factory, data):
    """Whatever the numbers say, a file is refused or gives a model that can be asked."""
    path = tmp_path_factory.getbasetemp() / "hostile.ngram"
    NGramModel(3).fit(SENTENCES).save(path)
    header, rest = _parts(path)
    rest = bytearray(rest)
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            rest[data.draw(st.integers(0, len(rest) - 1))] = data.draw(st.integers(0, 255))
        else:
            name = data.draw(st.sampled_from(["order", "words_bytes", "counts", "level_bytes", "smoothing"]))
            value = data.draw(st.sampled_from([0, 1, 2, 4, 1 << 33, -1, None, "x", [], [1, 2, 3], 1.5]))
            if isinstance(header[name], list) and data.draw(st.booleans()):
                header[name] = [*header[name][:-1], value]
            else:
                header[name] = value
    _sealed(path, header, bytes(rest))
    try:
        model = NGramModel.load(path)
    except NGramFileError:
        return
    scores = model.score(["the cat is small", "dog on it x"])
    assert len(scores.words) == 10
    model.probabilities("the cat")


def test_threads_of_python():
    model = NGramModel(3).fit(SENTENCES)
    text = SENTENCES * 200
    expected = model.log_probs(text)
    wrong = []

    def ask():
        for _ in range(5):
            if not np.array_equal(model.log_probs(text), expected):
                wrong.append(1)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _lines(numbers, corpus):
    return corpus.text(numbers).split("\n")[:-1]


def test_penn_treebank():
    """Published: 141 (Mikolov et al., 2011, 5-gram, modified Kneser-Ney)."""
    try:
        corpus = load_corpus("ptb")
    except (DataError, ImportError) as error:
        pytest.skip(f"the Penn Treebank is not here: {error}")
    model = NGramModel(5).fit(_lines(corpus.train, corpus))
    test = _lines(corpus.test, corpus)
    assert model.perplexity(test) == pytest.approx(141.186, abs=0.01)
    assert len(model.score(test).words) == 82430
    assert sum(model.probabilities("the company")) == pytest.approx(1, abs=1e-6)
