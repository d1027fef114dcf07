from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

import dlkit as dl
from dlkit.autograd.base import (
    Changes,
    as_array,
    common_dtype,
    guarded,
    normal_dim,
    operand,
    shape_text,
    unbroadcast,
)


@given(arrays.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0))
def test_unbroadcast_adds_up_what_was_repeated(shapes):
    shape, wide = shapes.input_shapes[0], shapes.result_shape
    gradient = np.arange(np.prod(wide), dtype=np.float64).reshape(wide)
    expected = np.zeros(shape)
    numbers = np.broadcast_to(np.arange(expected.size).reshape(shape), wide)
    np.add.at(expected.reshape(-1), numbers.reshape(-1), gradient.reshape(-1))
    got = unbroadcast(gradient, shape)
    assert got.shape == shape
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("shape", "wide"),
    [((1,), (1, 3)), ((1, 1), (1, 2, 3)), ((2, 1), (1, 2, 3)), ((), (1, 1)), ((3, 1), (2, 3, 1))],
)
def test_unbroadcast_beside_sizes_of_1(shape, wide):
    ones = np.ones(wide)
    assert unbroadcast(ones, shape).shape == shape
    assert (unbroadcast(ones, shape) == ones.size // np.prod(shape, dtype=int)).all()


def test_as_array_shares_what_it_can():
    for given_ in (np.ones(3, np.float32), np.ones(3), np.arange(3), np.ones((2, 3))[:, ::2], dl.ones(3)):
        assert np.shares_memory(as_array(given_, "test", "x"), np.asarray(given_))
        assert not np.shares_memory(as_array(given_, "test", "x", copy=True), np.asarray(given_))


def test_as_array_of_floats_in_python():
    assert as_array(0.1, "test", "x").dtype == np.float32
    assert as_array(0.1, "test", "x", dtype=np.dtype("float64")).item() == 0.1
    assert as_array(1, "test", "x", dtype=np.dtype("float64")).dtype == np.int64
    assert as_array(np.ones(1, np.float16), "test", "x", half=True).dtype == np.float16


class WithInterface:
    def __init__(self, array):
        self.array = array

    @property
    def __array_interface__(self):
        return self.array.__array_interface__


class WithDLPack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("kind", [WithInterface, WithDLPack, memoryview])
def test_as_array_of_other_libraries(kind):
    array = np.ones(3)
    assert np.shares_memory(as_array(kind(array), "test", "x"), array)


def test_operands_in_python_take_the_dtype_of_the_tensor():
    for dtype, value, expected in (
        ("float32", 1, "float32"),
        ("float64", 0.1, "float64"),
        ("int8", 3, "int8"),
        ("int8", 0.5, "float32"),
        ("bool", True, "bool"),
        ("bool", 2, "int64"),
    ):
        other = operand(value, dl.ones(1, dtype=dtype), "test")
        assert (other.dtype, other.item()) == (expected, pytest.approx(value))
    with pytest.raises(OverflowError, match="test: other is 1000; expected a number that int8 can hold"):
        operand(1000, dl.ones(1, dtype="int8"), "test")


def test_common_dtype_does_not_depend_on_the_order():
    kinds = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
    for a in kinds:
        for b in kinds:
            for x, y in ((np.ones(2, a), np.ones(2, b)), (np.ones(2, a), np.ones((), b))):
                assert common_dtype(x, y) == common_dtype(y, x)


def test_shapes_in_errors():
    assert [shape_text(shape) for shape in ((), (3,), (2, 3))] == ["()", "(3,)", "(2, 3)"]


def test_dimensions():
    assert [normal_dim(d, 3, "test") for d in (0, 2, -1, -3, np.int8(1), dl.tensor(1))] == [0, 2, 2, 0, 1, 1]
    assert [normal_dim(d, 0, "test") for d in (0, -1)] == [0, 0]
    for d in (3, -4):
        with pytest.raises(
            IndexError, match=rf"test: dim is {d}; expected -3 to 2 for a tensor of 3 dimensions"
        ):
            normal_dim(d, 3, "test")
    with pytest.raises(IndexError, match="test: dim is 1; expected -1 to 0 for a tensor of 0 dimensions"):
        normal_dim(1, 0, "test")


def test_a_count_of_changes_adds_up_like_an_integer():
    count = same = Changes(3)
    count += 2
    assert count is same
    assert 10 + count == 15


def test_guarded_gradients_can_be_read_and_copied_but_not_written():
    array = np.ones(3, np.float32)
    gradient = guarded(array)
    assert np.shares_memory(gradient.numpy(), array)
    with pytest.raises(ValueError, match="read-only"):
        gradient.numpy()[0] = 5
    gradient.clone().zero_()
    assert array.flags.writeable
