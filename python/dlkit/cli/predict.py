"""``dlkit predict RUN FILE``: ask a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import errors, output, print_json


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder of a trained model.", show_default=False)],
    file: Annotated[
        Path,
        typer.Argument(
            help="Image (.png, .jpg), .npy, .csv or IDX file with one sample or many.", show_default=False
        ),
    ],
    as_json: bool = typer.Option(False, "--json", help="Print JSON, with the probability of every class."),
    invert: bool | None = typer.Option(
        None,
        "--invert/--no-invert",
        help="Swap black and white of an image.",
        show_default="if its edge is bright",
    ),
    device: str = typer.Option(
        "cpu", "--device", metavar="NAME", help="Where to compute: cpu, cuda or simt."
    ),
) -> None:
    """Classify the samples of a file with a trained model: a label and a confidence per row."""
    from dlkit.recipes.predictor import load_predictor

    from .inputs import read_samples

    predictor = load_predictor(run, device)
    samples = read_samples(file, predictor.card, invert=invert)
    answer = predictor.predict(samples.x)
    names = predictor.card.classes
    if as_json:
        rows: list[dict[str, Any]] = []
        for i, number in enumerate(answer.classes.tolist()):
            row: dict[str, Any] = {"row": i, "label": names[number], "class": number}
            if answer.probabilities is not None:
                each = answer.probabilities[i].tolist()
                row["confidence"] = each[number]
                row["probabilities"] = dict(zip(names, each, strict=True))
            else:
                row["confidence"], row["margin"] = None, float(answer.margins[i])
            rows.append(row)
        print_json(rows)
        return
    if samples.note:
        errors().print(f"{file}: {samples.note}", style="dim", markup=False, highlight=False, soft_wrap=True)
    console = output()
    sure = "confidence" if answer.probabilities is not None else "margin"
    width = max(len("label"), *(len(name) for name in names))
    digits = len(str(len(answer.classes) - 1))
    console.print(f"[dim]{'row':>{max(digits, 3)}}  {'label':<{width}}  {sure}[/]")
    for i, number in enumerate(answer.classes.tolist()):
        if answer.probabilities is not None:
            text = percent(float(answer.probabilities[i, number]))
        else:
            text = f"{float(answer.margins[i]):.3g}"
        console.print(f"{i:>{max(digits, 3)}}  {names[number]:<{width}}  {text}", markup=False)


def percent(probability: float) -> str:
    """A probability as a percentage that never rounds up to certainty."""
    return "> 99.99%" if probability > 0.9999 else f"{probability:.2%}"
