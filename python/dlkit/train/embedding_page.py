"""A map of word vectors as one HTML page that needs nothing else: no network, no server."""

from __future__ import annotations

import html
import json
import os
import re
from importlib.resources import files
from pathlib import Path

import numpy as np

from dlkit.models.embedding_map import EmbeddingMap

from .files import write_atomic


def write_embedding_page(
    points: EmbeddingMap, path: str | os.PathLike[str], *, title: str = "Map of words"
) -> Path:
    """Write a map as a page to move and zoom in, to hover over for the nearest words, and to search.

    Parameters
    ----------
    points
        What `dlkit.KeyedVectors.map` gave.
    path
        The HTML file to write. All is in it, so that it may be sent and opened anywhere.
    title
        Headline.

    Returns
    -------
    Path
        The file written.
    """
    places = np.asarray(points.points, np.float64)
    places = places - (places.max(axis=0) + places.min(axis=0)) / 2
    places /= max(float(np.abs(places).max()), 1e-300)
    there = [[at for at, row in enumerate(line) if row >= 0] for line in points.neighbours.tolist()]
    data = {
        "words": list(points.words),
        "more": list(points.known[len(points) :]),
        "x": np.round(places[:, 0], 5).tolist(),
        "y": np.round(places[:, 1], 5).tolist(),
        "near": [
            [line[at] for at in kept] for line, kept in zip(points.neighbours.tolist(), there, strict=True)
        ],
        "cosines": [
            [round(float(line[at]), 4) for at in kept]
            for line, kept in zip(points.cosines, there, strict=True)
        ],
        "counts": None if points.counts is None else points.counts.tolist(),
        "asked": points.asked or len(points),
    }
    note = f"{len(points):,} words of {points.dimensions} dimensions in two, by {points.how}"
    if len(points) == 1:
        note = note.replace("1 words", "1 word")
    if points.method == "tsne":
        note += ": what is near is alike; how far groups are apart says little"
    parts = {"title": html.escape(title), "note": html.escape(note), "data": for_script(data)}
    template = files("dlkit.train").joinpath("embedding_page.html").read_text(encoding="utf-8")
    # In one pass: what is filled in is not looked at again.
    page = re.sub(r"\{\{(title|note|data)\}\}", lambda match: parts[match[1]], template)
    write_atomic(path, page.encode("utf-8", "replace"))
    return Path(path)


def for_script(value: object) -> str:
    """JSON that no word can break out of: in ASCII, and without the characters that mean something to HTML."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


__all__ = ["write_embedding_page"]
