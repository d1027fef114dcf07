"""csrc/bindings/matmul.cpp and arrays.cpp: what bad input gets, and what it leaves untouched."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

_VARIANTS = [None, *(variant.name for variant in K.variants("matmul"))]
_BIG = 2**40


def _ones(*shape: int, dtype: Any = np.float32) -> Any:
    return np.ones(shape, dtype)


def _zero_stride(*shape: int, dtype: Any = np.float32) -> Any:
    """An array of any size in the memory of one element."""
    return np.broadcast_to(dtype(1), shape)


def _refused(error: type[Exception], text: str, /, *args: Any, **kwargs: Any) -> None:
    """`matmul` raises that, before it writes to `out` or counts work."""
    out = kwargs.get("out")
    kept = out.copy() if isinstance(out, np.ndarray) else None
    K.reset_counters()
    with pytest.raises(error, match=re.escape(text)):
        K.matmul(*args, **kwargs)
    assert kept is None or np.array_equal(out, kept, equal_nan=kept.dtype.kind in "fc")
    assert K.counters()["calls"] == 0


class TestShapes:
    def test_inner_dimensions_of_a_linear_layer(self) -> None:
        _refused(
            ValueError,
            "matmul: a is (64, 784) but b is (512, 784): inner dimensions 784 and 512 differ "
            "(did you mean trans_b=True?)",
            _ones(64, 784),
            _ones(512, 784),
        )

    @pytest.mark.parametrize(
        ("of_a", "of_b", "transposed", "text"),
        [
            ((3, 4), (5, 4), {"trans_b": False}, "4 and 5 differ (did you mean trans_b=True?)"),
            ((3, 4), (4, 5), {"trans_b": True}, "4 and 5 differ (did you mean trans_b=False?)"),
            ((4, 3), (4, 5), {"trans_a": False}, "3 and 4 differ (did you mean trans_a=True?)"),
            ((3, 4), (4, 5), {"trans_a": True}, "3 and 4 differ (did you mean trans_a=False?)"),
            ((2, 3, 4), (2, 5, 4), {}, "4 and 5 differ (did you mean trans_b=True?)"),
            ((3, 4), (6, 5), {}, "inner dimensions 4 and 6 differ"),
            ((4,), (5, 6), {}, "a is (4,) but b is (5, 6): inner dimensions 4 and 5 differ"),
            ((5, 4), (3,), {}, "a is (5, 4) but b is (3,): inner dimensions 4 and 3 differ"),
            ((4,), (3,), {}, "a is (4,) but b is (3,): inner dimensions 4 and 3 differ"),
            ((0,), (1,), {}, "inner dimensions 0 and 1 differ"),
        ],
    )
    def test_inner_dimensions(
        self, of_a: tuple[int, ...], of_b: tuple[int, ...], transposed: Any, text: str
    ) -> None:
        _refused(ValueError, text, _ones(*of_a), _ones(*of_b), **transposed)

    def test_no_hint_where_none_helps(self) -> None:
        with pytest.raises(ValueError, match=r"differ$"):
            K.matmul(_ones(3, 4), _ones(6, 5))

    def test_batch_dimensions(self) -> None:
        _refused(
            ValueError,
            "matmul: a is (2, 3, 4) but b is (5, 4, 6): batch dimensions 2 and 5 cannot be broadcast together",
            _ones(2, 3, 4),
            _ones(5, 4, 6),
        )
        _refused(ValueError, "batch dimensions 0 and 2 cannot", _ones(0, 3, 4), _ones(2, 4, 6))

    def test_scalars(self) -> None:
        _refused(ValueError, "matmul: a is a scalar; expected at least one dimension", _ones(), _ones(2, 2))
        _refused(ValueError, "matmul: b is a scalar; expected at least one dimension", _ones(2, 2), _ones())
        _refused(ValueError, "matmul: a is a scalar", 2.0, np.ones((2, 2)))

    def test_transposed_vectors(self) -> None:
        _refused(
            ValueError,
            "matmul: trans_a=True but a is (3,); expected at least two dimensions",
            _ones(3),
            _ones(3, 2),
            trans_a=True,
        )
        _refused(ValueError, "matmul: trans_b=True but b is (3,)", _ones(2, 3), _ones(3), trans_b=True)

    @pytest.mark.parametrize("shape", [(5,), (4, 1), (0,), (), (3,)])
    def test_bias(self, shape: tuple[int, ...]) -> None:
        text = f"matmul: bias is {shape}; expected (4,), one element per column of the result"
        _refused(ValueError, text, _ones(3, 2), _ones(2, 4), bias=_ones(*shape))

    @pytest.mark.parametrize("shape", [(3, 5), (4, 3), (3,), (1, 3, 4), (12,), ()])
    def test_out(self, shape: tuple[int, ...]) -> None:
        text = f"matmul: out is {shape}; expected (3, 4)"
        _refused(ValueError, text, _ones(3, 2), _ones(2, 4), out=_ones(*shape))

    def test_out_of_vectors(self) -> None:
        _refused(ValueError, "out is (1,); expected ()", _ones(3), _ones(3), out=_ones(1))
        _refused(ValueError, "out is (1, 4); expected (4,)", _ones(3), _ones(3, 4), out=_ones(1, 4))
        _refused(ValueError, "out is (4, 1); expected (4,)", _ones(4, 3), _ones(3), out=_ones(4, 1))


_OTHERS = [
    np.int64,
    np.int8,
    np.uint32,
    np.bool_,
    np.float16,
    np.complex64,
    np.complex128,
    np.longdouble,
    object,
    "S4",
    "U3",
    "M8[s]",
    [("x", "f4")],
]


class TestDtypes:
    @pytest.mark.parametrize("dtype", _OTHERS, ids=str)
    @pytest.mark.parametrize("argument", ["a", "b", "bias", "out"])
    def test_other_dtypes(self, argument: str, dtype: Any) -> None:
        if np.dtype(dtype) == np.float64:
            pytest.skip("long double is float64 here")
        arrays = {"a": _ones(3, 3), "b": _ones(3, 3), "bias": _ones(3), "out": _ones(3, 3)}
        arrays[argument] = np.zeros(arrays[argument].shape, dtype)
        text = f"matmul: {argument} has dtype {np.dtype(dtype)}; expected float32 or float64"
        _refused(TypeError, text, arrays.pop("a"), arrays.pop("b"), **arrays)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("argument", ["a", "b", "bias", "out"])
    def test_byte_swapped(self, argument: str, dtype: Any) -> None:
        arrays = {name: np.ones(3 if name == "bias" else (3, 3), dtype) for name in ("a", "b", "bias", "out")}
        arrays[argument] = arrays[argument].astype(np.dtype(dtype).newbyteorder())
        name = np.dtype(dtype).name
        text = rf"matmul: {argument} has dtype .f\d \(byte-swapped\); expected native float32 or float64: "
        with pytest.raises(TypeError, match=text + re.escape(f"use {argument}.astype('{name}')")):
            K.matmul(arrays.pop("a"), arrays.pop("b"), **arrays)

    @pytest.mark.parametrize("argument", ["b", "bias", "out"])
    def test_mixed(self, argument: str) -> None:
        arrays = {"a": _ones(3, 3), "b": _ones(3, 3), "bias": _ones(3), "out": _ones(3, 3)}
        arrays[argument] = arrays[argument].astype(np.float64)
        text = f"matmul: {argument} is float64 but a is float32; expected one dtype"
        _refused(TypeError, text, arrays.pop("a"), arrays.pop("b"), **arrays)

    @pytest.mark.parametrize("argument", ["a", "b", "bias"])
    @pytest.mark.parametrize("value", [{1}, "text", b"bytes", 1 + 2j, object(), np.dtype("f4"), K])
    def test_no_array(self, argument: str, value: Any) -> None:
        arrays = {"a": np.ones((3, 3)), "b": np.ones((3, 3)), "bias": np.ones(3)}
        arrays[argument] = value
        text = f"matmul: {argument} is a {type(value).__name__}; expected an array"
        _refused(TypeError, text, arrays.pop("a"), arrays.pop("b"), **arrays)

    def test_none(self) -> None:
        _refused(TypeError, "matmul: a is a NoneType; expected an array", None, _ones(2, 2))
        _refused(TypeError, "matmul: b is a NoneType; expected an array", _ones(2, 2), None)

    @pytest.mark.parametrize("out", [[[0.0] * 3] * 3, 5, "x", (1, 2), memoryview(b"123456789")])
    def test_out_that_is_no_array(self, out: Any) -> None:
        text = f"matmul: out is a {type(out).__name__}; expected a NumPy array of float32 or float64"
        _refused(TypeError, text, _ones(3, 3), _ones(3, 3), out=out)

    def test_lists(self) -> None:
        _refused(
            TypeError, "matmul: a is a list that NumPy cannot make an array of", [[1, 2], [3]], _ones(2, 2)
        )
        _refused(TypeError, "matmul: b has dtype", np.ones((2, 2)), [["a", "b"], ["c", "d"]])
        _refused(TypeError, "matmul: a has dtype object", [[None, 1], [2, 3]], np.ones((2, 2)))

    def test_not_aligned(self) -> None:
        memory = np.zeros(3 * 3 * 4 + 1, np.uint8)[1:]
        crooked = memory.view(np.float32).reshape(3, 3)
        _refused(ValueError, "matmul: a is not aligned to its elements", crooked, _ones(3, 3))
        _refused(
            ValueError, "matmul: out is not aligned to its elements", _ones(3, 3), _ones(3, 3), out=crooked
        )
        record = np.zeros(5, np.dtype([("x", "f8"), ("y", "f4")], align=False))["x"]
        with pytest.raises(ValueError, match=r"a (is not aligned|has strides that are no multiple)"):
            K.matmul(record, np.ones(5))
        # The stride of a single element means nothing.
        assert K.matmul(record[:1] + 2, np.ones(1)) == 2
        assert K.matmul(np.lib.stride_tricks.as_strided(np.ones(1), (1,), (12,)), np.ones(1)) == 1


class TestOut:
    def test_read_only(self) -> None:
        out = _ones(3, 3)
        out.flags.writeable = False
        _refused(ValueError, "matmul: out is read-only", _ones(3, 3), _ones(3, 3), out=out)
        _refused(ValueError, "matmul: out is read-only", _ones(1, 1), _ones(1, 1), out=_zero_stride(1, 1))

    def test_overlaps_itself(self) -> None:
        text = "matmul: out has elements that share memory; expected an array that owns each element once"
        for shape, strides in (((3, 3), (0, 4)), ((3, 3), (4, 4)), ((3, 3), (8, 4)), ((3, 3), (12, -8))):
            out = np.lib.stride_tricks.as_strided(_ones(20)[9:], shape, strides)
            _refused(ValueError, text, _ones(3, 3), _ones(3, 3), out=out)
        windows = np.lib.stride_tricks.sliding_window_view(_ones(5, 3), (3, 3), writeable=True)[:, 0]
        _refused(ValueError, text, _ones(3, 3, 3), _ones(3, 3), out=windows)

    @pytest.mark.parametrize("argument", ["a", "b"])
    def test_overlaps_an_operand(self, argument: str) -> None:
        text = f"matmul: out overlaps {argument}; expected memory of its own"
        memory = np.arange(40, dtype=np.float32)
        matrix = memory[:9].reshape(3, 3)
        for out in (
            matrix,
            matrix.T,
            matrix[::-1],
            memory[8:17].reshape(3, 3),
            memory[1:10].reshape(3, 3)[:, ::-1],
            memory[8:26].reshape(3, 6)[:, ::2],
            memory[:18].reshape(3, 6)[:, 1::2],
        ):
            arrays = {"a": _ones(3, 3), "b": _ones(3, 3), argument: matrix}
            _refused(ValueError, text, arrays["a"], arrays["b"], out=out)
        both = _ones(3, 3)
        _refused(ValueError, "out overlaps a", both, both, out=both)
        assert (matrix.ravel() == np.arange(9)).all()

    def test_overlaps_bias(self) -> None:
        memory = np.arange(40, dtype=np.float32)
        for bias in (memory[8:11], memory[0:12:4], memory[4:1:-1], memory[10:4:-2]):
            _refused(
                ValueError,
                "matmul: out overlaps bias; expected memory of its own",
                _ones(3, 2),
                _ones(2, 3),
                bias=bias,
                out=memory[:9].reshape(3, 3),
            )

    def test_neighbours_do_not_overlap(self, rng: np.random.Generator, check: Any) -> None:
        """Parts of one matrix that lie between each other."""
        for rows, cols in ((64, 96), (7, 9), (1000, 30)):
            whole = rng.standard_normal((rows, cols))
            a, out = whole[:, : cols // 3], whole[:, cols // 3 : 2 * (cols // 3)]
            b = rng.standard_normal((cols // 3, cols // 3))
            last = whole[:, 2 * (cols // 3) :].copy()
            K.matmul(a, b, out=out, bias=whole[0, -(cols // 3) :])
            check(out, a, b, last[0, -(cols // 3) :])
            even, odd = whole[::2][: rows // 2], whole[1::2][: rows // 2]
            square = rng.standard_normal((cols, cols))
            K.matmul(even, square, out=odd)
            check(odd, even, square)

    def test_shared_memory_without_elements(self) -> None:
        memory = _ones(9)
        K.matmul(memory[:0].reshape(3, 0), _ones(0, 3), out=memory.reshape(3, 3))
        assert (memory == 0).all()

    def test_accumulate(self) -> None:
        a = _ones(2, 2)
        _refused(ValueError, "matmul: accumulate=True needs out, the array to add to", a, a, accumulate=True)
        _refused(
            ValueError,
            "matmul: accumulate=True adds to out; expected activation=None with it",
            a,
            a,
            out=_ones(2, 2),
            accumulate=True,
            activation="relu",
        )


class TestNames:
    def test_variant(self) -> None:
        names = ", ".join(variant.name for variant in K.variants("matmul"))
        text = f"matmul: variant is 'pakced'; expected None or one of {names} (did you mean 'packed'?)"
        _refused(ValueError, text, _ones(2, 2), _ones(2, 2), variant="pakced", out=_ones(2, 2))
        with pytest.raises(ValueError, match=r"variant is 'zzz'; expected None or one of .*matvec$"):
            K.matmul(_ones(2, 2), _ones(2, 2), variant="zzz")

    @pytest.mark.parametrize(
        "value", ["", "naive\0", "naive ", "NAIVE", "\ud800", 3, b"naive", ["naive"], object]
    )
    def test_variants_that_are_none(self, value: Any) -> None:
        _refused(ValueError, "matmul: variant is ", _ones(2, 2), _ones(2, 2), variant=value)

    def test_variant_for_other_shapes(self) -> None:
        text = "matmul: variant 'matvec' needs one row or one column in the result; the result is (2, 3)"
        _refused(ValueError, text, _ones(2, 2), _ones(2, 3), variant="matvec", out=_ones(2, 3))

    def test_activation(self) -> None:
        text = "matmul: activation is 'sigmiod'; expected None, 'relu', 'sigmoid' or 'tanh' (did you mean 'sigmoid'?)"
        _refused(ValueError, text, _ones(2, 2), _ones(2, 2), activation="sigmiod", out=_ones(2, 2))

    @pytest.mark.parametrize("value", ["", "relu\0", "ReLU", "\ud800", 1, True, np.ones(3), b"relu", len])
    def test_activations_that_are_none(self, value: Any) -> None:
        _refused(ValueError, "matmul: activation is ", _ones(2, 2), _ones(2, 2), activation=value)

    def test_backend(self) -> None:
        _refused(
            ValueError,
            "matmul: backend is 'gpu'; expected one of cpu",
            _ones(2, 2),
            _ones(2, 2),
            backend="gpu",
        )

    def test_number_of_arguments(self) -> None:
        from dlkit import _cpu

        for count in (0, 1, 8, 10):
            with pytest.raises(TypeError, match=f"matmul: takes 9 arguments, given {count}"):
                _cpu.matmul(*[None] * count)


class TestGiants:
    """Extents that overflow what is multiplied of them, in the memory of one element."""

    @pytest.mark.parametrize("variant", _VARIANTS)
    def test_result_past_any_address(self, variant: str | None) -> None:
        text = f"matmul: the result is ({_BIG}, {_BIG}); expected no more bytes than an address can count"
        _refused(ValueError, text, _zero_stride(_BIG, 1), _zero_stride(1, _BIG), variant=variant)
        _refused(
            ValueError,
            "expected no more bytes than an address can count",
            _zero_stride(_BIG, 1, 1, 1),
            _zero_stride(_BIG, 1, 1),
            variant=variant,
        )

    @pytest.mark.parametrize(
        ("of_a", "of_b"),
        [
            ((2**31, 1), (1, 2**31)),
            ((2**30, 1, 1), (1, 2**31)),
            ((2**61,), (2**61, 0)),
            ((2**32, 1, 2**20, 1), (2**20, 1, 2)),
            ((2**60, 0, 1), (1, 2**60)),
        ],
    )
    def test_sizes_at_which_a_product_wraps_around(
        self, of_a: tuple[int, ...], of_b: tuple[int, ...]
    ) -> None:
        try:
            out = K.matmul(_zero_stride(*of_a), _zero_stride(*of_b))
        except (ValueError, MemoryError):
            return
        assert out.size == 0

    def test_result_past_memory(self) -> None:
        with pytest.raises(MemoryError):
            K.matmul(_zero_stride(2**25, 1), _zero_stride(1, 2**30))

    def test_out_of_another_giant_shape(self) -> None:
        with pytest.raises(ValueError, match="expected no more bytes"):
            K.matmul(_zero_stride(_BIG, 1), _zero_stride(1, _BIG), out=_ones(1, 1))
        _refused(ValueError, f"expected ({_BIG}, 3)", _zero_stride(_BIG, 2), _ones(2, 3), out=_ones(3, 3))
        writable = np.lib.stride_tricks.as_strided(_ones(1), (_BIG, 3), (0, 0))
        with pytest.raises(ValueError, match="out has elements that share memory"):
            K.matmul(_zero_stride(_BIG, 2), _ones(2, 3), out=writable)
        shape = (2,) * 33
        many = np.lib.stride_tricks.as_strided(_ones(1), (*shape, 1, 1), (*[4] * 32, 0, 4, 4))
        with pytest.raises(ValueError, match="out has elements that share memory"):
            K.matmul(_zero_stride(*shape, 1, 1), _ones(1, 1), out=many)

    @pytest.mark.parametrize("variant", _VARIANTS)
    def test_empty_results(self, variant: str | None) -> None:
        """At once, however many empty matrices there are."""
        for a, b in (
            (np.zeros((_BIG, 0, 3), np.float32), _zero_stride(_BIG, 3, 1)),
            (_zero_stride(_BIG, 1, 3), np.zeros((_BIG, 3, 0), np.float32)),
            (np.zeros((0, 2), np.float32), _zero_stride(2, _BIG)),
            (np.zeros((0, 5, 2), np.float32), _zero_stride(2, _BIG)),
            (_zero_stride(_BIG, 1), np.zeros((1, 0), np.float32)),
        ):
            if variant == "matvec" and a.shape[-2] != 1 and b.shape[-1] != 1:
                continue
            assert K.matmul(a, b, bias=_zero_stride(b.shape[-1]), variant=variant).size == 0

    def test_bias_longer_than_memory(self) -> None:
        out = K.matmul(np.zeros((0, 1), np.float32), _zero_stride(1, _BIG), bias=_zero_stride(_BIG))
        assert out.shape == (0, _BIG)

    def test_wrong_giants(self) -> None:
        text = f"inner dimensions {_BIG} and {_BIG // 2} differ"
        _refused(ValueError, text, _zero_stride(2, _BIG), _zero_stride(_BIG // 2, 2))
        _refused(
            ValueError, f"bias is ({_BIG},); expected (2,)", _ones(2, 2), _ones(2, 2), bias=_zero_stride(_BIG)
        )
        _refused(
            ValueError, "cannot be broadcast together", _zero_stride(_BIG, 2, 2), _zero_stride(_BIG - 1, 2, 2)
        )

    def test_strides_of_single_rows_that_say_nothing(self, check: Any) -> None:
        """The stride of an extent of 1 may be any number."""
        for huge in (2**62, -(2**62), 2**61 + 4, 4, 0):
            a = np.lib.stride_tricks.as_strided(_ones(6), (3, 1, 2), (8, huge, 4))
            b = np.lib.stride_tricks.as_strided(_ones(6), (1, 2, 3), (huge, 12, 4))
            check(K.matmul(a, b), a, b)
            row = np.lib.stride_tricks.as_strided(_ones(70), (1, 70), (huge, 4))
            for variant in _VARIANTS:
                if variant != "matvec":
                    out = np.lib.stride_tricks.as_strided(_ones(70 * 70), (70, 70), (280, 4))
                    K.matmul(row, row, trans_a=True, out=out, variant=variant)
                    assert (out == 1).all()
                out = np.lib.stride_tricks.as_strided(_ones(1), (1, 1), (huge, huge))
                K.matmul(row, row, trans_b=True, out=out, variant=variant)
                assert out[0, 0] == 70


class TestOtherArrays:
    """Accepted without a copy."""

    def test_array_interface(self) -> None:
        class Interface:
            def __init__(self, array: Any) -> None:
                self.kept = array
                self.__array_interface__ = array.__array_interface__

        a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
        bias = np.arange(4.0)
        np.testing.assert_array_equal(
            K.matmul(Interface(a[:, ::-1]), Interface(b.T.copy().T), bias=Interface(bias)),
            a[:, ::-1] @ b + bias,
        )
        for broken in (
            {},
            {"version": 3},
            {"version": 3, "shape": (-1,), "typestr": "<f4", "data": (0, True)},
            5,
        ):
            thing = Interface(a)
            thing.__array_interface__ = broken  # type: ignore[assignment]
            with pytest.raises(TypeError, match="matmul: a is a Interface"):
                K.matmul(thing, b)

    def test_dlpack(self) -> None:
        class Packed:
            def __init__(self, array: Any) -> None:
                self.array = array

            def __dlpack__(self, **arguments: Any) -> Any:
                return self.array.__dlpack__(**arguments)

            def __dlpack_device__(self) -> Any:
                return self.array.__dlpack_device__()

        a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
        np.testing.assert_array_equal(K.matmul(Packed(a), Packed(b)), a @ b)
        _refused(TypeError, "matmul: a has dtype int64", Packed(np.ones((2, 3), np.int64)), b)

        class Elsewhere(Packed):
            def __dlpack__(self, **arguments: Any) -> Any:
                raise BufferError("on another device")

        _refused(
            TypeError,
            "matmul: b is a Elsewhere that NumPy cannot make an array of: on another",
            a,
            Elsewhere(b),
        )

    def test_torch(self, torch: Any) -> None:
        a, b = torch.arange(6.0).reshape(2, 3), torch.arange(12.0).reshape(3, 4)
        np.testing.assert_array_equal(K.matmul(a, b), (a @ b).numpy())
        np.testing.assert_array_equal(K.matmul(b.T, a.T), (b.T @ a.T).numpy())
        _refused(TypeError, "matmul: a is a Tensor that NumPy cannot", a.requires_grad_(), b)
        _refused(TypeError, "matmul: a is a Tensor that NumPy cannot", b.bfloat16(), b)
        _refused(TypeError, "matmul: a has dtype float16", b.half(), b)
        _refused(TypeError, "matmul: out is a Tensor", np.ones((2, 2)), np.ones((2, 2)), out=torch.ones(2, 2))

    def test_lists_and_subclasses(self) -> None:
        np.testing.assert_array_equal(K.matmul([[1, 2], [3, 4]], [[1.5], [2]]), [[5.5], [12.5]])
        np.testing.assert_array_equal(K.matmul((1, 2), np.array([3.0, 4.0])), 11)

        class Sub(np.ndarray):
            pass

        a = np.arange(6.0).reshape(2, 3)
        np.testing.assert_array_equal(K.matmul(a.view(Sub), a.T), a @ a.T)
        out = np.empty((2, 2)).view(Sub)
        assert K.matmul(a, a.T, out=out) is out
        np.testing.assert_array_equal(out, a @ a.T)

    def test_memory_that_is_mapped(self, tmp_path: Any) -> None:
        file = np.memmap(tmp_path / "a", np.float32, "w+", shape=(3, 3))
        file[...] = np.eye(3)
        np.testing.assert_array_equal(K.matmul(file, _ones(3, 3)), _ones(3, 3))
        del file
        _refused(
            ValueError,
            "matmul: out is read-only",
            _ones(3, 3),
            _ones(3, 3),
            out=np.memmap(tmp_path / "a", np.float32, "r", shape=(3, 3)),
        )

    def test_references_are_given_back(self) -> None:
        import sys

        a, b, bias, out = _ones(3, 3), _ones(3, 3), _ones(3), _ones(3, 3)
        arrays = (a, b, bias, out, a.dtype)
        before = [sys.getrefcount(array) for array in arrays]
        for _ in range(50):
            K.matmul(a, b, out=out, bias=bias)
            K.matmul(a, b, bias=np.broadcast_to(bias[:1], 3))
            for bad in ({"bias": out}, {"out": bias}, {"variant": "x"}, {"activation": "x"}, {"out": a}):
                with pytest.raises(ValueError, match="matmul"):
                    K.matmul(a, b, **bad)
        del bad
        assert [sys.getrefcount(array) for array in arrays] == before
