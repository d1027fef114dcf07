"""ARPA files: written, read, read by KenLM, and what damaged ones get."""

from __future__ import annotations

import gzip
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit.models import NGramFileError, NGramModel

BACKING_OFF = ("katz", "kneser-ney", "modified-kneser-ney")

SMALL = """\
some text that says whose it is

\\data\\
ngram 1=5
ngram 2=4
ngram 3=1

\\1-grams:
-99\t<s>\t-0.5
-1.0\t</s>
-2.0\t<unk>
-0.7\tthe\t-0.3
-0.9\tcat\t-0.25

\\2-grams:
-0.2\t<s> the\t-0.1
-0.4\tthe cat\t-0.15
-0.6\tcat </s>
-1.5e0\tcat the

\\3-grams:
-0.05\t<s> the cat

\\end\\
"""


def read(tmp_path, text):
    path = tmp_path / "model.arpa"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return NGramModel.load_arpa(path)


def sentences(seed, count, words=15):
    rng = np.random.default_rng(seed)
    p = 1 / np.arange(1, words + 1)
    return [[f"w{i}" for i in rng.choice(words, rng.integers(1, 9), p=p / p.sum())] for _ in range(count)]


def test_by_hand(tmp_path):
    model = read(tmp_path, SMALL)
    assert model.sizes == (5, 4, 1)
    expected = [-0.2, -0.05, -0.6, -0.25 + -2.0, -1.0]
    scores = model.word_scores("the cat zebra")
    # "cat zebra": the weights of "the cat" and of "cat", then <unk>; "zebra </s>" has none.
    expected = [-0.2, -0.05, -0.15 - 0.25 - 2.0, -1.0]
    assert [s.log_prob / math.log(10) for s in scores] == pytest.approx(expected)
    assert [s.length for s in scores] == [2, 3, 1, 1]
    assert [s.known for s in scores] == [True, True, False, True]
    assert [s.word for s in scores] == ["the", "cat", "zebra", "</s>"]
    scores = model.word_scores(["cat", "the", "cat"])
    expected = [-0.5 - 0.9, -1.5, -0.4, -0.15 - 0.6]
    assert [s.log_prob / math.log(10) for s in scores] == pytest.approx(expected)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("smoothing", BACKING_OFF)
def test_written_and_read_is_the_same(tmp_path, order, smoothing):
    model = NGramModel(order, smoothing).fit(sentences(order, 120))
    path = tmp_path / "model.arpa"
    model.save_arpa(path)
    again = NGramModel.load_arpa(path)
    assert again.sizes == model.sizes
    text = sentences(9, 50, words=18)
    one, other = model.score(text), again.score(text)
    np.testing.assert_array_equal(one.log_probs, other.log_probs)
    np.testing.assert_array_equal(one.lengths, other.lengths)
    packed = tmp_path / "model.arpa.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(NGramModel.load_arpa(packed).score(text).log_probs, one.log_probs)
    again.save_arpa(tmp_path / "again.arpa")
    assert sorted((tmp_path / "again.arpa").read_text().split("\n")) == sorted(path.read_text().split("\n"))


def test_maximum_likelihood_has_zeros(tmp_path):
    model = NGramModel(2, "mle").fit([["a", "b"], ["b"]])
    path = tmp_path / "model.arpa"
    model.save_arpa(path)
    assert model.log_prob("a a") == -math.inf
    assert NGramModel.load_arpa(path).log_prob("a a", base=10) < -98
    with pytest.raises(ValueError, match="save_arpa: add-k is no back-off model"):
        NGramModel(2, "add-k").fit([["a"]]).save_arpa(path)


@pytest.mark.parametrize("smoothing", BACKING_OFF)
def test_kenlm_reads_it_and_agrees(tmp_path, smoothing):
    kenlm = pytest.importorskip("kenlm", reason="kenlm is not installed")
    model = NGramModel(4, smoothing).fit(sentences(1, 200))
    path = tmp_path / "model.arpa"
    model.save_arpa(path)
    theirs = kenlm.Model(str(path))
    for words in [[], *sentences(2, 60, words=20)]:
        full = list(theirs.full_scores(" ".join(words)))
        ours = model.word_scores(words)
        assert [s.log_prob / math.log(10) for s in ours] == pytest.approx([f[0] for f in full], abs=3e-6)
        assert [s.length for s in ours] == [f[1] for f in full]
        assert [not s.known for s in ours] == [f[2] for f in full]
        assert model.log_prob(words, base=10) == pytest.approx(theirs.score(" ".join(words)), abs=2e-5)


def test_pruned_models_are_completed(tmp_path):
    """Without some n-grams that longer ones contain, scores are those of the definition on what is there."""
    model = NGramModel(4).fit(sentences(4, 60))
    path = tmp_path / "full.arpa"
    model.save_arpa(path)
    grams: dict[tuple[str, ...], tuple[float, float]] = {}
    rng = np.random.default_rng(0)
    kept: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
    n = 0
    for line in path.read_text().split("\n"):
        if line.endswith("-grams:"):
            n = int(line[1])
        elif "\t" in line:
            fields = line.split("\t")
            if n in (1, 4) or rng.random() < 0.5:
                kept[n].append(line)
                weight = float(fields[2]) if len(fields) > 2 else 0.0
                grams[tuple(fields[1].split())] = (float(fields[0]), weight)
    text = "\\data\\\n" + "".join(f"ngram {n}={len(kept[n])}\n" for n in kept)
    text += "".join(f"\n\\{n}-grams:\n" + "\n".join(kept[n]) + "\n" for n in kept) + "\n\\end\\\n"
    pruned = read(tmp_path, text)

    def p(gram):
        if gram in grams:
            return grams[gram][0]
        return grams.get(gram[:-1], (0, 0.0))[1] + p(gram[1:])

    vocabulary = {gram[0] for gram in grams if len(gram) == 1}
    for words in sentences(5, 40):
        padded = ["<s>", *(w if w in vocabulary else "<unk>" for w in words), "</s>"]
        expected = [p(tuple(padded[max(0, i - 3) : i + 1])) for i in range(1, len(padded))]
        found = [s.log_prob / math.log(10) for s in pruned.word_scores(words)]
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "\\dota\\", r"line 24: the file ends without a line \\data\\"),
        ("ngram 1=5", "ngram 1=4", r"line 13: is '-0\.9\?cat\?-0\.25', one more than the 4 n-grams"),
        ("ngram 1=5", "ngram 1=6", r"line 14: \\1-grams: ends after 5 n-grams; expected 6"),
        ("ngram 3=1", "ngram 3=2", r"line 23: \\3-grams: ends after 1 n-grams; expected 2"),
        ("ngram 2=4", "ngram 4=4", r"line 5: counts 4-grams; expected ngram 2="),
        ("ngram 2=4", "ngram 2=-4", r"line 5: is 'ngram 2=-4'; expected ngram N=COUNT"),
        ("ngram 2=4", "ngram 2=9999999999999", r"line 5: claims 9999999999999 n-grams"),
        ("\\2-grams:", "\\3-grams:", r"line 15: is '\\3-grams:'; expected \\2-grams:"),
        ("-0.4\tthe cat", "nan\tthe cat", r"line 17: log-probability is 'nan'"),
        (
            "-0.4\tthe cat",
            "inf\tthe cat",
            r"line 17: log-probability is 'inf'; expected a finite number or -inf",
        ),
        ("-0.4\tthe cat", "-infinity\tthe cat", r"line 17: log-probability is '-infinity'"),
        ("-0.4\tthe cat\t-0.15", "-0.4\tthe cat\t-inf", r"line 17: back-off is '-inf'"),
        ("-0.4\tthe cat", "0.4\tthe cat", r"line 17: log-probability is '0\.4'; expected at most 0"),
        ("-0.4\tthe cat", "\tthe cat", r"line 17: log-probability is 'the'"),
        ("-0.4\tthe cat\t-0.15", "-0.4\tthe cat\tnan", r"line 17: back-off is 'nan'"),
        ("-0.4\tthe cat\t-0.15", "-0.4\tthe cat\t-1 -1", r"line 17: has more than 2 words and a back-off"),
        ("-0.4\tthe cat\t-0.15", "-0.4\tthe", r"line 17: has 1 words; expected 2"),
        ("-0.4\tthe cat", "-0.4\tthe dog", r"line 17: the word 'dog' is not among the 1-grams"),
        ("-0.4\tthe cat", "-0.4\t<s> the", r"line 17: the n-gram '<s> the' is there twice"),
        ("-0.4\tthe cat", "-0.4\tthe <s>", r"line 17: <s> is not the first word"),
        ("-0.4\tthe cat", "-0.4\t</s> cat", r"line 17: </s> is not the last word"),
        ("-0.4\tthe cat", "-0.4\t</s> </s>", r"line 17: </s> is not the last word"),
        ("-0.05\t<s> the cat", "-0.05\tcat <s> the", r"line 22: <s> is not the first word"),
        ("-0.05\t<s> the cat", "-0.05\t</s> <s> <s>", r"line 22: <s> is not the first word"),
        ("-2.0\t<unk>", "-2.0\tthe", r"line 12: the word 'the' is there twice"),
        (
            "-0.7\tthe\t-0.3\n-0.9\tcat",
            "-2.0\t<UNK>\n-0.9\t<UNK>",
            r"line 13: the word '<UNK>' is there twice",
        ),
        ("-0.9\tcat\t-0.25\n", "-0.9\t<UNK>\n", r"line 17: the word 'cat' is not among the 1-grams"),
        ("-99\t<s>", "-99\tx", r"line 14: \\1-grams: lacks <s>"),
        ("-0.05\t<s> the cat", "-0.05\t<s> the cat\t-1", r"line 22: has '-1' after its 3 words"),
        ("-0.05\t<s> the cat", "-0.05\t<s> the cat\tx", r"line 22: has 'x' after its 3 words"),
        ("-0.05\t<s> the cat", "-0.05\t<s> the cat\t0 0", r"line 22: has more than 3 words"),
        ("\\end\\\n", "", r"the file ends without \\end\\"),
        ("\\end\\", "\\End\\", r"line 24: is '\\End\\'; expected \\end\\"),
        ("\\end\\\n", "\\end\\\nmore", r"line 25: is 'more' after \\end\\"),
        (
            "\n\\3-grams:\n-0.05\t<s> the cat\n\n\\end\\\n",
            "",
            r"line 19: the file ends within \\2-grams:|ends without",
        ),
        ("the cat", "the \0cat", "line 17: holds a zero byte"),
    ],
)
def test_damaged_files_name_the_line(tmp_path, old, new, message):
    assert old in SMALL
    with pytest.raises(NGramFileError, match=message) as caught:
        read(tmp_path, SMALL.replace(old, new, 1))
    assert "model.arpa" in str(caught.value)


#: What other programs write, as changes of `SMALL`, and the scores of "the cat zebra cat the cat".
_AS_SMALL = [-0.2, -0.05, -2.4, -0.9, -1.5, -0.4, -0.75]
_BOTH = {"ngram 1=5": "ngram 1=6", "-2.0\t<unk>\n": "-2.0\t<unk>\n-1.3\t<UNK>\t-0.2\n"}
WRITTEN_BY_OTHERS = {
    "<UNK>": ({"<unk>": "<UNK>"}, _AS_SMALL),
    "<unk> and <UNK>": (_BOTH, [-0.2, -0.05, -1.7, -0.2 - 0.9, -1.5, -0.4, -0.75]),
    "<UNK> and <unk>": ({**_BOTH, "-2.0\t<unk>\n": "-1.3\t<UNK>\t-0.2\n-2.0\t<unk>\n"}, _AS_SMALL),
    "<unk> with n-grams of <UNK>": (
        {"ngram 2=4": "ngram 2=5", "-0.6\tcat </s>": "-0.35\tcat <UNK>\n-0.6\tcat </s>"},
        [-0.2, -0.05, -0.15 - 0.35, *_AS_SMALL[3:]],
    ),
    "both, with n-grams of both": (
        {
            **_BOTH,
            "ngram 2=4": "ngram 2=6",
            "-0.6\tcat </s>": "-0.35\tcat <UNK>\t-0.1\n-0.6\tcat </s>\n-0.1\tcat <unk>",
        },
        [-0.2, -0.05, -0.15 - 0.35, -0.1 - 0.2 - 0.9, -1.5, -0.4, -0.75],
    ),
    "0 after the longest": ({"<s> the cat": "<s> the cat\t0"}, _AS_SMALL),
    "-0.0 after the longest": ({"<s> the cat": "<s> the cat\t-0.0"}, _AS_SMALL),
    "</s> <s>": (
        {
            "ngram 2=4": "ngram 2=5",
            "ngram 3=1": "ngram 3=3",
            "-0.6\tcat </s>": "-0.01\t</s> <s>\t-0.3\n-0.6\tcat </s>",
            "-0.05\t<s> the cat": "-0.03\t</s> <s> the\n-0.02\tcat </s> <s>\n-0.05\t<s> the cat",
        },
        _AS_SMALL,
    ),
    "-inf": (
        {"-1.5e0\tcat the": "-inf\tcat the", "-99\t<s>": "-inf\t<s>"},
        [*_AS_SMALL[:4], -math.inf, -0.4, -0.75],
    ),
    "-inf of a word": ({"-0.9\tcat": "-inf\tcat"}, [*_AS_SMALL[:3], -math.inf, *_AS_SMALL[4:]]),
}


def written_by_another(name):
    text = SMALL[SMALL.index("\\data\\") :]
    for old, new in WRITTEN_BY_OTHERS[name][0].items():
        assert old in text
        text = text.replace(old, new, 1)
    return text


@pytest.mark.parametrize("name", WRITTEN_BY_OTHERS)
def test_what_other_programs_write(tmp_path, name):
    expected = WRITTEN_BY_OTHERS[name][1]
    model = read(tmp_path, written_by_another(name))
    scores = model.word_scores("the cat zebra cat the cat")
    assert [s.log_prob / math.log(10) for s in scores] == pytest.approx(expected)
    assert "<UNK>" not in model
    assert model.word_scores("<UNK>")[0].log_prob == model.word_scores("zebra")[0].log_prob
    model.save(tmp_path / "model.ngram")
    np.testing.assert_array_equal(
        NGramModel.load(tmp_path / "model.ngram").score(["the cat zebra cat the cat"]).log_probs,
        model.score(["the cat zebra cat the cat"]).log_probs,
    )


@pytest.mark.parametrize("name", WRITTEN_BY_OTHERS)
def test_kenlm_agrees_on_what_other_programs_write(tmp_path, name):
    kenlm = pytest.importorskip("kenlm", reason="kenlm is not installed")
    model = read(tmp_path, written_by_another(name))
    theirs = kenlm.Model(str(tmp_path / "model.arpa"))
    rng = np.random.default_rng(0)
    for length in range(12):
        words = list(rng.choice(["the", "cat", "zebra", "<UNK>", "<unk>"], length))
        full = list(theirs.full_scores(" ".join(words)))
        ours = model.word_scores(words)
        assert [s.log_prob / math.log(10) for s in ours] == pytest.approx([f[0] for f in full], abs=3e-6)
        assert [s.length for s in ours] == [f[1] for f in full]


def test_a_text_with_the_word_unk_in_capitals(tmp_path):
    """It is a word like another in the model, and the unknown one in its file, as in KenLM."""
    kenlm = pytest.importorskip("kenlm", reason="kenlm is not installed")
    names = {"w1": "<UNK>", "w2": "<unk>"}
    model = NGramModel(3).fit([[names.get(word, word) for word in words] for words in sentences(7, 200)])
    assert "<UNK>" in model
    path = tmp_path / "model.arpa"
    model.save_arpa(path)
    again, theirs = NGramModel.load_arpa(path), kenlm.Model(str(path))
    assert "<UNK>" not in again
    for words in sentences(8, 60, words=20):
        words = [names.get(word, word) for word in words]
        expected = [f[0] for f in theirs.full_scores(" ".join(words))]
        found = [s.log_prob / math.log(10) for s in again.word_scores(words)]
        assert found == pytest.approx(expected, abs=3e-6)


def test_what_is_no_arpa_file(tmp_path):
    for content in (b"", b"\x00" * 100, b"\x7fELF" * 50, b"\xff\xfe" * 40, b"x" * (3 << 20)):
        with pytest.raises(NGramFileError):
            read(tmp_path, content)
    with pytest.raises(NGramFileError, match="no such file"):
        NGramModel.load_arpa(tmp_path / "none.arpa")
    with pytest.raises(NGramFileError, match="a folder"):
        NGramModel.load_arpa(tmp_path)
    with pytest.raises(NGramFileError, match="not UTF-8"):
        read(tmp_path, SMALL.encode().replace(b"\tcat\t", b"\t\xff\t"))


def test_without_unknown(tmp_path):
    text = re.sub("-2.0\t<unk>\n", "", SMALL).replace("ngram 1=5", "ngram 1=4")
    model = read(tmp_path, text)
    assert model.word_scores("zebra")[0].log_prob / math.log(10) == pytest.approx(-100.5)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_damage_is_an_error_or_a_model(tmp_path_factory, data):
    content = bytearray(SMALL.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["change", "cut", "double", "remove"]))
        if kind == "change":
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            content = content[: max(at, 1)]
        elif kind == "double":
            content[at:at] = content[at : at + data.draw(st.integers(1, 60))]
        else:
            del content[at : at + data.draw(st.integers(1, 60))]
            content = content or bytearray(b"x")
    path = tmp_path_factory.getbasetemp() / "damaged.arpa"
    path.write_bytes(content)
    try:
        model = NGramModel.load_arpa(path)
    except NGramFileError as error:
        message = str(error)
    else:
        assert not np.isnan(model.score([["the", "cat", "x"], ["cat"]]).log_probs).any()
        return
    assert "damaged.arpa: line" in message
