"""``dlkit bench``: measure kernels against other libraries."""

from __future__ import annotations

import typer

app = typer.Typer(help="Measure kernels against other libraries.", no_args_is_help=True)


@app.command("matmul")
def matmul() -> None:
    """Matrix products."""
