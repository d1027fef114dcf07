"""What ``dlkit predict`` says of a text with a language model."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

from .console import errors, output, print_json
from .sentences import read_sentences

_DRAWN = {"words": 40, "characters": 200}


def tell(run: Path, text: str, *, as_json: bool, device: str) -> None:
    """Print the surprise at each word of each line, and how the model would go on."""
    from dlkit.recipes import ngram_predictor, nnlm_predictor
    from dlkit.recipes.card import FILE, format_of
    from dlkit.recipes.language_predictor import LanguagePredictor, load_language_model

    predictor: LanguagePredictor | ngram_predictor.NGramPredictor
    kind = format_of(run / FILE)
    if kind == ngram_predictor.FORMAT:
        predictor = ngram_predictor.load_ngram_model(run, device)
    elif kind == nnlm_predictor.FORMAT:
        predictor = nnlm_predictor.load_feed_forward(run, device)
    else:
        predictor = load_language_model(run, device)
    lines = read_sentences(text)
    found = [
        (line, predictor.surprise(line), predictor.go_on(line, _DRAWN[predictor.units])) for line in lines
    ]
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "text": line,
                "perplexity": _finite(surprise.perplexity),
                "tokens": surprise.tokens,
                "bits": [_finite(bits) for bits in surprise.bits.tolist()],
                "continuation": continuation,
            }
            for line, surprise, continuation in found
        ]
        print_json(rows)
        return
    console = output()
    for line, surprise, continuation in found:
        unknown = [t for t, known in zip(surprise.tokens, surprise.known, strict=True) if not known]
        if unknown:
            errors().print(
                f"not known, read as <unk>: {', '.join(dict.fromkeys(unknown))}",
                style="dim",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        console.print(f"perplexity {surprise.perplexity:.1f}", markup=False, highlight=False)
        for token, bits in zip(surprise.tokens, surprise.bits.tolist(), strict=True):
            shown = repr(token)[1:-1]
            bar = "█" * round(2 * min(bits, 60.0))
            console.print(
                f"{bits:6.1f} bits  {shown:<16} {bar}", markup=False, highlight=False, soft_wrap=True
            )
        console.print(f"{line} … {continuation}", markup=False, highlight=False, soft_wrap=True)


def _finite(value: float) -> float | None:
    """The same for JSON, which has no infinity: that of a word that the model holds for impossible."""
    return value if isfinite(value) else None
