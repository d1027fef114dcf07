from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit as dl

# (shape, dim)
CASES = [
    ((), None),
    ((), 0),
    ((), -1),
    ((4,), None),
    ((4,), 0),
    ((4,), -1),
    ((2, 3), None),
    ((2, 3), 0),
    ((2, 3), 1),
    ((2, 3), -2),
    ((2, 3), (0, 1)),
    ((2, 3, 2), (0, -1)),
    ((2, 3, 2), 1),
    ((2, 1, 3), 1),
]


def _torch_sum(name):
    # PyTorch has no dim=None together with keepdim in older versions: leave out what is None.
    def call(dim, keepdim):
        def run(a):
            arguments = {} if dim is None else {"dim": dim, "keepdim": keepdim}
            out = getattr(a, name)(**arguments)
            return out.reshape((1,) * a.ndim) if dim is None and keepdim else out

        return run

    return call


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize(("shape", "dim"), CASES, ids=str)
def test_sum_and_mean(check, rng, shape, dim, keepdim):
    x = rng.standard_normal(shape)
    axis = None if not shape else dim
    for name in ("sum", "mean"):
        check(
            lambda a, name=name: getattr(a, name)(dim, keepdim),
            lambda a, name=name: getattr(np, name)(a, axis=axis, keepdims=keepdim),
            x,
            pytorch=_torch_sum(name)(dim, keepdim),
        )


def test_the_words_of_numpy(rng):
    x = rng.standard_normal((2, 3))
    a = dl.Tensor(x)
    assert a.sum(axis=0, keepdims=True).tolist() == a.sum(0, True).tolist()
    assert a.mean(axis=(0, 1)).item() == a.mean().item()
    for name in ("max", "min"):
        np.testing.assert_array_equal(getattr(a, name)(axis=1).values.numpy(), getattr(x, name)(axis=1))
    for name in ("var", "std"):
        np.testing.assert_allclose(getattr(a, name)(axis=1).numpy(), getattr(x, name)(axis=1, ddof=1))
    for name in ("argmax", "argmin"):
        np.testing.assert_array_equal(getattr(a, name)(axis=1).numpy(), getattr(x, name)(axis=1))
    for name in ("all", "any"):
        np.testing.assert_array_equal(getattr(a > 0, name)(axis=1).numpy(), getattr(x > 0, name)(axis=1))
    with pytest.raises(TypeError, match="sum: dim and axis are given"):
        a.sum(0, axis=1)


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize(
    ("shape", "dim"), [((0,), None), ((0, 3), 1), ((0, 3), 0), ((2, 0), (0, 1))], ids=str
)
def test_of_nothing(name, shape, dim):
    x = dl.zeros(*shape, requires_grad=True)
    out = getattr(x, name)(dim)
    expected = np.zeros(np.zeros(shape).sum(axis=dim).shape)
    if name == "mean" and dim != 1:
        expected = expected + np.nan
    np.testing.assert_array_equal(out.numpy(), expected)
    out.backward(np.ones(out.shape))
    assert x.grad.shape == shape


def test_dtypes():
    assert dl.tensor([True, True]).sum().item() == 2
    assert dl.tensor([True, True]).sum().dtype == np.int64
    assert dl.tensor([1, 2], dtype="int32").sum().dtype == np.int64
    assert dl.ones(2).sum().dtype == np.float32
    with pytest.raises(
        TypeError, match=r"mean: the tensor is of dtype int64; expected floats \(use \.float\(\)\)"
    ):
        dl.arange(3).mean()


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize(("shape", "dim"), [c for c in CASES if c[0]], ids=str)
@pytest.mark.parametrize("unbiased", [False, True])
def test_var_and_std(check, rng, shape, dim, keepdim, unbiased):
    x = rng.standard_normal(shape)
    count = x.size if dim is None else np.prod([shape[d] for d in np.atleast_1d(dim)])
    if count - unbiased < 1:
        return
    for name in ("var", "std"):
        if name == "std" and count == 1:
            continue  # at 0 the root has no derivative
        check(
            lambda a, name=name: getattr(a, name)(dim, unbiased=unbiased, keepdim=keepdim),
            lambda a, name=name: getattr(np, name)(a, axis=dim, ddof=int(unbiased), keepdims=keepdim),
            x,
            pytorch=dim is not None,
        )


def test_var_with_a_correction(rng):
    x = rng.standard_normal(5)
    a = dl.Tensor(x)
    assert a.var(correction=2).item() == pytest.approx(x.var(ddof=2))
    assert a.std(correction=0).item() == pytest.approx(x.std())
    assert np.isnan(dl.ones(1).var().item())
    with pytest.raises(TypeError, match="the tensor is of dtype int64; expected floats"):
        dl.arange(3).var()


@pytest.mark.parametrize("name", ["max", "min"])
class TestExtremes:
    @pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 3, 2)], ids=str)
    def test_over_all(self, check, apart, name, shape):
        check(lambda a: getattr(a, name)(), getattr(np, name), apart(*shape))

    @pytest.mark.parametrize("keepdim", [False, True])
    @pytest.mark.parametrize(
        ("shape", "dim"), [((5,), 0), ((2, 3), 0), ((2, 3), -1), ((2, 3, 2), 1), ((0, 3), 1)], ids=str
    )
    def test_along_a_dimension(self, check, apart, name, shape, dim, keepdim):
        x = apart(*shape)
        check(
            lambda a: getattr(a, name)(dim, keepdim)[0],
            lambda a: getattr(np, name)(a, axis=dim, keepdims=keepdim),
            x,
        )
        result = getattr(dl.Tensor(x), name)(dim, keepdim)
        np.testing.assert_array_equal(
            result.indices.numpy(), getattr(np, "arg" + name)(x, dim, keepdims=keepdim)
        )
        assert result.indices.dtype == np.int64
        assert result.values.shape == result.indices.shape

    def test_of_a_single_number(self, name):
        x = dl.tensor(3.0, requires_grad=True)
        values, indices = getattr(x, name)(0)
        values.backward()
        assert (values.item(), indices.item(), x.grad.item()) == (3.0, 0, 1.0)

    def test_equal_ones_share_the_gradient(self, name):
        x = dl.tensor([1.0, 1.0, 1.0, 1.0], requires_grad=True)
        getattr(x, name)().backward()
        assert x.grad.tolist() == [0.25] * 4

    def test_nan(self, name):
        x = dl.tensor([1.0, np.nan], requires_grad=True)
        out = getattr(x, name)()
        out.backward()
        assert np.isnan(out.item())
        assert x.grad.tolist() == [0.0, 1.0]

    def test_of_nothing(self, name):
        for dim in (None, 1):
            with pytest.raises(ValueError, match=rf"{name}: the tensor is \(3, 0\); expected at least one"):
                getattr(dl.zeros(3, 0), name)(dim)
        with pytest.raises(ValueError, match=rf"arg{name}: the tensor is \(3, 0\)"):
            getattr(dl.zeros(3, 0), "arg" + name)(1)
        assert getattr(dl.zeros(0, 3), name)(1).values.shape == (0,)
        assert getattr(dl.zeros(0, 3), "arg" + name)(1).shape == (0,)

    def test_integers(self, name):
        x = dl.tensor([3, 1, 2])
        assert getattr(x, name)().item() == getattr(np, name)([3, 1, 2])
        assert getattr(x, name)().dtype == np.int64

    def test_where_they_are(self, name, apart):
        x = apart(2, 3)
        a = dl.Tensor(x)
        reference = getattr(np, "arg" + name)
        assert getattr(a, "arg" + name)().item() == reference(x)
        for dim in (0, 1, -1):
            for keepdim in (False, True):
                np.testing.assert_array_equal(
                    getattr(a, "arg" + name)(dim, keepdim).numpy(), reference(x, dim, keepdims=keepdim)
                )
        assert not getattr(dl.Tensor(x, requires_grad=True), "arg" + name)().requires_grad


def test_all_and_any():
    x = dl.tensor([[True, False], [True, True]])
    assert x.all().item() is False
    assert x.any().item() is True
    assert x.all(0).tolist() == [True, False]
    assert x.any(-1).tolist() == [True, True]
    assert dl.tensor([1.0, 0.0]).all().item() is False
    assert dl.zeros(0).all().item() is True
    assert x.all((0, 1)).item() is False


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize(
    ("shape", "dim"), [((4,), 0), ((2, 3), 1), ((2, 3), 0), ((2, 3, 2), -2), ((0, 3), 1), ((), 0)], ids=str
)
def test_logsumexp(check, rng, shape, dim, keepdim):
    def reference(x):
        if not shape:
            return x
        return np.log(np.exp(x).sum(axis=dim, keepdims=keepdim))

    check(lambda a: a.logsumexp(dim, keepdim), reference, 3 * rng.standard_normal(shape))


def test_logsumexp_far_out(recwarn):
    x = dl.tensor([1000.0, 1000.0], requires_grad=True)
    out = x.logsumexp(0)
    out.backward()
    assert out.item() == pytest.approx(1000 + np.log(2))
    assert x.grad.tolist() == [0.5, 0.5]
    assert dl.tensor([-np.inf, -np.inf]).logsumexp(0).item() == -np.inf
    assert dl.tensor([-np.inf, 1.0]).logsumexp(0).item() == 1.0
    assert dl.tensor([np.inf, 1.0]).logsumexp(0).item() == np.inf
    assert dl.tensor([1, 2]).logsumexp(0).dtype == np.float32
    assert dl.zeros(2, 0).logsumexp(1).tolist() == [-np.inf, -np.inf]
    assert not recwarn.list


@pytest.mark.parametrize("p", [1, 2, 3, 2.5, 0.5, float("inf")])
@pytest.mark.parametrize(
    ("shape", "dim", "keepdim"),
    [((4,), None, False), ((2, 3), 1, False), ((2, 3), 0, True), ((2, 3), None, False)],
    ids=str,
)
def test_norm(check, apart, p, shape, dim, keepdim):
    def reference(x):
        size = np.abs(x)
        if p == float("inf"):
            return size.max(axis=dim, keepdims=keepdim)
        return (size**p).sum(axis=dim, keepdims=keepdim) ** (1 / p)

    # Absolute values apart, too, for the maximum.
    x = np.abs(apart(*shape)) + 0.03 * np.arange(np.prod(shape)).reshape(shape)
    x *= np.where(np.arange(x.size).reshape(shape) % 2, 1, -1)
    check(lambda a: a.norm(p, dim, keepdim), reference, x)


def test_norm_of_zeros_has_gradient_zero():
    for p in (1, 2, 3, float("inf")):
        x = dl.zeros(3, requires_grad=True)
        out = x.norm(p)
        out.backward()
        assert out.item() == 0
        assert x.grad.tolist() == [0.0, 0.0, 0.0], p


@pytest.mark.parametrize("p", [0, -1, float("nan"), float("-inf")])
def test_norm_with_another_p(p):
    with pytest.raises(ValueError, match=rf"norm: p is {p}; expected more than 0"):
        dl.ones(3).norm(p)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "max", "argmax", "logsumexp", "all"])
def test_dimensions_that_are_not_there(name):
    x = dl.ones(2, 3)
    for dim in (2, -3, 10**20):
        with pytest.raises(IndexError, match=r"dim is .*; expected -2 to 1 for a tensor of 2 dimensions"):
            getattr(x, name)(dim)
    with pytest.raises(TypeError, match="dim is a float; expected an integer"):
        getattr(x, name)(1.0)
    with pytest.raises(TypeError, match="dim is a str; expected an integer"):
        getattr(x, name)("0")


def test_a_dimension_twice():
    with pytest.raises(ValueError, match=r"sum: dim is \(0, -2\); expected each dimension once"):
        dl.ones(2, 3).sum((0, -2))


@given(st.data())
def test_any_shape_and_dimensions(data):
    shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=4)))
    dims = data.draw(
        st.none() | st.lists(st.integers(0, max(len(shape) - 1, 0)), unique=True, max_size=len(shape))
    )
    if dims == []:
        dims = None
    keepdim = data.draw(st.booleans())
    dims = None if dims is None else tuple(d - data.draw(st.sampled_from([0, len(shape)])) for d in dims)
    rng = np.random.default_rng(len(shape))
    x = rng.standard_normal(shape)
    a = dl.Tensor(x, requires_grad=True)
    out = a.sum(dims, keepdim)
    expected = np.sum(x, axis=dims, keepdims=keepdim)
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-12)
    seed = np.asarray(rng.standard_normal(out.shape))
    out.backward(seed)
    wide = seed.reshape(np.sum(x, axis=dims, keepdims=True).shape)
    np.testing.assert_array_equal(a.grad.numpy(), np.broadcast_to(wide, shape))
