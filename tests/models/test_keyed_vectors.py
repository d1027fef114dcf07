"""Words and their vectors: against definitions, and against gensim where it is installed."""

from __future__ import annotations

import lzma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit as dl
from dlkit.data import DataError, DataNotFoundError
from dlkit.models import KeyedVectors, UnknownWordError
from dlkit.models.keyed_vectors import _p_value, _pearson, _ranks

WORDS = [f"w{i}" for i in range(200)] + ["W3", "The", "the", "New_York"]


@pytest.fixture
def table(rng):
    return (rng.standard_normal((len(WORDS), 12)) * rng.uniform(0.2, 5, (len(WORDS), 1))).astype(np.float32)


@pytest.fixture
def vectors(table):
    return dl.KeyedVectors(WORDS, table, counts=np.arange(len(WORDS))[::-1])


@pytest.fixture
def theirs(table):
    gensim = pytest.importorskip("gensim.models")
    made = gensim.KeyedVectors(12)
    made.add_vectors(WORDS, table)
    return made


def same(ours, others):
    assert [word for word, _ in ours] == [word for word, _ in others]
    np.testing.assert_allclose([x for _, x in ours], [x for _, x in others], rtol=1e-5, atol=1e-6)


def test_words_and_vectors(vectors, table):
    assert len(vectors) == len(WORDS)
    assert vectors.vector_size == 12
    assert "w3" in vectors
    assert "w999" not in vectors
    assert 3 not in vectors
    assert vectors.get_index("w3") == vectors.get_index(3) == 3
    assert vectors.get_index("nothing", default=-7) == -7
    np.testing.assert_array_equal(vectors["w3"], table[3])
    np.testing.assert_array_equal(vectors[["w3", 5]], table[[3, 5]])
    assert np.linalg.norm(vectors.get_vector("w3", norm=True)) == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors.get_normed_vectors(), axis=1), 1, rtol=1e-6)
    assert vectors.get_vecattr("w3", "count") == len(WORDS) - 4
    assert "204 words" in repr(vectors)
    with pytest.raises(ValueError, match="read-only"):
        vectors["w3"][0] = 1
    with pytest.raises(KeyError, match="length"):
        vectors.get_vecattr("w3", "length")


def test_float32_is_taken_without_a_copy(table):
    wide = np.zeros((len(WORDS), 16), np.float32)
    wide[:, :12] = table
    vectors = KeyedVectors(WORDS, wide[:, :12])
    assert np.shares_memory(vectors.vectors, wide)
    same(vectors.most_similar("w1"), KeyedVectors(WORDS, table).most_similar("w1"))
    wide[5, :12] = wide[1, :12]
    vectors.fill_norms(force=True)
    assert vectors.most_similar("w1", topn=1)[0] == ("w5", pytest.approx(1))


@pytest.mark.parametrize(
    ("positive", "negative", "options"),
    [
        ("w1", None, {}),
        (["w1"], [], {"topn": 3}),
        (["w1", "w2"], ["w3"], {}),
        (["w1", 2], ["The"], {"topn": 500}),
        ([("w1", 0.5), "w2"], [("w3", -2.0)], {}),
        (None, ["w9"], {}),
        (["w1"], None, {"restrict_vocab": 20}),
        (["w150"], None, {"restrict_vocab": 20}),
        (["w1"], None, {"clip_start": 5, "clip_end": 60}),
        (["w1"], None, {"topn": 0}),
    ],
)
def test_most_similar_as_gensim(vectors, theirs, positive, negative, options):
    same(
        vectors.most_similar(positive, negative, **options),
        theirs.most_similar(positive, negative, **options),
    )


def test_more_as_gensim(vectors, theirs, table):
    for options in ({}, {"topn": 300}):
        for positive, negative in (("w1", None), (["w1", "w2"], ["w3"]), ([table[7], "w2"], [])):
            same(
                vectors.most_similar_cosmul(positive, negative, **options),
                theirs.most_similar_cosmul(positive, negative, **options),
            )
    # gensim's takes no notice of this one.
    every = vectors.most_similar_cosmul(["w1", "w2"], "w3", topn=300)
    early = [pair for pair in every if vectors.get_index(pair[0]) < 30]
    same(vectors.most_similar_cosmul(["w1", "w2"], "w3", restrict_vocab=30), early[:10])
    for name, arguments in {
        "similarity": ("w1", "w2"),
        "distance": ("w1", "w2"),
        "n_similarity": (["w1", "w2"], ["w3"]),
        "distances": ("w1",),
        "rank": ("w1", "w9"),
    }.items():
        ours = getattr(vectors, name)(*arguments)
        np.testing.assert_allclose(ours, getattr(theirs, name)(*arguments), rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(
        vectors.distances(table[3], ["w1", "w2"]), theirs.distances(table[3], ["w1", "w2"]), atol=1e-6
    )
    np.testing.assert_allclose(
        vectors.most_similar("w1", topn=None), theirs.most_similar("w1", topn=None), atol=1e-6
    )
    np.testing.assert_allclose(
        vectors.most_similar_cosmul("w1", "w2", topn=None),
        theirs.most_similar_cosmul("w1", "w2", topn=None),
        rtol=1e-4,
    )
    assert vectors.closer_than("w1", "w9") == theirs.closer_than("w1", "w9")
    some = ["w1", "w2", "w3", "w4"]
    assert vectors.doesnt_match(some) == theirs.doesnt_match(some)
    same(vectors.similar_by_word("w4", 5), theirs.similar_by_word("w4", 5))
    same(vectors.similar_by_vector(table[4], 5), theirs.similar_by_vector(table[4], 5))


def test_many_at_once(vectors, table, threads):
    words = ["w1", "the", "w1"]
    rows, cosines = vectors.nearest(words, topn=4)
    for word, row, cosine in zip(words, rows, cosines, strict=True):
        same(
            [(vectors.index_to_key[i], c) for i, c in zip(row, cosine, strict=True)],
            vectors.most_similar(word, topn=4),
        )
    rows, cosines = vectors.nearest(table[:5], topn=1)
    np.testing.assert_array_equal(rows[:, 0], range(5))
    np.testing.assert_allclose(cosines, 1, rtol=1e-5)
    rows, cosines = vectors.nearest(["w1", "the"], topn=3, restrict_vocab=3)
    assert rows[0].tolist().count(-1) == 1
    assert 1 not in rows[0]
    assert -1 not in rows[1]
    assert np.isneginf(cosines[rows < 0]).all()
    rows, _ = vectors.nearest(["w1"], topn=300)
    assert rows.shape == (1, 300)
    assert (rows >= 0).sum() == len(WORDS) - 1
    assert vectors.nearest([], topn=3)[0].shape == (0, 3)
    for wrong, text in ((table[:, :3], "queries is"), (table[0], "queries is")):
        with pytest.raises(ValueError, match=text):
            vectors.nearest(wrong)
    with pytest.raises(ValueError, match="topn is 0"):
        vectors.nearest(["w1"], topn=0)


def test_a_vector_of_zeros_is_like_none(table):
    table[7] = 0
    table[8] = 1e-38
    vectors = KeyedVectors(WORDS, table)
    assert vectors.similarity("w7", "w1") == 0
    assert "w7" not in [word for word, _ in vectors.most_similar("w1")]
    assert all(np.isfinite(x) for _, x in vectors.most_similar("w7", topn=300))


def test_unknown_words(vectors):
    for word, near in (("The_", "The"), ("w12x", "w12"), ("new_york", "New_York"), ("New York", "New_York")):
        with pytest.raises(KeyError, match=f"^'{word}' has no vector .did you mean '{near}'") as caught:
            vectors.most_similar(word)
        assert isinstance(caught.value, UnknownWordError)
    with pytest.raises(KeyError, match=r"^'zzzzzz' has no vector$"):
        vectors["zzzzzz"]
    for ask in (
        lambda: vectors.similarity("w1", "qqqq"),
        lambda: vectors.n_similarity(["w1"], ["qqqq"]),
        lambda: vectors.most_similar_cosmul("qqqq"),
        lambda: vectors.rank("w1", "qqqq"),
        lambda: vectors.get_vector(9999),
        lambda: vectors.nearest(["qqqq"]),
    ):
        with pytest.raises(KeyError):
            ask()
    with pytest.warns(UserWarning, match="no vectors for qqqq"):
        vectors.doesnt_match(["w1", "w2", "qqqq"])
    with pytest.raises(TypeError, match="key is a float"):
        vectors.get_vector(1.5)


def test_other_errors(vectors, table):
    for words, rows, counts, text in (
        (["a"], np.zeros((2, 3)), None, r"expected \(1, dimensions\)"),
        (["a", "a"], np.ones((2, 3)), None, "'a' twice"),
        (["a", "b"], np.array([[1, 2], [1, np.nan]]), None, "the vector of 'b' holds NaN"),
        ([], np.zeros((0, 3)), None, "neither of them 0"),
        (["a"], np.ones((1, 3)), [1, 2], "counts is"),
        (["a"], np.array([["x"]]), None, "vectors is <U1"),
    ):
        with pytest.raises(DataError, match=text):
            KeyedVectors(words, rows, counts)
    for ask, text in (
        (lambda: vectors.most_similar(), "neither a positive nor a negative"),
        (lambda: vectors.most_similar_cosmul(negative="w1"), "no positive word"),
        (lambda: vectors.most_similar_cosmul([("w1", 0.3)]), "has a weight"),
        (lambda: vectors.most_similar("w1", restrict_vocab=0), "restrict_vocab is 0"),
        (lambda: vectors.most_similar("w1", clip_start=5, clip_end=5), "clip_start is 5"),
        (lambda: vectors.most_similar([table[0, :3]]), "a vector is"),
        (lambda: vectors.most_similar([("w1", float("nan"))]), "weight is not finite"),
        (lambda: vectors.n_similarity([], ["w1"]), "is empty"),
        (lambda: vectors.doesnt_match([]), "no words"),
    ):
        with pytest.raises(ValueError, match=text):
            ask()


QUESTIONS = """: first
w1 w2 w3 w4
W5 w6 w7 unknown
w8 w9 w10
the w2 w11 w12
: second
w20 w21 w22 w23
w30 w31 w30 w31
"""


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.txt.xz"
    path.write_bytes(lzma.compress(QUESTIONS.encode()))
    return path


@pytest.mark.parametrize("function", ["most_similar", "most_similar_cosmul"])
def test_analogies_that_hold(questions, function, rng):
    # Vectors in which each right answer lies where the question points, in so many dimensions that no other is near.
    table = rng.standard_normal((40, 300))
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    for a, b, c, d in ((1, 2, 3, 4), (20, 21, 22, 23)):
        table[d] = table[b] + table[c] - table[a]
    vectors = KeyedVectors([f"w{i}" for i in range(39)] + ["the"], table)
    score, sections = vectors.evaluate_word_analogies(questions, similarity_function=function)
    assert [each["section"] for each in sections] == ["first", "second", "Total accuracy"]
    assert sections[0]["correct"] == [("W1", "W2", "W3", "W4")]
    assert sections[0]["incorrect"] == [("THE", "W2", "W11", "W12")]
    assert sections[1]["correct"] == [("W20", "W21", "W22", "W23")]
    assert sections[1]["incorrect"] == [("W30", "W31", "W30", "W31")]  # what is asked is no answer
    assert score == 0.5
    score, sections = vectors.evaluate_word_analogies(
        questions, dummy4unknown=True, similarity_function=function
    )
    assert len(sections[0]["incorrect"]) == 2
    assert score == 0.4
    score, _ = vectors.evaluate_word_analogies(questions, restrict_vocab=2, similarity_function=function)
    assert score == 0


@pytest.fixture
def spelled(data_folder, rng):
    """Vectors of the words of questions-words.txt that follow their letters, so that some answers are right."""
    text = lzma.decompress((data_folder / "analogy" / "questions-words.txt.xz").read_bytes()).decode()
    words = [word for i, word in enumerate(sorted(set(text.split()))) if i % 9]
    words += [word.lower() for word in words[::5] if word.lower() not in words]
    rng.shuffle(words)
    ends = [sum(map(ord, part)) for word in words for part in (word[:3].lower(), word[-2:].lower())]
    known = {end: rng.standard_normal(16) for end in sorted(set(ends))}
    table = [
        known[a] + known[b] + 0.1 * rng.standard_normal(16)
        for a, b in zip(ends[::2], ends[1::2], strict=True)
    ]
    plain = "\n".join(line for i, line in enumerate(text.splitlines()) if i % 20 == 0 or line[0] == ":")
    return words, np.array(table, np.float32), plain


@pytest.mark.parametrize("case_insensitive", [True, False])
def test_analogies_as_gensim(spelled, case_insensitive, tmp_path):
    gensim = pytest.importorskip("gensim.models")
    words, table, text = spelled
    (tmp_path / "questions.txt").write_text(text)
    vectors, theirs = KeyedVectors(words, table), gensim.KeyedVectors(16)
    theirs.add_vectors(words, table)
    row: dict[str, int] = {}
    for i, word in enumerate(words):
        row.setdefault(word.upper() if case_insensitive else word, i)
    unit = table.astype(float) / np.linalg.norm(table.astype(float), axis=1, keepdims=True)
    for limit in (300000, 700):
        options = {"restrict_vocab": limit, "case_insensitive": case_insensitive}
        score, sections = vectors.evaluate_word_analogies(tmp_path / "questions.txt", **options)
        _, others = theirs.evaluate_word_analogies(str(tmp_path / "questions.txt"), **options)
        assert 0 < score < 1
        assert [each["section"] for each in sections] == [each["section"] for each in others]
        for ours, other in zip(sections, others, strict=True):
            assert {*ours["correct"], *ours["incorrect"]} == {*other["correct"], *other["incorrect"]}
            for question in {*ours["correct"]} ^ {*other["correct"]}:  # two answers that rounding tells apart
                asked = [row[word] for word in question[:3]]
                away, start, towards = unit[asked]
                along = unit[:limit] @ (start + towards - away)
                along[asked] = -np.inf
                first, second = np.sort(along)[:-3:-1]
                assert first - second < 1e-6


@pytest.mark.parametrize("case_insensitive", [True, False])
def test_products_as_one_question_at_a_time(spelled, case_insensitive, tmp_path):
    words, table, text = spelled
    some = [line for line in text.splitlines() if line[0] != ":"][-500:]
    (tmp_path / "questions.txt").write_text("\n".join([": the last", *some]))
    vectors = KeyedVectors(words, table)
    score, sections = vectors.evaluate_word_analogies(
        tmp_path / "questions.txt",
        case_insensitive=case_insensitive,
        similarity_function="most_similar_cosmul",
    )
    fold = str.upper if case_insensitive else str
    row = {}
    for word in words:
        row.setdefault(fold(word), word)
    for right, questions in ((True, sections[-1]["correct"]), (False, sections[-1]["incorrect"])):
        for a, b, c, d in questions:
            best = vectors.most_similar_cosmul([row[b], row[c]], [row[a]], topn=8)
            answer = next(word for word, _ in best if fold(word) not in (a, b, c))
            assert (fold(answer) == d) == right
    assert score == len(sections[-1]["correct"]) / sum(
        len(sections[-1][key]) for key in ("correct", "incorrect")
    )
    assert 0 < score < 1


def test_pairs(vectors, theirs, tmp_path, rng):
    # Pairs of which none is there twice, nor one of a word and itself: rounding would make or break ties.
    drawn = rng.permutation(200)[:160].reshape(2, 80)
    lines = [f"w{a}\tw{b}\t{s:.1f}" for a, b, s in zip(*drawn, rng.uniform(0, 9, 80), strict=True)]
    lines += ["# a comment", "the\tunknown\t1.0", "no pair", "The\tw1\tmuch", "W3\tthe\t2.5"]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines))
    for options in ({}, {"dummy4unknown": True}, {"case_insensitive": False}, {"restrict_vocab": 90}):
        ours = vectors.evaluate_word_pairs(tmp_path / "pairs.tsv", **options)
        others = theirs.evaluate_word_pairs(str(tmp_path / "pairs.tsv"), **options)
        np.testing.assert_allclose(ours[0], others[0], atol=1e-5)
        np.testing.assert_allclose(ours[1], others[1], atol=1e-5)
        assert ours[2] == pytest.approx(others[2])


def test_correlation(rng):
    stats = pytest.importorskip("scipy.stats")
    for n in (3, 4, 5, 20, 353, 2000):
        x = rng.integers(0, 8, n).astype(float) + np.arange(n) * 1e-3
        for noise in (0.01, 3.0, 100.0):
            y = np.round(x + noise * rng.standard_normal(n), 1)
            for ours, theirs in (
                (_pearson(x, y), stats.pearsonr(x, y)),
                (_pearson(_ranks(x), _ranks(y)), stats.spearmanr(x, y)),
            ):
                assert ours.statistic == pytest.approx(theirs.statistic, abs=1e-12)
                # Of n = 3 the probability is about the root of 1 - r, which is rounding where r is 1.
                assert ours.pvalue == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-7 if n < 6 else 1e-100)
    assert _p_value(0.0, 10) == pytest.approx(1)
    assert _p_value(1.0, 10) == 0
    assert np.isnan(_pearson(np.ones(5), np.arange(5.0)).statistic)
    np.testing.assert_array_equal(_ranks(np.array([3.0, 1, 3, 7])), [2.5, 1, 2.5, 4])


def test_files_of_tests_that_are_none(vectors, tmp_path):
    path = tmp_path / "file"
    for content, text in (
        (b"a b c d\n", "line 1 comes before the first section"),
        (b": x\n\xff\xfe b c d\n", "line 2 is not utf-8"),
        (b"\xfd7zXZ\x00nothing", "damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=text):
            vectors.evaluate_word_analogies(path)
    path.write_bytes(b"w1 w2 3\n")
    with pytest.raises(DataError, match="no pair of known words"):
        vectors.evaluate_word_pairs(path)
    for ask in (vectors.evaluate_word_analogies, vectors.evaluate_word_pairs):
        with pytest.raises(DataNotFoundError):
            ask(tmp_path / "none")
    with pytest.raises(ValueError, match="similarity_function is 'cosine'"):
        vectors.evaluate_word_analogies(path, similarity_function="cosine")
    path.write_bytes(b"")
    assert vectors.evaluate_word_analogies(path)[0] == 0


@given(st.text("w12 \t:\n#.9-einf", max_size=60) | st.binary(max_size=40))
def test_any_file_of_tests_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    vectors = KeyedVectors(["w", "1", "2", "w1", "W2"], np.eye(5))
    for ask in (vectors.evaluate_word_analogies, vectors.evaluate_word_pairs):
        try:
            answer = ask(path)
        except DataError:
            continue
        assert len(answer) in (2, 3)


@pytest.mark.parametrize("name", ["v.safetensors", "v.npz", "v.bin", "v.txt", "v.vec", "folder", "folder.d"])
def test_there_and_back(name, vectors, tmp_path):
    if name.endswith(("safetensors", "folder")):
        pytest.importorskip("safetensors")
    if name == "folder.d":
        (tmp_path / name).mkdir()
    written = vectors.save(tmp_path / name)
    assert written.is_file()
    for path in (written, tmp_path / name):
        read = KeyedVectors.load(path)
        assert read.index_to_key == WORDS
        np.testing.assert_array_equal(read.vectors, vectors.vectors)
        if name in ("v.bin", "v.txt", "v.vec"):
            assert read.counts is None
        else:
            np.testing.assert_array_equal(read.counts, vectors.counts)
    assert len(KeyedVectors.load(tmp_path / name, limit=5)) == 5


def test_a_folder_without_vectors(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"holds no word vectors, expected vectors.safetensors or"):
        KeyedVectors.load(tmp_path)


def test_formats_of_gensim(vectors, theirs, tmp_path):
    gensim = pytest.importorskip("gensim.models")
    for binary in (False, True):
        ours = vectors.save_word2vec_format(tmp_path / "ours", binary=binary)
        theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
        assert ours.read_bytes() == (tmp_path / "theirs").read_bytes()
        read = gensim.KeyedVectors.load_word2vec_format(str(ours), binary=binary)
        read.save_word2vec_format(str(tmp_path / "again"), binary=binary)
        assert ours.read_bytes() == (tmp_path / "again").read_bytes()
        back = KeyedVectors.load_word2vec_format(tmp_path / "again", binary=binary)
        np.testing.assert_array_equal(back.vectors, vectors.vectors)
    vectors.save_word2vec_format(tmp_path / "glove", write_header=False)
    read = gensim.KeyedVectors.load_word2vec_format(str(tmp_path / "glove"), no_header=True)
    np.testing.assert_array_equal(read.vectors, vectors.vectors)
    np.testing.assert_array_equal(KeyedVectors.load(tmp_path / "glove").vectors, vectors.vectors)
    with pytest.raises(ValueError, match="write_header"):
        vectors.save_word2vec_format(tmp_path / "glove", binary=True, write_header=False)
