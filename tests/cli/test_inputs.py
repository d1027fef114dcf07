from __future__ import annotations

import gzip
import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlkit.cli.inputs import InputError, read_samples
from dlkit.data import DataError, load
from dlkit.recipes.card import Card

Image = pytest.importorskip("PIL.Image")

DIGITS = Card("MLP", {}, [str(i) for i in range(10)], features=64, image_shape=(8, 8), scale=16.0)
MNIST = Card(
    "MLP", {}, [str(i) for i in range(10)], features=784, image_shape=(28, 28), scale=255.0, margin=4 / 28
)
PLAIN = Card("MLP", {}, ["0", "1"], features=2)


def digits(count=5):
    return np.round(load("digits").x_test[:count] * 16).astype(np.uint8)


def idx_bytes(array):
    return struct.pack(f">2xBB{array.ndim}I", 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("shape", [(5, 64), (5, 8, 8), (5, 1, 8, 8), (5, 8, 8, 1)])
@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "float64", ">i2", "scaled"])
def test_npy(tmp_path, shape, kind):
    pixels = digits()
    array = (pixels / 16).astype(np.float32) if kind == "scaled" else pixels.astype(kind)
    np.save(tmp_path / "x.npy", array.reshape(shape))
    x = read_samples(tmp_path / "x.npy", DIGITS).x
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, (pixels / 16).astype(np.float32))


@pytest.mark.parametrize("shape", [(64,), (8, 8)])
def test_one_sample(tmp_path, shape):
    np.save(tmp_path / "x.npy", digits(1).reshape(shape))
    assert read_samples(tmp_path / "x.npy", DIGITS).x.shape == (1, 64)


@pytest.mark.parametrize("name", ["x.idx", "x-idx3-ubyte", "x.idx.gz", "x-ubyte.gz", "strange"])
def test_idx(tmp_path, name):
    pixels = digits().reshape(5, 8, 8)
    data = idx_bytes(pixels)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    np.testing.assert_array_equal(
        read_samples(tmp_path / name, DIGITS).x, pixels.reshape(5, 64) / np.float32(16)
    )


def test_csv_with_column_names_comments_and_empty_lines(tmp_path):
    (tmp_path / "x.csv").write_text("\ufeffx1,x2\n0,1\n\n# a comment\n 1 , 0.5\n", encoding="utf-8")
    np.testing.assert_array_equal(read_samples(tmp_path / "x.csv", PLAIN).x, [[0, 1], [1, 0.5]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "has no line of numbers"),
        ("a,b\n", "has no line of numbers"),
        ("1,2\n3,x\n", "line 2, column 2 is 'x', expected a number"),
        ("1,x\n", "line 1, column 2 is 'x'"),
        ("1,2\n3\n", "line 2 has 1 columns, the lines before have 2"),
        ("1,2,3\n", r"holds an array \(1, 3\), expected \(2,\) or \(N, 2\) \(is one column the label"),
        ("1,nan\n", "row 0 holds NaN or infinity"),
        ("1,2\n1,inf\n", "row 1 holds NaN or infinity"),
    ],
)
def test_wrong_csv(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_samples(tmp_path / "x.csv", PLAIN)


def test_binary_rubbish_named_csv(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x80" * 10)
    with pytest.raises(InputError, match="not a text file"):
        read_samples(tmp_path / "x.csv", PLAIN)


def npy(header: str, payload: bytes = b"") -> bytes:
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + payload


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"not an array",
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000), }", b"\0" * 64),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 64), }", b"\0" * 17),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 64), }", b"\x80\x04."),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-5, 64), }"),
        npy("__import__('os').system('true')"),
        npy("{'descr': '<U8', 'fortran_order': False, 'shape': (1, 64), }", b"\0" * 2048),
        npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1, 64), }", b"\0" * 512),
    ],
)
def test_hostile_npy(tmp_path, data):
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.npy"):
        read_samples(tmp_path / "x.npy", DIGITS)


@given(
    st.binary(max_size=200), st.sampled_from([".npy", ".csv", ".png", ".jpg", ".idx", ".idx.gz", ".bin", ""])
)
def test_no_bytes_do_more_than_raise(tmp_path_factory, data, ending):
    path = tmp_path_factory.mktemp("f") / f"x{ending}"
    path.write_bytes(data)
    message = str(path)
    try:
        x = read_samples(path, PLAIN if ending == ".csv" else DIGITS).x
    except (InputError, DataError) as error:
        message = str(error)
    else:
        assert np.isfinite(x).all()
    assert str(path) in message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((1, 64), 17), "values lie in 17 … 17, expected 0 … 1, or pixel values 0 … 16"),
        (np.full((1, 64), -1.0), "values lie in -1 … -1"),
        (np.full((1, 64), np.nan), "row 0 holds NaN"),
        (np.zeros((2, 63)), r"holds an array \(2, 63\), expected \(64,\) or \(N, 64\), or images \(8, 8\)"),
        (np.zeros((0, 64)), r"holds an array \(0, 64\)"),
        (np.zeros(()), r"holds an array \(\)"),
        (np.zeros((1, 64), complex), "dtype is complex128, expected numbers"),
        (np.array(["a"]), "expected numbers"),
    ],
)
def test_wrong_arrays(tmp_path, values, message):
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(InputError, match=message):
        read_samples(tmp_path / "x.npy", DIGITS)


def test_image_of_the_right_size_is_taken_as_it_is(tmp_path):
    pixels = (digits(1).reshape(8, 8).astype(np.float64) * 255 / 16).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    samples = read_samples(tmp_path / "x.png", DIGITS)
    assert samples.note == ""
    np.testing.assert_allclose(samples.x, pixels.reshape(1, 64) / 255, atol=1e-6)


def test_dark_on_bright_is_inverted_unless_told_otherwise(tmp_path):
    pixels = np.full((8, 8), 255, np.uint8)
    pixels[2:6, 4] = 0
    Image.fromarray(pixels).save(tmp_path / "x.png")
    samples = read_samples(tmp_path / "x.png", DIGITS)
    assert "inverted" in samples.note
    assert samples.x.reshape(8, 8)[0, 0] == 0
    assert samples.x.reshape(8, 8)[3, 4] == 1
    kept = read_samples(tmp_path / "x.png", DIGITS, invert=False)
    assert kept.x.reshape(8, 8)[0, 0] == 1


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16", "LA"])
def test_colour_modes(tmp_path, mode):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[2:6, 3:5] = 255
    if mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "x.png")
    np.testing.assert_allclose(
        read_samples(tmp_path / "x.png", DIGITS).x.reshape(8, 8), pixels / 255, atol=0.01
    )


def test_transparent_is_white(tmp_path):
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[2:6, 3:5, 3] = 255  # black ink, the rest transparent
    Image.fromarray(rgba, "RGBA").save(tmp_path / "x.png")
    samples = read_samples(tmp_path / "x.png", DIGITS)
    assert "inverted" in samples.note
    np.testing.assert_allclose(samples.x.reshape(8, 8)[3, 3], 1)


def test_a_large_drawing_is_centred_by_mass_as_mnist_is(tmp_path):
    page = np.full((300, 200), 255, np.uint8)
    page[40:180, 30:50] = 0  # a stroke, far from the centre
    Image.fromarray(page).save(tmp_path / "x.png")
    samples = read_samples(tmp_path / "x.png", MNIST)
    image = samples.x.reshape(28, 28).astype(np.float64)
    assert "fitted from 300x200 to 28x28" in samples.note
    rows, columns = np.flatnonzero(image.sum(axis=1) > 0.1), np.flatnonzero(image.sum(axis=0) > 0.1)
    assert rows[-1] - rows[0] + 1 == 20  # 4 pixels free above and below
    assert 2 <= columns[-1] - columns[0] + 1 <= 4  # proportions kept
    centre = (
        (image.sum(axis=1) @ np.arange(28)) / image.sum(),
        (image.sum(axis=0) @ np.arange(28)) / image.sum(),
    )
    np.testing.assert_allclose(centre, 13.5, atol=0.51)


def test_a_blank_page_is_no_error(tmp_path):
    Image.fromarray(np.full((50, 40), 255, np.uint8)).save(tmp_path / "x.png")
    assert not read_samples(tmp_path / "x.png", MNIST).x.any()


def test_truncated_image(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(stream, "PNG")
    data = stream.getvalue()
    for length in (8, 30, len(data) // 2):
        (tmp_path / "x.png").write_bytes(data[:length])
        with pytest.raises(InputError, match="is not a readable image"):
            read_samples(tmp_path / "x.png", DIGITS)


def test_image_that_unpacks_to_gigabytes(tmp_path):
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.png"):
        read_samples(tmp_path / "x.png", DIGITS)


def test_image_for_a_model_that_takes_none(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"takes 2 numbers: give a \.csv or \.npy file"):
        read_samples(tmp_path / "x.png", PLAIN)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "digit.png").write_bytes(b"x")
    with pytest.raises(
        InputError, match=r"digits\.png: no such file or directory \(did you mean 'digit\.png'\?\)"
    ):
        read_samples(tmp_path / "digits.png", DIGITS)
    with pytest.raises(InputError, match="is a folder"):
        read_samples(tmp_path, DIGITS)
    (tmp_path / "x.pdf").write_bytes(b"%PDF")
    with pytest.raises(InputError, match=r"'\.pdf' is no kind of file that dlkit reads"):
        read_samples(tmp_path / "x.pdf", DIGITS)
    np.save(tmp_path / "x.npy", digits(1))
    with pytest.raises(InputError, match="--invert is for images"):
        read_samples(tmp_path / "x.npy", DIGITS, invert=True)


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "x.csv")
    with pytest.raises(InputError, match="not a regular file"):
        read_samples(tmp_path / "x.csv", PLAIN)


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path):
    with open(tmp_path / "x.csv", "wb") as handle:
        handle.truncate(1 << 40)  # a hole: takes no room on the disk
    with pytest.raises(InputError, match="expected at most"):
        read_samples(tmp_path / "x.csv", PLAIN)
