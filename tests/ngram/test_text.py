"""Text to numbers: what is a word, what is a sentence, what is refused."""

from __future__ import annotations

import gzip
import lzma
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.kernels import get_num_threads, set_num_threads
from dlkit.models import NGramCounts, NGramFileError, NGramModel

LINES = ["the cat is small", "a dog", "", "the  dog\tis a dog", "ünï çödé 東京 🙂"]


def test_files_and_lists_are_the_same(tmp_path):
    plain = tmp_path / "text"
    plain.write_text("\n".join(LINES), encoding="utf-8")
    (tmp_path / "text.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "text.xz").write_bytes(lzma.compress(plain.read_bytes()))
    (tmp_path / "dos").write_bytes(plain.read_bytes().replace(b"\n", b"\r\n"))
    forms = [
        LINES,
        [line.split() for line in LINES],
        *(tmp_path / n for n in ("text", "text.gz", "text.xz", "dos")),
    ]
    models = [NGramModel(3).fit(form) for form in forms]
    for model, form in zip(models, forms, strict=True):
        assert model.sizes == models[0].sizes
        assert model.words == models[0].words
        np.testing.assert_array_equal(model.log_probs(form), models[0].log_probs(LINES))


def test_empty_lines():
    assert NGramCounts(LINES, 2).sentences == 4
    counts = NGramCounts(LINES, 2, keep_empty=True)
    assert counts.sentences == 5
    assert counts.count("<s> </s>") == 1
    model = NGramModel(2, keep_empty=True).fit(counts)
    assert len(model.log_probs(["", "a dog", ""])) == 3
    assert model.log_prob("") < 0
    for empty in ([], [""], ["", " \t"], [[]]):
        with pytest.raises(ValueError, match="NGramCounts: the text has no words"):
            NGramCounts(empty)
    with pytest.raises(ValueError, match="perplexity: there is no word"):
        NGramModel(2).fit(LINES).perplexity([])


def test_a_sentence_without_words_has_a_score(tmp_path):
    """Whatever the model's perplexity makes of empty lines: a number for each sentence, as KenLM's score."""
    model = NGramModel(2).fit(LINES)
    sentences = ["", "a dog", " \t", "the cat", ""]
    path = tmp_path / "text"
    path.write_text("\n".join(sentences) + "\n")
    end = math.log(model.probabilities()[2])
    for given_ in (sentences, [s.split() for s in sentences], path):
        found = model.log_probs(given_)
        assert found == pytest.approx([model.log_prob(sentence) for sentence in sentences], rel=1e-12)
        assert found[[0, 2, 4]] == pytest.approx(end)
    (score,) = model.word_scores("")
    assert (score.word, score.length, score.known) == ("</s>", 1, True)
    assert score.log_prob == model.log_prob("") == pytest.approx(end)
    # Perplexities leave them out, as the model was asked to.
    assert len(model.score(sentences).words) == 3 + 3
    assert model.perplexity(sentences) == model.perplexity(["a dog", "the cat"])


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters=" \t\n\r\v\f\0"), min_size=1, max_size=5),
            min_size=1,
            max_size=5,
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=100, deadline=None)
def test_any_words(sentences):
    if any(word in ("<s>", "</s>") for sentence in sentences for word in sentence):
        return
    counts = NGramCounts(sentences, 2)
    assert set(counts.words) == {"<unk>", "<s>", "</s>"} | {w for s in sentences for w in s}
    assert counts.tokens == sum(len(s) + 1 for s in sentences)


def test_pieces_may_end_anywhere():
    from dlkit import _cpu

    text = "\n".join(LINES).encode()
    whole = NGramCounts(LINES, 3)
    for size in (1, 2, 3, 7):
        counter = _cpu.NGramCounter(False)
        for at in range(0, len(text), size):
            counter.add(text[at : at + size])
        counts = counter.count(3, 1)
        assert counts.words().decode().split("\n")[:-1] == whole.words
        assert tuple(counts.sizes) == whole.sizes
        with pytest.raises(ValueError, match="counted already"):
            counter.add(b"x")


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"NGramCounts: sentence 2: holds the word <s>"):
        NGramCounts(["a b", "a <s> b"])
    with pytest.raises(ValueError, match=r"score: sentence 1: holds the word </s>"):
        NGramModel(2).fit(["a"]).log_prob("a </s>")
    with pytest.raises(ValueError, match="holds an end of line"):
        NGramCounts(["a\nb"])
    with pytest.raises(ValueError, match="is empty or holds white space"):
        NGramCounts([["a", "b c"]])
    with pytest.raises(TypeError, match="a word is a int"):
        NGramCounts([["a", 3]])
    with pytest.raises(TypeError, match="sentences is a str"):
        NGramCounts("a b c")
    with pytest.raises(ValueError, match="no UTF-8"):
        NGramCounts(["a \ud800"])
    path = tmp_path / "text"
    for content, message in (
        (b"a b\nc\0d\n", "line 2: holds a zero byte"),
        (b"a b\n\nc \xff\xfe\n", "line 3: holds a word that is not UTF-8"),
        (b"a\n\xed\xa0\x80\n", "line 2: holds a word that is not UTF-8"),
        (b"x" * 70000, "line 1: a word has more than 65536 bytes"),
        (b"", "the text has no words"),
        (gzip.compress(b"a b\n" * 1000)[:40], "damaged or cut short"),
    ):
        path.write_bytes(content)
        with pytest.raises(NGramFileError, match=message) as caught:
            NGramCounts(path)
        assert str(path) in str(caught.value)
    with pytest.raises(NGramFileError, match="no such file"):
        NGramModel().fit(tmp_path / "none")


@given(st.binary(max_size=300))
@settings(max_examples=120, deadline=None)
def test_any_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(content)
    try:
        model = NGramModel(3).fit(path)
    except NGramFileError:
        return
    assert math.isfinite(model.perplexity(path))


@pytest.mark.parametrize("smoothing", ["modified-kneser-ney", "katz", "mle", "add-k"])
def test_a_long_text_word_by_word(smoothing):
    """Texts are scored in blocks and pieces, on threads; each word as if alone."""
    rng = np.random.default_rng(1)
    words = [f"w{i}" for i in rng.zipf(1.3, 40000) % 400]
    cuts = np.sort(rng.choice(np.arange(1, 40000), 60, replace=False))
    # One sentence is longer than a piece.
    sentences = [list(part) for part in np.split(np.array(words), cuts)] + [words[:20000]]
    model = NGramModel(4, smoothing, k=0.2).fit(sentences[:50])
    before = get_num_threads()
    try:
        set_num_threads(1)
        one = model.score(sentences)
        set_num_threads(2)
        two = model.score(sentences)
    finally:
        set_num_threads(before)
    np.testing.assert_array_equal(one.log_probs, two.log_probs)
    place = {word: i for i, word in enumerate(model.words)}
    flat = [token for sentence in sentences for token in [*sentence, "</s>"]]
    at, starts = 0, []
    for sentence in sentences:
        starts += [at] * (len(sentence) + 1)
        at += len(sentence) + 1
    for i in [*rng.choice(len(flat), 60), 0, 1, 127, 128, 129, 16383, 16384, 16385, len(flat) - 1]:
        history = flat[starts[i] : i][-3:]
        p = model.probabilities(history, begin=i - starts[i] <= 3)[place.get(flat[i], 0)]
        with np.errstate(divide="ignore"):
            assert one.log_probs[i] == pytest.approx(np.log(p), abs=1e-12)
