from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl


class TestTensor:
    def test_dtypes(self):
        for data, dtype in (
            (1, "int64"),
            (1.0, "float32"),
            (True, "bool"),
            ([1, 2], "int64"),
            ([1, 2.5], "float32"),
            ([[True], [False]], "bool"),
            ([], "float32"),
            (np.float64(1), "float64"),
            ([np.float64(1), 2.0], "float64"),
            (np.ones(2), "float64"),
            (np.ones(2, "int8"), "int8"),
            (range(3), "int64"),
            (dl.ones(2, dtype="float64"), "float64"),
            ([dl.tensor(1.0), dl.tensor(2.0)], "float32"),
        ):
            assert dl.tensor(data).dtype == dtype, data

    def test_a_dtype_given(self):
        assert dl.tensor([1, 2], dtype="float32").dtype == np.float32
        assert dl.tensor([1.7], dtype=int).tolist() == [1]
        assert dl.tensor([0, 2], dtype=bool).tolist() == [False, True]
        assert dl.Tensor(np.ones(2), dtype="float32").dtype == np.float32

    def test_float64_keeps_all_digits(self):
        for exact in (
            dl.tensor(0.1, dtype="float64"),
            dl.Tensor(0.1, dtype=np.float64),
            dl.tensor([0.1], dtype=float),
            dl.full((), 0.1, dtype="float64"),
            dl.zeros(1, dtype="float64") + 0.1,
            dl.zeros(1, dtype="float64").add([0.1]),
            dl.zeros(1, dtype="float64").add_(0.1),
            dl.zeros(1, dtype="float64").fill_(0.1),
            dl.zeros(1, dtype="float64").copy_([0.1]),
            dl.ones(1, dtype="float64").mul_(0.1),
            dl.ones(1, dtype="float64").add_(-9, alpha=0.1),
        ):
            assert exact.dtype == np.float64
            assert exact.item() in (0.1, 1 - 9 * 0.1)
        assigned = dl.zeros(2, dtype="float64")
        assigned[0] = 0.1
        assigned[1:] = [0.1]
        assert assigned.tolist() == [0.1, 0.1]

    def test_a_copy_or_not(self):
        array = np.ones(2, np.float32)
        assert not np.shares_memory(dl.tensor(array).numpy(), array)
        assert np.shares_memory(dl.Tensor(array).numpy(), array)
        first = dl.Tensor(array)
        assert not np.shares_memory(dl.tensor(first).numpy(), array)
        assert np.shares_memory(dl.Tensor(first).numpy(), array)

    def test_byte_swapped(self):
        for order in "<>":
            x = dl.tensor(np.array([1, 2], f"{order}f4"), requires_grad=True)
            assert x.dtype.isnative
            assert x.tolist() == [1.0, 2.0]
            assert dl.Tensor(np.array([1, 2], f"{order}i8")).tolist() == [1, 2]

    def test_other_libraries(self, torch):
        theirs = torch.tensor([1.0, 2.0])
        assert dl.tensor(theirs).tolist() == [1.0, 2.0]
        ours = dl.Tensor(theirs)
        theirs[0] = 5
        assert ours.tolist() == [5.0, 2.0]

    def test_name_and_gradient(self):
        x = dl.tensor([1.0], requires_grad=True, name="x")
        assert (x.name, x.requires_grad, x.is_leaf) == ("x", True, True)

    @pytest.mark.parametrize(
        ("data", "given"),
        [
            ("abc", "a str of dtype <U3"),
            (None, "a NoneType of dtype object"),
            pytest.param(object(), "a object of dtype object", id="object"),
            ({1: 2}, "a dict of dtype object"),
            ({1, 2}, "a set of dtype object"),
            (1j, "a complex of dtype complex128"),
            ([1, "a"], "a list of dtype <U21"),
            ([1, None], "a list of dtype object"),
            (2**70, "a int of dtype object"),
            (np.array([1, "a"], object), "an array of object"),
            (np.ones(2, complex), "an array of complex128"),
            (np.ones(2, "float16"), "an array of float16"),
            (np.ones(2, "longdouble"), "an array of float128"),
            (np.array(["a"]), "an array of <U1"),
            (np.array([b"a"]), r"an array of \|S1"),
            (np.array(["2020"], "M8[D]"), r"an array of datetime64\[D\]"),
            (np.zeros(2, [("a", int)]), r"an array of \[\('a', '<i8'\)\]"),
        ],
        ids=lambda value: repr(value)[:25],
    )
    def test_what_is_no_number(self, data, given):
        for make, name in ((dl.tensor, "tensor"), (dl.Tensor, "Tensor")):
            with pytest.raises(TypeError, match=rf"{name}: data is {given}; expected real numbers \(float32"):
                make(data)

    def test_ragged(self):
        with pytest.raises(ValueError, match="tensor: data is a nested list whose rows differ in length"):
            dl.tensor([[1, 2], [3]])

    @pytest.mark.parametrize("data", [1, [1, 2], True, np.arange(3), np.ones(2, bool)], ids=repr)
    def test_gradients_by_integers(self, data):
        for make, name in ((dl.tensor, "Tensor"), (dl.Tensor, "Tensor")):
            with pytest.raises(
                TypeError, match=rf"{name}: requires_grad=True for a tensor of dtype (int64|bool); exp"
            ):
                make(data, requires_grad=True)
        with pytest.raises(TypeError, match=r"requires_grad: .*write 2\.0 for 2"):
            dl.tensor(data).requires_grad_()

    def test_other_arguments(self):
        with pytest.raises(TypeError, match="Tensor: name is a int; expected a string"):
            dl.Tensor(1.0, name=3)
        with pytest.raises(TypeError, match="tensor: dtype is complex64; expected float32"):
            dl.tensor(1.0, dtype="complex64")
        with pytest.raises(TypeError, match="Tensor: dtype is 'nonsense'; expected a NumPy dtype"):
            dl.Tensor(1.0, dtype="nonsense")


@pytest.mark.parametrize(("name", "value"), [("zeros", 0), ("ones", 1)])
class TestConstant:
    def test_sizes(self, name, value):
        make = getattr(dl, name)
        for size in ((), (3,), (2, 3), (0, 2)):
            expected = np.full(size, value, np.float32)
            for x in (make(*size), make(size), make(list(size)), make(*(np.int64(n) for n in size))):
                np.testing.assert_array_equal(x.numpy(), expected)
                assert x.dtype == np.float32
        assert make(2, dtype="int32").dtype == np.int32
        assert make(2, requires_grad=True).requires_grad

    def test_like(self, name, value):
        like = getattr(dl, f"{name}_like")
        for source in (dl.randn(2, 3), np.ones((2, 3), np.float32), dl.arange(6).reshape(2, 3)):
            x = like(source)
            assert (x.shape, x.dtype) == (source.shape, source.dtype)
            assert (x.numpy() == value).all()
        assert like(source, dtype="float64", requires_grad=True).dtype == np.float64

    def test_errors(self, name, value):
        make = getattr(dl, name)
        with pytest.raises(TypeError, match=rf"{name}: size is .*; expected integers"):
            make(2.5)
        with pytest.raises(TypeError, match=rf"{name}: size is .*; expected integers"):
            make("ab")
        with pytest.raises(ValueError, match=rf"{name}: size is \(-1, 2\); expected no negative size"):
            make(-1, 2)
        with pytest.raises(TypeError, match=rf"{name}: dtype is .*expected"):
            make(2, dtype="complex64")
        with pytest.raises(TypeError, match="requires_grad=True for a tensor of dtype int64"):
            make(2, dtype=int, requires_grad=True)
        with pytest.raises((ValueError, MemoryError)):
            make(2**62, 2**62)


def test_full():
    assert dl.full((2, 2), 7).tolist() == [[7, 7], [7, 7]]
    assert dl.full((2,), 7).dtype == np.int64
    assert dl.full(2, 0.5).dtype == np.float32
    assert dl.full((2,), 7, dtype="float64").dtype == np.float64
    assert dl.full((), True).dtype == bool
    assert dl.full((0,), 1.0).shape == (0,)
    with pytest.raises(TypeError, match="full: fill_value is a str"):
        dl.full((2,), "a")
    with pytest.raises(ValueError, match=r"full: fill_value is \(2,\); expected a single number"):
        dl.full((3,), [1, 2])


def test_eye():
    assert dl.eye(2).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert dl.eye(2, 3).shape == (2, 3)
    assert dl.eye(0).shape == (0, 0)
    assert dl.eye(2, dtype=bool).dtype == bool
    for n in (-1, 2.5, "a"):
        with pytest.raises((TypeError, ValueError), match="eye: size is"):
            dl.eye(n)


def test_arange():
    assert dl.arange(3).tolist() == [0, 1, 2]
    assert dl.arange(1, 4).tolist() == [1, 2, 3]
    assert dl.arange(5, 0, -2).tolist() == [5, 3, 1]
    assert dl.arange(3).dtype == np.int64
    assert dl.arange(0, 1, 0.25).dtype == np.float32
    assert dl.arange(3, dtype="float64").dtype == np.float64
    assert dl.arange(3.0, requires_grad=True).requires_grad
    assert dl.arange(3, 1).shape == (0,)
    with pytest.raises(ValueError, match="arange: step is 0"):
        dl.arange(1, 2, 0)
    for bad in ("a", None, 1j, [1, 2]):
        with pytest.raises(TypeError, match="arange: start, end and step are "):
            dl.arange(bad)


def test_linspace():
    assert dl.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert dl.linspace(0, 1, 1).tolist() == [0]
    assert dl.linspace(0, 1, 0).shape == (0,)
    assert dl.linspace(0, 1, 3, dtype="float64").dtype == np.float64
    with pytest.raises(ValueError, match="linspace: steps is -1; expected 0 or more"):
        dl.linspace(0, 1, -1)
    with pytest.raises(TypeError, match=r"linspace: steps is 2\.5; expected an integer"):
        dl.linspace(0, 1, 2.5)


@pytest.mark.parametrize("name", ["rand", "randn"])
class TestRandom:
    def test_the_same_seed_gives_the_same_numbers(self, name):
        make = getattr(dl, name)
        dl.manual_seed(3)
        first = make(4, 5)
        second = make(4, 5)
        dl.manual_seed(3)
        assert make(4, 5).tolist() == first.tolist()
        assert second.tolist() != first.tolist()

    def test_their_distribution(self, name):
        dl.manual_seed(0)
        for dtype in ("float32", "float64"):
            x = getattr(dl, name)(100_000, dtype=dtype)
            assert x.dtype == dtype
            mean, deviation = (0.5, 12**-0.5) if name == "rand" else (0.0, 1.0)
            assert abs(x.mean().item() - mean) < 0.02
            assert abs(x.std().item() - deviation) < 0.02
            if name == "rand":
                assert 0 <= x.min().item() <= x.max().item() < 1

    def test_sizes_and_errors(self, name):
        make = getattr(dl, name)
        assert make().shape == ()
        assert make((2, 3)).shape == (2, 3)
        assert make(0, 2).shape == (0, 2)
        assert make(2, requires_grad=True).requires_grad
        with pytest.raises(TypeError, match=rf"{name}: dtype is int64; expected float32 or float64"):
            make(2, dtype=int)
        with pytest.raises(ValueError, match=rf"{name}: size is \(-2,\)"):
            make(-2)
