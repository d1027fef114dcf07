"""What ``dlkit predict`` says of sentences with a tagger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .console import output, print_json
from .sentences import read_sentences


def tag(run: Path, text: str, *, as_json: bool, device: str) -> None:
    """Print each token with its tag, and the words or entities that the tags make."""
    from dlkit.recipes.tagger_predictor import load_tagger

    predictor = load_tagger(run, device)
    lines = read_sentences(text)
    found = predictor.predict(lines)
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "text": line,
                "tokens": tagged.tokens,
                "tags": tagged.tags,
                "confidence": tagged.confidence.tolist(),
                **({} if predictor.task == "tokens" else {"spans": predictor.spans(tagged)}),
            }
            for line, tagged in zip(lines, found, strict=True)
        ]
        print_json(rows)
        return
    console = output()
    for number, tagged in enumerate(found):
        if predictor.task == "segmentation":
            console.print(" ".join(predictor.spans(tagged)), markup=False, highlight=False, soft_wrap=True)
            continue
        if number:
            console.print()
        width = max(len(token) for token in tagged.tokens)
        kind = max(len(each) for each in tagged.tags)
        for token, each, share in zip(tagged.tokens, tagged.tags, tagged.confidence.tolist(), strict=True):
            console.print(
                f"{token:<{width}}  {each:<{kind}}  {share:7.2%}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        for span in predictor.spans(tagged):
            console.print(span, markup=False, highlight=False, soft_wrap=True)
