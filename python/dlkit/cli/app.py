"""The commands put together, and what becomes of their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from . import bench, catalogue, config, predict, study, train, vectors
from .errors import report

_ORDER = ("train", "predict", "similar", "analogy", "map", "evaluate", "list", "bench", "study", "config")


class _Ordered(TyperGroup):
    """The commands in the order in which people need them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=_ORDER.index)


app = typer.Typer(
    name="dlkit",
    cls=_Ordered,
    help="A small, fast deep-learning library: train, predict, measure.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import dlkit

        typer.echo(f"dlkit {dlkit.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """A small, fast deep-learning library: train, predict, measure."""


app.add_typer(train.app, name="train")
app.command("predict")(predict.predict)
app.command("similar")(vectors.similar)
app.command("analogy")(vectors.analogy)
app.command("map")(vectors.draw_map)
app.command("evaluate")(vectors.evaluate)
app.command("list")(catalogue.list_recipes)
app.add_typer(bench.app, name="bench")
app.add_typer(study.app, name="study")
app.command("config")(config.config)


def run(argv: Sequence[str] | None) -> int:
    """Run the command line and return the exit status."""
    try:
        status: Any = app(
            args=list(argv) if argv is not None else None, prog_name="dlkit", standalone_mode=False
        )
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException as error:  # every error becomes one message
        return report(error)
    return status if isinstance(status, int) else 0
