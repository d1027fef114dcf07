"""The same elements in another arrangement. Results share memory with their tensor wherever NumPy's do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.autograd.base import make, normal_dim, record, record_many, shape_text, share, unbroadcast
from dlkit.autograd.mode import mode
from dlkit.kernels.backend import mixed_devices, namespace

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor


def _sizes(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    return sizes


def _arranged(op: str, a: Tensor, out: Array) -> Tensor:
    x = a._array
    if not a._tracked or not mode.enabled:
        result = make(out)
    else:
        shape = x.shape
        result = record(op, out, (a,), lambda g: (g.reshape(shape),))
    base = out.base
    return share(a, result) if out is x or (base is not None and (base is x or base is x.base)) else result


def reshape(a: Tensor, *shape: Any) -> Tensor:
    """The elements in row-major order in another shape; one size may be -1.

    Raises
    ------
    ValueError
        If the number of elements differs.
    """
    sizes = _sizes(shape)
    try:
        out = a._array.reshape(sizes)
    except ValueError:
        raise ValueError(
            f"reshape: the tensor is {shape_text(a._array.shape)}, {a._array.size} elements; "
            f"they do not fit {shape_text(sizes)}"
        ) from None
    except TypeError:
        raise TypeError(f"reshape: shape is {sizes}; expected integers") from None
    return _arranged("reshape", a, out)


def view(a: Tensor, *shape: Any) -> Tensor:
    """As `reshape`, but never with a copy.

    Raises
    ------
    RuntimeError
        If the elements would have to be copied.
    """
    result = reshape(a, *shape)
    if a._array.size and not np.may_share_memory(a._array, result._array):
        raise RuntimeError(
            f"view: the tensor of shape {shape_text(a._array.shape)} and strides {a._array.strides} (bytes) "
            f"cannot be seen as {shape_text(result._array.shape)} without a copy; use reshape"
        )
    return result


def flatten(a: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from `start_dim` to `end_dim`, inclusive, as one."""
    x = a._array
    first, last = normal_dim(start_dim, x.ndim, "flatten"), normal_dim(end_dim, x.ndim, "flatten")
    if first > last:
        raise ValueError(
            f"flatten: start_dim is {start_dim} and end_dim is {end_dim}; expected start_dim first"
        )
    if x.ndim == 0:
        return _arranged("flatten", a, x.reshape(1))
    length = 1
    for size in x.shape[first : last + 1]:
        length *= size
    return _arranged("flatten", a, x.reshape(*x.shape[:first], length, *x.shape[last + 1 :]))


def squeeze(a: Tensor, dim: int | None = None) -> Tensor:
    """Without the dimensions of size 1, or without `dim` where its size is 1."""
    x = a._array
    if dim is None:
        return _arranged("squeeze", a, x.squeeze())
    d = normal_dim(dim, x.ndim, "squeeze")
    return _arranged("squeeze", a, x.squeeze(d) if x.ndim and x.shape[d] == 1 else x)


def unsqueeze(a: Tensor, dim: int) -> Tensor:
    """With a dimension of size 1 before `dim`."""
    x = a._array
    d = normal_dim(dim, x.ndim + 1, "unsqueeze")
    return _arranged(
        "unsqueeze",
        a,
        x.reshape(*x.shape[:d], 1, *x.shape[d:]) if x.flags.c_contiguous else np.expand_dims(x, d),
    )


def permute(a: Tensor, *dims: Any) -> Tensor:
    """The dimensions in the order `dims`."""
    x = a._array
    order = tuple(normal_dim(d, x.ndim, "permute") for d in _sizes(dims))
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(
            f"permute: dims are {_sizes(dims)}; expected each of the tensor's {x.ndim} dimensions once"
        )
    return _permuted("permute", a, order)


def transpose(a: Tensor, dim0: int, dim1: int) -> Tensor:
    """With two dimensions exchanged."""
    ndim = a._array.ndim
    first, second = normal_dim(dim0, ndim, "transpose"), normal_dim(dim1, ndim, "transpose")
    order = list(range(ndim))
    if ndim:
        order[first], order[second] = second, first
    return _permuted("transpose", a, tuple(order))


def transposed(a: Tensor) -> Tensor:
    """With all dimensions in reverse order: of a matrix, the transpose."""
    return _permuted("transpose", a, tuple(range(a._array.ndim - 1, -1, -1)))


def matrix_transposed(a: Tensor) -> Tensor:
    """With the last two dimensions exchanged."""
    return transpose(a, -2, -1)


def _permuted(op: str, a: Tensor, order: tuple[int, ...]) -> Tensor:
    out = a._array.transpose(order)
    if not a._tracked or not mode.enabled:
        return share(a, make(out))
    back = tuple(sorted(range(len(order)), key=order.__getitem__))
    return share(a, record(op, out, (a,), lambda g: (g.transpose(back),)))


def expand(a: Tensor, *sizes: Any) -> Tensor:
    """Broadcast to a shape; -1 keeps a size. The result repeats elements without memory of its own.

    Raises
    ------
    ValueError
        If a size other than 1 would have to change.
    """
    x = a._array
    wanted = list(_sizes(sizes))
    extra = len(wanted) - x.ndim
    for i, size in enumerate(wanted):
        if size == -1 and i >= extra:
            wanted[i] = x.shape[i - extra]
    try:
        out = np.broadcast_to(x, wanted)
    except ValueError:
        raise ValueError(
            f"expand: the tensor is {shape_text(x.shape)}; it cannot be broadcast to {shape_text(tuple(wanted))}"
        ) from None
    except TypeError:
        raise TypeError(f"expand: sizes are {tuple(wanted)}; expected integers") from None
    if not a._tracked or not mode.enabled:
        return share(a, make(out))
    shape = x.shape
    return share(a, record("expand", out, (a,), lambda g: (unbroadcast(g, shape),)))


def contiguous(a: Tensor) -> Tensor:
    """The tensor itself if its elements lie in row-major order, else a copy that does."""
    x = a._array
    if x.flags.c_contiguous:
        return a
    return _arranged("contiguous", a, namespace(x).ascontiguousarray(x))


def clone(a: Tensor) -> Tensor:
    """A copy that gradients go back through."""
    return _arranged("clone", a, a._array.copy())


def stack(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors of one shape, one after another along a new dimension before `dim`."""
    inputs = _tensors(tensors, "stack")
    first = inputs[0]._array.shape
    for i, tensor in enumerate(inputs):
        if tensor._array.shape != first:
            raise ValueError(
                f"stack: tensor {i} is {shape_text(tensor._array.shape)} but tensor 0 is {shape_text(first)}; "
                "expected one shape"
            )
    d = normal_dim(dim, len(first) + 1, "stack")
    out = np.stack(_arrays(inputs, "stack"), axis=d)
    if not mode.enabled or not _any_tracked(inputs):
        return make(out)

    def backward(g: Array) -> list[Array]:
        return list(np.moveaxis(g, d, 0))

    return record("stack", out, tuple(inputs), backward)


def cat(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors one after another along the dimension `dim`; all other sizes must agree."""
    inputs = _tensors(tensors, "cat")
    first = inputs[0]._array.shape
    if not first:
        raise ValueError("cat: tensor 0 has no dimensions; expected at least one (use stack)")
    d = normal_dim(dim, len(first), "cat")
    for i, tensor in enumerate(inputs):
        shape = tensor._array.shape
        if len(shape) != len(first) or any(
            s != f for k, (s, f) in enumerate(zip(shape, first, strict=True)) if k != d
        ):
            raise ValueError(
                f"cat: tensor {i} is {shape_text(shape)} but tensor 0 is {shape_text(first)}; expected the same sizes "
                f"everywhere but in dimension {d}"
            )
    out = np.concatenate(_arrays(inputs, "cat"), axis=d)
    if not mode.enabled or not _any_tracked(inputs):
        return make(out)
    ends = np.cumsum([t._array.shape[d] for t in inputs])[:-1].tolist()
    return record("cat", out, tuple(inputs), lambda g: np.split(g, ends, axis=d))


def _tensors(tensors: Any, op: str) -> list[Tensor]:
    from dlkit.autograd.base import TensorBase, as_array, cast

    try:
        tensors = list(tensors)
    except TypeError:
        raise TypeError(
            f"{op}: tensors is a {type(tensors).__name__}; expected a sequence of tensors"
        ) from None
    like = next((t._array for t in tensors if isinstance(t, TensorBase)), None)
    inputs = [
        t if isinstance(t, TensorBase) else make(as_array(t, op, f"tensor {i}", like=like))
        for i, t in enumerate(tensors)
    ]
    if not inputs:
        raise ValueError(f"{op}: no tensors given; expected at least one")
    dtype = np.result_type(*[t._array.dtype for t in inputs])
    if dtype.kind == "f" and any(t._array.dtype.kind != "f" for t in inputs):
        dtype = np.result_type(*[t._array.dtype for t in inputs if t._array.dtype.kind == "f"])
    return [cast(t, dtype) for t in inputs]


def _arrays(inputs: list[Tensor], op: str) -> list[Array]:
    arrays = [t._array for t in inputs]
    mixed = mixed_devices(op, [(f"tensor {i}", array) for i, array in enumerate(arrays)])
    if mixed is not None:
        raise mixed
    return arrays


def _any_tracked(inputs: list[Tensor]) -> bool:
    return any(t._tracked for t in inputs)


def split(a: Tensor, split_size: int | list[int] | tuple[int, ...], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of `split_size` along `dim`, the last one smaller if need be; or pieces of the sizes listed."""
    x = a._array
    d = normal_dim(dim, x.ndim, "split")
    length = x.shape[d]
    if isinstance(split_size, (list, tuple)):
        sizes = [int(s) for s in split_size]
        if sum(sizes) != length or min(sizes, default=0) < 0:
            raise ValueError(
                f"split: sizes {sizes} sum to {sum(sizes)}; expected {length}, the size of dimension {d}"
            )
    else:
        _integer(split_size, "split", "split_size")
        if split_size < 1:
            raise ValueError(f"split: split_size is {split_size}; expected at least 1")
        sizes = [min(split_size, length - i) for i in range(0, length, split_size)] or [0]
    pieces = np.split(x, np.cumsum(sizes)[:-1].tolist(), axis=d)
    if not a._tracked or not mode.enabled:
        return tuple(share(a, make(piece)) for piece in pieces)

    def backward(gradients: list[Array | None]) -> tuple[Array]:
        full = [np.zeros_like(piece) if g is None else g for piece, g in zip(pieces, gradients, strict=True)]
        return (np.concatenate(full, axis=d),)

    return tuple(share(a, piece) for piece in record_many("split", pieces, (a,), backward))


def chunk(a: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of one size along `dim`, the last one smaller if need be."""
    _integer(chunks, "chunk", "chunks")
    if chunks < 1:
        raise ValueError(f"chunk: chunks is {chunks}; expected at least 1")
    length = a._array.shape[normal_dim(dim, a._array.ndim, "chunk")]
    return split(a, max(1, -(-length // chunks)), dim)


def _integer(value: Any, op: str, argument: str) -> None:
    if not hasattr(value, "__index__"):
        raise TypeError(f"{op}: {argument} is a {type(value).__name__}; expected an integer")


def unbind(a: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along `dim`, without that dimension."""
    d = normal_dim(dim, a._array.ndim, "unbind")
    return tuple(squeeze(piece, d) for piece in split(a, 1, d)) if a._array.shape[d] else ()
