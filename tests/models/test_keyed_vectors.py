"""Words and their vectors: against definitions, and against gensim where it is installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit as dl
from dlkit.data import DataError, DataNotFoundError
from dlkit.models import KeyedVectors, UnknownWordError

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


def test_similarities_as_gensim(vectors, theirs, table):
    some = ["w7", 12, "the", "w3"]
    assert vectors.most_similar_to_given("w1", some) == theirs.most_similar_to_given("w1", some)
    np.testing.assert_allclose(
        vectors.cosine_similarities(table[0], table), theirs.cosine_similarities(table[0], table), atol=1e-6
    )
    for topn in (1, 10, 30):
        ours = vectors.relative_cosine_similarity("w1", "w2", topn)
        assert ours == pytest.approx(theirs.relative_cosine_similarity("w1", "w2", topn), abs=1e-5)
    assert dl.KeyedVectors.cosine_similarities([0.0, 0.0], np.eye(2)).tolist() == [0, 0]
    assert dl.KeyedVectors.cosine_similarities([3, 0], [[2, 0], [0, 0]]).tolist() == [1, 0]
    zeros = KeyedVectors(["a", "b"], np.eye(2, 3) * [[1], [0]])
    for ask, text in (
        (lambda: vectors.most_similar_to_given("w1", []), "keys_list is empty"),
        (
            lambda: vectors.cosine_similarities(table[0, :3], table),
            r"vector_1 is \(3,\) and vectors_all \(204, 12\)",
        ),
        (lambda: vectors.relative_cosine_similarity("w1", "w2", 0), "relative_cosine_similarity: topn is 0"),
        (lambda: zeros.relative_cosine_similarity("a", "b"), "sum to 0"),
    ):
        with pytest.raises(ValueError, match=text):
            ask()


def test_some_of_the_words_as_gensim(vectors, theirs):
    keys = ["the", "unknown", "w3", "w3", "w150"]
    ours, others = vectors.vectors_for_all(iter(keys)), theirs.vectors_for_all(iter(keys))
    assert ours.index_to_key == others.index_to_key == ["the", "w3", "w150"]
    np.testing.assert_array_equal(ours.vectors, others.vectors)
    assert ours.counts is None
    assert not np.shares_memory(ours.vectors, vectors.vectors)
    assert vectors.vectors_for_all(keys, copy_vecattrs=True).counts.tolist() == [
        vectors.get_vecattr(word, "count") for word in ours.index_to_key
    ]
    with pytest.raises(ValueError, match="vectors_for_all: keys has no word with a vector"):
        vectors.vectors_for_all(["unknown"])


@pytest.mark.parametrize("library", ["faiss", "hnswlib", "usearch"])
def test_libraries_of_indices_take_the_array_as_it_is(library, vectors):
    pytest.importorskip(library)
    normed = vectors.get_normed_vectors()
    _, want = vectors.nearest(vectors.vectors[:20], topn=5)
    if library == "faiss":
        import faiss

        index = faiss.IndexFlatIP(vectors.vector_size)
        index.add(normed)
        _, found = index.search(normed[:20], 5)
    elif library == "hnswlib":
        import hnswlib

        index = hnswlib.Index(space="cosine", dim=vectors.vector_size)
        index.init_index(max_elements=len(vectors), ef_construction=len(vectors), M=48, random_seed=0)
        index.set_ef(len(vectors))
        index.add_items(vectors.vectors, num_threads=1)
        found, _ = index.knn_query(vectors.vectors[:20], k=5)
    else:
        from usearch.index import Index

        index = Index(ndim=vectors.vector_size, metric="cos", dtype="f32")
        index.add(np.arange(len(vectors)), vectors.vectors)
        found = index.search(vectors.vectors[:20], 5, exact=True).keys
    cosines = np.einsum("ij,ikj->ik", normed[:20], normed[found.astype(np.int64)])
    np.testing.assert_allclose(cosines, want, atol=1e-5)


@pytest.mark.parametrize("wrong", [2.0, "3", True, [1]])
def test_numbers_that_are_none(wrong, vectors, table):
    topn = {
        "most_similar": (lambda **how: vectors.most_similar("w1", **how), "None or an integer"),
        "most_similar_cosmul": (lambda **how: vectors.most_similar_cosmul("w1", **how), "None or an integer"),
        "similar_by_word": (lambda **how: vectors.similar_by_word("w1", **how), "None or an integer"),
        "similar_by_vector": (lambda **how: vectors.similar_by_vector(table[1], **how), "None or an integer"),
        "nearest": (lambda **how: vectors.nearest(["w1"], **how), "an integer"),
        "relative_cosine_similarity": (
            lambda **how: vectors.relative_cosine_similarity("w1", "w2", **how),
            "an integer",
        ),
    }
    for name, (ask, expected) in topn.items():
        said = "most_similar" if name.startswith("similar") else name
        with pytest.raises(ValueError, match=f"^{said}: topn is .*, expected {expected}$"):
            ask(topn=wrong)
        if name != "relative_cosine_similarity":
            with pytest.raises(
                ValueError, match=f"^{said}: restrict_vocab is .*, expected None or an integer$"
            ):
                ask(restrict_vocab=wrong)
    for ask in (vectors.evaluate_word_analogies, vectors.evaluate_word_pairs):
        with pytest.raises(
            ValueError, match=r"^evaluate_word_\w+: restrict_vocab is .*, expected None or an integer$"
        ):
            ask("nothing", restrict_vocab=wrong)
    for name in ("clip_start", "clip_end"):
        with pytest.raises(ValueError, match=f"^most_similar: {name} is .*, expected (None or )?an integer$"):
            vectors.most_similar("w1", **{name: wrong})
    assert vectors.most_similar("w1", topn=np.int32(2)) == vectors.most_similar("w1", topn=2)


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
    # Words go by falling count, as gensim writes them; a prefix stands before each.
    shuffled = KeyedVectors(WORDS, vectors.vectors, np.arange(len(WORDS)) * 7 % 40)
    for word in WORDS:
        theirs.set_vecattr(word, "count", shuffled.get_vecattr(word, "count"))
    shuffled.save_word2vec_format(tmp_path / "ours", prefix="*")
    theirs.save_word2vec_format(str(tmp_path / "theirs"), prefix="*")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("ending", ["txt.gz", "bin.gz", "txt.bz2", "bin.bz2"])
def test_compressed_files_of_gensim(ending, vectors, theirs, tmp_path):
    gensim = pytest.importorskip("gensim.models")
    binary = ending.startswith("bin")
    path = vectors.save_word2vec_format(tmp_path / f"ours.{ending}", binary=binary)
    assert path.read_bytes() == vectors.save(tmp_path / f"saved.{ending}").read_bytes()
    read = gensim.KeyedVectors.load_word2vec_format(str(path), binary=binary)
    assert read.index_to_key == WORDS
    np.testing.assert_array_equal(read.vectors, vectors.vectors)
    theirs.save_word2vec_format(str(tmp_path / f"theirs.{ending}"), binary=binary)
    back = KeyedVectors.load(tmp_path / f"theirs.{ending}")
    assert back.index_to_key == WORDS
    np.testing.assert_array_equal(back.vectors, vectors.vectors)


def test_arguments_of_gensims_files(vectors, tmp_path):
    path = tmp_path / "v"
    vectors.save_word2vec_format(path, None, True, len(vectors), True, "", False, "count")
    read = KeyedVectors.load_word2vec_format(path, None, True, "utf8", "strict", 7, np.float32, False)
    assert read.index_to_key == WORDS[:7]
    assert len(KeyedVectors.load_word2vec_format(path, encoding="UTF-8", datatype="float32")) == len(WORDS)
    for name, value, text in (
        ("fvocab", True, "fvocab is True, expected None"),
        ("fvocab", "counts.txt", "fvocab is 'counts.txt', expected None"),
        ("encoding", "latin-1", "encoding is 'latin-1', expected 'utf8'"),
        ("encoding", None, "encoding is None, expected 'utf8'"),
        ("encoding", "klingon", "encoding is 'klingon', expected 'utf8'"),
        ("datatype", np.float16, "datatype is .*float16.*, expected float32"),
        ("datatype", "word", "datatype is 'word', expected float32"),
    ):
        with pytest.raises(ValueError, match=f"^load_word2vec_format: {text}$"):
            KeyedVectors.load_word2vec_format(path, **{name: value})
    for name, value, text in (
        ("fvocab", True, "fvocab is True, expected None"),
        ("total_vec", 9, "total_vec is 9, expected None"),
        ("append", True, "append is True, expected False"),
        ("sort_attr", "length", "sort_attr is 'length', expected 'count'"),
        ("prefix", 3, "prefix is 3, expected a text"),
    ):
        with pytest.raises(ValueError, match=f"^save_word2vec_format: {text}$"):
            vectors.save_word2vec_format(tmp_path / "w", **{name: value})
    assert not (tmp_path / "w").exists()


def test_a_limit_on_bytes(vectors, tmp_path):
    path = vectors.save(tmp_path / "v.bin.gz")
    for load in (KeyedVectors.load, KeyedVectors.load_word2vec_format):
        assert len(load(path, max_bytes=100_000)) == len(WORDS)
        with pytest.raises(DataError, match=r"unpacks to more than the limit of 10000 bytes \(max_bytes\)"):
            load(path, max_bytes=10_000)


@pytest.mark.parametrize("name", ["v.npz", "v.safetensors", "folder"])
def test_words_with_line_ends(name, vectors, tmp_path):
    if name == "v.safetensors":
        pytest.importorskip("safetensors")
    words = [*WORDS[:-1], "New\nYork"]
    odd = KeyedVectors(words, vectors.vectors, vectors.counts)
    odd.save(tmp_path / name)
    read = KeyedVectors.load(tmp_path / name)
    assert read.index_to_key == words
    np.testing.assert_array_equal(read.vectors, vectors.vectors)
    np.testing.assert_array_equal(read.counts, vectors.counts)


def test_a_folder_gets_what_can_be_read_here(vectors, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert vectors.save(tmp_path / "folder").name == "vectors.npz"
    assert KeyedVectors.load(tmp_path / "folder").index_to_key == WORDS
    vectors.save(tmp_path / "v.safetensors")  # is written all the same
    with pytest.raises(ImportError, match=r'pip install "dlkit\[cli\]"'):
        KeyedVectors.load(tmp_path / "v.safetensors")
