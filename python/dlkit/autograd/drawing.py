"""Drawing a graph: nodes with values and derivatives, edges with local derivatives."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dlkit.autograd.graph import GraphRow, GraphTable, build
from dlkit.autograd.layout import Layout, arrange

if TYPE_CHECKING:
    from dlkit.autograd.tensor import Tensor

_TEXT_SIZE = 13.0
_LINE = 19.0
_CHARACTER = 0.62 * _TEXT_SIZE  # the mean width of one, in the fonts asked for; a little more than in most
_PADDING = 13.0
_LARGEST = 1000
_LONGEST = 80  # characters of a line


class Drawn(NamedTuple):
    """Everything there is to draw: one entry of `texts` and `kinds` for each node, of `labels` for each edge."""

    layout: Layout
    texts: list[list[str]]
    kinds: list[str]
    edges: list[tuple[int, int]]
    labels: list[str]


def draw(tensor: Tensor, path: str | os.PathLike[str], names: Mapping[str, Any] | None = None) -> Path:
    """Draw the graph that `tensor` was computed from: each node's operation, its value, the tensor's derivative by it.

    Edges between single numbers carry the local derivative: the derivative by a node is the sum, over the edges that
    leave it, of the edge's number times the derivative by the node that it leads to. That is the chain rule.

    Parameters
    ----------
    tensor : Tensor
        The result. No ``.grad`` is touched.
    path : path
        Where to. The ending chooses the format: ``.svg`` or ``.dot`` (Graphviz's language), written by dlkit itself;
        ``.png`` or ``.pdf``, which need matplotlib.
    names : mapping of str to Tensor, optional
        What to call tensors that have no name of their own. By default the variables of the calling function.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the ending is another, or the graph has more than 1000 nodes.
    ImportError
        If matplotlib is needed and not installed.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in (".svg", ".dot", ".gv", ".png", ".pdf"):
        raise ValueError(f"draw: path ends in {ending!r}; expected .svg, .dot, .png or .pdf")
    table = build(tensor, names if names is not None else sys._getframe(1).f_locals)
    if len(table) > _LARGEST:
        raise ValueError(
            f"draw: the graph has {len(table)} nodes; expected at most {_LARGEST} (see graph_table)"
        )
    drawn = lay_out(table, tensor)
    if ending == ".svg":
        from dlkit.autograd.svg import svg_text

        target.write_text(svg_text(drawn), encoding="utf-8")
    elif ending in (".dot", ".gv"):
        from dlkit.autograd.dot import dot_text

        target.write_text(dot_text(drawn), encoding="utf-8")
    else:
        from dlkit.autograd.raster import save_figure

        save_figure(drawn, target)
    return target


def lay_out(table: GraphTable, tensor: Tensor) -> Drawn:
    """Turn a table into texts, and places for them."""
    rows = table.rows
    result = rows[-1].name
    texts = [_lines(row, result) for row in rows]
    kinds = [
        "result"
        if row is rows[-1]
        else row.operation
        if row.operation in ("leaf", "constant")
        else "operation"
        for row in rows
    ]
    edges, labels = _edges(table, tensor)
    sizes = [
        (max(len(line) for line in lines) * _CHARACTER + 2 * _PADDING, len(lines) * _LINE + 1.2 * _PADDING)
        for lines in texts
    ]
    return Drawn(arrange(sizes, edges), texts, kinds, edges, labels)


def _shown(text: str) -> str:
    # Names may hold anything; pictures cannot show line ends and control characters, XML not even write them.
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _lines(row: GraphRow, result: str) -> list[str]:
    if row.operation == "constant" and row.value is not None and row.value.size == 1:
        return [_shown(row.name)]
    known = row.value is not None and row.value.size <= 6
    lines = [row.name if row.operation in ("leaf", "constant") else f"{row.name} = {row.formula}"]
    lines.append(f"{'value' if known else 'shape'} {row.value_text}")
    if row.derivative is not None:
        lines.append(f"∂{result}/∂{row.name} = {row.derivative_text}")
    return [_shown(line) for line in lines]


def _edges(table: GraphTable, tensor: Tensor) -> tuple[list[tuple[int, int]], list[str]]:
    # By identity, for names of constants may repeat: build the same order again.
    from dlkit.autograd.base import Node
    from dlkit.autograd.graph import _in_order

    things = _in_order(tensor._node if tensor._node is not None else tensor)
    number = {id(thing): i for i, thing in enumerate(things)}
    edges: list[tuple[int, int]] = []
    labels: list[str] = []
    for i, thing in enumerate(things):
        if not isinstance(thing, Node):
            continue
        for edge, local in zip(thing.edges, table.rows[i].local, strict=True):
            if edge is None:
                continue
            edges.append((number[id(edge)], i))
            labels.append("" if local is None else f"{local:.4g}".replace("-", "−"))
    return edges, labels
