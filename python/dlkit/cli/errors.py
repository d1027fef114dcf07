"""Errors as one message, and the exit status that goes with them."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Any

from dlkit.recipes.settings import SettingsError

from .console import errors

USAGE, FAILURE, INTERRUPTED = 2, 1, 130


class Stopped(Exception):  # noqa: N818 - what happened, not what went wrong
    """Ctrl-C; the message says how to go on."""


def report(error: BaseException) -> int:
    """Say what went wrong on standard error and return the exit status."""
    if os.environ.get("DLKIT_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)
    if _is_click(error):
        return _report_usage(error)
    if isinstance(error, SettingsError):
        _say(str(error))
        return USAGE
    if isinstance(error, Stopped):
        errors().print(str(error), markup=False, highlight=False, soft_wrap=True)
        return INTERRUPTED
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        errors().print("interrupted")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError) or (isinstance(error, OSError) and error.errno == errno.EPIPE):
        # The reader of a pipe (head, less) has seen enough. Python would complain once more when it flushes
        # at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    if isinstance(error, MemoryError):
        _say(f"not enough memory{f': {error}' if str(error) else ''}")
        return FAILURE
    text = str(error).strip()
    if _is_expected(error) and text:
        _say(text)
    else:
        _say(f"{type(error).__name__}: {text or 'no message'} (DLKIT_DEBUG=1 shows where)")
    return FAILURE


def _is_expected(error: BaseException) -> bool:
    """Errors that dlkit or the system raises on purpose; anything else is a defect, shown with its type."""
    return isinstance(error, (ValueError, OSError, ImportError, RuntimeError))


def _is_click(error: BaseException) -> bool:
    # Typer has click as a dependency or, from 0.27, within itself: known by its face rather than by its
    # class.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _report_usage(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return int(error.exit_code)
    _say(error.format_message())
    context = getattr(error, "ctx", None)
    if context is not None:
        errors().print(f"{context.command_path} --help shows how to use it", style="dim", highlight=False)
    return int(error.exit_code)


def _say(message: str) -> None:
    errors().print("[bold red]error:[/] ", end="")
    errors().print(message, markup=False, highlight=False, soft_wrap=True)
