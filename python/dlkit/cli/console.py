"""Where the commands write: colours on a terminal, plain text elsewhere."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console


def output() -> Console:
    """Standard output as it is now (tests replace it)."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def errors() -> Console:
    """Standard error as it is now."""
    return Console(file=sys.stderr, highlight=False)


def print_json(value: Any) -> None:
    """Write JSON to standard output, for other programs."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def pairs(lines: list[tuple[str, str]], *, indent: str = "  ") -> None:
    """Write pairs of what and how much in two columns."""
    console = output()
    width = max((len(name) for name, _ in lines), default=0)
    for name, text in lines:
        console.print(f"{indent}[dim]{name:<{width}}[/]  ", end="")
        console.print(text, markup=False)
