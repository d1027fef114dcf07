"""JSON files that hold an object, such as a vocabulary: checked before anything in them is used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .errors import DataError, DataNotFoundError


def read_object(path: str | os.PathLike[str], max_bytes: int = 1 << 28) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Parameters
    ----------
    path
        The file.
    max_bytes
        A larger one is refused before it is read.

    Raises
    ------
    DataNotFoundError
        There is no such file.
    DataError
        It is too large, cannot be read, is no JSON, or holds something else.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > max_bytes:
            raise DataError(f"{file} has {size} bytes, expected at most {max_bytes}")
        values: Any = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataNotFoundError(f"{file}: no such file") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{file} holds a {type(values).__name__}, expected an object")
    return values
