from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import Function, GradcheckError, gradcheck


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


class Scale(Function):
    """An argument that is no tensor, attributes of the context, an array as the result."""

    @staticmethod
    def forward(ctx, x, factor, *, offset=0.0):
        ctx.factor = factor
        return x.numpy() * factor + offset

    @staticmethod
    def backward(ctx, g):
        return g * ctx.factor, None


class Multiply(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        Multiply.needed = ctx.needs_input_grad
        return g * b if ctx.needs_input_grad[0] else None, g * a if ctx.needs_input_grad[1] else None


class Both(Function):
    """Two outputs with gradients and one without."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        place = x.argmax()
        return x.sum(), x * x, place

    @staticmethod
    def backward(ctx, by_sum, by_square, by_place):
        (x,) = ctx.saved_tensors
        assert by_place.tolist() == 0
        return by_sum.expand(*x.shape) + 2 * x * by_square


def test_values_and_gradients(check, rng):
    check(Cube.apply, lambda x: x**3, rng.standard_normal((2, 3)), pytorch=False)
    check(
        lambda x: Scale.apply(x, 3.0, offset=1.0), lambda x: 3 * x + 1, rng.standard_normal(4), pytorch=False
    )
    check(Multiply.apply, lambda a, b: a * b, *rng.standard_normal((2, 4)), pytorch=False)
    check(lambda x: Both.apply(x)[0], np.sum, rng.standard_normal(4), pytorch=False)
    x = rng.standard_normal(4)
    check(lambda x: Both.apply(x)[1] * Both.apply(x)[0], lambda x: x * x * x.sum(), x, pytorch=False)


def test_within_a_graph():
    x = dl.tensor([1.0, 2.0], requires_grad=True)
    y = (Cube.apply(x * 2) + x).sum()
    y.backward()
    assert x.grad.tolist() == [25.0, 97.0]
    assert y.grad_fn is not None
    assert repr(Cube.apply(x).grad_fn) == "<Cube>"


def test_which_gradients_are_needed():
    a, b = dl.tensor(2.0, requires_grad=True), dl.tensor(3.0)
    Multiply.apply(a, b).backward()
    assert Multiply.needed == (True, False)
    assert a.grad.item() == 3.0
    assert b.grad is None


def test_nothing_is_recorded_without_need():
    assert not Cube.apply(dl.tensor(2.0)).requires_grad
    with dl.no_grad():
        assert not Cube.apply(dl.tensor(2.0, requires_grad=True)).requires_grad
    assert Scale.apply(dl.tensor([1.0]), 2.0).tolist() == [2.0]


class TestSeveralOutputs:
    def test_those_without_gradient(self):
        x = dl.tensor([1.0, 5.0], requires_grad=True)
        total, squares, place = Both.apply(x)
        assert (total.requires_grad, squares.requires_grad, place.requires_grad) == (True, True, False)
        assert place.item() == 1
        squares.sum().backward()
        assert x.grad.tolist() == [2.0, 10.0]

    def test_marked(self):
        class Sorted(Function):
            @staticmethod
            def forward(ctx, x):
                order = np.argsort(x.numpy())
                ranks = dl.Tensor(order.astype(np.float32))
                ctx.mark_non_differentiable(ranks)
                ctx.order = order
                return dl.Tensor(x.numpy()[order]), ranks

            @staticmethod
            def backward(ctx, g, _):
                full = np.zeros(g.shape, g.dtype)
                full[ctx.order] = g.numpy()
                return full

        x = dl.tensor([3.0, 1.0, 2.0], requires_grad=True)
        values, ranks = Sorted.apply(x)
        assert values.requires_grad
        assert not ranks.requires_grad
        (values * dl.tensor([1.0, 10.0, 100.0])).sum().backward()
        assert x.grad.tolist() == [100.0, 1.0, 10.0]

    def test_a_single_output_without_gradient(self):
        class Largest(Function):
            @staticmethod
            def forward(ctx, x):
                return x.argmax()

        class Rounded(Function):
            @staticmethod
            def forward(ctx, x):
                out = dl.Tensor(np.round(x.numpy()))
                ctx.mark_non_differentiable(out)
                return out

        x = dl.tensor([1.2, 5.0], requires_grad=True)
        assert not Largest.apply(x).requires_grad
        assert not Rounded.apply(x).requires_grad


class TestChangesInPlace:
    def test_of_a_saved_input(self):
        x = dl.tensor([1.0, 2.0], requires_grad=True)
        y = Cube.apply(x).sum()
        with dl.no_grad():
            x.add_(1)
        with pytest.raises(RuntimeError, match=r"an input of Cube .*changed in place"):
            y.backward()

    def test_of_a_saved_output(self):
        class Exp(Function):
            @staticmethod
            def forward(ctx, x):
                y = x.exp()
                ctx.save_for_backward(y)
                return y

            @staticmethod
            def backward(ctx, g):
                return g * ctx.saved_tensors[0]

        x = dl.tensor([1.0, 2.0], requires_grad=True)
        y = Exp.apply(x)
        y.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), np.exp([1.0, 2.0]), rtol=1e-6)
        y = Exp.apply(x)
        total = y.sum()
        with dl.no_grad():
            y.zero_()
        with pytest.raises(RuntimeError, match="changed in place"):
            total.backward()

    def test_the_gradient_cannot_be_changed(self):
        class Bad(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            def backward(ctx, g):
                return g.mul_(0)

        x = dl.ones(2, requires_grad=True)
        with pytest.raises(ValueError, match="mul_: the tensor's memory is read-only"):
            (x + Bad.apply(x)).sum().backward()


class TestErrors:
    def test_a_wrong_backward_is_caught(self):
        class Wrong(Cube):
            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return g * 3 * x

        x = dl.tensor([0.5, 2.0], dtype="float64", requires_grad=True)
        assert gradcheck(Cube.apply, x)
        with pytest.raises(GradcheckError, match=r"by input 0\[0\] is 1.5; the finite difference is 0.75"):
            gradcheck(Wrong.apply, x)
        assert not gradcheck(Wrong.apply, x, raise_exception=False)

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (
                lambda g: g[:1],
                r"Any.backward: gradient 0 is \(1,\); expected the shape of argument 0, \(2,\)",
            ),
            (lambda g: (g, g), r"Any.backward: 2 gradients; expected one for each of 1 arguments"),
            (lambda g: (), r"Any.backward: 0 gradients; expected one for each of 1 arguments"),
        ],
    )
    def test_answers_that_do_not_fit(self, answer, message):
        class Any(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            def backward(ctx, g):
                return answer(g)

        x = dl.ones(2, requires_grad=True)
        with pytest.raises(RuntimeError, match=message):
            Any.apply(x).sum().backward()

    def test_gradients_of_another_kind(self):
        class Any(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            def backward(ctx, g):
                return "gradient"

        with pytest.raises(TypeError, match=r"Any.backward: gradient 0 is a str"):
            Any.apply(dl.ones(1, requires_grad=True)).backward()

    @pytest.mark.parametrize("result", [None, "a", [1.0], {"a": 1}, (None,)], ids=repr)
    def test_forward_returns_something_else(self, result):
        class Any(Function):
            @staticmethod
            def forward(ctx, x):
                return result

        with pytest.raises(
            TypeError, match=r"Any.forward: returned a .*; expected a Tensor, an array or a tuple"
        ):
            Any.apply(dl.ones(1, requires_grad=True))

    def test_what_is_not_defined(self):
        class Empty(Function):
            pass

        class Half(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

        x = dl.ones(1, requires_grad=True)
        with pytest.raises(TypeError, match="forward is not defined"):
            Empty.apply(x)
        with pytest.raises(TypeError, match="backward is not defined"):
            Half.apply(x).backward()

    def test_a_tensor_by_keyword(self):
        x = dl.ones(1, requires_grad=True)
        with pytest.raises(
            TypeError, match=r"Scale.apply: offset requires a gradient and is passed by keyword"
        ):
            Scale.apply(dl.ones(1), 2.0, offset=x)

    def test_an_exception_within_leaves_the_mode_alone(self):
        class Failing(Function):
            @staticmethod
            def forward(ctx, x):
                raise KeyError

        with pytest.raises(KeyError):
            Failing.apply(dl.ones(1, requires_grad=True))
        assert dl.is_grad_enabled()
