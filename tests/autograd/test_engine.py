from __future__ import annotations

import gc
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit as dl
from dlkit.autograd import grad


def leaf(value, name=None):
    return dl.tensor(value, requires_grad=True, name=name)


class TestBackward:
    def test_the_graph_of_the_course(self):
        a, b = leaf(2.0), leaf(1.0)
        c, d = a + b, b + 1
        e = c * d
        assert (c.item(), d.item(), e.item()) == (3.0, 2.0, 6.0)
        e.backward()
        assert (a.grad.item(), b.grad.item()) == (2.0, 5.0)

    def test_gradients_add_up_from_pass_to_pass(self):
        x = leaf([1.0, 2.0])
        for passes in (1, 2, 3):
            (x * x).sum().backward()
            assert x.grad.tolist() == [2.0 * passes, 4.0 * passes]
        x.zero_grad()
        assert x.grad is None
        (3 * x).sum().backward()
        assert x.grad.tolist() == [3.0, 3.0]

    def test_a_tensor_used_many_times(self):
        x = leaf(3.0)
        (x * x * x + x + x - x).backward()
        assert x.grad.item() == 28.0

    def test_a_diamond_is_passed_once(self):
        calls = []
        x = leaf(2.0)
        middle = x * 3
        middle.register_hook(lambda g: calls.append(g.item()))
        left, right = middle * middle, middle + 1
        (left * right).backward()
        assert calls == [2 * 6 * 7 + 36]
        assert x.grad.item() == 3 * calls[0]

    def test_a_ladder_of_diamonds_takes_no_exponential_time(self):
        x = leaf(1.0, "x")
        y = x
        for _ in range(60):
            y = (y + y) * 0.5
        y.backward()
        assert x.grad.item() == 1.0

    def test_a_leaf_itself(self):
        x = leaf(2.0)
        x.backward()
        x.backward(gradient=3.0)
        assert x.grad.item() == 4.0

    def test_leaves_that_want_none_get_none(self):
        x, y = leaf([1.0]), dl.tensor([2.0])
        (x * y).sum().backward()
        assert y.grad is None
        assert (x * y).grad is None

    def test_a_leaf_frozen_after_it_was_used(self):
        x, w = leaf(2.0), leaf(3.0)
        y = x * w
        x.requires_grad = False
        y.backward()
        assert x.grad is None
        assert w.grad.item() == 2.0

    def test_several_roots_share_a_graph(self):
        x = leaf(2.0)
        middle = x * x
        (middle * 3).backward(retain_graph=True)
        (middle * 5).backward()
        assert x.grad.item() == 32.0

    @pytest.mark.parametrize(
        "gradient", [[1.0, 10.0], np.array([1, 10]), dl.tensor([1.0, 10.0]), (1, 10)], ids=repr
    )
    def test_a_gradient_given(self, gradient):
        x = leaf([1.0, 2.0])
        (x * x).backward(gradient)
        assert x.grad.tolist() == [2.0, 40.0]

    def test_a_gradient_given_stays_as_it_is(self):
        x = leaf([1.0, 2.0])
        gradient = np.ones(2, np.float32)
        x.backward(gradient)
        assert not np.shares_memory(x.grad.numpy(), gradient)
        x.backward(gradient)
        assert gradient.tolist() == [1.0, 1.0]

    def test_one_value_in_any_shape(self):
        for shape in ((), (1,), (1, 1)):
            x = dl.ones(*shape, requires_grad=True)
            (2 * x).backward()
            assert x.grad.shape == shape

    def test_exact_gradients_of_python_floats(self):
        x = dl.tensor(0.1, dtype="float64", requires_grad=True)
        assert x.item() == 0.1
        x.backward(0.3)
        assert x.grad.item() == 0.3


class TestErrors:
    def test_several_values_and_no_gradient(self):
        x = leaf([1.0, 2.0])
        with pytest.raises(
            RuntimeError, match=r"backward: the tensor is \(2,\); expected a single value .*gradient="
        ):
            (x * x).backward()
        with pytest.raises(RuntimeError, match=r"backward: the tensor is \(0,\); expected a single value"):
            x[:0].backward()
        assert x.grad is None

    @pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (1, 2)], ids=str)
    def test_a_gradient_of_another_shape(self, shape):
        x = leaf([1.0, 2.0])
        with pytest.raises(ValueError, match=r"backward: gradient is .*; expected the tensor's shape \(2,\)"):
            (x * x).backward(np.ones(shape))

    @pytest.mark.parametrize("gradient", ["ab", [None, 1.0], np.ones(2, complex), object()], ids=type)
    def test_a_gradient_that_is_no_number(self, gradient):
        with pytest.raises(TypeError, match="backward: gradient is"):
            (leaf([1.0, 2.0]) * 2).backward(gradient)

    def test_nothing_to_differentiate(self):
        with pytest.raises(RuntimeError, match="backward: the tensor does not require a gradient"):
            dl.tensor(1.0).backward()
        with dl.no_grad():
            y = leaf(1.0) * 2
        with pytest.raises(RuntimeError, match=r"does not require a gradient.*no_grad"):
            y.backward()

    @pytest.mark.parametrize("size", [1, 5, 100])
    def test_a_second_pass(self, size):
        # Small graphs are kept for drawing, yet are as used up as large ones.
        x = dl.ones(size, requires_grad=True)
        y = (x * x).sum()
        y.backward()
        with pytest.raises(RuntimeError, match=r"released by an earlier backward pass.*retain_graph=True"):
            y.backward()
        assert x.grad.numpy()[0] == 2.0

    def test_a_second_pass_through_a_part(self):
        x = dl.ones(100, requires_grad=True)
        middle = x.exp()
        middle.sum().backward()
        with pytest.raises(RuntimeError, match="graph of exp has been released"):
            (middle * 2).sum().backward()

    def test_a_second_pass_with_the_graph_retained(self):
        x = dl.ones(100, requires_grad=True)
        y = (x * x).sum()
        y.backward(retain_graph=True)
        y.backward(retain_graph=True)
        y.backward()
        assert x.grad.numpy()[0] == 6.0
        with pytest.raises(RuntimeError, match="released"):
            y.backward()


OPERATIONS = {
    # name: (what is computed, changes of "the input" or "the output" that spoil its gradient)
    "mul": (lambda x: x * x, "input"),
    "div": (lambda x: 1 / x, "input output"),
    "pow": (lambda x: x**3, "input"),
    "pow of tensors": (lambda x: x ** dl.full(3, 2.0), "input"),
    "maximum": (lambda x: dl.maximum(x, dl.full(3, 1.5)), "input"),
    "mod": (lambda x: 5.0 % x, "input"),
    "exp": (lambda x: x.exp(), "output"),
    "sqrt": (lambda x: x.sqrt(), "output"),
    "sigmoid": (lambda x: x.sigmoid(), "output"),
    "tanh": (lambda x: x.tanh(), "output"),
    "relu": (lambda x: x.relu(), "output"),
    "softmax": (lambda x: x.softmax(), "output"),
    "log_softmax": (lambda x: x.log_softmax(), "output"),
    "log": (lambda x: x.log(), "input"),
    "log1p": (lambda x: x.log1p(), "input"),
    "sin": (lambda x: x.sin(), "input"),
    "cos": (lambda x: x.cos(), "input"),
    "abs": (lambda x: x.abs(), "input"),
    "clamp": (lambda x: x.clamp(0, 1), "input"),
    "norm": (lambda x: x.norm(), "input output"),
    "norm 3": (lambda x: x.norm(3), "input output"),
    "max": (lambda x: x.max(), "input output"),
    "matmul": (lambda x: x @ x, "input"),
    "linear": (
        lambda x: dl.nn.functional.linear(x.reshape(1, 3), dl.ones(2, 3, requires_grad=True)),
        "input",
    ),
    "add": (lambda x: x + x, ""),
    "sub": (lambda x: x - 2 * x, ""),
    "neg": (lambda x: -x, ""),
    "sum": (lambda x: x.sum(), ""),
    "mean": (lambda x: x.mean(), ""),
    "clone": (lambda x: x.clone(), ""),
    "logsumexp": (lambda x: x.logsumexp(0), ""),
}


@pytest.mark.parametrize("what", ["input", "output"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_changes_in_place(name, what):
    """Either noticed, or harmless: never a wrong gradient."""
    function, spoils = OPERATIONS[name]
    x = leaf([1.0, 2.0, 3.0])
    expected = leaf([1.0, 2.0, 3.0])
    function(expected).sum().backward()
    y = function(x)
    total = y.sum()
    with dl.no_grad():
        (x if what == "input" else y).add_(1.0)
    if what in spoils.split():
        with pytest.raises(RuntimeError, match=r"backward: .*was changed in place after it was used"):
            total.backward()
    else:
        total.backward()
        np.testing.assert_array_equal(x.grad.numpy(), expected.grad.numpy())


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.add_(1),
        lambda t: t.sub_(1),
        lambda t: t.mul_(2),
        lambda t: t.div_(2),
        lambda t: t.clamp_(0, 1),
        lambda t: t.copy_(7),
        lambda t: t.fill_(0),
        lambda t: t.zero_(),
        lambda t: t.__setitem__(0, 5.0),
        lambda t: t.__iadd__(1),
        lambda t: t.__isub__(1),
        lambda t: t.__imul__(2),
        lambda t: t.__itruediv__(2),
        lambda t: dl.nn.init.zeros_(t),
    ],
)
def test_every_way_to_change_in_place_is_noticed(change):
    x = leaf([1.0, 2.0, 3.0], "weights")
    y = (x * x).sum()
    with dl.no_grad():
        change(x)
    with pytest.raises(RuntimeError, match=r"an input of mul .*\(weights\).*changed in place"):
        y.backward()


VIEWS = {
    "detach": lambda t: t.detach(),
    "row": lambda t: t[0],
    "slice": lambda t: t[:, 1:],
    "reshape": lambda t: t.reshape(-1),
    "view": lambda t: t.view(6),
    "flatten": lambda t: t.flatten(),
    "T": lambda t: t.T,
    "transpose": lambda t: t.transpose(0, 1),
    "permute": lambda t: t.permute(1, 0),
    "unsqueeze": lambda t: t.unsqueeze(0),
    "squeeze": lambda t: t.squeeze(),
    "split": lambda t: t.split(1)[1],
    "chunk": lambda t: t.chunk(2)[0],
    "unbind": lambda t: t.unbind()[1],
    "iteration": lambda t: next(iter(t)),
    "view of a view": lambda t: t.T[0].detach(),
}


@pytest.mark.parametrize("name", VIEWS)
class TestChangesThroughViews:
    """A view shares its tensor's memory, so a change of one is a change of the other."""

    def test_of_the_view(self, name):
        x = dl.Tensor(np.arange(1.0, 7.0).reshape(2, 3), requires_grad=True)
        y = (x * x).sum()
        with dl.no_grad():
            VIEWS[name](x).add_(1)
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()

    def test_of_a_view_made_before(self, name):
        x = dl.Tensor(np.arange(1.0, 7.0).reshape(2, 3), requires_grad=True)
        with dl.no_grad():
            view = VIEWS[name](x)
        y = (x * x).sum()
        view.mul_(2)
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()

    def test_of_the_tensor(self, name):
        x = dl.Tensor(np.arange(1.0, 7.0).reshape(2, 3), requires_grad=True)
        view = VIEWS[name](x) if name not in ("detach", "view of a view") else VIEWS[name](x).requires_grad_()
        y = (view * view).sum()
        with dl.no_grad():
            x.add_(1)
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()

    def test_of_the_view_of_a_result(self, name):
        x = dl.Tensor(np.arange(1.0, 7.0).reshape(2, 3), requires_grad=True)
        y = x.exp()
        total = y.sum()
        with dl.no_grad():
            VIEWS[name](y).add_(1)
        with pytest.raises(RuntimeError, match="the result of exp was changed in place"):
            total.backward()

    def test_no_change_no_error(self, name):
        x = dl.Tensor(np.arange(1.0, 7.0).reshape(2, 3), requires_grad=True)
        with dl.no_grad():
            view = VIEWS[name](x)
            view.add_(1)
        y = (x * x).sum()
        assert view.tolist() == VIEWS[name](x).tolist()
        y.backward()
        np.testing.assert_array_equal(x.grad.numpy(), 2 * x.numpy())


def test_a_copy_is_no_view():
    x = dl.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    with dl.no_grad():
        copies = [x.clone(), x[[0]], x[x > 2], x.T.reshape(-1), x + 0, dl.tensor(x), x.float()]
    y = (x * x).sum()
    for copy in copies:
        copy.add_(1)
    y.backward()
    assert x.grad.tolist() == [[0, 2, 4], [6, 8, 10]]


class TestLongChains:
    @pytest.mark.parametrize(
        "step",
        [
            lambda y: y + 1,
            lambda y: y * 1.0,
            lambda y: y.reshape(1).reshape(()),
            lambda y: dl.where(True, y, 0.0),
            lambda y: y.exp() * 0 + y,
        ],
        ids=["add", "mul", "reshape", "where", "exp"],
    )
    def test_no_recursion(self, step):
        x = leaf(1.0)
        y = x
        for _ in range(10_000):
            y = step(y)
        y.backward()
        assert x.grad.item() == 1.0
        del y
        gc.collect()

    @pytest.mark.parametrize("size", [1, 100])
    def test_a_graph_thrown_away_before_any_pass(self, size):
        x = dl.ones(size, requires_grad=True)
        y = x
        for _ in range(40_000):
            y = y * 1.0
        del y
        gc.collect()

    @pytest.mark.skipif(
        sys.version_info[:2] == (3, 13),
        reason="CPython 3.13 itself ends on a small stack, with nested lists too: it counts levels, not bytes",
    )
    def test_thrown_away_on_a_thread_with_a_small_stack(self):
        def work():
            y = dl.ones(100, requires_grad=True)
            for _ in range(20_000):
                y = (y * y).exp()
            del y

        before = threading.stack_size(256 * 1024)
        try:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        finally:
            threading.stack_size(before)

    def test_the_table_of_a_long_chain(self):
        x = leaf(1.0, "x")
        y = x
        for _ in range(3000):
            y = y + 1
        table = dl.autograd.graph_table(y)
        assert table["x"].derivative == 1.0


class TestGrad:
    def test_leaves_are_left_alone(self):
        x, y = leaf(2.0), leaf(3.0)
        by_x, by_y = grad(x * y, (x, y))
        assert (by_x.item(), by_y.item()) == (3.0, 2.0)
        assert x.grad is None
        assert y.grad is None

    def test_one_input(self):
        x = leaf([1.0, 2.0])
        (by_x,) = grad((x * x).sum(), x)
        assert by_x.tolist() == [2.0, 4.0]
        assert not by_x.requires_grad

    def test_within_the_graph(self):
        x = leaf(2.0)
        middle = x * x
        y = middle * 3
        by_y, by_middle, by_x = grad(y, (y, middle, x))
        assert (by_y.item(), by_middle.item(), by_x.item()) == (1.0, 3.0, 12.0)

    def test_several_outputs_are_summed(self):
        x = leaf([1.0, 2.0])
        (by_x,) = grad([x * 2, x * x], [x], grad_outputs=[np.ones(2), np.array([10.0, 1.0])])
        assert by_x.tolist() == [22.0, 6.0]
        (by_x,) = grad([x.sum(), x.sum()], [x])
        assert by_x.tolist() == [2.0, 2.0]

    def test_the_same_output_twice(self):
        x = leaf(3.0)
        y = x * x
        assert grad([y, y], x)[0].item() == 12.0

    def test_a_leaf_by_itself(self):
        x = leaf(3.0)
        assert grad(x, x)[0].item() == 1.0

    def test_unused(self):
        x, y = leaf(1.0), leaf(1.0)
        assert grad(x * 2, (x, y), allow_unused=True)[1] is None
        with pytest.raises(RuntimeError, match="grad: no output depends on input 1; pass allow_unused=True"):
            grad(x * 2, (x, y))

    def test_the_graph_afterwards(self):
        x = dl.ones(100, requires_grad=True)
        y = (x * x).sum()
        grad(y, x, retain_graph=True)
        grad(y, x)
        with pytest.raises(RuntimeError, match="released"):
            grad(y, x)

    def test_results_are_the_callers_own(self):
        x = leaf([1.0, 2.0])
        first, second = grad(x + x, [x, x], grad_outputs=np.ones(2))
        first.mul_(5)
        assert second.tolist() == [2.0, 2.0]

    def test_errors(self):
        x = leaf(1.0)
        with pytest.raises(RuntimeError, match="grad: input 1 does not require a gradient"):
            grad(x * 2, (x, dl.tensor(1.0)))
        with pytest.raises(RuntimeError, match="grad: the tensor does not require a gradient"):
            grad(dl.tensor(1.0), x)
        with pytest.raises(
            ValueError, match="grad: grad_outputs has 1 entries; expected one for each of 2 outputs"
        ):
            grad([x * 2, x * 3], x, grad_outputs=[1.0])
        with pytest.raises(TypeError, match="grad: input 0 is a ndarray; expected a Tensor"):
            grad(x * 2, [np.ones(1)])
        with pytest.raises(TypeError, match="grad: output 0 is a float; expected a Tensor"):
            grad([2.0], x)
        with pytest.raises(TypeError, match="grad: inputs is a float; expected a Tensor or several"):
            grad(x * 2, 1.0)


class TestHooks:
    def test_of_a_leaf_see_the_whole_gradient_once(self):
        seen = []
        x = leaf(2.0)
        x.register_hook(lambda g: seen.append(g.item()))
        (x * x + x).backward()
        assert seen == [5.0]
        assert x.grad.item() == 5.0

    @pytest.mark.parametrize("is_leaf", [True, False])
    def test_what_they_return_replaces_the_gradient(self, is_leaf):
        x = leaf([1.0, 2.0])
        hooked = x if is_leaf else x * 1
        hooked.register_hook(lambda g: g * 2)
        hooked.register_hook(lambda g: g + 1)
        (hooked * 3).sum().backward()
        assert x.grad.tolist() == [7.0, 7.0]

    @pytest.mark.parametrize("is_leaf", [True, False])
    def test_removal(self, is_leaf):
        x = leaf(1.0)
        hooked = x if is_leaf else x * 1
        remove = hooked.register_hook(lambda g: g * 100)
        handle = hooked.register_hook(lambda g: g * 10)
        remove()
        remove()
        handle.remove()
        (hooked * 1).backward()
        assert x.grad.item() == 1.0

    def test_of_the_weight_of_a_linear_layer(self):
        # Its gradient is otherwise written by the kernel itself.
        seen = []
        weight, bias = dl.ones(2, 3, requires_grad=True), dl.zeros(2, requires_grad=True)
        weight.register_hook(lambda g: seen.append(g.shape))
        bias.register_hook(lambda g: 2 * g)
        dl.nn.functional.linear(dl.ones(4, 3), weight, bias).sum().backward()
        assert seen == [(2, 3)]
        assert weight.grad.numpy()[0, 0] == 4.0
        assert bias.grad.tolist() == [8.0, 8.0]

    def test_a_gradient_of_another_shape(self):
        x = leaf([1.0, 2.0])
        x.register_hook(lambda g: g[:1])
        with pytest.raises(
            ValueError, match=r"hook: the result is \(1,\); expected the gradient's shape \(2,\)"
        ):
            (x * 1).sum().backward()

    def test_gradients_cannot_be_changed_in_place(self):
        # The same array may be on its way to other nodes.
        x, y = leaf([1.0]), leaf([1.0])
        first = x * 1
        first.register_hook(lambda g: g.mul_(100))
        with pytest.raises(ValueError, match="mul_: the tensor's memory is read-only"):
            (first + y * 1).sum().backward()

    def test_where_there_is_no_gradient(self):
        with pytest.raises(RuntimeError, match="register_hook: the tensor does not require a gradient"):
            dl.tensor(1.0).register_hook(print)
        with pytest.raises(TypeError, match="register_hook: hook is a int; expected something to call"):
            leaf(1.0).register_hook(3)

    def test_retained_gradients_are_those_after_the_hooks(self):
        x = leaf(1.0)
        y = x * 2
        y.retain_grad()
        y.register_hook(lambda g: g * 10)
        (y * 3).backward()
        assert y.grad.item() == 30.0
        assert x.grad.item() == 60.0


class TestRetainGrad:
    def test_of_a_result(self):
        x = leaf(2.0)
        y = x * x
        y.retain_grad()
        dl.autograd.retain_grad(y)
        (3 * y).backward()
        assert y.grad.item() == 3.0

    def test_it_adds_up_too(self):
        x = leaf(2.0)
        y = x * x
        y.retain_grad()
        z = 3 * y
        z.backward(retain_graph=True)
        z.backward()
        assert y.grad.item() == 6.0

    def test_of_a_leaf_and_of_a_constant(self):
        x = leaf(2.0)
        x.retain_grad()
        (x * x).backward()
        assert x.grad.item() == 4.0
        with pytest.raises(RuntimeError, match="retain_grad: the tensor does not require a gradient"):
            dl.tensor(1.0).retain_grad()

    def test_a_retained_tensor_that_is_gone(self):
        x = leaf(2.0)
        y = x * x
        y.retain_grad()
        z = y * 3
        del y
        z.backward()
        assert x.grad.item() == 12.0


def _network_step(model, optimizer, x, labels):
    optimizer.zero_grad()
    loss = dl.nn.functional.cross_entropy(model(x), labels)
    loss.backward()
    optimizer.step()


def test_memory_stays_the_same_over_many_steps():
    model = dl.nn.Sequential(dl.nn.Linear(20, 30), dl.nn.Tanh(), dl.nn.Linear(30, 5))
    optimizer = dl.optim.Adam(model.parameters())
    x, labels = dl.randn(16, 20), np.arange(16) % 5
    free = dl.randn(30, requires_grad=True)

    def steps(count):
        for _ in range(count):
            _network_step(model, optimizer, x, labels)
            free.zero_grad()
            part = (free.exp() * free[::2].sum() + dl.where(free > 0, free, 0.0)).split(10)[1]
            (part.softmax().max() + free.norm()).backward()

    steps(20)
    gc.collect()
    tracemalloc.start()
    try:
        steps(50)
        gc.collect()
        first = tracemalloc.get_traced_memory()[0]
        objects = len(gc.get_objects())
        steps(300)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - first < 20_000
        assert len(gc.get_objects()) - objects < 100
    finally:
        tracemalloc.stop()


def test_no_cycles_so_that_memory_is_freed_at_once():
    gc.collect()
    gc.disable()
    try:
        x = dl.ones(1000, requires_grad=True)
        count = sys.getrefcount(x)
        for _ in range(3):
            y = ((x * x).exp() + x.softmax() + x.split(500)[0].sum() + x[::2].mean() + (x @ x)).sum()
            y.backward()
            y = (x * 2).sum()
            del y
            x.zero_grad()
        assert sys.getrefcount(x) == count
        assert gc.collect() < 50
    finally:
        gc.enable()


def test_threads_with_graphs_of_their_own():
    results = {}

    def work(number):
        x = dl.tensor(float(number), requires_grad=True)
        for _ in range(200):
            x.zero_grad()
            y = x
            for _ in range(10):
                y = y + x * x
            y.backward()
        results[number] = x.grad.item()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: 1 + 20.0 * n for n in range(4)}


_STEPS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "tanh": lambda a, b: (a + b).tanh(),
    "sigmoid": lambda a, b: (a * 0.5 - b).sigmoid(),
    "sum": lambda a, b: a * b.sum(),
    "row": lambda a, b: a + b[0],
    "T": lambda a, b: (a @ b.T) * 0.3,
    "softmax": lambda a, b: a.softmax(0) * b,
    "cat": lambda a, b: dl.cat([a, b])[1:3] if isinstance(a, dl.Tensor) else _torch_cat(a, b)[1:3],
    "mean": lambda a, b: a - b.mean(0, True),
}


def _torch_cat(a, b):
    import torch

    return torch.cat([a, b])


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(_STEPS)), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 1000),
)
def test_any_graph_as_in_pytorch(steps, seed):
    torch = pytest.importorskip("torch")
    arrays = [np.random.default_rng(seed + i).uniform(-1, 1, (2, 2)) for i in range(3)]

    def build(values):
        for name, i, j in steps:
            values.append(_STEPS[name](values[i % len(values)], values[j % len(values)]))
        return (values[-1] * values[len(values) // 2]).sum()

    ours = [dl.Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    mine, other = build(list(ours)), build(list(theirs))
    mine.backward()
    other.backward()
    np.testing.assert_allclose(mine.item(), other.item(), rtol=1e-10, atol=1e-12)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if b.grad is not None:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-10)
