"""``dlkit train graph``: the course's computation graph e = (a + b) (b + 1), its values and derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dlkit import autograd
from dlkit.autograd import Tensor
from dlkit.kernels.backend import move

from .folders import open_run, write_json
from .recipe import Recipe, Result, RunOptions, Target
from .settings import Settings, option


@dataclass(frozen=True)
class GraphSettings(Settings):
    """Where to evaluate the graph."""

    a: float = option(2.0, "Value of a.", group="Model")
    b: float = option(1.0, "Value of b.", group="Model")


def train(settings: GraphSettings, options: RunOptions) -> Result:
    """Build the graph, go through it backwards, write the table and draw it."""
    run = open_run("graph", settings, options)
    a = Tensor(move(np.array(settings.a), options.device), requires_grad=True, name="a")
    b = Tensor(move(np.array(settings.b), options.device), requires_grad=True, name="b")
    c = a + b
    d = b + 1
    e = c * d
    for tensor, name in ((c, "c"), (d, "d"), (e, "e")):
        tensor.name = name
        tensor.retain_grad()
    e.backward()
    autograd.draw(e, run.path("graph.svg"))

    run.rewind(-1)
    lines: list[tuple[str, str]] = []
    formulas = {"a": "a", "b": "b", "c": "a + b", "d": "b + 1", "e": "c d"}
    metrics: dict[str, Any] = {}
    for tensor in (a, b, c, d, e):
        name = str(tensor.name)
        value, slope = tensor.item(), tensor.grad.item() if tensor.grad is not None else 0.0
        metrics[name], metrics[f"de_d{name}"] = value, slope
        run.log({"epoch": 0, "name": name, "formula": formulas[name], "value": value, "derivative": slope})
        formula = f"{name} = {formulas[name]} = " if formulas[name] != name else f"{name} = "
        lines.append((name, f"{formula}{value:g},  de/d{name} = {slope:g}"))
    expected = (settings.b + 1, (settings.b + 1) + (settings.a + settings.b))
    exact = abs(metrics["de_da"] - expected[0]) + abs(metrics["de_db"] - expected[1]) < 1e-9 * (
        1 + abs(expected[1])
    )
    metrics["exact"] = float(exact)
    write_json(run, "result.json", {"recipe": "graph", **metrics})
    target = RECIPE.target()
    if target is not None:
        lines.append(
            ("to reach", f"{target.text}: {'reached' if target.reached(metrics) else 'not reached'}")
        )
    return Result("graph", run.folder, metrics, lines, target)


RECIPE = Recipe(
    name="graph",
    summary="The computation graph e = (a + b) (b + 1): values, derivatives, a drawing",
    settings_type=GraphSettings,
    train=train,
    targets={"": Target("de/da = b + 1, de/db = a + 2 b + 1", "exact", 1.0)},
)
