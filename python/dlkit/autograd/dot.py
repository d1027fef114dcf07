"""A graph in the language of Graphviz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlkit.autograd.svg import FILLS, STROKES

if TYPE_CHECKING:
    from dlkit.autograd.drawing import Drawn


def dot_text(drawn: Drawn) -> str:
    """Return the text, for ``dot -Tsvg``."""
    lines = [
        "digraph graph_of_operations {",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fontname="DejaVu Sans"];',
        '  edge [fontname="DejaVu Sans", fontcolor="#b3261e"];',
    ]
    for i, (texts, kind) in enumerate(zip(drawn.texts, drawn.kinds, strict=True)):
        label = "\\n".join(_escaped(text) for text in texts)
        lines.append(f'  n{i} [label="{label}", fillcolor="{FILLS[kind]}", color="{STROKES[kind]}"];')
    for (source, target), label in zip(drawn.edges, drawn.labels, strict=True):
        lines.append(f"  n{source} -> n{target}" + (f' [label="{_escaped(label)}"];' if label else ";"))
    return "\n".join(lines) + "\n}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
