"""``dlkit predict RUN FILE``: ask a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import errors, output, print_json


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder of a trained model.", show_default=False)],
    file: Annotated[
        str,
        typer.Argument(
            help="Image (.png, .jpg), .npy, .csv or IDX file with one sample or many. Of a text model: a sentence, a "
            "file with one a line, or - for standard input. Of a tagger: the same. Of a language model: a text to go "
            "on with.",
            show_default=False,
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
    """Ask a trained model: a label and a confidence per row; of a language model, surprise and a continuation."""
    from dlkit.recipes import (
        bag_predictor,
        language_predictor,
        ngram_predictor,
        nnlm_predictor,
        tagger_predictor,
        text_card,
    )
    from dlkit.recipes.card import FILE, format_of
    from dlkit.recipes.predictor import load_predictor

    from .inputs import read_samples

    kind = format_of(run / FILE)
    takes = {
        language_predictor.FORMAT: "text",
        ngram_predictor.FORMAT: "text",
        nnlm_predictor.FORMAT: "text",
        tagger_predictor.FORMAT: "sentences",
        text_card.FORMAT: "sentences",
        bag_predictor.FORMAT: "sentences",
    }
    if invert is not None and kind in takes:
        raise typer.BadParameter(f"--invert is for images, this model takes {takes[kind]}")
    if takes.get(kind) == "text":
        from .language import tell

        return tell(run, file, as_json=as_json, device=device)
    if kind == tagger_predictor.FORMAT:
        from .tags import tag

        return tag(run, file, as_json=as_json, device=device)
    note, sentences = "", None
    if kind in (text_card.FORMAT, bag_predictor.FORMAT):
        from dlkit.recipes.text_predictor import load_text_predictor

        from .sentences import known_words, read_sentences

        load_sentences = (
            bag_predictor.load_bag_predictor if kind == bag_predictor.FORMAT else load_text_predictor
        )
        text_predictor = load_sentences(run, device)
        sentences = read_sentences(file)
        answer, names = text_predictor.predict(sentences), text_predictor.card.classes
        note = known_words(text_predictor, sentences)
    else:
        predictor = load_predictor(run, device)
        samples = read_samples(Path(file), predictor.card, invert=invert)
        answer, names = predictor.predict(samples.x), predictor.card.classes
        note = samples.note and f"{file}: {samples.note}"
    if as_json:
        rows: list[dict[str, Any]] = []
        for i, number in enumerate(answer.classes.tolist()):
            row: dict[str, Any] = {"row": i, "label": names[number], "class": number}
            if sentences is not None:
                row["sentence"] = sentences[i]
            if answer.probabilities is not None:
                each = answer.probabilities[i].tolist()
                row["confidence"] = each[number]
                row["probabilities"] = dict(zip(names, each, strict=True))
            else:
                row["confidence"], row["margin"] = None, float(answer.margins[i])
            rows.append(row)
        print_json(rows)
        return
    if note:
        errors().print(note, style="dim", markup=False, highlight=False, soft_wrap=True)
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
        line = f"{i:>{max(digits, 3)}}  {names[number]:<{width}}  {text}"
        if sentences is not None and len(sentences) > 1:
            line = f"{line:<{max(digits, 3) + width + 14}}  {sentences[i][:80]}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def percent(probability: float) -> str:
    """A probability as a percentage that never rounds up to certainty."""
    return "> 99.99%" if probability > 0.9999 else f"{probability:.2%}"
