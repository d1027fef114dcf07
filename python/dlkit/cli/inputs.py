"""Samples from files of several kinds, made into what a model was trained on.

Every file is treated as hostile: its size, shape and numbers are checked before they are used, and nothing in
it is run.
"""

from __future__ import annotations

import csv
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.data import DataError, read_idx
from dlkit.recipes.card import Card
from dlkit.recipes.settings import nearest

_MAX_BYTES = 1 << 28
_MAX_PIXELS = 1 << 26
# What NumPy raises for headers that are not what they should be.
_NPY_ERRORS = (
    ValueError,
    OSError,
    EOFError,
    SyntaxError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
)
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


class InputError(ValueError):
    """A file holds no samples that the model could take."""


@dataclass(frozen=True)
class Samples:
    """What a file holds.

    Attributes
    ----------
    x
        Shape (N, features), float32, scaled as in training.
    note
        What was done to get there, for the reader; may be empty.
    """

    x: NDArray[np.float32]
    note: str = ""


def read_samples(path: Path, card: Card, *, invert: bool | None = None) -> Samples:
    """Read the samples of a file.

    Parameters
    ----------
    path
        An image (.png, .jpg, …), ``.npy``, ``.csv`` or IDX file (gzip-compressed or not).
    card
        What the model takes.
    invert
        Images: swap black and white. None: if the edge of the image is bright, since the data sets are
        bright on black.

    Raises
    ------
    InputError, dlkit.data.DataError
        The file is missing, damaged, of an unknown kind, or does not fit the model.
    """
    _check_file(path)
    name = path.name.lower()
    if name.endswith(_IMAGES):
        return _from_image(path, card, invert)
    if invert is not None:
        raise InputError(f"{path}: --invert is for images, this is none")
    readers: dict[str, Callable[[Path], NDArray[Any]]] = {
        ".npy": _read_npy,
        ".csv": _read_csv,
        ".txt": _read_csv,
        "ubyte": read_idx,
        "ubyte.gz": read_idx,
        ".idx": read_idx,
        ".idx.gz": read_idx,
    }
    for ending, reader in readers.items():
        if name.endswith(ending):
            return Samples(_scaled(path, _shaped(path, reader(path), card), card))
    with open(path, "rb") as handle:
        first = handle.read(8)
    if first.startswith(b"\x93NUMPY"):
        return Samples(_scaled(path, _shaped(path, _read_npy(path), card), card))
    if first.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        return _from_image(path, card, invert)
    if _looks_like_idx(first):
        return Samples(_scaled(path, _shaped(path, read_idx(path), card), card))
    ending = path.suffix or path.name
    known = (*_IMAGES, ".npy", ".csv", ".idx", ".gz")
    raise InputError(
        f"{path}: {ending!r} is no kind of file that dlkit reads; expected an image (.png, .jpg), .npy, .csv "
        f"or an IDX file (.idx, -ubyte, -ubyte.gz){nearest(ending, known)}"
    )


def _check_file(path: Path) -> None:
    try:
        status = os.stat(path)
    except OSError as error:
        hint = ""
        if path.parent.is_dir():
            hint = nearest(path.name, [entry.name for entry in path.parent.iterdir()][:10_000])
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}{hint}") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder, expected a file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is not a regular file")
    if status.st_size == 0:
        raise InputError(f"{path} is empty")
    if status.st_size > _MAX_BYTES:
        raise InputError(f"{path} has {status.st_size} bytes, expected at most {_MAX_BYTES}")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: permission to read it is denied")


def _looks_like_idx(first: bytes) -> bool:
    return first.startswith(b"\x1f\x8b") or (
        len(first) >= 4 and first[:2] == b"\0\0" and first[2] in range(8, 15)
    )


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        # Mapped, so that a header that claims more than the file holds is found out before memory is given to
        # it; no pickles, which could run anything.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except _NPY_ERRORS as error:
        reason = "it holds Python objects" if "allow_pickle" in str(error) else str(error).splitlines()[0]
        raise InputError(f"{path} is not a readable .npy file: {reason}") from error
    if not isinstance(mapped, np.ndarray):
        raise InputError(f"{path} holds several arrays, expected a .npy file with one")
    if mapped.dtype.kind not in "biuf":
        raise InputError(f"{path}: dtype is {mapped.dtype}, expected numbers")
    return np.array(mapped, dtype=mapped.dtype.newbyteorder("="))


def _read_csv(path: Path) -> NDArray[Any]:
    rows: list[list[float]] = []
    width = 0
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            for number, cells in enumerate(csv.reader(handle), start=1):
                if not cells or (
                    len(cells) == 1 and (not cells[0].strip() or cells[0].lstrip().startswith("#"))
                ):
                    continue
                try:
                    values = [float(cell) for cell in cells]
                except ValueError:
                    if not rows and not any(_is_number(cell) for cell in cells):
                        continue  # column names
                    wrong = next(i for i, cell in enumerate(cells) if not _is_number(cell))
                    raise InputError(
                        f"{path}: line {number}, column {wrong + 1} is {cells[wrong][:40]!r}, "
                        f"expected a number"
                    ) from None
                if rows and len(values) != width:
                    raise InputError(
                        f"{path}: line {number} has {len(values)} columns, the lines before have {width}"
                    )
                width = len(values)
                rows.append(values)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a text file of comma-separated numbers: {error}") from error
    if not rows:
        raise InputError(f"{path} has no line of numbers")
    return np.array(rows)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shaped(path: Path, array: NDArray[Any], card: Card) -> NDArray[Any]:
    """The samples as (N, features), from any of the shapes that they may have."""
    features, image = card.features, card.image_shape
    shape = array.shape
    if array.size:
        if shape == (features,) or (image is not None and shape == image):
            return array.reshape(1, features)
        if len(shape) == 2 and shape[1] == features:
            return array
        if image is not None and shape[1:] in (image, (1, *image), (*image, 1)):
            return array.reshape(len(array), features)
    expected = f"({features},) or (N, {features})"
    if image is not None:
        expected += f", or images ({image[0]}, {image[1]}) or (N, {image[0]}, {image[1]})"
    hint = ""
    if len(shape) == 2 and shape[1] == features + 1:
        hint = " (is one column the label? leave it out)"
    raise InputError(f"{path}: holds an array {shape}, expected {expected}{hint}")


def _scaled(path: Path, array: NDArray[Any], card: Card) -> NDArray[np.float32]:
    """The numbers as in training: whole numbers that exceed 1 are pixel values of the data's own files."""
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise InputError(f"{path}: row {row} holds NaN or infinity, expected finite numbers")
    if card.image_shape is None:
        return values.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > max(card.scale, 1.0):
        raise InputError(
            f"{path}: values lie in {low:g} … {high:g}, expected 0 … 1, or pixel values 0 … {card.scale:g} "
            f"as in the training data"
        )
    if array.dtype.kind in "iu" or high > 1:
        values /= card.scale
    return values.astype(np.float32)


def _from_image(path: Path, card: Card, invert: bool | None) -> Samples:
    if card.image_shape is None:
        raise InputError(
            f"{path} is an image, but the model takes {card.features} numbers: give a .csv or .npy file"
        )
    pixels = _read_image(path)
    notes = []
    if invert is None:
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        invert = bool(edge.mean() > 0.5)
        if invert:
            notes.append("inverted, as its edge is bright (--no-invert leaves it)")
    elif invert:
        notes.append("inverted")
    if invert:
        pixels = 1 - pixels
    rows, columns = pixels.shape
    if pixels.shape != card.image_shape:
        pixels = _fitted(pixels, card)
        notes.insert(0, f"fitted from {rows}x{columns} to {card.image_shape[0]}x{card.image_shape[1]}")
    return Samples(pixels.reshape(1, -1).astype(np.float32), ", ".join(notes))


def _read_image(path: Path) -> NDArray[np.float64]:
    """The image as grey values in 0 … 1, transparent parts on white."""
    Image = _pillow()
    try:
        with warnings.catch_warnings():
            # A tiny file can unpack to gigabytes: Pillow warns, here that is an error.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > _MAX_PIXELS:
                    raise InputError(
                        f"{path}: {image.width}x{image.height} pixels, expected at most {_MAX_PIXELS} in all"
                    )
                image.load()
                if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                    clear = Image.new("RGBA", image.size, "white")
                    clear.alpha_composite(image.convert("RGBA"))
                    image = clear
                if image.mode.startswith("I") or image.mode == "F":
                    wide = np.asarray(image, dtype=np.float64)
                    top = 65535.0 if image.mode.startswith("I") else max(float(wide.max()), 1.0)
                    return np.clip(wide / top, 0, 1)
                return np.asarray(image.convert("L"), dtype=np.float64) / 255
    except InputError:
        raise
    except Exception as error:  # every decoder of Pillow has its own errors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if type(error).__name__ == "UnidentifiedImageError":
            reason = "it begins like no kind of image that Pillow knows"
        raise InputError(f"{path} is not a readable image: {reason}") from error


def _fitted(pixels: NDArray[np.float64], card: Card) -> NDArray[np.float64]:
    """Cut the subject out of an image of any size and place it as the data set's makers did.

    The subject keeps its proportions and fills all but the data set's margin. Where there is a margin
    (MNIST), its centre of mass comes to the centre, as LeCun et al. did it; else it is centred by its box.
    """
    rows, columns = card.image_shape or (1, card.features)
    Image = _pillow()
    threshold = 0.15 * float(pixels.max())
    inked = pixels > threshold
    if threshold > 0 and inked.any():
        across, down = np.flatnonzero(inked.any(axis=0)), np.flatnonzero(inked.any(axis=1))
        pixels = pixels[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
    inner_rows, inner_columns = (max(round(side * (1 - 2 * card.margin)), 1) for side in (rows, columns))
    ratio = min(inner_rows / pixels.shape[0], inner_columns / pixels.shape[1])
    height, width = (max(round(side * ratio), 1) for side in pixels.shape)
    image = Image.fromarray((pixels * 255).round().astype(np.uint8))
    small = np.asarray(
        image.resize((width, height), Image.Resampling.BOX if ratio < 1 else Image.Resampling.BILINEAR)
    )
    small = small.astype(np.float64) / 255
    top, left = (rows - height) / 2, (columns - width) / 2
    if card.margin and small.sum() > 0:
        weights = small / small.sum()
        top = (rows - 1) / 2 - float(weights.sum(axis=1) @ np.arange(height))
        left = (columns - 1) / 2 - float(weights.sum(axis=0) @ np.arange(width))
    row = min(max(round(top), 0), rows - height)
    column = min(max(round(left), 0), columns - width)
    placed = np.zeros((rows, columns))
    placed[row : row + height, column : column + width] = small
    return placed


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('reading images needs Pillow: pip install "dlkit[cli]"') from error
    return Image


__all__ = ["DataError", "InputError", "Samples", "read_samples"]
