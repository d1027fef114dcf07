from __future__ import annotations

import gzip
import hashlib
import shutil

import numpy as np
import pytest

from dlkit import data
from dlkit.data import DataError, mnist


@pytest.mark.parametrize(
    ("name", "mean", "std", "test_counts"),
    [
        ("mnist", 0.1307, 0.3081, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("fashion-mnist", 0.2860, 0.3530, [1000] * 10),
    ],
)
def test_official_files(data_folder, name, mean, std, test_counts):
    if not (data_folder / name.replace("-", "_")).is_dir():
        pytest.skip(f"DLKIT_DATA has no {name}")
    dataset = data.load(name)
    assert dataset.x_train.shape == (60000, 784)
    assert dataset.x_test.shape == (10000, 784)
    assert dataset.x_train.dtype == np.float32
    assert dataset.image_shape == (28, 28)
    assert len(dataset.classes) == 10
    assert dataset.x_train.min() == 0
    assert dataset.x_train.max() == 1
    assert dataset.x_train.mean(dtype=np.float64) == pytest.approx(mean, abs=5e-5)
    assert dataset.x_train.std(dtype=np.float64) == pytest.approx(std, abs=5e-5)
    assert np.bincount(dataset.y_test).tolist() == test_counts


def test_first_digit_is_the_well_known_five(data_folder):
    dataset = data.load("mnist")
    assert dataset.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_damaged_official_file(data_folder, tmp_path, monkeypatch):
    folder = tmp_path / "mnist"
    shutil.copytree(data_folder / "mnist", folder)
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    labels.chmod(0o644)
    content = bytearray(labels.read_bytes())
    content[1000] ^= 1
    labels.write_bytes(content)
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"t10k-labels.*SHA-256 is \w{64}, expected f7ae60f92e00ec6d"):
        data.load("mnist")


def test_official_checksum_but_other_content(tmp_path, monkeypatch):
    """Were the wrong numbers of images to carry the right checksum, the counts would still be checked."""
    family = mnist._Family(folder="mnist", bases=(), checksums={}, classes=("a", "b"))
    (tmp_path / "mnist").mkdir()
    for part, name in mnist._FILES.items():
        shape = b"\0\0\x08\x03" + b"\0\0\0\x01" * 3 if part[0] == "x" else b"\0\0\x08\x01" + b"\0\0\0\x01"
        content = gzip.compress(shape + b"\x01")
        (tmp_path / "mnist" / name).write_bytes(content)
        family.checksums[part] = hashlib.sha256(content).hexdigest()
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"holds \(1, 1, 1\) uint8, expected \(60000, 28, 28\) uint8"):
        mnist._load("mnist", family)
