"""``dlkit list``: what can be trained, on what, and what it must reach."""

from __future__ import annotations

import typer

from dlkit.recipes.registry import recipes

from .console import output, print_json


def list_recipes(
    as_json: bool = typer.Option(False, "--json", help="Print JSON for other programs."),
) -> None:
    """List what can be trained, on what, and what it must reach."""
    if as_json:
        print_json(
            [
                {
                    "name": recipe.name,
                    "summary": recipe.summary,
                    "datasets": list(recipe.datasets),
                    "must_reach": {
                        data: {"text": target.text, "metric": target.metric, "at_least": target.at_least}
                        for data, target in recipe.targets.items()
                    },
                }
                for recipe in recipes()
            ]
        )
        return
    console = output()
    for i, recipe in enumerate(recipes()):
        console.print(("\n" if i else "") + f"[bold]dlkit train {recipe.name}[/]")
        console.print(f"  {recipe.summary}", markup=False)
        width = max((len(data) for data in recipe.datasets), default=0)
        for data, target in recipe.targets.items():
            where = f"--data {data:<{width}}  " if data else ""
            console.print(f"  [dim]{where}must reach[/] {target.text}")
