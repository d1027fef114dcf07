"""Find a text file of a data set: in ``DLKIT_DATA``, else in the cache, else on the network.

A file may lie there plain, or compressed as ``.xz`` or ``.gz``; on the network it may be a member of an archive. What
counts is its content: the SHA-256 of the plain bytes is verified, whatever the way.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .errors import DataError, DataNotFoundError
from .fetch import cache_folder, data_folder

#: Larger than any of the sets, small enough that a hostile file does not fill the memory.
MAX_BYTES = 1 << 26
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Address:
    """Where a file is served.

    Attributes
    ----------
    url
        Of the file or of an archive (.zip, .tar.gz).
    member
        Its name in the archive; empty: the address is that of the file.
    """

    url: str
    member: str = ""


@dataclass(frozen=True)
class TextFile:
    """A text file of a data set.

    Attributes
    ----------
    folder
        The sub-folder of ``DLKIT_DATA`` (and of the cache) that holds it.
    name
        File name.
    sha256
        Of its plain bytes, 64 hexadecimal digits.
    addresses
        Where it is served, the preferred one first.
    archive, member
        A zip file in `folder` that may hold it, and its name there; empty: none does.
    """

    folder: str
    name: str
    sha256: str
    addresses: Sequence[Address]
    archive: str = ""
    member: str = ""


def find_text(file: TextFile) -> tuple[bytes, Path]:
    """The verified content of a file, and where it lay.

    Looked for in ``DLKIT_DATA/<folder>/<name>``, there with ``.xz`` or ``.gz`` behind its name, in its zip file there,
    then downloaded.

    Raises
    ------
    DataError
        It was found but is damaged or not the official one.
    DataNotFoundError
        It is in no folder and no address could be reached.
    ImportError
        A download is needed and pooch is not installed.
    """
    root = data_folder()
    if root is not None:
        for ending in ("", ".xz", ".gz"):
            path = root / file.folder / (file.name + ending)
            if path.exists():
                return _verified(read_bytes(path), file, str(path)), path
        archive = root / file.folder / file.archive
        if file.archive and archive.is_file():
            return _verified(_archived(archive, file.member), file, f"{archive}: {file.member}"), archive
    return _downloaded(file, root)


def _verified(content: bytes, file: TextFile, name: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise DataError(
            f"{name}: SHA-256 of its content is {found}, expected {file.sha256}: the file is damaged or "
            f"not the official one; delete it and fetch it again"
        )
    return content


def require_file(path: str | Path, argument: str) -> Path:
    """Return the path of a file that is there.

    Raises
    ------
    DataError
        There is none, or it is a folder, a device or a pipe. `argument` says in the message whose path it is.
    """
    found = Path(path)
    if not found.is_file():
        what = "there is no such file"
        if found.exists():
            what = f"that is a {'folder' if found.is_dir() else 'device or a pipe'}, expected a file"
        raise DataError(f"{argument} is {path}: {what}")
    return found


def _archived(path: Path, member: str) -> bytes:
    try:
        return _zip_member(path, member)
    except KeyError as error:
        raise DataError(f"{path} holds no {member}") from error
    except (NotImplementedError, RuntimeError) as error:  # of zipfile: a method it has not, a password
        raise DataError(
            f"{path}: {member} cannot be unpacked: the archive is damaged, has a password, or was packed by another "
            f"method than deflate ({error})"
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: {member}: the archive is damaged or cut short ({error})") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def read_bytes(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> bytes:
    """Read a file that may be compressed (told by its first bytes, not by its name).

    Raises
    ------
    DataNotFoundError
        There is no such file.
    DataError
        It is no regular file, damaged, or holds more than `max_bytes` once unpacked.
    """
    name = os.fspath(path)
    try:
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise DataError(f"{name} is {kind}, expected a file of text")
        with open(name, "rb") as raw:
            first = raw.read(6)
            raw.seek(0)
            if first[:2] == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    return _up_to(unpacked, max_bytes, name)
            if first == b"\xfd7zXZ\x00":
                with lzma.LZMAFile(raw) as unpacked_xz:
                    return _up_to(unpacked_xz, max_bytes, name)
            return _up_to(raw, max_bytes, name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataNotFoundError(f"{name}: no such file") from error
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name}: the compressed stream is damaged or cut short ({error})") from error
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}") from error


def lines_of(content: bytes, name: str, encoding: str = "utf-8") -> list[str]:
    """The lines of a text file, without their ends.

    Raises
    ------
    DataError
        A line is not in the encoding or holds a zero byte; the message names it.
    """
    found = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}: line {number} is not {encoding}: byte 0x{line[error.start]:02x} in column "
                f"{error.start + 1}"
            ) from error
        if "\0" in text:
            raise DataError(f"{name}: line {number} holds a zero byte: this is no text file")
        found.append(text.rstrip("\r"))
    if found and not found[-1]:
        found.pop()
    return found


def _up_to(stream: IO[bytes] | Any, limit: int, name: str) -> bytes:
    parts: list[bytes] = []
    left = limit
    while chunk := stream.read(min(_CHUNK, left + 1)):
        left -= len(chunk)
        if left < 0:
            raise DataError(f"{name} holds more than {limit} bytes, which no file of a data set has")
        parts.append(chunk)
    return b"".join(parts)


def _downloaded(file: TextFile, looked_in: Path | None) -> tuple[bytes, Path]:
    folder = cache_folder() / file.folder
    cached = folder / file.name
    if cached.is_file():
        content = read_bytes(cached)
        if hashlib.sha256(content).hexdigest() == file.sha256:
            return content, cached
    failures: list[str] = []
    for address in file.addresses:
        where = address.url + (f" ({address.member})" if address.member else "")
        try:
            content = _from(address)
            found = hashlib.sha256(content).hexdigest()
            if found != file.sha256:
                raise DataError(f"SHA-256 is {found}, expected {file.sha256}")
        except ImportError:
            raise
        except (
            Exception
        ) as error:  # every downloader and archive has its own errors; each address is worth a try
            reason = (str(error).splitlines() or [""])[0][:200]
            failures.append(f"  {where}: {type(error).__name__}: {reason}")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        # Another process may do the same: a name of its own, then put in place at once.
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
            part.write(content)
        os.replace(part.name, cached)
        return content, cached
    known = f"not in DLKIT_DATA ({looked_in}), " if looked_in else ""
    raise DataNotFoundError(
        f"{file.folder}/{file.name}: {known}not in the cache ({folder}), and no address served it:\n"
        + "\n".join(failures)
        + f"\nPut the file into a folder as {file.folder}/{file.name} and set DLKIT_DATA to it."
    )


def _from(address: Address) -> bytes:
    from .fetch import _pooch

    with tempfile.TemporaryDirectory(prefix="dlkit-") as temporary:
        # The archive's own checksum says nothing that the content's does not.
        path = Path(
            _pooch().retrieve(address.url, known_hash=None, fname="file", path=temporary, progressbar=False)
        )
        if not address.member:
            return read_bytes(path)
        opened: Callable[[Path, str], bytes] = _zip_member if zipfile.is_zipfile(path) else _tar_member
        return opened(path, address.member)


def _zip_member(path: Path, member: str) -> bytes:
    with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
        return _up_to(stream, MAX_BYTES, member)


def _tar_member(path: Path, member: str) -> bytes:
    with tarfile.open(path) as archive:
        stream = archive.extractfile(member)
        if stream is None:
            raise DataError(f"{member} is no file in the archive")
        return _up_to(stream, MAX_BYTES, member)
