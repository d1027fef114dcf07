"""The graph as a table: each node's name, operation, value and derivative."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlkit.autograd.base import SMALL, Node, TensorBase, shape_text, whole
from dlkit.autograd.engine import run
from dlkit.kernels.backend import is_device_array, to_host

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor

_SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "/", "matmul": "@", "pow": "^"}


class GraphRow(NamedTuple):
    """A node of the graph.

    Attributes
    ----------
    name : str
    operation : str
        ``"leaf"`` for a tensor that derivatives are wanted by, ``"constant"`` for one they are not.
    inputs : tuple of str
        The names of what it was computed from.
    shape : tuple of int
    value : array or None
        None where the graph does not keep it: results of more than 16 elements within the graph.
    derivative : array or None
        Of the table's result by this node. None for constants, and where a backward pass has released the graph.
    local : tuple
        For a node of one element, its derivative by each input of one element (None for others).
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    value: Array | None
    derivative: Array | None
    local: tuple[float | None, ...]

    @property
    def formula(self) -> str:
        """The operation on its inputs, as it would be written."""
        if self.operation in ("leaf", "constant"):
            return self.operation
        sign = _SIGNS.get(self.operation)
        if sign and len(self.inputs) == 2:
            return f"{self.inputs[0]} {sign} {self.inputs[1]}"
        if self.operation == "neg":
            return f"−{self.inputs[0]}"
        return f"{self.operation}({', '.join(self.inputs)})"

    @property
    def value_text(self) -> str:
        """The value, or its shape where there is too much of it or the graph has not kept it."""
        return number_text(self.value, self.shape)

    @property
    def derivative_text(self) -> str:
        """The derivative, or its shape and size."""
        if self.derivative is None:
            return ""
        if self.derivative.size > 6:
            length = float(np.sqrt(np.square(self.derivative, dtype=np.float64).sum()))
            return f"{shape_text(self.derivative.shape)}, norm {length:.3g}"
        return number_text(self.derivative, self.derivative.shape)


def number_text(value: Array | None, shape: tuple[int, ...]) -> str:
    """Return up to six numbers as text, more as their shape."""
    if value is None or value.size > 6:
        return shape_text(shape)
    if value.size == 1:
        return _format(value.item())
    return np.array2string(value, separator=", ", formatter={"all": lambda n: _format(n, 4)}).replace(
        "\n", ""
    )


def _format(number: Any, digits: int = 6) -> str:
    text = f"{number:.{digits}g}" if isinstance(number, (float, np.floating)) else str(number)
    return text.replace("-", "−")


class GraphTable:
    """The nodes of a graph, in the order in which they were computed; the result is the last.

    Prints as a table. Index it with a number or a name.
    """

    def __init__(self, rows: list[GraphRow]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[GraphRow]:
        return iter(self.rows)

    def __getitem__(self, key: int | str) -> GraphRow:
        """Return a row by number or by name."""
        if isinstance(key, str):
            for row in self.rows:
                if row.name == key:
                    return row
            raise KeyError(
                f"graph_table: no node is called {key!r}; there are {', '.join(r.name for r in self.rows)}"
            )
        return self.rows[key]

    def __str__(self) -> str:
        result = self.rows[-1].name
        lines = [("name", "operation", "value", f"d{result}/d(name)")]
        lines += [(row.name, row.formula, row.value_text, row.derivative_text) for row in self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(4)]
        texts = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        texts.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(texts)

    __repr__ = __str__


def graph_table(tensor: Tensor, names: Mapping[str, Any] | None = None) -> GraphTable:
    """Return every node that `tensor` was computed from, with its value and the tensor's derivative by it.

    No ``.grad`` is touched. After a backward pass that did not retain the graph, values and derivatives are still there
    where everything is small (at most 16 elements); other derivatives are those that leaves keep in ``.grad``.

    Parameters
    ----------
    tensor : Tensor
        The result.
    names : mapping of str to Tensor, optional
        What to call tensors that have no name of their own. By default the variables of the calling function.
    """
    return build(tensor, names if names is not None else sys._getframe(1).f_locals)


def build(tensor: Tensor, variables: Mapping[str, Any]) -> GraphTable:
    """Return the table, with names from `variables`."""
    if not isinstance(tensor, TensorBase):
        raise TypeError(f"graph_table: tensor is a {type(tensor).__name__}; expected a Tensor")
    root: Any = tensor._node if tensor._node is not None else tensor
    things = _in_order(root)
    names = _names(things, variables)
    derivatives: dict[Any, Array] = {}
    if tensor._tracked and tensor._array.dtype.kind == "f":
        run([(tensor, np.ones_like(tensor._array))], True, derivatives, again=True)
    values = {id(root): tensor._array}
    for variable in variables.values():
        if isinstance(variable, TensorBase) and variable._node is not None:
            values[id(variable._node)] = variable._array
    _drop_partial(things, derivatives)
    rows = []
    for thing in things:
        derivative = derivatives.get(thing)
        name = names[id(thing)]
        if isinstance(thing, Node):
            small = thing.value.__class__ is not tuple
            value = thing.value if small else values.get(id(thing))
            shape = thing.value.shape if small else thing.value
            inputs = tuple(names[id(edge)] if edge is not None else "…" for edge in thing.edges)
            rows.append(
                GraphRow(name, thing.op, inputs, shape, _snapshot(value), _on_host(derivative), _local(thing))
            )
        else:
            if derivative is None and thing._tracked and thing._grad is not None:
                derivative = thing._grad._array
            kind = "leaf" if thing._tracked else "constant"
            value = _snapshot(thing._array)
            rows.append(GraphRow(name, kind, (), thing._array.shape, value, _snapshot(derivative), ()))
    return GraphTable(rows)


def _drop_partial(things: list[Any], derivatives: dict[Any, Array]) -> None:
    # Below a node that has been released a derivative lacks what would have come through it.
    partial: set[int] = set()
    for thing in reversed(things):
        if isinstance(thing, Node) and (thing.backward is None or id(thing) in partial):
            partial.update(id(edge) for edge in thing.edges if edge is not None)
    for thing in things:
        if id(thing) in partial:
            derivatives.pop(thing, None)


def _snapshot(array: Array | None) -> Array | None:
    # Small values as they are now, not as an optimizer leaves them.
    if array is None or is_device_array(array):
        return _on_host(array)
    return array.copy() if array.size <= SMALL else array


def _on_host(array: Array | None) -> Array | None:
    return None if array is None else to_host(array)


def _in_order(root: Any) -> list[Any]:
    # Nodes by the time they were made; leaves before the first node that uses them.
    if not isinstance(root, Node):
        return [root]
    nodes: dict[int, Node] = {id(root): root}
    waiting = [root]
    while waiting:
        for edge in waiting.pop().edges:
            if isinstance(edge, Node) and id(edge) not in nodes:
                nodes[id(edge)] = edge
                waiting.append(edge)
    things: list[Any] = []
    seen: set[int] = set()
    for node in sorted(nodes.values(), key=lambda n: -n.order):
        for edge in node.edges:
            if edge is not None and not isinstance(edge, Node) and id(edge) not in seen:
                seen.add(id(edge))
                things.append(edge)
        things.append(node)
    return things


def _names(things: list[Any], variables: Mapping[str, Any]) -> dict[int, str]:
    called: dict[int, str] = {}
    for name, value in variables.items():
        if isinstance(value, TensorBase) and not name.startswith("_"):
            called.setdefault(id(value._node if value._node is not None else value), name)
    names: dict[int, str] = {}
    taken: set[str] = set()

    def give(thing: Any, name: str) -> None:
        unique, count = name, 2
        while unique in taken:
            unique, count = f"{name}_{count}", count + 1
        taken.add(unique)
        names[id(thing)] = unique

    constants = []
    for thing in things:
        own = thing.name if isinstance(thing, Node) else thing._name
        own = own or called.get(id(thing))
        if own:
            give(thing, own)
        elif not isinstance(thing, Node) and not thing._tracked and thing._array.size == 1:
            constants.append(thing)
    for thing in constants:
        names[id(thing)] = _format(
            thing._array.item()
        )  # a number is called what it is, however often it appears
    leaves = results = 0
    for thing in things:
        if id(thing) in names:
            continue
        if isinstance(thing, Node):
            results += 1
            give(thing, f"v{results}")
        else:
            leaves += 1
            give(thing, f"x{leaves}")
    return names


def _local(node: Node) -> tuple[float | None, ...]:
    scalar = node.value.__class__ is not tuple and node.value.size == 1 and node.value.dtype.kind == "f"
    if node.backward is None or node.multiple or not scalar:
        return (None,) * len(node.edges)
    one = np.ones_like(node.value)
    results = node.backward(one, False) if node.direct else node.backward(one)
    local = [
        None if r is None or isinstance(r, list) or np.size(r) != 1 else float(whole(r).item())
        for r in results
    ]
    return tuple(local)
