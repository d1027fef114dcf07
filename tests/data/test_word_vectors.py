import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.data import DataError, DataNotFoundError, WordVectors, read_word_vectors, write_word_vectors

WORDS = ["the", "film", "ärger", "New_York"]
VECTORS = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)


@pytest.mark.parametrize("binary", [False, True])
def test_there_and_back_bit_for_bit(binary, tmp_path):
    path = write_word_vectors(tmp_path / "v", WORDS, VECTORS, binary=binary)
    read = read_word_vectors(path)
    assert read.words == WORDS
    np.testing.assert_array_equal(read.vectors, VECTORS)
    some = read_word_vectors(path, keep={"film", "New_York"})
    assert some.words == ["film", "New_York"]
    np.testing.assert_array_equal(some.vectors, VECTORS[[1, 3]])
    assert len(read_word_vectors(path, keep=())) == 0


def test_against_gensim(tmp_path):
    gensim = pytest.importorskip("gensim.models")
    for binary in (False, True):
        path = write_word_vectors(tmp_path / "v", WORDS, VECTORS, binary=binary)
        theirs = gensim.KeyedVectors.load_word2vec_format(str(path), binary=binary)
        np.testing.assert_array_equal(theirs.vectors, VECTORS)
        theirs.save_word2vec_format(str(tmp_path / "w"), binary=binary)
        np.testing.assert_allclose(read_word_vectors(tmp_path / "w").vectors, VECTORS, rtol=1e-6)


def test_binary_without_line_ends_as_google_has_it(tmp_path):
    content = b"2 3\n" + b"a " + struct.pack("<3f", 1, 2, 3) + b"b " + struct.pack("<3f", 4, 5, 6)
    (tmp_path / "v").write_bytes(content)
    read = read_word_vectors(tmp_path / "v")
    assert read.words == ["a", "b"]
    np.testing.assert_array_equal(read.vectors, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "line 1 is"),
        (b"word 1 2\n", "line 1 is"),
        (b"2 3", "line 1 is"),
        (b"0 3\n", "0 words of 3"),
        (b"2 0\na\nb\n", "2 words of 0"),
        (b"2 99999\nab\n", "65536 dimensions"),
        (b"99999999999 300\na 1\n", "which 20 bytes cannot hold"),
        (b"2 2\na 1 2\n         \n", "line 3 has"),
        (b"2 2\na 1 2\nb 1 2 3\n", "line 3 has 4 columns"),
        (b"2 2\na 1 2\nb 1 x\n", "line 3, 'b': not all columns are numbers"),
        (b"2 2\na 1 nan\nb 1 2\n", "line 2, 'a': NaN"),
        (b"2 2\na 1 1e99\nb 1 2\n", "line 2, 'a': NaN"),
        (b"1 2\na 1 2\nb 1 2\n", "too long"),
        (b"2 2\na 1 2 \nb 33333333\n", "line 3 has 2 columns"),
        (b"1 2\na " + struct.pack("<2f", 1, 2)[:-1], "cut short"),
        (b"1 2\na " + struct.pack("<2f", 1, float("inf")) + b"\n", "word 1, 'a': NaN or infinity"),
        (b"1 2\na " + struct.pack("<2f", 1, 2) + b"\nmore", "too long"),
        (b"1 1\n" + b"\x01" * 9000, "no word 1"),
    ],
)
def test_hostile_files(content, text, tmp_path):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(DataError, match=text):
        read_word_vectors(tmp_path / "v")


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any"
    for head in (b"", b"2 2\n", b"1 3\na "):
        path.write_bytes(head + content)
        try:
            read = read_word_vectors(path)
        except DataError:
            continue
        assert np.isfinite(read.vectors).all()


def test_other_errors(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such file"):
        read_word_vectors(tmp_path / "none")
    with pytest.raises(DataError, match="is a folder"):
        read_word_vectors(tmp_path)
    path = write_word_vectors(tmp_path / "v", WORDS, VECTORS)
    with pytest.raises(DataError, match="limit of 10 "):
        read_word_vectors(path, max_bytes=10)
    for words, vectors, text in (
        (["a b"], VECTORS[:1], "without white space"),
        (["a", "a"], VECTORS[:2], "twice"),
        (["a"], VECTORS, r"expected \(1, dimensions\)"),
        (["a"], np.full((1, 2), np.nan), "NaN"),
        ([], np.zeros((0, 2)), "neither of them 0"),
    ):
        with pytest.raises(DataError, match=text):
            write_word_vectors(tmp_path / "w", words, vectors)
    with pytest.raises(DataError, match="2 words but vectors"):
        WordVectors(["a", "b"], VECTORS)


def test_table():
    vectors = WordVectors(["film", "the", "film"], VECTORS[:3])
    table, known = vectors.table(["<pad>", "<unk>", "film", "the"], seed=1)
    assert known == 2
    np.testing.assert_array_equal(table[2:], VECTORS[:2])
    bound = np.sqrt(3) * VECTORS[:2].std()
    assert (abs(table[:2]) <= bound).all()
    assert table[:2].std() > 0
    again, _ = vectors.table(["<pad>", "<unk>", "film", "the"], seed=1)
    np.testing.assert_array_equal(table, again)
    assert vectors.table(["x"], bound=0.0)[0].max() == 0
