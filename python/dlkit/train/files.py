"""Files that are either whole or not there: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

from .errors import RunFolderError


def write_atomic(
    path: str | os.PathLike[str],
    data: bytes | bytearray | memoryview | Callable[[IO[bytes]], None],
    size: int | None = None,
) -> None:
    """Write `data` to `path` so that a crash at any moment leaves either the old file or the new one.

    The bytes go to a temporary file in the same folder, which is flushed to the disk (fsync) and renamed.

    Parameters
    ----------
    path
        The file.
    data
        Its bytes, or what writes them into an open file.
    size
        How many there are, for the words of an error, where `data` does not tell.

    Raises
    ------
    RunFolderError
        The disk is full, or the folder cannot be written. The old file is as it was and no temporary file
        stays.
    """
    target = Path(path)
    # The process number keeps two processes from sharing one temporary file.
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        try:
            with open(temporary, "wb") as handle:
                if callable(data):
                    data(handle)
                else:
                    size = len(data)
                    handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise write_error(target, error, size=size) from error
    _sync_folder(target.parent)


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Append one line to a text file, whole or not at all.

    Raises
    ------
    RunFolderError
        The disk is full, or the file cannot be written. What was in the file before stays.
    """
    target = Path(path)
    data = (line + "\n").encode()
    size: int | None = None
    try:
        with open(target, "ab", buffering=0) as handle:
            size = os.fstat(handle.fileno()).st_size
            if handle.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        if size is not None and target.is_file():
            with contextlib.suppress(OSError):
                os.truncate(target, size)
        raise write_error(target, error, size=len(data)) from error


def write_error(path: Path, error: OSError, *, size: int | None = None) -> RunFolderError:
    """The sentence for a failed write: which file, why, what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        free = ""
        with contextlib.suppress(OSError):
            free = f", {shutil.disk_usage(path.parent).free / 1e6:.1f} MB free"
        needed = f" ({size / 1e6:.1f} MB to write{free})" if size is not None else ""
        what = "the disk is full" if error.errno == errno.ENOSPC else "over the quota or size limit"
        text = f"cannot write {path}: {what}{needed}; make room and resume, or use another folder"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what = "the file system is read-only" if error.errno == errno.EROFS else "permission denied"
        text = f"cannot write {path}: {what}; choose a folder that you may write to"
    else:
        text = f"cannot write {path}: {error.strerror or error}"
    result = RunFolderError(text)
    result.errno = error.errno
    result.filename = str(path)
    return result


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
