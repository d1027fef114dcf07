"""``dlkit study WHAT``: dlkit alone, from the inside (`dlkit.study` does the work)."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dlkit.recipes.settings import SettingsError, nearest

from .bench import Json, Threads, thread_counts
from .console import errors

app = typer.Typer(
    help="Study the kernels: ladders of variants, rooflines, the profile of a step, what a GPU would do.",
    no_args_is_help=True,
)

Shapes = Annotated[
    list[str] | None,
    typer.Argument(metavar="[MxKxN]...", help="Shapes, as for dlkit bench matmul.", show_default="a choice"),
]
Backend = Annotated[str, typer.Option(help="simt: the CUDA kernels on an emulated GPU.")]
Plot = Annotated[Path | None, typer.Option(help="A PNG to draw.", show_default=False)]


@app.command("ladder")
def ladder(
    operation: Annotated[str, typer.Argument(help="matmul, layers, conv, recurrent or word2vec.")] = "matmul",
    shapes: Shapes = None,
    threads: Threads = "1",
    json: Json = None,
) -> None:
    """Time every variant of an operation, from the textbook's loop to the fastest."""
    from dlkit.study.studies import LADDERS

    if operation not in LADDERS:
        raise SettingsError(
            f"study: operation is {operation!r}, expected one of {', '.join(LADDERS)}{nearest(operation, LADDERS)}"
        )
    settings: dict[str, Any] = {}
    if shapes:
        if operation != "matmul":
            raise SettingsError(f"study: shapes are for matmul, {operation} has sizes of its own")
        settings["shapes"] = shapes
    _measure(f"ladder-{operation}", threads, json, **settings)


@app.command("roofline")
def roofline(shapes: Shapes = None, threads: Threads = "1", json: Json = None, plot: Plot = None) -> None:
    """Show what bounds each matrix product, multiply-adds or memory, and how close it comes."""
    from dlkit.study.roofline import plot as draw

    records = _measure("roofline-matmul", threads, json, **({"shapes": shapes} if shapes else {}))
    if plot is not None:
        print(draw(records[-1], plot))


@app.command("choice")
def choice(shapes: Shapes = None, threads: Threads = "1", json: Json = None) -> None:
    """Show what matmul's default picks by shape is worth, beside each candidate."""
    _measure("choice-matmul", threads, json, **({"shapes": shapes} if shapes else {}))


@app.command("step")
def step(threads: Threads = "1", json: Json = None) -> None:
    """Show where the time of a training step goes, kernel by kernel."""
    _measure("step-profile", threads, json)


@app.command("memory")
def memory(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Parts of names of dlkit bench recurrent.",
            show_default="the named sizes",
        ),
    ] = None,
    threads: Threads = "1",
    json: Json = None,
) -> None:
    """Show how much memory training steps of recurrent layers take, beside PyTorch's (Linux)."""
    _measure("memory-recurrent", threads, json, **({"shapes": names} if names else {}))


@app.command("matmul")
def matmul(
    backend: Backend = "simt",
    size: Annotated[
        str | None,
        typer.Option(metavar="MxKxN", help="A shape; one number for a square.", show_default="256x256x256"),
    ] = None,
    json: Json = None,
) -> None:
    """Count what each step of matmul's CUDA ladder does, on the emulated GPU."""
    _count("matmul", backend, size, json)


@app.command("layers")
def layers(
    backend: Backend = "simt",
    size: Annotated[
        str | None, typer.Option(metavar="N", help="Elements of the arrays, about.", show_default="20000")
    ] = None,
    json: Json = None,
) -> None:
    """Count what each step of the layers' CUDA ladders does, on the emulated GPU."""
    _count("layers", backend, size, json)


@app.command("conv")
def conv(
    backend: Backend = "simt",
    size: Annotated[
        str | None,
        typer.Option(
            metavar="NxCxHxW-FxK", help="Images, filters, kernel's extent.", show_default="2x32x14x14-64x3"
        ),
    ] = None,
    json: Json = None,
) -> None:
    """Count what each step of convolution's CUDA ladders does, on the emulated GPU."""
    _count("conv", backend, size, json)


@app.command("recurrent")
def recurrent(
    backend: Backend = "simt",
    size: Annotated[
        str | None,
        typer.Option(metavar="TxBxI-H", help="Steps, sequences, inputs, units.", show_default="12x4x96-96"),
    ] = None,
    json: Json = None,
) -> None:
    """Count what each step of the recurrent layers' CUDA ladder does, on the emulated GPU."""
    _count("recurrent", backend, size, json, times="dlkit bench recurrent")


def _progress(line: str) -> None:
    errors().print(line, style="dim", markup=False, highlight=False, soft_wrap=True)


def _count(
    operation: str, backend: str, size: str | None, json_path: Path | None, times: str | None = None
) -> None:
    if backend != "simt":
        raise SettingsError(
            f"study: backend is {backend!r}, expected simt: only the emulated GPU counts (times of the CPU: "
            f"{times or f'dlkit study ladder {operation}'})"
        )
    from dlkit.study import studies

    command = shlex.join(["dlkit", *sys.argv[1:]])
    record = studies.count(operation, json_path=json_path, progress=_progress, size=size, command=command)
    print(studies.text(record))


def _measure(name: str, threads: str, json_path: Path | None, **settings: Any) -> list[dict[str, Any]]:
    from dlkit.study import studies

    records = studies.study(
        name,
        thread_counts(threads),
        json_path=json_path,
        progress=_progress,
        command=shlex.join(["dlkit", *sys.argv[1:]]),
        **settings,
    )
    for i, record in enumerate(records):
        print(("\n" if i else "") + studies.text(record))
    return records
