from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd.elementwise import activate

FUNCTIONS = {
    "exp": (np.exp, -1, 1),
    "log": (np.log, 0.5, 2),
    "log1p": (np.log1p, -0.4, 2),
    "sqrt": (np.sqrt, 0.5, 2),
    "sin": (np.sin, -3, 3),
    "cos": (np.cos, -3, 3),
    "square": (np.square, -2, 2),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -3, 3),
    "tanh": (np.tanh, -2, 2),
}


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 0, 3), (3, 1, 2), (67,)], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(check, rng, name, shape):
    reference, low, high = FUNCTIONS[name]
    check(lambda a: getattr(a, name)(), reference, rng.uniform(low, high, shape))


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0,)], ids=str)
def test_functions_with_corners(check, apart, shape):
    x = apart(*shape)
    check(lambda a: a.relu(), lambda a: np.maximum(a, 0), x)
    check(abs, np.abs, x)
    check(lambda a: a.abs(), np.abs, x)
    for low, high in ((-0.15, 0.25), (None, 0.05), (0.05, None), (-10, 10)):
        check(
            lambda a, low=low, high=high: a.clamp(low, high),
            lambda a, low=low, high=high: np.clip(a, low, high),
            x,
        )
    check(lambda a: a.clip(min=-0.2), lambda a: np.maximum(a, -0.2), x)


def test_at_the_corners():
    x = dl.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    (x.relu() + x.abs() + x.clamp(-1, 1)).sum().backward()
    # relu 0 0 1, abs -1 0 1, clamp 1 1 1: bounds count as inside
    assert x.grad.tolist() == [0.0, 1.0, 3.0]


@pytest.mark.parametrize("kind", ["leaky_relu", "elu"])
@pytest.mark.parametrize("alpha", [0.25, -0.5])
def test_activations_with_a_slope(check, apart, kind, alpha):
    def reference(x):
        return np.where(x > 0, x, alpha * (x if kind == "leaky_relu" else np.expm1(x)))

    check(lambda a: activate(a, kind, alpha), reference, apart(2, 4), pytorch=False)


@pytest.mark.parametrize("kind", ["silu", "gelu", "softplus"])
def test_activations_with_pytorch(check, rng, kind, torch):
    functional = getattr(torch.nn.functional, kind)

    def reference(x):
        return functional(torch.tensor(x)).numpy()

    check(lambda a: activate(a, kind), reference, rng.uniform(-3, 3, (3, 4)), pytorch=functional)


def test_functions_of_integers_give_float32():
    x = dl.tensor([1, 4, 9])
    for name in FUNCTIONS:
        if name == "square":
            continue
        out = getattr(x, name)()
        assert out.dtype == np.float32, name
        np.testing.assert_allclose(out.numpy(), FUNCTIONS[name][0](x.numpy().astype(float)), rtol=1e-5)
    assert x.square().dtype == np.int64
    assert abs(-x).tolist() == [1, 4, 9]
    assert dl.tensor([-1, 2]).clamp(0, 1).tolist() == [0, 1]
    assert dl.tensor([-1, 2]).clamp(min=0).dtype == np.int64


def test_outside_the_domain_is_nan_or_infinite_without_a_warning(recwarn):
    x = dl.tensor([-1.0, 0.0], requires_grad=True)
    assert np.isnan(x.log().numpy()[0])
    assert x.log().numpy()[1] == -np.inf
    assert np.isnan(x.sqrt().numpy()[0])
    assert dl.tensor([-1.0]).log1p().item() == -np.inf
    assert np.isnan(dl.tensor([np.nan]).clamp(0, 1).item())
    assert not recwarn.list


def test_clamp_without_bounds():
    with pytest.raises(ValueError, match="clamp: min and max are None; expected at least one bound"):
        dl.ones(2).clamp()


class TestWhere:
    @pytest.mark.parametrize(
        ("first", "second"),
        [((2, 3), (2, 3)), ((3,), (2, 1)), ((), (3,)), ((2, 3), ()), ((2, 1), (1, 3))],
        ids=str,
    )
    def test_against_numpy(self, check, rng, first, second, torch):
        mask = rng.random((2, 3)) < 0.5
        check(
            lambda a, b: dl.where(mask, a, b),
            lambda a, b: np.where(mask, a, b),
            rng.standard_normal(first),
            rng.standard_normal(second),
            pytorch=lambda a, b: torch.where(torch.tensor(mask), a, b),
        )

    def test_numbers_and_arrays(self):
        x = dl.tensor([1.0, -2.0], requires_grad=True)
        out = dl.where(x > 0, x, 0.0)
        out.sum().backward()
        assert out.tolist() == [1.0, 0.0]
        assert x.grad.tolist() == [1.0, 0.0]
        assert dl.where(x > 0, 5, x).tolist() == [5.0, -2.0]
        assert dl.where(np.array([True, False]), 1.0, 2.0).tolist() == [1.0, 2.0]
        assert dl.where([True, False], np.array([1.0, 1.0]), x).tolist() == [1.0, -2.0]
        assert dl.where(True, x, 0.0).tolist() == [1.0, -2.0]

    def test_nan_of_the_branch_not_taken_stays_out(self):
        x = dl.tensor([0.0, 1.0], requires_grad=True)
        dl.where(x > 0.5, x, 0.0).sum().backward()
        assert x.grad.tolist() == [0.0, 1.0]

    def test_a_condition_changed_later_is_noticed(self):
        x = dl.tensor([1.0, 2.0], requires_grad=True)
        mask = dl.tensor([True, False])
        out = dl.where(mask, x, 0.0).sum()
        mask[1] = True
        with pytest.raises(RuntimeError, match="changed in place"):
            out.backward()
        kept = np.array([True, False])
        out = dl.where(kept, x, 0.0).sum()
        kept[:] = True
        out.backward()
        assert x.grad.tolist() == [1.0, 0.0]

    def test_errors(self):
        x = dl.ones(2)
        with pytest.raises(TypeError, match=r"where: condition is an array of int64; expected bool"):
            dl.where([1, 0], x, x)
        with pytest.raises(ValueError, match=r"where: condition is \(3,\), a is \(2,\) and b is \(2,\)"):
            dl.where(np.ones(3, bool), x, x)
        with pytest.raises(TypeError, match=r"where: .* is a str"):
            dl.where([True, False], x, "a")
        with pytest.raises(TypeError, match=r"where: .* is a NoneType"):
            dl.where([True, False], None, x)


def test_masked_fill(check, rng):
    mask = rng.random((2, 3)) < 0.5
    check(
        lambda a: a.masked_fill(mask, -3.0),
        lambda a: np.where(mask, -3.0, a),
        rng.standard_normal((2, 3)),
        pytorch=False,
    )
    scores = dl.tensor([1.0, 2.0]).masked_fill(dl.tensor([False, True]), float("-inf"))
    assert scores.softmax().tolist() == [1.0, 0.0]
