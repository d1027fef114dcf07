"""Find the official file of a data set: in ``DLKIT_DATA``, else in the cache, else on the network.

Whatever the way, the SHA-256 checksum is verified before the file is used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DataError, DataNotFoundError


@dataclass(frozen=True)
class RemoteFile:
    """One official file: its name, its SHA-256 and the addresses that serve it.

    Attributes
    ----------
    folder
        The sub-folder of ``DLKIT_DATA`` (and of the cache) that holds it.
    name
        File name.
    sha256
        Checksum, 64 hexadecimal digits.
    bases
        Addresses of the folders that serve it, the preferred one first, each ending in ``/``.
    """

    folder: str
    name: str
    sha256: str
    bases: Sequence[str]


def data_folder() -> Path | None:
    """The folder that ``DLKIT_DATA`` names, or None if the variable is not set.

    Raises
    ------
    DataNotFoundError
        It names something that is not a folder.
    """
    value = os.environ.get("DLKIT_DATA", "").strip()
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise DataNotFoundError(f"DLKIT_DATA is {value!r}, which is not a folder")
    return folder


def cache_folder() -> Path:
    """Where downloads are kept: ``DLKIT_CACHE``, else the system's cache folder for dlkit."""
    value = os.environ.get("DLKIT_CACHE", "").strip()
    if value:
        return Path(value).expanduser()
    return Path(str(_pooch().os_cache("dlkit")))


def fetch(file: RemoteFile) -> Path:
    """The path of a verified local copy of `file`.

    Looked for in ``DLKIT_DATA/<folder>/<name>``, then ``DLKIT_DATA/<name>``, then downloaded (once) with
    pooch into the cache, from the first address that answers.

    Raises
    ------
    DataError
        The file was found but its checksum is wrong.
    DataNotFoundError
        It is in no folder and no address could be reached.
    ImportError
        A download is needed and pooch is not installed.
    """
    root = data_folder()
    if root is not None:
        in_folder, flat = root / file.folder / file.name, root / file.name
        if in_folder.is_file():
            verify_sha256(in_folder, file.sha256)
            return in_folder
        # MNIST and Fashion-MNIST share their file names, so that of two sets lying flat only one can be here:
        # a flat file is taken only if it is the right one.
        if flat.is_file():
            found = sha256(flat)
            if found == file.sha256:
                return flat
            if not _known_name_clash(file):
                raise DataError(_mismatch(flat, found, file.sha256))
    return _download(file, looked_in=root)


def sha256(path: Path) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            while chunk := handle.read(1 << 20):
                digest.update(chunk)
    except PermissionError as error:
        raise DataError(f"{path}: permission to read it is denied") from error
    return digest.hexdigest()


def verify_sha256(path: Path, expected: str) -> None:
    """Raise `DataError` unless the file's SHA-256 is `expected`."""
    found = sha256(path)
    if found != expected:
        raise DataError(_mismatch(path, found, expected))


def _mismatch(path: Path, found: str, expected: str) -> str:
    return (
        f"{path} ({path.stat().st_size} bytes): SHA-256 is {found}, expected {expected}: "
        f"the file is damaged or not the official one; delete it and fetch it again"
    )


def _known_name_clash(file: RemoteFile) -> bool:
    return file.name.endswith("-ubyte.gz")


def _download(file: RemoteFile, looked_in: Path | None) -> Path:
    pooch = _pooch()
    folder = cache_folder() / file.folder
    cached = folder / file.name
    if cached.is_file() and sha256(cached) == file.sha256:
        return cached
    failures: list[str] = []
    for base in file.bases:
        try:
            return Path(
                pooch.retrieve(
                    base + file.name,
                    known_hash="sha256:" + file.sha256,
                    fname=file.name,
                    path=folder,
                    progressbar=False,
                )
            )
        except Exception as error:  # every downloader has its own errors; each address is worth a try
            reason = (str(error).splitlines() or [""])[0][:200]
            failures.append(f"  {base}{file.name}: {type(error).__name__}: {reason}")
    where = f"not in DLKIT_DATA ({looked_in}), " if looked_in else ""
    raise DataNotFoundError(
        f"{file.folder}/{file.name}: {where}not in the cache ({folder}), and no address served it:\n"
        + "\n".join(failures)
        + f"\nPut the official file into a folder as {file.folder}/{file.name} and set DLKIT_DATA to it."
    )


def _pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            'downloading data sets needs pooch: pip install "dlkit[cli]" '
            "(or set DLKIT_DATA to a folder with the files)"
        ) from error
    pooch.get_logger().setLevel("WARNING")
    return pooch
