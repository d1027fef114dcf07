"""The command ``dlkit``."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        Arguments without the program's name; None: those of the process.

    Returns
    -------
    int
        Exit status: 0 for success, 2 for a wrong command line, 130 after Ctrl-C, 1 for any other error.
        Errors are one message on standard error; with ``DLKIT_DEBUG=1`` the traceback comes before it.
    """
    try:
        from .app import run
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("typer", "rich", "click"):
            raise
        print('error: the command dlkit needs typer and rich: pip install "dlkit[cli]"', file=sys.stderr)
        return 1
    return run(argv)


__all__ = ["main"]
