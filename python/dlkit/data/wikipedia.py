"""The first 100 MB of cleaned Wikipedia text: Mahoney's text8, or the same made of a later dump.

Lower-case letters and single spaces, no lines; looked for in ``DLKIT_DATA/text8``, plain or as ``.xz`` or ``.gz``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from .errors import DataError, DataNotFoundError
from .fetch import data_folder
from .text_file import read_bytes

#: Names, and the MD5 of the plain bytes.
_FILES = {
    "text8": "3bea1919949baf155f99411df5fada7e",
    "enwiki2015.text8": "26de60403a7216efc57f083ceb848b08",
}
_SIZE = 100_000_000


def text8_path() -> Path:
    """Where the text is, plain or compressed.

    Raises
    ------
    DataNotFoundError
        No folder has it.
    """
    return _found()[0]


def load_text8() -> tuple[bytes, bytes, bytes]:
    """The text's first 90 %, for training, the next 5 %, for validation, and the last 5 %, for the test.

    Raises
    ------
    DataNotFoundError
        No folder has it.
    DataError
        The file is damaged or another one.
    """
    path, md5 = _found()
    content = read_bytes(path, _SIZE)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(f"{path}: MD5 of its content is {found}, expected {md5}: it is damaged")
    first, second = (
        content.rindex(b" ", 0, 90 * _SIZE // 100),
        content.rindex(b" ", 0, 95 * _SIZE // 100),
    )
    return content[:first], content[first:second], content[second:]


def _found() -> tuple[Path, str]:
    """The file, and the MD5 that its plain bytes should have."""
    root = data_folder()
    for name, md5 in _FILES.items():
        for ending in ("", ".xz", ".gz"):
            path = root / "text8" / (name + ending) if root is not None else None
            if path is not None and path.exists():
                return path, md5
    raise DataNotFoundError(
        "text8: DLKIT_DATA has no text8/text8 (http://mattmahoney.net/dc/text8.zip); put it there, unpacked or as .xz "
        "or .gz, and set DLKIT_DATA to the folder above"
    )
