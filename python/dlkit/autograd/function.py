"""Operations of one's own: a forward and a backward, written with tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlkit.autograd.base import TensorBase, as_array, guarded, make, record, record_many, shape_text, share
from dlkit.autograd.mode import mode, no_grad
from dlkit.kernels.backend import is_device_array

if TYPE_CHECKING:
    from dlkit.autograd.base import Array
    from dlkit.autograd.tensor import Tensor


class Context:
    """What `Function.forward` leaves for `Function.backward`; attributes can be set on it.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        For each argument of forward, whether its gradient is needed.
    """

    needs_input_grad: tuple[bool, ...]

    def __init__(self) -> None:
        self._saved: tuple[Tensor | None, ...] = ()
        self._unused: set[int] = set()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward, which raises if one is changed in place in between."""
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` was given."""
        return self._saved

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that outputs, such as indices, have no gradient."""
        self._unused.update(id(tensor) for tensor in tensors)


class Function:
    """Base of custom operations. Define `forward` and `backward` as static methods, and call ``apply``.

    Examples
    --------
    >>> import dlkit as dl
    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return g * 3 * x * x
    >>> x = dl.Tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad.item()
    12.0
    """

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the output, a tensor or array or a tuple of them, from the arguments. Nothing is recorded."""
        raise TypeError(
            "Function: forward is not defined; a Function's subclass defines it as a static method"
        )

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute the gradient by each argument of forward (None where there is none) from those by its outputs."""
        raise TypeError(
            "Function: backward is not defined; a Function's subclass defines it as a static method"
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward, and record it.

        Raises
        ------
        TypeError
            If forward returns anything but tensors and arrays, or a tensor that requires a gradient comes by keyword.
        """
        for key, value in kwargs.items():
            if isinstance(value, TensorBase) and value._tracked:
                raise TypeError(
                    f"{cls.__name__}.apply: {key} requires a gradient and is passed by keyword; "
                    "expected such tensors by position"
                )
        context = Context()
        context.needs_input_grad = tuple(isinstance(a, TensorBase) and a._tracked for a in args)
        with no_grad():
            result = cls.forward(context, *args, **kwargs)
        single = not isinstance(result, tuple)
        results = (result,) if single else result
        outputs = [make(_output_array(value, args, f"{cls.__name__}.forward")) for value in results]
        if not mode.enabled or not any(context.needs_input_grad):
            return outputs[0] if single else tuple(outputs)
        positions = [i for i, a in enumerate(args) if isinstance(a, TensorBase)]
        inputs = tuple(args[i] for i in positions)
        saved = tuple(t for t in context._saved if isinstance(t, TensorBase))
        differentiable = [
            i
            for i, (out, raw) in enumerate(zip(outputs, results, strict=True))
            if out._array.dtype.kind == "f" and id(raw) not in context._unused
        ]
        if not differentiable:
            return outputs[0] if single else tuple(outputs)

        def backward(gradients: list[Array | None]) -> list[Array | None]:
            given = [
                make(np.zeros_like(out._array)) if g is None else guarded(g)
                for g, out in zip(gradients, outputs, strict=True)
            ]
            with no_grad():
                returned = cls.backward(context, *given)
            answers = returned if isinstance(returned, tuple) else (returned,)
            if len(answers) > len(args) and any(a is not None for a in answers[len(args) :]):
                raise RuntimeError(
                    f"{cls.__name__}.backward: {len(answers)} gradients; expected one for each of {len(args)} arguments"
                )
            if len(answers) < len(args) and any(context.needs_input_grad[len(answers) :]):
                raise RuntimeError(
                    f"{cls.__name__}.backward: {len(answers)} gradients; expected one for each of {len(args)} arguments"
                )
            return [
                _input_gradient(cls.__name__, i, answers[i] if i < len(answers) else None, args[i])
                for i in positions
            ]

        name = cls.__name__
        if single:
            answer = record(name, outputs[0]._array, inputs, lambda g: backward([g]), saved)
            return share(result, answer) if isinstance(result, TensorBase) else answer

        def spread(gradients: list[Array | None]) -> list[Array | None]:
            full: list[Array | None] = [None] * len(outputs)
            for i, gradient in zip(differentiable, gradients, strict=True):
                full[i] = gradient
            return backward(full)

        recorded = record_many(name, [outputs[i]._array for i in differentiable], inputs, spread, saved)
        for i, tensor in zip(differentiable, recorded, strict=True):
            outputs[i] = share(results[i], tensor) if isinstance(results[i], TensorBase) else tensor
        return tuple(outputs)


def _output_array(value: Any, args: tuple[Any, ...], operation: str) -> Array:
    if not isinstance(value, (TensorBase, np.ndarray, np.generic, float, int)) and not is_device_array(value):
        raise TypeError(
            f"{operation}: returned a {type(value).__name__}; expected a Tensor, an array or a tuple of them"
        )
    return as_array(value, operation, "the result")


def _input_gradient(name: str, position: int, gradient: Any, argument: Any) -> Array | None:
    if gradient is None or not argument._tracked:
        return None
    array = as_array(gradient, f"{name}.backward", f"gradient {position}")
    if array.shape != argument._array.shape:
        raise RuntimeError(
            f"{name}.backward: gradient {position} is {shape_text(array.shape)}; "
            f"expected the shape of argument {position}, {shape_text(argument._array.shape)}"
        )
    return array.astype(argument._array.dtype, copy=False)
