from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import dlkit as dl

SHAPES = [
    ((), ()),
    ((3,), (3,)),
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 3), ()),
    ((), (2, 3)),
    ((2, 1), (1, 3)),
    ((2, 1, 3), (4, 1)),
    ((1,), (2, 1)),
    ((0, 3), (1, 3)),
    ((2, 0), ()),
]
BINARY = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "pow": operator.pow,
}


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_operators_of_two_tensors(check, rng, name, shapes):
    first, second = (rng.uniform(0.5, 2, shape) for shape in shapes)
    check(BINARY[name], BINARY[name], first, second)


@pytest.mark.parametrize("shapes", SHAPES[:10], ids=str)
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_maximum_and_minimum(check, apart, name, shapes):
    values = apart(sum(int(np.prod(s)) for s in shapes))
    first = values[: int(np.prod(shapes[0]))].reshape(shapes[0])
    second = values[first.size :].reshape(shapes[1])
    check(
        lambda a, b: getattr(a, name)(b),
        getattr(np, name),
        first,
        second,
    )
    check(getattr(dl, name), getattr(np, name), first, second, pytorch=False)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_equal_ones_share_the_gradient(name):
    a = dl.tensor([1.0, 2.0], requires_grad=True)
    b = dl.tensor([1.0, 0.0], requires_grad=True)
    getattr(dl, name)(a, b).sum().backward()
    larger = 1.0 if name == "maximum" else 0.0
    assert a.grad.tolist() == [0.5, larger]
    assert b.grad.tolist() == [0.5, 1 - larger]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("number", [3, 2.5, True, np.float32(1.5), np.float64(1.5), np.int16(2)], ids=repr)
def test_numbers_on_either_side(check, rng, name, number):
    x = rng.uniform(0.5, 2, (2, 3))
    other = float(number)
    apply = BINARY[name]
    check(lambda a: apply(a, number), lambda a: apply(a, other), x, pytorch=False)
    check(lambda a: apply(number, a), lambda a: apply(other, a), x, pytorch=False)


@pytest.mark.parametrize("name", BINARY)
def test_arrays_and_lists_on_either_side(rng, name):
    apply = BINARY[name]
    x, other = rng.uniform(0.5, 2, (2, 3)), rng.uniform(0.5, 2, 3)
    for given_ in (other, other.tolist(), tuple(other.tolist())):
        a = dl.Tensor(x, requires_grad=True)
        left, right = apply(a, given_), apply(given_, a)
        assert isinstance(left, dl.Tensor)
        assert isinstance(right, dl.Tensor)
        np.testing.assert_allclose(left.numpy(), apply(x, other), rtol=1e-6)
        np.testing.assert_allclose(right.numpy(), apply(other, x), rtol=1e-6)
        (left + right).sum().backward()
        b = dl.Tensor(x, requires_grad=True)
        c = dl.Tensor(other)
        (apply(b, c) + apply(c, b)).sum().backward()
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("exponent", [-2, -1, 0, 1, 2, 3, 0.5, 2.0, -1.5, 0.0])
def test_powers_by_numbers(check, rng, exponent):
    check(lambda a: a**exponent, lambda a: a**exponent, rng.uniform(0.5, 2, (2, 3)))
    check(lambda a: a.pow(exponent), lambda a: a**exponent, np.array(1.25))


def test_powers_of_negative_numbers(check):
    check(lambda a: a**3, lambda a: a**3, [-2.0, -0.5, 1.0])
    check(lambda a: a**2, lambda a: a**2, [-2.0, 0.0, 1.0])


def test_power_at_zero():
    x = dl.tensor([0.0, 0.0, 0.0, 2.0], requires_grad=True)
    y = dl.tensor([0.0, 1.0, 2.0, 0.0], requires_grad=True)
    (x**y).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0, 0.0]
    assert y.grad.tolist() == [0.0, 0.0, 0.0, pytest.approx(np.log(2))]
    z = dl.tensor([0.0], requires_grad=True)
    (z**0).sum().backward()
    assert z.grad.tolist() == [0.0]


def test_negative_positive(check, rng):
    x = rng.standard_normal((2, 3))
    check(operator.neg, operator.neg, x)
    check(lambda a: a.neg(), operator.neg, x)
    a = dl.Tensor(x, requires_grad=True)
    assert +a is a


@pytest.mark.parametrize("shapes", SHAPES[:9], ids=str)
def test_remainder(check, rng, shapes):
    # Away from multiples, where the remainder jumps.
    second = rng.uniform(1, 2, shapes[1])
    whole = rng.integers(-3, 4, np.broadcast_shapes(*shapes)).max(initial=-3)
    first = np.full(shapes[0], float(whole)) + rng.uniform(0.3, 0.6, shapes[0])
    keep = np.abs((first / second) % 1 - 0.5).max(initial=0) < 0.49
    if keep:
        check(operator.mod, operator.mod, first, second)
    check(lambda a: a % 0.7, lambda a: a % 0.7, np.array([-1.0, 0.2, 5.0]))


def test_remainder_and_floor_division_of_integers():
    numbers = dl.arange(-4, 5)
    assert (numbers % 3).tolist() == [n % 3 for n in range(-4, 5)]
    assert (numbers // 3).tolist() == [n // 3 for n in range(-4, 5)]
    assert (numbers % 3).dtype == np.int64
    assert (7 % dl.tensor([2, 4])).tolist() == [1, 3]
    assert (7 // dl.tensor([2, 4])).tolist() == [3, 1]
    assert (dl.tensor([7.5, -7.5]) // 2).tolist() == [3.0, -4.0]
    assert not (dl.tensor([7.5], requires_grad=True) // 2).requires_grad


def test_remainder_by_zero_of_integers_is_an_error():
    for apply in (operator.mod, operator.floordiv):
        with pytest.raises(ZeroDivisionError, match="b holds 0"):
            apply(dl.tensor([1, 2]), dl.tensor([1, 0]))


class TestLogic:
    def test_masks(self):
        p, q = dl.tensor([True, True, False, False]), dl.tensor([True, False, True, False])
        assert (p & q).tolist() == [True, False, False, False]
        assert (p | q).tolist() == [True, True, True, False]
        assert (p ^ q).tolist() == [False, True, True, False]
        assert (~p).tolist() == [False, False, True, True]
        assert (True & p).tolist() == p.tolist()
        assert (p & np.array([True, False, True, False])).tolist() == (p & q).tolist()
        assert (np.array([True, False, True, False]) | p).tolist() == (p | q).tolist()

    def test_of_comparisons(self):
        x = dl.tensor([-1.0, 0.5, 2.0])
        assert ((x > 0) & (x < 1)).tolist() == [False, True, False]
        assert x[(x > 0) & (x < 1)].tolist() == [0.5]

    def test_bits_of_integers(self):
        assert (dl.tensor([6, 5]) & 3).tolist() == [2, 1]
        assert (~dl.tensor([0, 1])).tolist() == [-1, -2]

    def test_floats_have_no_bits(self):
        x = dl.tensor([1.0])
        for apply, name in ((operator.and_, "and"), (operator.or_, "or"), (operator.xor, "xor")):
            with pytest.raises(TypeError, match=rf"{name}: a is of dtype float32.*expected bool or integers"):
                apply(x, x)
        with pytest.raises(TypeError, match=r"invert: a is of dtype float32; expected bool or integers"):
            ~x

    def test_shapes_that_do_not_broadcast(self):
        with pytest.raises(ValueError, match=r"and: a is \(2,\) but b is \(3,\)"):
            dl.ones(2).to(bool) & dl.ones(3).to(bool)


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_comparisons(rng, name):
    compare = getattr(operator, name)
    x, y = rng.integers(0, 3, (2, 4)).astype(np.float32), rng.integers(0, 3, 4).astype(np.float32)
    a = dl.Tensor(x, requires_grad=True)
    for left, right, expected in (
        (a, dl.Tensor(y), compare(x, y)),
        (a, y, compare(x, y)),
        (y, a, compare(y, x)),
        (a, 1, compare(x, 1)),
        (1.5, a, compare(1.5, x)),
        (a, y.tolist(), compare(x, y)),
    ):
        out = compare(left, right)
        assert isinstance(out, dl.Tensor)
        assert out.dtype == bool
        assert not out.requires_grad
        np.testing.assert_array_equal(out.numpy(), expected)


def test_comparisons_across_dtypes():
    assert (dl.tensor([1, 2]) > 1.5).tolist() == [False, True]
    assert (dl.tensor([1, 2]) == dl.tensor([1.0, 2.5])).tolist() == [True, False]
    small = dl.tensor([1, 255], dtype="uint8")
    assert (small < 300).tolist() == [True, True]
    assert (small == -1).tolist() == [False, False]
    assert (small == 255).tolist() == [False, True]


def test_equal_to_something_else_is_just_unequal():
    x = dl.tensor([1.0, 2.0])
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert (x == "tensor") is False
    assert x not in [None, "tensor"]
    with pytest.raises(TypeError, match="less: other is a NoneType"):
        _ = x < None


class TestDtypes:
    """As PyTorch promotes, so that a float32 network stays one whatever numbers it meets."""

    @pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "pow"])
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("float32", "float32"),
            ("float32", "float64"),
            ("float32", "int64"),
            ("float64", "int32"),
            ("int64", "float32"),
            ("int32", "int64"),
            ("uint8", "int16"),
            ("float32", "bool"),
            ("int64", "bool"),
        ],
    )
    def test_as_in_pytorch(self, name, first, second, torch):
        apply = like = BINARY[name]
        if (
            name == "sub" and second == "bool"
        ):  # which PyTorch refuses; here the bool is a number, as in its sums
            with pytest.raises(RuntimeError, match="bool"):
                apply(torch.ones(2), torch.ones(2, dtype=torch.bool))
            like = BINARY["add"]
        for shapes in (((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())):
            x, y = np.ones(shapes[0], first), np.ones(shapes[1], second)
            ours = apply(dl.tensor(x), dl.tensor(y))
            theirs = like(torch.tensor(x), torch.tensor(y))
            assert str(theirs.dtype) == f"torch.{ours.dtype}", shapes

    def test_numbers(self):
        assert (dl.ones(2) * 2.5).dtype == np.float32
        assert (dl.ones(2, dtype="float64") * 2).dtype == np.float64
        assert (dl.arange(3) * 2).dtype == np.int64
        assert (dl.arange(3) * 2.5).dtype == np.float32
        assert (dl.arange(3) / 2).dtype == np.float32
        assert (dl.ones(2) * np.float64(2.5)).dtype == np.float32
        assert (dl.tensor([True]) + 1).dtype == np.int64
        assert (dl.tensor([1], dtype="int8") + 1).dtype == np.int8

    def test_gradients_come_back_in_the_leaf_dtype(self):
        x = dl.ones(3, requires_grad=True)
        y = dl.ones(3, dtype="float64", requires_grad=True)
        scale = dl.tensor(2.0, dtype="float64", requires_grad=True)
        out = (x * scale).sum() + (x + y).sum()
        out.backward()
        assert (x.grad.dtype, y.grad.dtype, scale.grad.dtype) == (np.float32, np.float64, np.float64)
        assert x.grad.tolist() == [3.0, 3.0, 3.0]
        assert scale.grad.item() == 3.0

    def test_a_number_too_large_for_the_integers(self):
        with pytest.raises((OverflowError, ValueError), match=r"add.*300.*uint8"):
            dl.tensor([1], dtype="uint8") + 300


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "pow"])
class TestErrors:
    def test_shapes(self, name):
        op = "div" if name == "truediv" else name
        with pytest.raises(
            ValueError, match=rf"{op}: a is \(2, 3\) but b is \(4,\): sizes 3 and 4 of dimension -1 differ"
        ):
            BINARY[name](dl.ones(2, 3), dl.ones(4))

    @pytest.mark.parametrize(
        "other", [None, "a", 1j, object(), {"a": 1}, [1, "a"], np.array([object()]), np.ones(2, "M8[s]")]
    )
    def test_operands(self, name, other):
        op = "div" if name == "truediv" else name
        x = dl.ones(2)
        with pytest.raises(TypeError, match=rf"{op}: other is an? .*expected (real )?numbers"):
            BINARY[name](x, other)

    def test_half_precision(self, name):
        with pytest.raises(TypeError, match="float16"):
            BINARY[name](dl.ones(2), np.ones(2, np.float16))

    def test_ragged_lists(self, name):
        with pytest.raises(ValueError, match="rows differ in length"):
            BINARY[name](dl.ones(2), [[1.0], [1.0, 2.0]])


def test_operations_without_meaning_for_bool():
    p = dl.tensor([True, False])
    with pytest.raises(TypeError, match="sub: a and b are of dtype bool; expected numbers"):
        p - p
    with pytest.raises(TypeError, match="neg: a is of dtype bool; expected numbers"):
        -p


def test_integer_to_a_negative_power():
    with pytest.raises(ValueError, match=r"pow: .*expected floats \(use \.float\(\)\)"):
        dl.arange(1, 3) ** -1


@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_swapped_arrays(order):
    values = np.arange(3, dtype=f"{order}f4")
    out = dl.ones(3, requires_grad=True) * values
    assert out.dtype == np.float32
    assert out.dtype.isnative
    assert out.tolist() == [0.0, 1.0, 2.0]


_shapes = arrays.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0)


@given(shapes=_shapes, name=st.sampled_from(["add", "sub", "mul", "truediv", "maximum", "minimum"]))
def test_gradients_of_any_broadcast(shapes, name):
    rng = np.random.default_rng(sum(map(sum, shapes.input_shapes)) + len(name))
    x, y = (rng.permutation(int(np.prod(s)) or 1)[: int(np.prod(s))].reshape(s) for s in shapes.input_shapes)
    x, y = x + 1.0, y + 1.5
    a, b = dl.Tensor(x, requires_grad=True), dl.Tensor(y, requires_grad=True)
    out = getattr(dl, name)(a, b) if name[0] == "m" and name != "mul" else BINARY[name](a, b)
    assert out.shape == shapes.result_shape
    seed = np.asarray(rng.standard_normal(out.shape))
    out.backward(seed)
    # The definition: repeat the operands, differentiate element by element, add up what was repeated.
    wide_x, wide_y = np.broadcast_arrays(x, y)
    by_x, by_y = {
        "add": lambda p, q: (np.ones_like(p), np.ones_like(q)),
        "sub": lambda p, q: (np.ones_like(p), -np.ones_like(q)),
        "mul": lambda p, q: (q, p),
        "truediv": lambda p, q: (1 / q, -p / q**2),
        "maximum": lambda p, q: (p > q, q > p),
        "minimum": lambda p, q: (p < q, q < p),
    }[name](wide_x, wide_y)
    for leaf, slope in ((a, by_x * seed), (b, by_y * seed)):
        expected = np.zeros(leaf.shape)
        number = np.broadcast_to(np.arange(expected.size).reshape(leaf.shape), out.shape)
        np.add.at(expected.reshape(-1), number.reshape(-1), slope.reshape(-1))
        np.testing.assert_allclose(leaf.grad.numpy(), expected, atol=1e-12)


def test_methods_are_the_operators(rng):
    x, y = rng.uniform(1, 2, 3), rng.uniform(1, 2, 3)
    a, b = dl.Tensor(x), dl.Tensor(y)
    for name, method in (("add", "add"), ("sub", "sub"), ("mul", "mul"), ("truediv", "div"), ("pow", "pow")):
        assert getattr(a, method)(b).tolist() == BINARY[name](a, b).tolist()


def test_sum_of_a_list_of_tensors():
    a = dl.tensor([1.0, 2.0], requires_grad=True)
    total = sum([a, a, a])
    total.sum().backward()
    assert total.tolist() == [3.0, 6.0]
    assert a.grad.tolist() == [3.0, 3.0]


def test_to_another_dtype(check, rng):
    x = dl.tensor(rng.standard_normal(3), requires_grad=True)
    narrow = x.float()
    assert narrow.dtype == np.float32
    (narrow * narrow).sum().backward()
    assert x.grad.dtype == np.float64
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.numpy(), rtol=1e-6)
    assert x.to("float64") is x
    for whole in (x.long(), x.to(np.int32), x.astype(bool)):
        assert not whole.requires_grad
    assert x.to(bool).dtype == bool
    assert x.float().double().dtype == np.float64


@pytest.mark.parametrize("dtype", ["float16", "complex64", "U3", "M8[s]", object, "float128", "nonsense", 3])
def test_to_a_dtype_that_is_none_of_ours(dtype):
    with pytest.raises(TypeError, match=r"to: dtype is .*expected"):
        dl.ones(2).to(dtype)
