"""The errors of the data room."""

from __future__ import annotations


class DataError(ValueError):
    """A data file or array is not what it claims to be.

    The message names the file (or argument), what was found and what was expected.
    """


class DataNotFoundError(DataError, FileNotFoundError):
    """A data file is neither in ``DLKIT_DATA`` nor can it be downloaded."""

    def __str__(self) -> str:
        # FileNotFoundError formats its arguments as errno and file name; here there is one plain sentence.
        return str(self.args[0]) if self.args else ""
