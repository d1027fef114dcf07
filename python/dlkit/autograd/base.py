"""Recording: the fields of a tensor, the node of the graph that made it, and the way from arrays to both."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.autograd.mode import mode
from dlkit.kernels.backend import device_of, is_device_array, mixed_devices, move, namespace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dlkit.autograd.tensor import Tensor

    Array = NDArray[Any]
    Backward = Callable[..., Any]

SMALL = 16
"""Values of at most this many elements stay with the graph, so that it can be drawn."""

_ndarray = np.ndarray
_new = object.__new__
_next = itertools.count(1).__next__

_RANK = {"b": 0, "i": 1, "u": 1, "f": 2}

# Operations whose backward reads their output: a change of the output in place spoils it.
_READS_OUTPUT = frozenset(
    (
        *("div", "sqrt", "exp", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "softmax"),
        *(
            "log_softmax",
            "linear_relu",
            "linear_sigmoid",
            "linear_tanh",
            "conv1d_relu",
            "conv2d_relu",
            "max",
            "min",
            "norm",
        ),
    )
)


class Node:
    """One operation in the graph.

    Attributes
    ----------
    op : str
        What it is called.
    order : int
        Minus the number of nodes made before: a node's inputs come later in this order than itself.
    edges : tuple
        For each input the node that made it; or the tensor itself where it is a leaf, or a constant small enough to
        be drawn; or None.
    backward : callable or None
        From the gradient by the output to a sequence with the gradient by each input (None where there is none).
        ``None`` when it has been released.
    saved : tuple of tensors or None
        The inputs that `backward` reads; `version` is the sum of their versions when they were recorded.
    value : array or tuple
        The output where it is small, else its shape.
    direct : bool
        Whether `backward` takes a second argument: may it write into the gradients of leaves itself?
    multiple : bool
        Whether the node has several outputs. Then gradients are lists of pairs (number of the output, gradient).
    spent : bool
        Whether a backward pass went through that did not retain the graph.
    """

    __slots__ = (
        "__weakref__",
        "backward",
        "direct",
        "edges",
        "hooks",
        "multiple",
        "name",
        "op",
        "order",
        "retain",
        "saved",
        "spent",
        "value",
        "version",
    )

    op: str
    order: int
    edges: tuple[Any, ...]
    backward: Backward | None
    saved: Sequence[TensorBase] | None
    version: int
    value: Any
    direct: bool
    multiple: bool
    spent: bool
    name: str | None
    hooks: list[Callable[[Any], Any]] | None
    retain: Any

    def __repr__(self) -> str:
        return f"<{self.op}>"


class TensorBase:
    """The fields of a tensor. `Tensor` adds everything that can be done with them."""

    __slots__ = (
        "__weakref__",
        "_array",
        "_buffer",
        "_grad",
        "_hooks",
        "_name",
        "_node",
        "_tracked",
        "_version",
    )

    _array: Array
    _tracked: bool  # requires_grad
    _node: Node | None  # what made it, if that was recorded
    _grad: Tensor | None
    _buffer: Tensor | None  # the last gradient, to be written over (gradients.py)
    _version: Any  # counts changes in place: an int, or `Changes` where other tensors share the memory
    _name: str | None
    _hooks: list[Callable[[Any], Any]] | None


class Changes:
    """A count of changes in place that tensors which share memory have in common. Adds up like an integer."""

    __slots__ = ("count", "made_by")

    def __init__(self, count: int) -> None:
        self.count = count
        self.made_by: Any = None  # weak reference to the node that made the memory, if its backward reads it

    def __iadd__(self, more: int) -> Changes:
        self.count += more
        return self

    def __radd__(self, other: int) -> int:
        return other + self.count


def share(source: TensorBase, result: Tensor) -> Tensor:
    """Return `result`, a view of the memory of `source`, with changes of one counting as changes of the other."""
    version = source._version
    if version.__class__ is int:
        version = source._version = Changes(version)
    node = source._node
    if node is not None and node.op in _READS_OUTPUT:
        version.made_by = weakref.ref(node)
    result._version = version
    return result


_class: Any = TensorBase


def install(tensor_class: type[TensorBase]) -> None:
    """Set the class of the tensors that operations return."""
    global _class
    _class = tensor_class


def whole(value: Any) -> Any:
    """Return an array as it is, of whatever device, and one of NumPy's scalars as an array."""
    if value.__class__ is _ndarray or (not isinstance(value, np.generic) and is_device_array(value)):
        return value
    return np.asarray(value)


def writeable(array: Any) -> bool:
    """Return whether an array can be written to. Memory of devices always can."""
    return bool(getattr(array.flags, "writeable", True))


def constant(value: Any, dtype: Any, like: Array) -> Array:
    """Return a number as an array without dimensions, on the device of another array.

    Raises
    ------
    OverflowError
        If it is an integer that the dtype cannot hold.
    """
    array = np.array(value, dtype)
    # On devices by a kernel that fills, not by a copy: that could not be part of a recorded graph.
    return array if like.__class__ is _ndarray else namespace(like).full((), array.item(), array.dtype)


def make(array: Any, tracked: bool = False, node: Node | None = None) -> Tensor:
    """Wrap an array in a tensor, unchecked. NumPy's scalars become arrays."""
    tensor = _new(_class)
    tensor._array = array if array.__class__ is _ndarray else whole(array)
    tensor._tracked = tracked
    tensor._node = node
    tensor._grad = None
    tensor._buffer = None
    tensor._version = 0
    tensor._name = None
    tensor._hooks = None
    return tensor  # type: ignore[no-any-return]


def recording(a: TensorBase, b: TensorBase | None = None) -> bool:
    """Return whether an operation on these is to be recorded."""
    return (a._tracked or (b is not None and b._tracked)) and mode.enabled


def record(
    op: str,
    array: Any,
    inputs: tuple[TensorBase, ...],
    backward: Backward,
    saved: tuple[TensorBase, ...] | None = None,
    direct: bool = False,
) -> Tensor:
    """Return a tensor of the array, made by a new node of the graph. See `Node` for the arguments."""
    if array.__class__ is not _ndarray:
        array = whole(array)
    node = _new(Node)
    node.op = op
    node.order = -_next()
    edges = []
    for tensor in inputs:
        made_by = tensor._node
        if made_by is not None:
            edges.append(made_by)
        elif tensor._tracked or tensor._array.size <= SMALL:
            edges.append(tensor)  # type: ignore[arg-type]
        else:
            edges.append(None)  # type: ignore[arg-type]
    node.edges = tuple(edges)
    node.backward = backward
    node.saved = saved
    if saved is not None:
        version = 0
        for tensor in saved:
            version += tensor._version
        node.version = version
    node.value = array if array.size <= SMALL else array.shape
    node.direct = direct
    node.multiple = False
    node.spent = False
    node.name = None
    node.hooks = None
    node.retain = None
    return make(array, True, node)


def record_many(
    op: str,
    arrays: Sequence[Array],
    inputs: tuple[TensorBase, ...],
    backward: Callable[..., Any],
    saved: tuple[TensorBase, ...] | None = None,
    direct: bool = False,
) -> tuple[Tensor, ...]:
    """As `record`, for an operation of several outputs. `backward` gets a list with the gradient by each, or None."""
    count = len(arrays)

    def split(pairs: list[tuple[int, Array]], *into_leaves: bool) -> Any:
        gradients: list[Array | None] = [None] * count
        for index, gradient in pairs:
            present = gradients[index]
            gradients[index] = gradient if present is None else present + gradient
        return backward(gradients, *into_leaves)

    parent = record(op, arrays[0], inputs, split, saved, direct)
    node = parent._node
    assert node is not None
    node.multiple = True
    node.value = tuple(np.shape(arrays[0]))

    def output(index: int) -> Tensor:
        def one(gradient: Array) -> tuple[list[tuple[int, Array]]]:
            return ([(index, gradient)],)

        return record(f"{op}[{index}]", arrays[index], (parent,), one)

    return tuple(output(index) for index in range(count))


def mark_changed(tensor: TensorBase) -> None:
    """Note that the tensor's array has been changed in place, for graphs that saved it."""
    tensor._version += 1
    node = tensor._node
    if node is not None and node.op in _READS_OUTPUT:
        node.saved, node.version = (), -1
    if tensor._version.__class__ is Changes and tensor._version.made_by is not None:
        node = tensor._version.made_by()
        if node is not None:
            node.saved, node.version = (), -1


def guarded(gradient: Array) -> Tensor:
    """Return a gradient as hooks and custom operations get it: not to be written to, for others may read it too."""
    if is_device_array(gradient):
        return make(gradient.copy())  # that memory cannot be protected
    view = gradient.view()
    view.flags.writeable = False
    return make(view)


def promote(a: TensorBase, b: TensorBase) -> tuple[Any, Any]:
    """Bring two tensors to one dtype, as PyTorch does: integers to the other's floats, scalars to the other's width."""
    x, y = a._array, b._array
    dtype = common_dtype(x, y)
    return cast(a, dtype), cast(b, dtype)


def common_dtype(x: Array, y: Array) -> np.dtype[Any]:
    """Return the dtype that `promote` brings two arrays to."""
    kinds = _RANK[x.dtype.kind], _RANK[y.dtype.kind]
    if kinds[0] == 2 and kinds[1] < 2:
        return x.dtype
    if kinds[1] == 2 and kinds[0] < 2:
        return y.dtype
    if kinds[0] == kinds[1] and (x.ndim == 0) != (y.ndim == 0):
        return y.dtype if x.ndim == 0 else x.dtype
    return np.result_type(x.dtype, y.dtype)


def cast(tensor: TensorBase, dtype: np.dtype[Any]) -> Any:
    """Return the tensor in another dtype, recorded where both are floats."""
    array = tensor._array
    source = array.dtype
    if source == dtype:
        return tensor
    converted = array.astype(dtype)
    if not recording(tensor):
        return make(converted)
    if dtype.kind != "f":
        return make(converted)
    return record("to", converted, (tensor,), lambda g: (g.astype(source),))


def operand(value: Any, like: TensorBase, op: str, argument: str = "other") -> Any:
    """Return the other operand of a binary operation as a tensor. Python numbers take the dtype of `like`.

    Raises
    ------
    TypeError
        If it is no tensor, array, number or nested list of numbers.
    OverflowError
        If it is an integer that the dtype of `like` cannot hold.
    """
    if isinstance(value, TensorBase):
        return value
    dtype = like._array.dtype
    kind = value.__class__
    if kind is float or kind is int or kind is bool or isinstance(value, (float, int)):
        if dtype.kind == "f":
            return make(constant(value, dtype, like._array))
        if isinstance(value, float) and not isinstance(value, bool):
            return make(constant(value, np.float32, like._array))
        if dtype.kind == "b" and not isinstance(value, bool):
            dtype = np.dtype(np.int64)
        try:
            return make(constant(value, dtype, like._array))
        except OverflowError:
            raise OverflowError(
                f"{op}: {argument} is {value}; expected a number that {dtype} can hold"
            ) from None
    return make(as_array(value, op, argument, dtype=dtype, like=like._array))


def as_array(
    value: Any,
    operation: str,
    argument: str,
    copy: bool = False,
    dtype: Any = None,
    half: bool = False,
    like: Array | None = None,
) -> Array:
    """Return `value` as an array of native byte order. Python floats become float32, integers int64.

    With ``dtype`` float64 Python floats stay as exact as they are; the array is not converted otherwise. With ``half``
    float16 is accepted too. Numbers and lists, which are on no device, go to that of `like`; arrays stay.

    Raises
    ------
    TypeError
        If it holds anything but real numbers and truth values.
    ValueError
        If it is a nested list whose rows differ in length.
    """
    if isinstance(value, TensorBase):
        array = value._array
        return array.copy() if copy else array
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array_interface__"):
        array = np.asarray(value)
    elif is_device_array(value):
        array = value
    elif hasattr(value, "__array__") or hasattr(value, "__dlpack__"):
        array = np.asarray(value) if hasattr(value, "__array__") else np.asarray(np.from_dlpack(value))
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(
                f"{operation}: {argument} is a nested list whose rows differ in length; expected the same everywhere"
            ) from error
        except TypeError as error:
            raise TypeError(
                f"{operation}: {argument} is a {type(value).__name__} ({error}); expected numbers"
            ) from error
        if array.dtype == np.float64 and dtype != np.float64 and not _holds_float64(value):
            array = array.astype(np.float32)
        if like is not None and like.__class__ is not _ndarray and array.dtype.kind in "fiub":
            array = move(array, device_of(like))
        copy = False
    kind = array.dtype.kind
    if (
        kind not in "fiub"
        or array.dtype.itemsize > 8
        or (array.dtype.itemsize == 2 and kind == "f" and not half)
    ):
        given = f"an array of {array.dtype}"
        if not isinstance(value, np.ndarray) and not is_device_array(value):
            given = f"a {type(value).__name__} of dtype {array.dtype}"
        raise TypeError(
            f"{operation}: {argument} is {given}; expected real numbers (float32, float64 or integers)"
        )
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array.copy() if copy else array


def _holds_float64(value: Any) -> bool:
    while isinstance(value, (list, tuple)) and len(value):
        value = value[0]
    if isinstance(value, TensorBase):
        return value._array.dtype == np.float64
    if isinstance(value, (np.ndarray, np.generic)):
        return bool(value.dtype == np.float64)
    return not isinstance(value, (float, int, list, tuple))  # a buffer, with a format of its own


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the dimensions along which an input of that shape was broadcast."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        i + extra for i, size in enumerate(shape) if size == 1 and gradient.shape[i + extra] != 1
    )
    return whole(gradient.sum(axis=axes, keepdims=True)).reshape(shape)  # type: ignore[no-any-return]


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as errors show it."""
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def broadcast_error(op: str, x: Array, y: Array, error: Exception | None = None) -> Exception:
    """Return the error for two arrays that are on several devices, or do not broadcast; else `error` itself."""
    mixed = mixed_devices(op, [("a", x), ("b", y)])
    if mixed is not None:
        return mixed
    if isinstance(error, TypeError):
        return error
    for i in range(1, min(x.ndim, y.ndim) + 1):
        if x.shape[-i] != y.shape[-i] and 1 not in (x.shape[-i], y.shape[-i]):
            return ValueError(
                f"{op}: a is {shape_text(x.shape)} but b is {shape_text(y.shape)}: sizes {x.shape[-i]} and "
                f"{y.shape[-i]} of dimension {-i} differ, and neither is 1"
            )
    return ValueError(
        f"{op}: a is {shape_text(x.shape)} but b is {shape_text(y.shape)}: shapes do not broadcast"
    )


def normal_dim(dim: Any, ndim: int, op: str) -> int:
    """Return a dimension's number counted from the front.

    Raises
    ------
    TypeError, IndexError
        If it is no integer, or out of range.
    """
    try:
        index = dim.__index__()
    except AttributeError:
        raise TypeError(f"{op}: dim is a {type(dim).__name__}; expected an integer") from None
    bound = max(ndim, 1)
    if not -bound <= index < bound:
        raise IndexError(
            f"{op}: dim is {index}; expected {-bound} to {bound - 1} for a tensor of {ndim} dimensions"
        )
    return int(index % bound)


def require_float(tensor: TensorBase, op: str) -> Array:
    """Return the tensor's array, integers as float32, for operations that are defined on floats alone."""
    array = tensor._array
    if array.dtype.kind != "f":
        return array.astype(np.float32)
    return array
