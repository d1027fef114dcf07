"""The tensor: an array, of the CPU or of a device, that remembers what it was computed from."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.autograd import arithmetic, arrangement, elementwise, engine, indexing, product, reduction
from dlkit.autograd.base import (
    TensorBase,
    as_array,
    install,
    make,
    mark_changed,
    normal_dim,
    operand,
    shape_text,
    share,
    writeable,
)
from dlkit.autograd.gradients import clear
from dlkit.autograd.mode import mode
from dlkit.kernels.backend import (
    device_of,
    is_device_array,
    is_device_name,
    mixed_devices,
    move,
    namespace,
    resolve_device,
    to_host,
)

if TYPE_CHECKING:
    from dlkit.autograd.base import Array

Number = float  # inside the class `float` is a method
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def check_differentiable(array: Array, operation: str) -> None:
    """Raise TypeError unless gradients of such an array can be computed."""
    if array.dtype not in _FLOATS:
        raise TypeError(
            f"{operation}: requires_grad=True for a tensor of dtype {array.dtype}; expected float32 or float64 "
            "(write 2.0 for 2, or pass dtype='float32')"
        )


class HookHandle:
    """What `Tensor.register_hook` returns: `remove`, or a call, takes the hook away."""

    __slots__ = ("_hook", "_hooks")

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks: list[Any] | None = hooks
        self._hook = hook

    def remove(self) -> None:
        """Take the hook away. Nothing happens the second time."""
        hooks, self._hooks = self._hooks, None
        for i, hook in enumerate(hooks or ()):
            if hook is self._hook and hooks is not None:
                del hooks[i]
                return

    __call__ = remove


class Tensor(TensorBase):
    """An array with operators that record a graph, through which `backward` computes derivatives.

    Parameters
    ----------
    data : array, number, nested list or Tensor
        An array's memory is shared, not copied (`dlkit.tensor` copies), and stays on its device: arrays of CuPy make
        tensors on a GPU. Python floats become float32, integers int64.
    requires_grad : bool
        Whether derivatives by this tensor are wanted. Needs float32 or float64.
    dtype : optional
        Convert to this dtype.
    name : str, optional
        Shown by `dlkit.autograd.draw` and in errors.

    Examples
    --------
    >>> import dlkit as dl
    >>> a = dl.Tensor(2.0, requires_grad=True)
    >>> b = dl.Tensor(1.0, requires_grad=True)
    >>> e = (a + b) * (b + 1)
    >>> e.backward()
    >>> a.grad.item(), b.grad.item()
    (2.0, 5.0)

    Notes
    -----
    ``tensor.grad`` keeps its memory from step to step: after ``zero_grad()`` it is None, and the next backward pass
    writes into the same memory, unless somebody still holds the old gradient; then that stays as it is.

    Changing the array (``tensor.data``, ``tensor.numpy()``) is not noticed by graphs that use the tensor. Methods that
    change it in place (``add_``, ``copy_``, ``t[i] = v``, ``-=``, an optimizer's step), of it or of a view of it, are:
    backward raises instead of giving a gradient that is wrong.
    """

    __slots__ = ()
    __array_ufunc__ = None  # NumPy arrays leave `array + tensor` to the tensor

    def __init__(
        self, data: Any, requires_grad: bool = False, dtype: Any = None, name: str | None = None
    ) -> None:
        if dtype is not None:
            dtype = _dtype(dtype, "Tensor")
        array = (
            data
            if data.__class__ is np.ndarray and data.dtype in _FLOATS
            else as_array(data, "Tensor", "data", dtype=dtype)
        )
        if dtype is not None:
            array = array.astype(dtype, copy=False)
        if requires_grad:
            check_differentiable(array, "Tensor")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"Tensor: name is a {type(name).__name__}; expected a string")
        self._array = array
        self._tracked = bool(requires_grad)
        self._node = None
        self._grad = None
        self._buffer = None
        self._version = 0
        self._name = name
        self._hooks = None
        if isinstance(data, TensorBase) and data._array is array:
            share(data, self)

    # What it is.

    @property
    def data(self) -> Array:
        """The values: the array itself, not a copy."""
        return self._array

    @data.setter
    def data(self, value: Any) -> None:
        array = as_array(value, "Tensor.data", "value", dtype=self._array.dtype, like=self._array)
        if array.shape != self._array.shape and self._node is not None:
            raise ValueError(
                f"Tensor.data: value is {shape_text(array.shape)}; "
                f"expected {shape_text(self._array.shape)} for a result of a recorded operation"
            )
        if self._tracked:
            check_differentiable(array, "Tensor.data")
        self._array = array

    @property
    def grad(self) -> Tensor | None:
        """The derivative by this tensor that backward passes have added up, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is None:
            clear(self)
            return
        array = as_array(value, "Tensor.grad", "value", dtype=self._array.dtype, like=self._array)
        if array.shape != self._array.shape:
            raise ValueError(
                f"Tensor.grad: value is {shape_text(array.shape)}; expected {shape_text(self._array.shape)}"
            )
        if device_of(array) != device_of(self._array):
            raise TypeError(
                f"Tensor.grad: value is on {device_of(array)}; expected {device_of(self._array)}, as the tensor"
            )
        usable = array.dtype == self._array.dtype and array.flags.c_contiguous and writeable(array)
        if usable:
            self._grad = value if isinstance(value, Tensor) else make(array)
        else:
            self._grad = make(self._fitting(array))

    def _fitting(self, array: Array) -> Array:
        fitting: Array = namespace(array).empty(array.shape, self._array.dtype)
        np.copyto(fitting, array, casting="unsafe")
        return fitting

    @property
    def requires_grad(self) -> bool:
        """Whether derivatives by this tensor are computed."""
        return self._tracked

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value:
            check_differentiable(self._array, "requires_grad")
        elif self._node is not None:
            raise RuntimeError(
                "requires_grad: only leaves can be changed; use .detach() for a tensor without graph"
            )
        self._tracked = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def name(self) -> str | None:
        """What drawings and errors call it."""
        return self._name

    @name.setter
    def name(self, value: str | None) -> None:
        if value is not None and not isinstance(value, str):
            raise TypeError(f"name: value is a {type(value).__name__}; expected a string")
        self._name = value
        if self._node is not None:
            self._node.name = value

    @property
    def is_leaf(self) -> bool:
        """Whether it is no result of a recorded operation."""
        return self._node is None

    @property
    def grad_fn(self) -> Any:
        """The node of the graph that made it, or None."""
        return self._node

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        return self._array.dtype

    @property
    def nbytes(self) -> int:
        """The bytes of its elements."""
        return self._array.nbytes

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        shape = self._array.shape
        return shape if dim is None else shape[normal_dim(dim, len(shape), "size")]

    def dim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    def numel(self) -> int:
        """The number of elements."""
        return self._array.size

    @property
    def device(self) -> str:
        """Where the memory is: ``cpu``, ``cuda:0``, ``simt``."""
        return device_of(self._array)

    def numpy(self) -> Array:
        """The values as the array itself, not a copy. What is done with it is not recorded.

        Raises
        ------
        TypeError
            If the tensor is on another device than the CPU: ``tensor.cpu().numpy()`` copies it.
        """
        self._require_host("numpy", "write .cpu().numpy()")
        return self._array

    def _require_host(self, operation: str, advice: str) -> None:
        if is_device_array(self._array):
            raise TypeError(
                f"{operation}: the tensor is on {device_of(self._array)}; expected one on the CPU ({advice})"
            )

    def item(self) -> Any:
        """The value of a tensor of one element, as a Python number."""
        if self._array.size != 1:
            raise ValueError(f"item: the tensor is {shape_text(self._array.shape)}; expected one element")
        return self._array.item()

    def tolist(self) -> Any:
        """The values as nested lists."""
        return self._array.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self._array.__class__ is not np.ndarray:
            self._require_host("__array__", "copy it there with .cpu()")
        if dtype is not None and dtype != self._array.dtype:
            if copy is False:
                raise ValueError(
                    f"__array__: the tensor is {self._array.dtype}; as {np.dtype(dtype)} it is a copy"
                )
            return self._array.astype(dtype)
        return self._array.copy() if copy else self._array

    def __dlpack__(self, **options: Any) -> Any:
        if not hasattr(self._array, "__dlpack__"):
            self._require_host("__dlpack__", "copy it there with .cpu()")
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise TypeError("len: the tensor has no dimensions")
        return int(self._array.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        if self._array.ndim == 0:
            raise TypeError("iteration: the tensor has no dimensions")
        return (self[i] for i in range(self._array.shape[0]))

    def __bool__(self) -> bool:
        if self._array.size != 1:
            raise ValueError(
                f"bool: the tensor is {shape_text(self._array.shape)}; expected one element (use .any() or .all())"
            )
        return bool(self._array)

    def __float__(self) -> Number:
        return Number(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._array.dtype.kind not in "iu" or self._array.ndim:
            raise TypeError("index: expected an integer tensor without dimensions")
        return int(self._array)

    def __contains__(self, value: Any) -> bool:
        return bool((self._array == as_array(value, "in", "value", like=self._array)).any())

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        text = np.array2string(to_host(self._array), separator=", ", prefix="tensor(")
        extra = ""
        if self._array.dtype.name not in ("float32", "int64", "bool"):
            extra += f", dtype={self._array.dtype}"
        if self._array.size == 0:
            extra += f", shape={self._array.shape}"
        if is_device_array(self._array):
            extra += f", device={device_of(self._array)!r}"
        if self._node is not None:
            extra += f", grad_fn=<{self._node.op}>"
        elif self._tracked:
            extra += ", requires_grad=True"
        if self._name is not None:
            extra += f", name={self._name!r}"
        return f"tensor({text}{extra})"

    def __format__(self, specification: str) -> str:
        if self._array.ndim == 0 and specification:
            return format(self._array.item(), specification)
        return repr(self) if not specification else format(str(self), specification)

    # Derivatives.

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add the derivatives of this tensor to ``.grad`` of all leaves that require them.

        Parameters
        ----------
        gradient : Tensor or array, optional
            The derivative of some later quantity by this tensor, of its shape. 1 by default, for a single value.
        retain_graph : bool
            Keep what the graph has saved, so that another backward pass can go through it.

        Raises
        ------
        RuntimeError
            If nothing requires a gradient; if the tensor has several values and no gradient is given; if the graph was
            released by an earlier pass; if a saved tensor has been changed in place.
        """
        engine.backward(self, gradient, retain_graph)

    def zero_grad(self) -> None:
        """Take the gradient away: ``.grad`` is None. Its memory is written over by the next backward pass."""
        clear(self)

    def retain_grad(self) -> None:
        """Keep ``.grad`` of this tensor in backward passes though it is no leaf."""
        if not self._tracked:
            raise RuntimeError("retain_grad: the tensor does not require a gradient")
        if self._node is not None:
            self._node.retain = weakref.ref(self)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call `hook` with the gradient by this tensor in each backward pass; what it returns replaces the gradient.

        Returns
        -------
        HookHandle
            Removes the hook: ``handle.remove()``.
        """
        if not callable(hook):
            raise TypeError(f"register_hook: hook is a {type(hook).__name__}; expected something to call")
        if not self._tracked:
            raise RuntimeError("register_hook: the tensor does not require a gradient")
        holder: Any = self if self._node is None else self._node
        name = "_hooks" if self._node is None else "hooks"
        hooks = getattr(holder, name)
        if hooks is None:
            hooks = []
            setattr(holder, name, hooks)
        hooks.append(hook)
        return HookHandle(hooks, hook)

    def detach(self) -> Tensor:
        """The same memory as a tensor that nothing is recorded of."""
        return share(self, make(self._array))

    # Changes in place.

    def _changeable(self, operation: str, value: Any = None) -> None:
        if self._tracked and mode.enabled:
            what = (
                "a leaf that requires a gradient"
                if self._node is None
                else "a result of a recorded operation"
            )
            raise RuntimeError(
                f"{operation}: the tensor is {what}; changes in place are not recorded, make them under no_grad()"
            )
        if isinstance(value, TensorBase) and value._tracked and mode.enabled:
            raise RuntimeError(
                f"{operation}: value requires a gradient; changes in place are not recorded, so that it would be lost: "
                "use where, cat or stack, or pass a .detach() of it"
            )
        if not writeable(self._array):
            raise ValueError(f"{operation}: the tensor's memory is read-only")

    def _assign(self, operation: str, function: Any, value: Any) -> Tensor:
        self._changeable(operation, value)
        array = self._array
        other = operand(value, self, operation, "value")._array
        if array.dtype.kind != "f" and (other.dtype.kind == "f" or function is np.divide):
            raise TypeError(
                f"{operation}: the tensor is of dtype {array.dtype}, the result would be a float; "
                "expected a float tensor (use .float())"
            )
        try:
            function(array, other, out=array, casting="unsafe")
        except TypeError as error:
            raise (mixed_devices(operation, [("the tensor", array), ("value", other)]) or error) from None
        except ValueError:
            raise ValueError(
                f"{operation}: value is {shape_text(other.shape)}; it does not broadcast to {shape_text(array.shape)}"
            ) from None
        mark_changed(self)
        return self

    def copy_(self, value: Any) -> Tensor:
        """Copy the values of `value`, broadcast, in place, from whatever device they are on.

        Like all changes in place it is not recorded, and refused where it would have to be: on tensors that require
        gradients it is for use under `no_grad`.
        """
        self._changeable("copy_", value)
        other = as_array(value, "copy_", "value", dtype=self._array.dtype, like=self._array)
        there = device_of(self._array)
        if device_of(other) != there:
            other = move(other, there)  # to copy is what was asked for
        try:
            np.copyto(self._array, other, casting="unsafe")
        except ValueError:
            raise ValueError(
                f"copy_: value is {shape_text(other.shape)}; it does not broadcast to {shape_text(self._array.shape)}"
            ) from None
        mark_changed(self)
        return self

    def fill_(self, value: Number) -> Tensor:
        """Set all elements to a number, in place."""
        return self.copy_(value)

    def zero_(self) -> Tensor:
        """Set all elements to 0, in place."""
        return self.copy_(0)

    def add_(self, other: Any, *, alpha: Number = 1) -> Tensor:
        """Add ``alpha * other`` in place."""
        if alpha != 1:
            self._changeable("add_", other)
            other = operand(other, self, "add_")._array * self._array.dtype.type(alpha)
        return self._assign("add_", np.add, other)

    def sub_(self, other: Any, *, alpha: Number = 1) -> Tensor:
        """Subtract ``alpha * other`` in place."""
        return self.add_(other, alpha=-alpha) if alpha != 1 else self._assign("sub_", np.subtract, other)

    def mul_(self, other: Any) -> Tensor:
        """Multiply in place."""
        return self._assign("mul_", np.multiply, other)

    def div_(self, other: Any) -> Tensor:
        """Divide in place."""
        return self._assign("div_", np.divide, other)

    def clamp_(self, min: Number | None = None, max: Number | None = None) -> Tensor:
        """Bring every element into [min, max], in place."""
        self._changeable("clamp_")
        np.copyto(self._array, elementwise.clamp(make(self._array), min, max)._array)
        mark_changed(self)
        return self

    def __iadd__(self, other: Any) -> Tensor:  # type: ignore[misc]
        return self._augmented("+=", arithmetic.add, self.add_, other)

    def __isub__(self, other: Any) -> Tensor:  # type: ignore[misc]
        return self._augmented("-=", arithmetic.sub, self.sub_, other)

    def __imul__(self, other: Any) -> Tensor:  # type: ignore[misc]
        return self._augmented("*=", arithmetic.mul, self.mul_, other)

    def __itruediv__(self, other: Any) -> Tensor:  # type: ignore[misc]
        return self._augmented("/=", arithmetic.div, self.div_, other)

    def _augmented(self, sign: str, recorded: Any, in_place: Any, other: Any) -> Tensor:
        # In place where nothing is recorded; else `a += b` is `a = a + b`.
        if mode.enabled:
            if self._tracked and self._node is None:
                self._changeable(sign)
            if self._tracked or (isinstance(other, TensorBase) and other._tracked):
                return recorded(self, other)  # type: ignore[no-any-return]
        return in_place(other)  # type: ignore[no-any-return]

    # Copies.

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError(
                "deepcopy: the tensor is a result of a recorded operation; copy a .detach() of it"
            )
        copied: Tensor = object.__new__(type(self))
        Tensor.__init__(copied, self._array.copy(), self._tracked, name=self._name)
        if self._grad is not None:
            copied._grad = make(self._grad._array.copy())
        memo[id(self)] = copied
        return copied

    def __reduce__(self) -> Any:
        if self._node is not None:
            raise RuntimeError(
                "pickle: the tensor is a result of a recorded operation; pickle a .detach() of it"
            )
        return _rebuild, (type(self), self._array, self._tracked, self._name)

    # Operators and functions: each is documented where it is written.

    __add__ = arithmetic.add
    __radd__ = arithmetic.radd
    __sub__ = arithmetic.sub
    __rsub__ = arithmetic.rsub
    __mul__ = arithmetic.mul
    __rmul__ = arithmetic.rmul
    __truediv__ = arithmetic.div
    __rtruediv__ = arithmetic.rdiv
    __pow__ = arithmetic.pow
    __rpow__ = arithmetic.rpow
    __mod__ = arithmetic.mod
    __rmod__ = arithmetic.rmod
    __floordiv__ = arithmetic.floordiv
    __rfloordiv__ = arithmetic.rfloordiv
    __neg__ = arithmetic.neg
    __pos__ = arithmetic.pos
    __invert__ = arithmetic.invert
    __and__ = arithmetic.bit_and
    __rand__ = arithmetic.bit_and
    __or__ = arithmetic.bit_or
    __ror__ = arithmetic.bit_or
    __xor__ = arithmetic.bit_xor
    __rxor__ = arithmetic.bit_xor
    __abs__ = elementwise.abs
    __matmul__ = product.matmul
    __rmatmul__ = product.rmatmul
    __eq__ = arithmetic.eq
    __ne__ = arithmetic.ne
    __lt__ = arithmetic.lt
    __le__ = arithmetic.le
    __gt__ = arithmetic.gt
    __ge__ = arithmetic.ge
    __getitem__ = indexing.getitem
    __setitem__ = indexing.setitem

    add = arithmetic.add
    sub = arithmetic.sub
    mul = arithmetic.mul
    div = arithmetic.div
    pow = arithmetic.pow
    neg = arithmetic.neg
    maximum = arithmetic.maximum
    minimum = arithmetic.minimum
    matmul = product.matmul
    mm = product.matmul

    exp = elementwise.exp
    log = elementwise.log
    log1p = elementwise.log1p
    sqrt = elementwise.sqrt
    sin = elementwise.sin
    cos = elementwise.cos
    abs = elementwise.abs
    square = elementwise.square
    relu = elementwise.relu
    sigmoid = elementwise.sigmoid
    tanh = elementwise.tanh
    clamp = elementwise.clamp
    clip = elementwise.clamp
    masked_fill = elementwise.masked_fill

    sum = reduction.sum
    mean = reduction.mean
    var = reduction.var
    std = reduction.std
    max = reduction.max
    min = reduction.min
    argmax = reduction.argmax
    argmin = reduction.argmin
    all = reduction.all
    any = reduction.any
    logsumexp = reduction.logsumexp
    norm = reduction.norm

    reshape = arrangement.reshape
    view = arrangement.view
    flatten = arrangement.flatten
    squeeze = arrangement.squeeze
    unsqueeze = arrangement.unsqueeze
    permute = arrangement.permute
    transpose = arrangement.transpose
    expand = arrangement.expand
    contiguous = arrangement.contiguous
    clone = arrangement.clone
    split = arrangement.split
    chunk = arrangement.chunk
    unbind = arrangement.unbind
    gather = indexing.gather

    def softmax(self, dim: int = -1) -> Tensor:
        """exp(x) / sum exp(x) along `dim`."""
        from dlkit.autograd.normalisation import softmax

        return softmax(self, dim)

    def log_softmax(self, dim: int = -1) -> Tensor:
        """The logarithm of `softmax` along `dim`."""
        from dlkit.autograd.normalisation import log_softmax

        return log_softmax(self, dim)

    @property
    def T(self) -> Tensor:  # noqa: N802 (PyTorch's name)
        """With all dimensions in reverse order."""
        return arrangement.transposed(self)

    @property
    def mT(self) -> Tensor:  # noqa: N802 (PyTorch's name)
        """With the last two dimensions exchanged."""
        return arrangement.matrix_transposed(self)

    def t(self) -> Tensor:
        """The transpose of a matrix."""
        return arrangement.transposed(self)

    def to(self, *what: Any, dtype: Any = None, device: str | None = None) -> Tensor:
        """The tensor in another dtype, on another device, or both. Gradients come back in its own.

        Parameters
        ----------
        *what
            A dtype, a device (``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"simt"``), or one of each.
        dtype, device : optional
            The same by name.

        Raises
        ------
        DeviceUnavailableError
            If the device is not there; the message says what is missing.
        """
        dtype, device = target(what, dtype, device, "to")
        result = self if dtype is None else arithmetic.to(self, dtype)
        return result if device is None else arithmetic.to_device(result, device)

    def cpu(self) -> Tensor:
        """On the CPU: the tensor itself if it is there."""
        return arithmetic.to_device(self, "cpu")

    def cuda(self, index: int | None = None) -> Tensor:
        """On a GPU, by default CuPy's current one."""
        return self.to(device=cuda_name(index))

    def astype(self, dtype: Any) -> Tensor:
        """The tensor in another dtype, as `to`."""
        return arithmetic.to(self, _dtype(dtype, "astype"))

    def float(self) -> Tensor:
        """As float32."""
        return arithmetic.to(self, np.float32)

    def double(self) -> Tensor:
        """As float64."""
        return arithmetic.to(self, np.float64)

    def long(self) -> Tensor:
        """As int64."""
        return arithmetic.to(self, np.int64)


def cuda_name(index: int | None) -> str:
    """Return the name of the GPU of that number, of the current one for None."""
    return "cuda" if index is None else f"cuda:{index}"


def target(what: tuple[Any, ...], dtype: Any, device: Any, operation: str) -> tuple[Any, str | None]:
    """Return the dtype and the device that the arguments of ``to`` mean, None for what they do not name.

    Raises
    ------
    TypeError, ValueError, DeviceUnavailableError
        If there is neither, one of them twice, or no such dtype or device.
    """
    for value in what:
        if is_device_name(value):
            if device is not None:
                raise TypeError(f"{operation}: device is given twice; expected one")
            device = value
        elif dtype is not None:
            raise TypeError(f"{operation}: dtype is given twice; expected one")
        else:
            dtype = value
            if dtype is None:
                _dtype(dtype, operation)
    if dtype is None and device is None:
        raise TypeError(f"{operation}: nothing is given; expected a dtype or a device")
    return (
        None if dtype is None else _dtype(dtype, operation),
        None if device is None else resolve_device(device, operation),
    )


def _dtype(dtype: Any, operation: str) -> np.dtype[Any]:
    try:
        result: np.dtype[Any] = np.dtype(dtype)
    except TypeError:
        raise TypeError(
            f"{operation}: dtype is {dtype!r}; expected a NumPy dtype such as 'float32'"
            + (" or a device such as 'cuda'" if operation == "to" else "")
        ) from None
    if result.kind not in "fiub" or result.itemsize > 8 or (result.kind == "f" and result.itemsize < 4):
        raise TypeError(
            f"{operation}: dtype is {result}; expected float32, float64, an integer dtype or bool"
        )
    native: np.dtype[Any] = result.newbyteorder("=")
    return native


def _rebuild(kind: type[Tensor], array: Array, requires_grad: bool, name: str | None) -> Tensor:
    tensor: Tensor = object.__new__(kind)
    Tensor.__init__(tensor, array, requires_grad, name=name)
    return tensor


install(Tensor)
