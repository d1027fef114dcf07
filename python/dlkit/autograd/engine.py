"""The backward pass: from a result through the graph to the leaves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.autograd.base import SMALL, Node, TensorBase, as_array, guarded, make, shape_text, whole
from dlkit.autograd.gradients import accumulate, claim, settle
from dlkit.kernels.backend import device_of, mixed_devices, namespace

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor

_ndarray = np.ndarray


def _one(dtype: Any) -> Array:
    array = np.ones((), dtype)
    array.flags.writeable = False
    return array


ONE = {np.dtype(kind): _one(kind) for kind in (np.float32, np.float64)}
"""The gradients that backward passes begin with: operations may recognise them by identity."""

_ONE_ON: dict[tuple[str, Any], Array] = {}


def unit(like: Array) -> Array:
    """Return the gradient that a backward pass from a single value begins with, on the device of `like`."""
    if like.__class__ is _ndarray:
        return ONE[like.dtype]
    key = device_of(like), like.dtype
    one = _ONE_ON.get(key)
    if one is None:
        one = _ONE_ON[key] = namespace(like).ones((), like.dtype)
    return one


def seed_gradient(root: TensorBase, gradient: Any, operation: str) -> Array:
    """Return the gradient that a backward pass from `root` begins with.

    Raises
    ------
    RuntimeError
        If there is nothing to differentiate, or no gradient given and more than one value.
    ValueError
        If the gradient is of another shape.
    """
    if not root._tracked:
        raise RuntimeError(
            f"{operation}: the tensor does not require a gradient: none of what it was computed from has "
            "requires_grad=True, or it was computed under no_grad()"
        )
    array = root._array
    if gradient is None:
        if array.size != 1:
            raise RuntimeError(
                f"{operation}: the tensor is {shape_text(array.shape)}; "
                "expected a single value (reduce it with .mean() or .sum(), or pass gradient=)"
            )
        return unit(array) if array.ndim == 0 else np.ones_like(array)
    seed = as_array(gradient, operation, "gradient", dtype=array.dtype, like=array)
    if (mixed := mixed_devices(operation, [("the tensor", array), ("gradient", seed)])) is not None:
        raise mixed
    if seed.shape != array.shape:
        raise ValueError(
            f"{operation}: gradient is {shape_text(seed.shape)}; expected the tensor's shape {shape_text(array.shape)}"
        )
    return seed.astype(array.dtype, copy=False)


def _check_saved(node: Node) -> None:
    if node.backward is None or node.spent:
        raise RuntimeError(
            f"backward: the graph of {node.op} has been released by an earlier backward pass; "
            "compute the result again, or pass retain_graph=True to the first pass"
        )
    saved = node.saved
    if saved is not None:
        version = 0
        for tensor in saved:
            version += tensor._version
        if version != node.version:
            names = [f" ({t._name})" if t._name else "" for t in saved]
            shapes = ", ".join(shape_text(t._array.shape) + n for t, n in zip(saved, names, strict=True))
            what = f"an input of {node.op} (its inputs are {shapes})" if saved else f"the result of {node.op}"
            raise RuntimeError(
                f"backward: {what} was changed in place after it was used, for example by an optimizer's step between "
                "forward and backward; call backward() first, or compute the result again"
            )


def _apply_hooks(hooks: list[Any], gradient: Array) -> Array:
    for hook in tuple(hooks):
        result = hook(guarded(gradient))
        if result is not None:
            replacement = as_array(result, "hook", "the result", like=gradient)
            mixed = mixed_devices("hook", [("the gradient", gradient), ("the result", replacement)])
            if mixed is not None:
                raise mixed
            if replacement.shape != gradient.shape:
                raise ValueError(
                    f"hook: the result is {shape_text(replacement.shape)}; expected the gradient's shape "
                    f"{shape_text(gradient.shape)}"
                )
            gradient = replacement.astype(gradient.dtype, copy=False)
    return gradient


def _is_small(edge: Any) -> bool:
    if edge.__class__ is Node:
        return edge.value.__class__ is not tuple
    return edge is not None and edge._array.size <= SMALL


def _release(node: Node) -> None:
    # Where everything about it is small the node can still be drawn afterwards.
    node.spent = True
    if node.value.__class__ is not tuple and all(_is_small(edge) for edge in node.edges):
        return
    node.backward = None
    node.saved = None


def run(
    roots: Sequence[tuple[TensorBase, Array]],
    retain: bool,
    collected: dict[Any, Array] | None = None,
    wanted: frozenset[Any] | None = None,
    again: bool = False,
) -> None:
    """Go backwards from the roots.

    Parameters
    ----------
    roots : sequence of (tensor, gradient)
    retain : bool
        Keep what the nodes saved, for another pass.
    collected : dict, optional
        Put gradients here, by node (or tensor, for leaves), and leave ``.grad`` of all tensors alone.
    wanted : frozenset, optional
        Which gradients to collect; all by default.
    again : bool
        Go through nodes that have been passed before, as long as they have what they need; do not pass others.
    """
    direct = collected is None
    gradients: dict[Any, Any] = {}
    heap: list[tuple[int, Node]] = []
    leaves: dict[Any, Array] = {}  # those with hooks, which see the whole gradient

    def arrive(leaf: TensorBase, gradient: Array) -> None:
        if not direct or leaf._hooks:
            present = leaves.get(leaf)
            leaves[leaf] = gradient if present is None else present + gradient
        else:
            accumulate(leaf, gradient)

    for root, gradient in roots:
        node = root._node
        if node is None:
            arrive(root, gradient)
        elif node in gradients:
            gradients[node] = gradients[node] + gradient
        else:
            gradients[node] = gradient
            heappush(heap, (node.order, node))

    while heap:
        node = heappop(heap)[1]
        gradient = gradients.pop(node)
        if gradient.__class__ is not _ndarray and not node.multiple:
            gradient = whole(gradient)
        if node.hooks and not again:
            gradient = _apply_hooks(node.hooks, gradient)
        if direct:
            if node.retain is not None:
                kept = node.retain()
                if kept is not None:
                    accumulate(kept, gradient)
        elif not node.multiple and (wanted is None or node in wanted):
            collected[node] = gradient  # type: ignore[index]
        backward = node.backward
        if again:
            if backward is None:
                continue
        elif backward is None or node.spent or node.saved is not None:
            _check_saved(node)
        results = backward(gradient, direct) if node.direct else backward(gradient)  # type: ignore[misc]
        if not retain:
            _release(node)
        for edge, result in zip(node.edges, results):  # noqa: B905 (both are made by the operation)
            if result is None:
                continue
            if edge.__class__ is Node:
                if edge in gradients:
                    gradients[edge] = gradients[edge] + result
                else:
                    gradients[edge] = result
                    heappush(heap, (edge.order, edge))
            elif edge is not None and edge._tracked:
                arrive(edge, result)

    for leaf, gradient in leaves.items():
        if leaf._hooks and not again:
            gradient = _apply_hooks(leaf._hooks, whole(gradient))
        if direct:
            accumulate(leaf, gradient)
        elif wanted is None or leaf in wanted:
            collected[leaf] = whole(gradient)  # type: ignore[index]


def backward(root: TensorBase, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add the gradient of `root` to ``.grad`` of every leaf it was computed from. See `Tensor.backward`."""
    run([(root, seed_gradient(root, gradient, "backward"))], retain_graph)


def _several(given: Any, what: str) -> list[TensorBase]:
    if isinstance(given, TensorBase):
        return [given]
    if not isinstance(given, Iterable):
        raise TypeError(f"grad: {what}s is a {type(given).__name__}; expected a Tensor or several")
    tensors = list(given)
    for i, tensor in enumerate(tensors):
        if not isinstance(tensor, TensorBase):
            raise TypeError(f"grad: {what} {i} is a {type(tensor).__name__}; expected a Tensor")
    return tensors


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of outputs by inputs, and leave ``.grad`` of all tensors alone.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
        Their gradients are summed.
    inputs : Tensor or sequence of Tensor
        Leaves, or results within the graph.
    grad_outputs : optional
        The gradient by each output, as `Tensor.backward` takes it.
    retain_graph : bool
        Keep the graph for another pass.
    allow_unused : bool
        Return None for an input that no output depends on, instead of raising.

    Returns
    -------
    tuple of Tensor
        One for each input, of its shape.

    Raises
    ------
    RuntimeError
        If an input does not require a gradient, or is unused.
    """
    many, sources = _several(outputs, "output"), _several(inputs, "input")
    seeds = grad_outputs if isinstance(grad_outputs, (list, tuple)) else [grad_outputs] * len(many)
    if len(seeds) != len(many):
        raise ValueError(
            f"grad: grad_outputs has {len(seeds)} entries; expected one for each of {len(many)} outputs"
        )
    for i, source in enumerate(sources):
        if not source._tracked:
            raise RuntimeError(f"grad: input {i} does not require a gradient")
    keys = [source._node if source._node is not None else source for source in sources]
    collected: dict[Any, Array] = {}
    roots: list[tuple[TensorBase, Array]] = [
        (output, seed_gradient(output, seed, "grad")) for output, seed in zip(many, seeds, strict=True)
    ]
    run(roots, retain_graph, collected, frozenset(keys))
    results: list[Tensor | None] = []
    for i, key in enumerate(keys):
        if key in collected:
            results.append(make(whole(collected[key]).copy()))
        elif allow_unused:
            results.append(None)
        else:
            raise RuntimeError(
                f"grad: no output depends on input {i}; pass allow_unused=True to get None for it"
            )
    return tuple(results)


__all__ = ["ONE", "backward", "claim", "grad", "run", "seed_gradient", "settle", "unit"]
