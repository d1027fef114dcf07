from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import dlkit as dl


class TestWhatItIs:
    def test_shape_and_size(self):
        x = dl.zeros(2, 3)
        assert (x.shape, x.ndim, x.dim(), x.numel(), x.nbytes, x.dtype) == ((2, 3), 2, 2, 6, 24, np.float32)
        assert x.size() == (2, 3)
        assert (x.size(0), x.size(-1)) == (2, 3)
        with pytest.raises(IndexError, match="size: dim is 2; expected -2 to 1"):
            x.size(2)

    def test_leaf_or_result(self):
        x = dl.ones(2, requires_grad=True)
        y = x * 2
        assert (x.is_leaf, x.grad_fn, x.requires_grad) == (True, None, True)
        assert (y.is_leaf, repr(y.grad_fn), y.requires_grad) == (False, "<mul>", True)
        assert not dl.ones(2).requires_grad

    def test_it_has_no_other_attributes(self):
        # A spelling mistake must not pass unnoticed.
        x = dl.ones(2)
        with pytest.raises(AttributeError):
            x.requires_gard = True

    @pytest.mark.parametrize(
        ("make", "text"),
        [
            (lambda: dl.tensor(2.0), "tensor(2.)"),
            (lambda: dl.tensor(2), "tensor(2)"),
            (lambda: dl.tensor([1.5, -2.0]), "tensor([ 1.5, -2. ])"),
            (lambda: dl.tensor([True, False]), "tensor([ True, False])"),
            (lambda: dl.ones(2, dtype="float64"), "tensor([1., 1.], dtype=float64)"),
            (lambda: dl.ones(2, dtype="uint8"), "tensor([1, 1], dtype=uint8)"),
            (lambda: dl.ones(2, requires_grad=True), "tensor([1., 1.], requires_grad=True)"),
            (lambda: dl.ones(2, requires_grad=True) * 2, "tensor([2., 2.], grad_fn=<mul>)"),
            (lambda: dl.tensor(1.0, name="x"), "tensor(1., name='x')"),
            (lambda: dl.zeros(2, 0), "tensor([], shape=(2, 0))"),
            (lambda: dl.tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]])"),
        ],
    )
    def test_repr(self, make, text):
        assert repr(make()) == str(make()) == text

    def test_repr_of_a_large_one_is_short(self):
        assert len(repr(dl.zeros(1000, 1000))) < 1000

    def test_format(self):
        assert f"{dl.tensor(3.14159):.2f}" == "3.14"
        assert f"{dl.tensor(3)}" == "tensor(3)"
        assert f"{dl.tensor(7):03d}" == "007"


class TestAsNumbers:
    def test_item(self):
        for x in (dl.tensor(2.5), dl.tensor([2.5]), dl.tensor([[2.5]]), dl.ones(1, requires_grad=True) * 2.5):
            assert x.item() == 2.5
            assert type(x.item()) is float
        assert type(dl.tensor(2).item()) is int
        assert type(dl.tensor(True).item()) is bool

    def test_conversions(self):
        assert float(dl.tensor(2)) == 2.0
        assert int(dl.tensor(2.7)) == 2
        assert [10, 20, 30][dl.tensor(1)] == 20
        assert list(range(dl.tensor(2))) == [0, 1]
        assert bool(dl.tensor(1.0)) is True
        assert bool(dl.tensor([0])) is False

    @pytest.mark.parametrize("shape", [(2,), (0,), (2, 2)], ids=str)
    def test_of_several_elements(self, shape):
        x = dl.zeros(*shape)
        for convert in (dl.Tensor.item, float, int):
            with pytest.raises(ValueError, match=r"item: the tensor is \(.*\); expected one element"):
                convert(x)
        with pytest.raises(
            ValueError, match=r"bool: the tensor is .*expected one element \(use \.any\(\) or \.all\(\)\)"
        ):
            bool(x)
        with pytest.raises(ValueError, match="bool: the tensor is"):
            _ = x == x and x

    @pytest.mark.parametrize("x", [dl.tensor(1.0), dl.tensor([1]), dl.tensor([1, 2])], ids=repr)
    def test_index(self, x):
        with pytest.raises(TypeError, match="index: expected an integer tensor without dimensions"):
            [1, 2, 3][x]

    def test_tolist(self):
        assert dl.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
        assert dl.tensor(1.5).tolist() == 1.5
        assert dl.zeros(2, 0).tolist() == [[], []]


class TestAsASequence:
    def test_length_and_iteration(self):
        x = dl.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
        assert len(x) == 3
        rows = list(x)
        assert [row.tolist() for row in rows] == x.tolist()
        (rows[0] * 2 + rows[2]).sum().backward()
        assert x.grad.tolist() == [[2.0, 2.0], [0.0, 0.0], [1.0, 1.0]]
        first, *_ = x
        assert first.tolist() == [1.0, 2.0]
        assert [a.item() * b for a, b in zip(dl.arange(3), [1, 2, 3], strict=True)] == [0, 2, 6]
        assert list(reversed(dl.arange(3).tolist())) == [2, 1, 0]

    def test_of_a_number(self):
        with pytest.raises(TypeError, match="len: the tensor has no dimensions"):
            len(dl.tensor(1.0))
        with pytest.raises(TypeError, match="iteration: the tensor has no dimensions"):
            iter(dl.tensor(1.0))

    def test_membership(self):
        x = dl.tensor([1, 2, 3])
        assert 2 in x
        assert 5 not in x
        assert dl.tensor(3) in x

    def test_as_keys(self):
        a, b = dl.ones(2), dl.ones(2)
        assert {a: 1, b: 2}[a] == 1
        assert len({a, b, a}) == 2


class TestNumPy:
    def test_it_is_the_array_itself(self):
        array = np.ones((2, 3), np.float32)
        x = dl.Tensor(array)
        assert x.numpy() is array
        assert x.data is array
        assert np.asarray(x) is array
        assert np.array(x) is not array
        assert np.asarray(x, np.float64).dtype == np.float64

    def test_array_protocol(self):
        x = dl.ones(2)
        assert x.__array__(copy=True) is not x.numpy()
        assert x.__array__(np.float64).dtype == np.float64
        with pytest.raises(ValueError, match="__array__: the tensor is float32; as float64 it is a copy"):
            x.__array__(np.float64, copy=False)

    def test_functions_of_numpy(self):
        x = dl.tensor([1.0, 4.0], requires_grad=True)
        np.testing.assert_allclose(x * 1, [1.0, 4.0])
        assert np.mean(np.asarray(x)) == 2.5
        # No silent way out of the graph.
        with pytest.raises(TypeError):
            np.exp(x)
        with pytest.raises(TypeError):
            np.add(np.ones(2), x)

    def test_dlpack(self, torch):
        x = dl.arange(3)
        assert np.shares_memory(np.from_dlpack(x), x.numpy())
        theirs = torch.from_dlpack(x)
        theirs[0] = 7
        assert x.tolist() == [7, 1, 2]


class TestCopies:
    def test_copy_and_deepcopy(self):
        x = dl.tensor([1.0, 2.0], requires_grad=True, name="x")
        (x * 3).sum().backward()
        other = copy.deepcopy(x)
        for y in (copy.copy(x), other, copy.deepcopy([x, x])[0]):
            assert y is not x
            assert (y.tolist(), y.requires_grad, y.name) == ([1.0, 2.0], True, "x")
            assert not np.shares_memory(y.numpy(), x.numpy())
            assert y.grad.tolist() == [3.0, 3.0]
            assert not np.shares_memory(y.grad.numpy(), x.grad.numpy())
        both = copy.deepcopy([x, x])
        assert both[0] is both[1]
        (other * 1).sum().backward()
        assert x.grad.tolist() == [3.0, 3.0]

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle(self, protocol):
        for x in (
            dl.tensor([1.0, 2.0], requires_grad=True, name="x"),
            dl.tensor(3),
            dl.zeros(0, 2),
            dl.arange(6).reshape(2, 3).T,
            dl.nn.Parameter(np.ones(2, np.float32)),
        ):
            y = pickle.loads(pickle.dumps(x, protocol))
            assert type(y) is type(x)
            assert (y.tolist(), y.dtype, y.requires_grad, y.name) == (
                x.tolist(),
                x.dtype,
                x.requires_grad,
                x.name,
            )

    def test_of_a_result(self):
        y = dl.ones(2, requires_grad=True) * 2
        for function, name in (
            (copy.copy, "deepcopy"),
            (copy.deepcopy, "deepcopy"),
            (pickle.dumps, "pickle"),
        ):
            with pytest.raises(
                RuntimeError, match=rf"{name}: the tensor is a result of a recorded operation; .*detach"
            ):
                function(y)
            function(y.detach())

    def test_detach(self):
        x = dl.ones(2, requires_grad=True)
        y = (x * 2).detach()
        assert not y.requires_grad
        assert y.is_leaf
        (x * y).sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]
        assert np.shares_memory(x.detach().numpy(), x.numpy())


class TestSettings:
    def test_requires_grad(self):
        x = dl.ones(2)
        assert x.requires_grad_() is x
        assert x.requires_grad
        x.requires_grad = False
        assert not (x * 2).requires_grad
        y = x.requires_grad_() * 2
        with pytest.raises(RuntimeError, match="requires_grad: only leaves can be changed"):
            y.requires_grad = False
        with pytest.raises(TypeError, match=r"requires_grad: requires_grad=True for a tensor of dtype int64"):
            dl.arange(2).requires_grad_()

    def test_data(self):
        x = dl.ones(2, requires_grad=True)
        x.data = [3.0, 4.0]
        assert x.tolist() == [3.0, 4.0]
        x.data = np.ones(3)
        assert (x.shape, x.dtype) == ((3,), np.float64)
        with pytest.raises(TypeError, match=r"Tensor.data: requires_grad=True for a tensor of dtype int64"):
            x.data = [1, 2]
        with pytest.raises(ValueError, match=r"Tensor.data: value is \(2,\); expected \(3,\) for a result"):
            (x * 1).data = np.ones(2)
        with pytest.raises(TypeError, match=r"Tensor.data: value is a str"):
            x.data = "a"

    def test_name(self):
        x = dl.ones(2, requires_grad=True)
        x.name = "weights"
        assert "name='weights'" in repr(x)
        y = x * 2
        y.name = "double"
        assert y.grad_fn.name == "double"
        with pytest.raises(TypeError, match="name: value is a int; expected a string"):
            x.name = 3

    def test_read_only(self):
        x = dl.ones(2)
        for name, value in (("shape", (1, 2)), ("dtype", "float64"), ("is_leaf", True), ("grad_fn", None)):
            with pytest.raises(AttributeError):
                setattr(x, name, value)


class TestChangesInPlace:
    def test_methods(self):
        x = dl.tensor([1.0, 2.0, 3.0])
        memory = x.numpy()
        assert x.add_(1).tolist() == [2, 3, 4]
        assert x.sub_([1, 1, 1]).tolist() == [1, 2, 3]
        assert x.mul_(dl.tensor(2.0)).tolist() == [2, 4, 6]
        assert x.div_(2).tolist() == [1, 2, 3]
        assert x.add_(1, alpha=10).tolist() == [11, 12, 13]
        assert x.sub_(np.ones(3), alpha=10).tolist() == [1, 2, 3]
        assert x.clamp_(1.5, 2.5).tolist() == [1.5, 2, 2.5]
        assert x.copy_([3, 2, 1]).tolist() == [3, 2, 1]
        assert x.fill_(4).tolist() == [4, 4, 4]
        assert x.zero_().tolist() == [0, 0, 0]
        assert x.numpy() is memory

    def test_operators(self):
        x = y = dl.tensor([1.0, 2.0])
        x += 1
        x -= 0.5
        x *= 2
        x /= 4
        assert x is y
        assert y.tolist() == [0.75, 1.25]
        mask = dl.tensor([True, False])
        mask |= dl.tensor([False, True])
        assert mask.tolist() == [True, True]

    def test_operators_record_where_gradients_are_wanted(self):
        w = dl.tensor([1.0, 2.0], requires_grad=True)
        total = dl.zeros(2)
        total += w
        total *= w
        total.sum().backward()
        assert w.grad.tolist() == [2.0, 4.0]

    def test_under_no_grad(self):
        w = dl.ones(2, requires_grad=True)
        memory = w.numpy()
        for change in (
            lambda: w.add_(1),
            lambda: w.__setitem__(0, 1.0),
            lambda: w.__iadd__(1),
            lambda: w.zero_(),
        ):
            with pytest.raises(
                RuntimeError, match=r"the tensor is a leaf that requires a gradient.*under no_grad"
            ):
                change()
        assert w.tolist() == [1.0, 1.0]
        with dl.no_grad():
            w -= 0.5
            w.add_(w * 2)
        assert w.numpy() is memory
        assert w.requires_grad
        assert w.tolist() == [1.5, 1.5]

    @pytest.mark.parametrize("name", ["add_", "sub_", "mul_", "div_", "copy_"])
    def test_values_whose_gradient_would_be_lost(self, name):
        w, x = dl.ones(2, requires_grad=True), dl.ones(2)
        with pytest.raises(
            RuntimeError, match=rf"{name}: value requires a gradient; changes in place are not recorded"
        ):
            getattr(x, name)(w)
        with dl.no_grad():
            getattr(x, name)(w)

    @pytest.mark.parametrize("name", ["add_", "sub_", "mul_", "div_", "copy_"])
    def test_errors(self, name):
        x = dl.ones(2, 3)
        change = getattr(x, name)
        with pytest.raises(ValueError, match=rf"{name}: value is \(2,\); it does not broadcast to \(2, 3\)"):
            change([1, 2])
        with pytest.raises(
            ValueError, match=rf"{name}: value is \(4, 2, 3\); it does not broadcast to \(2, 3\)"
        ):
            change(np.ones((4, 2, 3)))
        for value in ("a", None, 1j, object()):
            with pytest.raises(TypeError, match=rf"{name}: value is a"):
                change(value)
        with pytest.raises(ValueError, match=rf"{name}: the tensor's memory is read-only"):
            getattr(dl.ones(1).expand(3), name)(1)
        assert x.tolist() == [[1.0] * 3] * 2

    def test_integers_stay_integers(self):
        x = dl.tensor([1, 2], dtype="int32")
        assert x.add_(3).mul_(dl.tensor([2, 2])).tolist() == [8, 10]
        assert x.dtype == np.int32
        for change in (
            lambda: x.add_(0.5),
            lambda: x.mul_(np.ones(2)),
            lambda: x.div_(2),
            lambda: x.__iadd__(0.5),
            lambda: x.__itruediv__(2),
        ):
            with pytest.raises(
                TypeError, match=r"the tensor is of dtype int32, the result would be a float; expected"
            ):
                change()
        assert x.tolist() == [8, 10]

    def test_overlapping_operands(self):
        x = dl.arange(4).reshape(2, 2).float()
        x.add_(x.T)
        assert x.tolist() == [[0, 3], [3, 6]]


def test_subclasses_give_tensors():
    p = dl.nn.Parameter(np.ones(2, np.float32))
    for out in (p + 1, 1 + p, p * dl.ones(2), dl.ones(2) * p, p[0], p.sum(), p.T):
        assert type(out) is dl.Tensor
    (p * dl.ones(2)).sum().backward()
    assert p.grad.tolist() == [1.0, 1.0]
