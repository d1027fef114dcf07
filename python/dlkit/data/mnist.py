"""MNIST and Fashion-MNIST: 60000 training and 10000 test images of 28x28 grey pixels, ten classes.

MNIST: LeCun, Bottou, Bengio and Haffner, *Gradient-Based Learning Applied to Document Recognition* (1998).
Fashion-MNIST: Xiao, Rasul and Vollgraf, arXiv:1708.07747 (2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset
from .errors import DataError
from .fetch import RemoteFile, fetch
from .idx import read_idx

_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}
_COUNTS = {"train": 60000, "test": 10000}
_SIDE = 28


@dataclass(frozen=True)
class _Family:
    folder: str
    bases: tuple[str, ...]
    checksums: dict[str, str]
    classes: tuple[str, ...]


_MNIST = _Family(
    folder="mnist",
    bases=(
        # The original address (yann.lecun.com) no longer serves the files; first the mirrors that PyTorch and
        # TensorFlow use, then the original in case it comes back.
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    checksums={
        "x_train": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "y_train": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "x_test": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "y_test": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    classes=tuple(str(digit) for digit in range(10)),
)
_FASHION = _Family(
    folder="fashion_mnist",
    bases=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    checksums={
        "x_train": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "y_train": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "x_test": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "y_test": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)


def load_mnist() -> Dataset:
    """Load MNIST with its official split; images are flattened to 784 values in [0, 1].

    Raises
    ------
    DataError, DataNotFoundError, ImportError
        As `dlkit.data.fetch.fetch` and `read_idx` say.
    """
    return _load("mnist", _MNIST)


def load_fashion_mnist() -> Dataset:
    """Load Fashion-MNIST with its official split; images are flattened to 784 values in [0, 1].

    Raises
    ------
    DataError, DataNotFoundError, ImportError
        As `dlkit.data.fetch.fetch` and `read_idx` say.
    """
    return _load("fashion-mnist", _FASHION)


def _load(name: str, family: _Family) -> Dataset:
    # All four are found and verified before any is unpacked: a missing one is told at once.
    paths = {
        part: fetch(RemoteFile(family.folder, file, family.checksums[part], family.bases))
        for part, file in _FILES.items()
    }
    return Dataset(
        name=name,
        x_train=_images(paths["x_train"], _COUNTS["train"]),
        y_train=_labels(paths["y_train"], _COUNTS["train"]),
        x_test=_images(paths["x_test"], _COUNTS["test"]),
        y_test=_labels(paths["y_test"], _COUNTS["test"]),
        classes=list(family.classes),
        image_shape=(_SIDE, _SIDE),
        source=str(paths["x_train"].parent),
    )


def _images(path: Path, count: int) -> NDArray[np.float32]:
    pixels = read_idx(path)
    if pixels.shape != (count, _SIDE, _SIDE) or pixels.dtype != np.uint8:
        raise DataError(
            f"{path}: holds {pixels.shape} {pixels.dtype}, expected ({count}, {_SIDE}, {_SIDE}) uint8"
        )
    # A division, as in torchvision's ToTensor, so that the inputs have the same bits there and here.
    scaled: NDArray[np.float32] = np.divide(pixels.reshape(count, -1), np.float32(255), dtype=np.float32)
    return scaled


def _labels(path: Path, count: int) -> NDArray[np.int64]:
    labels = read_idx(path)
    if labels.shape != (count,) or labels.dtype != np.uint8:
        raise DataError(f"{path}: holds {labels.shape} {labels.dtype}, expected ({count},) uint8")
    return labels.astype(np.int64)
