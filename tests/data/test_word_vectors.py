import bz2
import gzip
import io
import json
import lzma
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.data import DataError, DataNotFoundError, WordVectors, read_word_vectors, write_word_vectors

WORDS = ["the", "film", "ärger", "New_York"]
VECTORS = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
FORMATS = ("text", "binary", "glove", "npz", "safetensors")


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
        assert path.read_bytes() == (tmp_path / "w").read_bytes()
        np.testing.assert_array_equal(read_word_vectors(tmp_path / "w").vectors, VECTORS)


def test_binary_without_line_ends_as_google_has_it(tmp_path):
    content = b"2 3\n" + b"a " + struct.pack("<3f", 1, 2, 3) + b"b " + struct.pack("<3f", 4, 5, 6)
    (tmp_path / "v").write_bytes(content)
    read = read_word_vectors(tmp_path / "v")
    assert read.words == ["a", "b"]
    np.testing.assert_array_equal(read.vectors, [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("at", range(12))
def test_binary_with_a_line_end_in_a_number(at, ending, tmp_path):
    vectors = VECTORS[:, :3].copy()
    vectors.view(np.uint8)[:, at] = 10
    read = read_word_vectors(write_word_vectors(tmp_path / f"v{ending}", WORDS, vectors, binary=True))
    assert read.words == WORDS
    np.testing.assert_array_equal(read.vectors, vectors)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "line 1 is"),
        (b"word 1 x\n", "line 1 is"),
        (b"word\n", "line 1 is"),
        (b"9" * 300 + b" 3\na 1 2 3\n", "line 1 is"),
        (b"a 1 2\nb 1\n", "line 2 has 2 columns"),
        (b"a 1 2\nb 1 x\n", "line 2, 'b': not all columns are numbers"),
        (b"a 1 2\n\nb 1 2\n", "line 2 has 1 columns"),
        (b"a 1 2\nb 1 nan\n", "line 2, 'b': NaN"),
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
        (b"1 1\n" + b"\x01" * 90000, "no word 1"),
        (b"1 1\n" + b"\x01" * 60000, "cut short in word 1"),
        (b"1 1\n" + b"w" * 65537 + b" 1\n", "line 2: the word has 65537 bytes, expected 1 to 65536"),
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


def test_reads_a_folder(tmp_path):
    write_word_vectors(tmp_path / "vectors.npz", WORDS, VECTORS, format="npz")
    read = read_word_vectors(tmp_path)
    assert read.words == WORDS
    np.testing.assert_array_equal(read.vectors, VECTORS)


def test_other_errors(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such file"):
        read_word_vectors(tmp_path / "none")
    with pytest.raises(DataNotFoundError, match=r"holds no word vectors, expected vectors.safetensors or"):
        read_word_vectors(tmp_path)
    with pytest.raises(DataError, match="no regular file"):
        read_word_vectors(os.devnull)
    path = write_word_vectors(tmp_path / "v", WORDS, VECTORS)
    with pytest.raises(DataError, match="limit of 10 "):
        read_word_vectors(path, max_bytes=10)
    for words, vectors, text in (
        (["a b"], VECTORS[:1], r"without ASCII white space, .*\(.npz and .safetensors take it\)"),
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


HARD = np.array([[1e-45, 3.4028235e38, -0.0], [1 / 3, 1e-38, 16777216], [0.1, -1e-5, 123456790]], np.float32)


@pytest.mark.parametrize("format", ["text", "binary", "glove", "npz", "safetensors"])
def test_every_format_gives_back_every_bit(format, tmp_path):
    if format == "safetensors":
        pytest.importorskip("safetensors")
    words, counts = ["the", "ärger", "北京"], [9, 5, 1]
    path = write_word_vectors(tmp_path / "v", words, HARD, format=format, counts=counts)
    read = read_word_vectors(path)
    assert read.words == words
    np.testing.assert_array_equal(read.vectors.view(np.int32), HARD.view(np.int32))
    if format in ("npz", "safetensors"):
        np.testing.assert_array_equal(read.counts, counts)
    else:
        assert read.counts is None
    again = write_word_vectors(tmp_path / "w", read.words, read.vectors, format=format, counts=read.counts)
    assert again.read_bytes() == path.read_bytes()
    one = read_word_vectors(path, limit=2, keep={"北京", "the"})
    assert one.words == ["the"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
@pytest.mark.parametrize("format", ["text", "binary", "glove"])
def test_compressed(pack, format, tmp_path):
    content = write_word_vectors(tmp_path / "v", WORDS, VECTORS, format=format).read_bytes()
    (tmp_path / "p").write_bytes(pack(content))
    read = read_word_vectors(tmp_path / "p")
    assert read.words == WORDS
    np.testing.assert_array_equal(read.vectors, VECTORS)
    (tmp_path / "p").write_bytes(pack(content)[:-9])
    with pytest.raises(DataError, match=r"damaged or cut short|is cut short"):
        read_word_vectors(tmp_path / "p")
    (tmp_path / "p").write_bytes(pack(b"".join(b"w%d 1 2\n" % i for i in range(9000)) * 9))
    with pytest.raises(DataError, match="unpacks to more than the limit of 500000 bytes"):
        read_word_vectors(tmp_path / "p", max_bytes=500_000)


def test_fasttext_and_glove_as_their_makers_write_them(tmp_path):
    # fastText ends its lines with a space; GloVe of 840 billion words has words with spaces within.
    (tmp_path / "v.vec").write_bytes("2 3\nthe 0.1 -0.2 3 \n\u00a0 1 2 3 \n".encode())
    read = read_word_vectors(tmp_path / "v.vec")
    assert read.words == ["the", "\u00a0"]
    (tmp_path / "glove.txt").write_bytes(b"the 0.1 -0.2 3\n. . . 1 2 3\nat name@domain.com 4 5 6")
    read = read_word_vectors(tmp_path / "glove.txt")
    assert read.words == ["the", ". . .", "at name@domain.com"]
    np.testing.assert_array_equal(read.vectors[1:], [[1, 2, 3], [4, 5, 6]])


def test_broken_utf_8_and_words_that_are_there_twice(tmp_path):
    cut = "ä".encode()[:1]
    content = b"4 1\na" + cut + b" 1\na" + cut + b" 2\nb 3\nb 4\n"
    (tmp_path / "v").write_bytes(content)
    read = read_word_vectors(tmp_path / "v")
    assert read.words == ["a\ufffd", "b"]
    np.testing.assert_array_equal(read.vectors, [[1], [3]])
    with pytest.raises(DataError, match="line 2: the word is not UTF-8: byte 0xc3 at 2"):
        read_word_vectors(tmp_path / "v", unicode_errors="strict")
    with pytest.raises(ValueError, match="unicode_errors is 'ignore'"):
        read_word_vectors(tmp_path / "v", unicode_errors="ignore")
    with pytest.raises(ValueError, match="limit is 0"):
        read_word_vectors(tmp_path / "v", limit=0)


@pytest.mark.parametrize("head", [b"", b"9 9\n", b"a 1 2\n"])
def test_half_a_gigabyte_without_a_space(head, tmp_path):
    with open(tmp_path / "v", "wb") as file:
        file.write(head + b"a" * 10_000_000)
        file.truncate(500_000_000)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"line [12]|word 1|no word"):
        read_word_vectors(tmp_path / "v")
    assert tracemalloc.get_traced_memory()[1] < 40e6
    tracemalloc.stop()


#: What Unicode calls white space, or Python's str.isspace does, but no format separates words by.
SPACES = "\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2002\u200b\u2028\u2029\u202f\u205f\u3000\ufeff\0"
ODD = [word for c in SPACES for word in (c, f"a{c}b", f"{c}b", f"a{c}")]


@pytest.mark.parametrize("format", FORMATS)
def test_words_of_a_corpus_can_be_written(format, tmp_path, rng):
    if format == "safetensors":
        pytest.importorskip("safetensors")
    # A corpus splits at ASCII white space alone, and takes words of up to 65,536 bytes.
    words = [*ODD, "w" * 65536, "ä" * 32768, "last"]
    vectors = rng.standard_normal((len(words), 3)).astype(np.float32)
    for first in (0, 1, len(ODD)):  # the first word is the one by which text is told from binary
        part = words[first:]
        read = read_word_vectors(
            write_word_vectors(tmp_path / "v", part, vectors[first:], format=format), unicode_errors="strict"
        )
        assert read.words == part
        np.testing.assert_array_equal(read.vectors, vectors[first:])


def test_gensim_reads_and_writes_the_words_of_a_corpus(tmp_path, rng):
    gensim = pytest.importorskip("gensim.models")
    words = [*ODD, "w" * 65536]
    vectors = rng.standard_normal((len(words), 3)).astype(np.float32)
    for binary in (False, True):
        path = write_word_vectors(tmp_path / "v", words, vectors, binary=binary)
        theirs = gensim.KeyedVectors.load_word2vec_format(str(path), binary=binary)
        assert theirs.index_to_key == words
        np.testing.assert_array_equal(theirs.vectors, vectors)
        theirs.save_word2vec_format(str(tmp_path / "w"), binary=binary)
        assert path.read_bytes() == (tmp_path / "w").read_bytes()


@pytest.mark.parametrize("format", ["npz", "safetensors"])
def test_words_with_line_ends(format, tmp_path):
    if format == "safetensors":
        pytest.importorskip("safetensors")
    words = ["a\nb", "\n", "c", "\n\nd ", "ä\r\n"]
    vectors = np.arange(15, dtype=np.float32).reshape(5, 3)
    path = write_word_vectors(tmp_path / "v", words, vectors, format=format, counts=range(5))
    read = read_word_vectors(path)
    assert read.words == words
    np.testing.assert_array_equal(read.vectors, vectors)
    np.testing.assert_array_equal(read.counts, range(5))
    assert read_word_vectors(path, limit=2).words == words[:2]
    assert read_word_vectors(path, keep={"ä\r\n"}).vectors.tolist() == [[12, 13, 14]]
    # Without such words nothing is there that was not before.
    path = write_word_vectors(tmp_path / "v", words[2:3], vectors[:1], format=format)
    assert b"word_ends" not in path.read_bytes()


@pytest.mark.parametrize("format", ["npz", "safetensors"])
def test_memory_beside_the_vectors(format, tmp_path):
    wide = np.ones((400_000, 64), np.float32)  # 102 MB, of which every row has some that are not written
    words = [str(i) for i in range(len(wide))]
    tracemalloc.start()
    path = write_word_vectors(tmp_path / "v", words, wide[:, :50], format=format)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (
        peak < 75e6
    )  # NumPy writes .npz in blocks of 16 MB; the words, their bytes and a set of them are 30 MB
    assert path.stat().st_size > 80e6


@pytest.mark.parametrize("format", ["npz", "safetensors"])
@pytest.mark.parametrize(
    "layout", [np.asfortranarray, lambda v: np.repeat(v, 2, axis=1)[:, ::2], lambda v: v[:, :1]]
)
def test_arrays_lie_row_by_row(format, layout, tmp_path):
    if format == "safetensors":
        pytest.importorskip("safetensors")
    table = layout(VECTORS)
    path = write_word_vectors(tmp_path / "v", WORDS, table, format=format)
    content = path.read_bytes()
    assert np.ascontiguousarray(table).tobytes() in content
    np.testing.assert_array_equal(read_word_vectors(path).vectors, table)


def test_files_of_any_size(tmp_path, monkeypatch):
    # Nine gigabytes that take none on the disk: only the beginning is read.
    path = tmp_path / "v"
    with open(path, "wb") as file:
        file.write(
            b"8000000 300\na " + VECTORS[0, :1].tobytes() * 300 + b"b " + VECTORS[1, :1].tobytes() * 300
        )
        file.truncate(9_700_000_000)
    read = read_word_vectors(path, limit=2)
    assert read.words == ["a", "b"]
    assert (read.vectors == VECTORS[:2, :1]).all()
    with pytest.raises(DataError, match=r"9700000000 bytes, more than the limit of 8000 \(max_bytes\)"):
        read_word_vectors(path, max_bytes=8000)
    # What a compressed file unpacks to stays bounded.
    monkeypatch.setattr("dlkit.data.word_vectors._MAX_UNPACKED", 5000)
    rows = np.ones((900, 3), np.float32)
    for format, name in (("text", "v.gz"), ("binary", "v.xz")):
        packed = write_word_vectors(tmp_path / name, [str(i) for i in range(900)], rows, format=format)
        with pytest.raises(DataError, match=r"unpacks to more than the limit of 5000 bytes \(max_bytes\)"):
            read_word_vectors(packed)
        assert len(read_word_vectors(packed, max_bytes=50_000)) == 900
    np.savez_compressed(tmp_path / "v.npz", vectors=rows, words=np.frombuffer(b"a\n" * 899 + b"a", np.uint8))
    with pytest.raises(DataError, match=r"vectors unpacks to \d+ bytes, more than 5000 \(max_bytes\)"):
        read_word_vectors(tmp_path / "v.npz")
    stored = write_word_vectors(tmp_path / "w.npz", [str(i) for i in range(900)], rows, format="npz")
    assert len(read_word_vectors(stored)) == 900


@pytest.mark.parametrize("ending", [".gz", ".xz", ".bz2", ".GZ"])
@pytest.mark.parametrize("format", ["text", "binary", "glove"])
def test_the_end_of_the_name_compresses(ending, format, tmp_path):
    plain = write_word_vectors(tmp_path / "v", WORDS, VECTORS, format=format).read_bytes()
    path = write_word_vectors(tmp_path / f"v.txt{ending}", WORDS, VECTORS, format=format)
    unpack = {".gz": gzip.decompress, ".xz": lzma.decompress, ".bz2": bz2.decompress}[ending.lower()]
    assert unpack(path.read_bytes()) == plain
    read = read_word_vectors(path)
    assert read.words == WORDS
    np.testing.assert_array_equal(read.vectors, VECTORS)
    again = write_word_vectors(tmp_path / f"another{ending}", WORDS, VECTORS, format=format)
    assert again.read_bytes() == path.read_bytes()
    for arrays in ("npz", "safetensors"):
        with pytest.raises(DataError, match="a name of a compressed file"):
            write_word_vectors(tmp_path / f"x{ending}", WORDS, VECTORS, format=arrays)
    assert len(list(tmp_path.iterdir())) == 3


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy_that_lies(shape):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in (("vectors", shape), ("words", "(1,)")):
            kind = "<f4" if name == "vectors" else "|u1"
            header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {text}}}".ljust(117) + "\n"
            archive.writestr(
                f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode() + b"abcd"
            )
    return file.getvalue()


def npz_that_lies():
    content = bytearray(npz(vectors=VECTORS[:2]))
    at = content.index(b"PK\x01\x02")  # the directory at the end
    struct.pack_into("<II", content, at + 20, 4_000_000_000, 4_000_000_000)
    return bytes(content)


BYTES = np.frombuffer(b"a\nb", np.uint8)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (npz(vectors=VECTORS[:2]), "no array words"),
        (npz(words=BYTES), "no array vectors"),
        (npz(vectors=VECTORS, words=BYTES), r"2 words but vectors is \(4, 5\)"),
        (npz(vectors=VECTORS[0], words=BYTES), "vectors is float32 \\(5,\\)"),
        (npz(vectors=np.ones((2, 3), int), words=BYTES), "vectors is int64"),
        (npz(vectors=np.ones((2, 0)), words=BYTES), "vectors is float64"),
        (npz(vectors=np.full((2, 3), 1e300), words=BYTES), "word 1, 'a': NaN or infinity"),
        (npz(vectors=np.array([[1.0], [np.nan]]), words=BYTES), "word 2, 'b': NaN"),
        (npz(vectors=VECTORS[:2], words=np.array(["a", "b"])), "words holds <U1"),
        (npz(vectors=VECTORS[:2], words=np.frombuffer(b"a\n", np.uint8)), "word 2: the word has 0 bytes"),
        (npz(vectors=VECTORS[:2], words=BYTES, counts=np.array([1, -1])), "counts is int64"),
        (npz(vectors=VECTORS[:2], words=BYTES, counts=np.array([1])), "counts is int64"),
        (npz(vectors=np.array([[{}]]), words=BYTES), "vectors holds object"),
        *(
            (npz(vectors=VECTORS[:2], words=BYTES, word_ends=ends), text)
            for ends, text in (
                (np.array([1.0, 3.0]), "word_ends is float64"),
                (np.array([[1, 3]]), "word_ends is int64"),
                (np.array([], int), "word_ends is int64"),
                (np.array([1, 4]), "word_ends does not fit"),
                (np.array([0, 3]), "word_ends does not fit"),
                (np.array([-2, 3]), "word_ends does not fit"),
                (np.array([3, 1]), "word_ends does not fit"),
                (np.array([1 << 62, 3]), "word_ends does not fit"),
                (np.array([3]), r"1 words but vectors is \(2, 5\)"),
            )
        ),
        (npy_that_lies("(1000000000, 300)"), "which 132 bytes cannot hold"),
        (npy_that_lies("(-1, 300)"), "vectors"),
        (npy_that_lies("'abc'"), "is no array of NumPy"),
        (npy_that_lies("(1, 2)"), "cut short: 4 of 8 bytes"),
        (npz_that_lies(), "vectors is said to have 4000000000 bytes, which 308 bytes cannot hold"),
        (npz(vectors=VECTORS[:2], words=BYTES)[:-30], "no complete .npz file"),
        (b"PK\x03\x04", "no complete .npz file"),
    ],
)
def test_hostile_npz(content, text, tmp_path):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(DataError, match=text):
        read_word_vectors(tmp_path / "v")


def test_hostile_safetensors(tmp_path):
    pytest.importorskip("safetensors")
    whole = write_word_vectors(tmp_path / "v", WORDS, VECTORS, format="safetensors").read_bytes()

    def made(**entries):
        header = json.dumps(entries).encode()
        return struct.pack("<Q", len(header)) + header + bytes(64)

    floats = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    for content, text in (
        (whole[:-1], "no complete safetensors file"),
        (whole[:40] + b"\xff" + whole[41:], "no complete safetensors file"),
        (made(vectors=floats), "no complete safetensors file|no array words"),
        (made(vectors={**floats, "shape": [1 << 40, 3]}), "no complete safetensors file"),
    ):
        (tmp_path / "v").write_bytes(content)
        with pytest.raises(DataError, match=text):
            read_word_vectors(tmp_path / "v")


WHOLE: dict[str, bytes] = {}  # the content of a file of each format


@given(st.data())
def test_files_with_damage_are_read_or_refused(tmp_path_factory, data):
    pytest.importorskip("safetensors")
    path = tmp_path_factory.getbasetemp() / "damaged"
    format = data.draw(st.sampled_from(FORMATS))
    if format not in WHOLE:
        words = [*WORDS[:3], "New\nYork"] if format in ("npz", "safetensors") else WORDS
        WHOLE[format] = write_word_vectors(
            path, words, VECTORS, format=format, counts=[4, 3, 2, 1]
        ).read_bytes()
    content = bytearray(WHOLE[format])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        match data.draw(st.sampled_from(["set", "cut", "insert", "drop"])):
            case "set":
                content[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del content[at:]
            case "insert":
                content[at:at] = data.draw(st.binary(max_size=9))
            case "drop":
                del content[at : at + data.draw(st.integers(1, 30))]
    if data.draw(st.booleans()):
        content = gzip.compress(bytes(content))
    path.write_bytes(bytes(content))
    refused = ""
    try:
        read = read_word_vectors(path, max_bytes=100_000)
    except DataError as error:
        refused = str(error)
    if refused:
        assert refused.startswith(str(path))
    else:
        assert np.isfinite(read.vectors).all()
        assert len(set(read.words)) == len(read.words) == len(read.vectors)


def test_more_that_cannot_be_written(tmp_path):
    for words, vectors, options, text in (
        *(
            ([f"a{c}b"], VECTORS[:1], {"format": f}, "ASCII white space")
            for c in " \t\n\v\f\r"
            for f in FORMATS[:3]
        ),
        (["w" * 65537], VECTORS[:1], {}, "of 1 to 65536 bytes$"),
        (["w" * 65537], VECTORS[:1], {"format": "npz"}, "expected one of 1 to 65536 bytes$"),
        ([""], VECTORS[:1], {"format": "safetensors"}, "expected one of 1 to 65536 bytes$"),
        (["\udc80"], VECTORS[:1], {}, "cannot be written as UTF-8"),
        (["a"], np.full((1, 2), 1e300), {}, "NaN or infinity"),
        (["a"], np.zeros((1, 70000)), {}, "at most 65536"),
        (["a"], VECTORS[:1], {"format": "npz", "counts": [1.5]}, "counts is float64"),
    ):
        with pytest.raises(DataError, match=text):
            write_word_vectors(tmp_path / "w", words, vectors, **options)
    with pytest.raises(ValueError, match="format is 'csv'"):
        write_word_vectors(tmp_path / "w", ["a"], VECTORS[:1], format="csv")
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="counts of shape"):
        WordVectors(["a"], VECTORS[:1], np.zeros(2, np.int64))
