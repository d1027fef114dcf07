"""``dlkit bench CHAPTER``: dlkit and its peers measured side by side (`dlkit.study` does the work)."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit.recipes.settings import SettingsError, nearest

from .console import errors

app = typer.Typer(help="Measure dlkit beside NumPy, PyTorch and JAX.", no_args_is_help=True)

Shapes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MxKxN]...",
        help="Shapes, such as 64x784x512, or 784x64x512tn (nt, tt) with operands transposed.",
        show_default="those of the course's models, and squares",
    ),
]
Names = Annotated[
    list[str] | None, typer.Argument(metavar="[PART]...", help="Parts of workload names.", show_default="all")
]
Threads = Annotated[str, typer.Option(help="Thread counts, such as 1,2: a table for each.")]
Peers = Annotated[
    str | None,
    typer.Option(
        help="Some of the peers (numpy, numpy-best, torch, torch-best, jax, onnx).", show_default="all"
    ),
]
Rounds = Annotated[int | None, typer.Option(min=1, help="Turns of each peer.", show_default="21")]
Json = Annotated[Path | None, typer.Option(help="File or folder for the results.", show_default=False)]
Quick = Annotated[bool, typer.Option("--quick", help="Small workloads, few rounds.")]


#: The chapters that are measured by workloads with names, and what their commands say.
NAMED = {
    "layers": "Activations, losses and optimizer updates, beside each peer.",
    "conv": "Convolutions, their gradients and pooling, beside each peer.",
    "recurrent": "Recurrent layers over whole sequences, forward and through time, beside each peer.",
    "models": "Whole training steps, beside each peer.",
}


@app.command("matmul")
def matmul(
    shapes: Shapes = None,
    threads: Threads = "1",
    peers: Peers = None,
    rounds: Rounds = None,
    json: Json = None,
    quick: Quick = False,
) -> None:
    """Matrix products, beside each peer as installed and configured at its best."""
    measure("matmul", shapes, threads, peers, rounds, json, quick)


def _add_command(chapter: str, text: str) -> None:
    @app.command(chapter, help=text)
    def command(
        names: Names = None,
        threads: Threads = "1",
        peers: Peers = None,
        rounds: Rounds = None,
        json: Json = None,
        quick: Quick = False,
    ) -> None:
        measure(chapter, names, threads, peers, rounds, json, quick)


for _chapter, _text in NAMED.items():
    _add_command(_chapter, _text)


def measure(
    chapter: str,
    shapes: list[str] | None,
    threads: str,
    peers: str | None,
    rounds: int | None,
    json_path: Path | None,
    quick: bool,
) -> None:
    """Compare a chapter with its peers and print a table per thread count."""
    from dlkit.study import compare
    from dlkit.study.table import show

    counts = thread_counts(threads)
    names = _peers(peers) if peers else None

    def progress(line: str) -> None:
        errors().print(line, style="dim", markup=False, highlight=False, soft_wrap=True)

    records: list[dict[str, Any]] = compare(
        chapter,
        shapes=shapes or None,
        threads=counts,
        peers=names,
        rounds=rounds,
        json_path=json_path,
        quick=quick,
        progress=progress,
        command=shlex.join(["dlkit", *sys.argv[1:]]),
    )
    for i, record in enumerate(records):
        if i:
            print()
        show(record)


def thread_counts(text: str) -> list[int]:
    """Read thread counts such as ``1,2``."""
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1 or max(counts) > 1024:
        raise SettingsError(f"threads is {text!r}, expected thread counts from 1 to 1024, such as 1,2")
    return counts


def _peers(text: str) -> list[str]:
    from dlkit.study.peers import PEERS

    known = [peer.name for peer in PEERS]
    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in known:
            raise SettingsError(
                f"peers: unknown peer {name!r}, expected some of {', '.join(known)}{nearest(name, known)}"
            )
    return names
