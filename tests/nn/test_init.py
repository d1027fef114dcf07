"""Initialisers: distributions by their statistics, fans and gains by their definitions, seeds."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit.nn import init


def empty(*shape: int, dtype: Any = np.float32) -> dl.Tensor:
    return dl.Tensor(np.full(shape, np.nan, dtype))


def is_uniform(values: Any, low: float, high: float) -> None:
    values = np.sort(np.asarray(values, np.float64).ravel())
    assert values[0] >= low - 1e-6 * (high - low)
    assert values[-1] <= high + 1e-6 * (high - low)
    follows(values, (values - low) / (high - low))


def is_normal(values: Any, mean: float, std: float) -> None:
    values = np.sort(np.asarray(values, np.float64).ravel())
    follows(values, np.array([NormalDist(mean, std).cdf(v) for v in values]))


def follows(ordered: Any, distribution: Any) -> None:
    """Kolmogorov and Smirnov's test, at a level of about 1e-9."""
    n = len(ordered)
    steps = np.arange(n + 1) / n
    distance = max(np.abs(distribution - steps[1:]).max(), np.abs(distribution - steps[:-1]).max())
    assert distance < math.sqrt(math.log(2 / 1e-9) / (2 * n))


def test_constants(dtype: Any) -> None:
    for function, value in ((init.zeros_, 0), (init.ones_, 1), (lambda t: init.constant_(t, 2.5), 2.5)):
        tensor = empty(3, 4, dtype=dtype)
        array = tensor.data
        assert function(tensor) is tensor
        assert tensor.data is array
        assert (array == value).all()


def test_eye(torch: Any) -> None:
    for shape in ((3, 3), (2, 4), (4, 2), (0, 3)):
        np.testing.assert_array_equal(
            init.eye_(empty(*shape)).data, torch.nn.init.eye_(torch.empty(*shape)).numpy()
        )


@pytest.mark.parametrize("shape", [(200, 150), (30_000,), (20, 30, 5, 10)], ids=str)
def test_uniform(shape: Any, dtype: Any, rng: np.random.Generator) -> None:
    is_uniform(init.uniform_(empty(*shape, dtype=dtype)).data, 0, 1)
    is_uniform(init.uniform_(empty(*shape, dtype=dtype), -3, 0.5).data, -3, 0.5)
    assert (init.uniform_(empty(5), 2, 2).data == 2).all()


@pytest.mark.parametrize("shape", [(200, 150), (30_000,)], ids=str)
def test_normal(shape: Any, dtype: Any, rng: np.random.Generator) -> None:
    is_normal(init.normal_(empty(*shape, dtype=dtype)).data, 0, 1)
    is_normal(init.normal_(empty(*shape, dtype=dtype), -2, 0.1).data, -2, 0.1)
    assert (init.normal_(empty(5), 3, 0).data == 3).all()


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0, 1, -2, 2),
        (0, 0.02, -2, 2),
        (1, 2, 0, 1.5),
        (0, 1, 2.5, 4),  # far out, and
        (0, 1, -4, -2.5),
        (0, 1, 4.5, math.inf),
        (3, 0.5, 3, 3.001),  # narrow: drawing again and again would take for ever
        (0, 1, -1e-9, 1e-9),
    ],
)
def test_trunc_normal(mean: float, std: float, a: float, b: float, rng: np.random.Generator) -> None:
    values = np.sort(init.trunc_normal_(empty(8000, dtype=np.float64), mean, std, a, b).data)
    assert values[0] >= a
    assert values[-1] <= b
    whole = NormalDist(mean, std)
    if a > mean:  # the upper tail is exact seen from the other side
        whole, values, a, b = NormalDist(-mean, std), -values[::-1], -b, -a
    low, high = whole.cdf(a), whole.cdf(b)
    follows(values, np.array([(whole.cdf(v) - low) / (high - low) for v in values]))


def test_trunc_normal_is_pytorchs(torch: Any, rng: np.random.Generator) -> None:
    theirs = torch.nn.init.trunc_normal_(torch.empty(20_000), 0.5, 1.0, -1.0, 1.0).numpy()
    ours = init.trunc_normal_(empty(20_000), 0.5, 1.0, -1.0, 1.0).data
    assert abs(ours.mean() - theirs.mean()) < 0.03
    assert abs(ours.std() - theirs.std()) < 0.02


@pytest.mark.parametrize("shape", [(300, 200), (40, 30, 5, 5)], ids=str)
@pytest.mark.parametrize("gain", [1.0, 1.7])
def test_xavier(shape: Any, gain: float, rng: np.random.Generator) -> None:
    field = math.prod(shape[2:])
    fans = (shape[0] + shape[1]) * field
    bound = gain * math.sqrt(6 / fans)
    is_uniform(init.xavier_uniform_(empty(*shape), gain).data, -bound, bound)
    is_normal(init.xavier_normal_(empty(*shape), gain).data, 0, gain * math.sqrt(2 / fans))


@pytest.mark.parametrize("shape", [(300, 200), (40, 30, 5, 5)], ids=str)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize(
    ("a", "nonlinearity", "gain"),
    [
        (0, "leaky_relu", math.sqrt(2)),
        (0.3, "leaky_relu", math.sqrt(2 / 1.09)),
        (0, "relu", math.sqrt(2)),
        (0, "tanh", 5 / 3),
        (0, "sigmoid", 1.0),
    ],
)
def test_kaiming(
    shape: Any, mode: str, a: float, nonlinearity: str, gain: float, rng: np.random.Generator
) -> None:
    fan = shape[mode == "fan_in"] * math.prod(shape[2:])
    bound = gain * math.sqrt(3 / fan)
    is_uniform(init.kaiming_uniform_(empty(*shape), a, mode, nonlinearity).data, -bound, bound)
    is_normal(init.kaiming_normal_(empty(*shape), a, mode, nonlinearity).data, 0, gain / math.sqrt(fan))


@pytest.mark.parametrize("name", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"])
@pytest.mark.parametrize("shape", [(300, 100), (100, 300), (50, 40, 3, 5)], ids=str)
def test_spread_is_pytorchs(name: str, shape: Any, torch: Any, rng: np.random.Generator) -> None:
    # Sizes differ between dimensions, so that fan_in and fan_out cannot be mixed up.
    theirs = getattr(torch.nn.init, name)(torch.empty(*shape)).numpy()
    ours = getattr(init, name)(empty(*shape)).data
    np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.05)
    if "uniform" in name:
        np.testing.assert_allclose(np.abs(ours).max(), np.abs(theirs).max(), rtol=0.01)


def test_gains_are_pytorchs(torch: Any) -> None:
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-12)
    for slope in (0, 0.2, 1.5):
        assert init.calculate_gain("leaky_relu", slope) == pytest.approx(
            torch.nn.init.calculate_gain("leaky_relu", slope), rel=1e-12
        )


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3), (1, 1)], ids=str)
def test_orthogonal(shape: Any, dtype: Any, rng: np.random.Generator) -> None:
    values = init.orthogonal_(empty(*shape, dtype=dtype), 1.5).data
    flat = values.reshape(shape[0], -1).astype(np.float64)
    square = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    tolerance = 1e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(square, 1.5**2 * np.eye(len(square)), atol=tolerance)


def test_orthogonal_is_spread_evenly(rng: np.random.Generator) -> None:
    # Without the signs of R the diagonal would be of one sign.
    diagonals = np.concatenate([np.diag(init.orthogonal_(empty(4, 4)).data) for _ in range(200)])
    assert abs((diagonals > 0).mean() - 0.5) < 0.15


_RANDOM = [
    init.uniform_,
    init.normal_,
    init.trunc_normal_,
    init.xavier_uniform_,
    init.xavier_normal_,
    init.kaiming_uniform_,
    init.kaiming_normal_,
    init.orthogonal_,
]
random_ones = pytest.mark.parametrize("function", _RANDOM, ids=lambda f: f.__name__)


@random_ones
def test_seeds(function: Any, dtype: Any) -> None:
    def values(seed: int) -> Any:
        dl.manual_seed(seed)
        return function(empty(6, 5, dtype=dtype)).data

    np.testing.assert_array_equal(values(3), values(3))
    assert (values(3) != values(4)).any()
    first = values(3)
    assert (function(empty(6, 5, dtype=dtype)).data != first).any()  # the next one is another


@random_ones
def test_other_layouts_get_the_same_numbers(function: Any) -> None:
    dl.manual_seed(0)
    expected = function(empty(6, 5)).data
    dl.manual_seed(0)
    transposed = dl.Tensor(np.zeros((5, 6), np.float32).T)
    np.testing.assert_array_equal(function(transposed).data, expected)


@random_ones
@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0)], ids=str)
def test_of_no_elements(function: Any, shape: Any) -> None:
    assert function(empty(*shape)).shape == shape


@pytest.mark.parametrize("function", [init.zeros_, init.uniform_, init.normal_, init.trunc_normal_])
def test_of_no_dimensions(function: Any) -> None:
    assert np.isfinite(function(empty()).item())


def test_parameters_that_are_learned_are_written_all_the_same() -> None:
    # And a graph that has used them notices.
    parameter = dl.nn.Parameter(np.ones((2, 2), np.float32))
    y = (dl.ones(2, 2, requires_grad=True) @ parameter).sum()
    init.zeros_(parameter)
    assert not parameter.data.any()
    assert parameter.is_leaf
    with pytest.raises(RuntimeError, match="changed"):
        y.backward()


class TestErrors:
    @pytest.mark.parametrize(
        ("call", "text"),
        [
            (lambda t: init.uniform_(t, 1, 0), "uniform_: a is 1 and b is 0; expected a not above b"),
            (lambda t: init.uniform_(t, math.nan), "uniform_: a is nan; expected a finite number"),
            (lambda t: init.uniform_(t, 0, math.inf), "uniform_: b is inf; expected a finite number"),
            (lambda t: init.normal_(t, 0, -1), "normal_: std is -1; expected 0 or more"),
            (lambda t: init.normal_(t, math.nan), "normal_: mean is nan; expected a finite number"),
            (lambda t: init.trunc_normal_(t, 0, 1, 2, 1), r"trunc_normal_: \[2, 1\] holds next to nothing"),
            (lambda t: init.trunc_normal_(t, 0, 1, 6, 7), r"trunc_normal_: \[6, 7\] holds next to nothing"),
            (lambda t: init.trunc_normal_(t, 0, -1), "trunc_normal_: std is -1; expected 0 or more"),
            (lambda t: init.trunc_normal_(t, 0, math.nan), "trunc_normal_: std is nan"),
            (lambda t: init.trunc_normal_(t, 0, 1, math.nan), "trunc_normal_: "),
            (
                lambda t: init.kaiming_normal_(t, mode="fan"),
                "kaiming_normal_: mode is 'fan'; expected 'fan_in' or",
            ),
            (
                lambda t: init.kaiming_uniform_(t, nonlinearity="rleu"),
                "calculate_gain: nonlinearity is 'rleu'; expected one of linear, sigmoid",
            ),
            (lambda t: init.xavier_uniform_(t, math.nan), "a is nan"),
        ],
    )
    def test_settings(self, call: Any, text: str) -> None:
        tensor = dl.ones(3, 3)
        with pytest.raises(ValueError, match=text):
            call(tensor)
        assert (tensor.data == 1).all()

    @pytest.mark.parametrize(
        "name", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_"]
    )
    @pytest.mark.parametrize("shape", [(), (3,)], ids=str)
    def test_too_few_dimensions(self, name: str, shape: Any) -> None:
        with pytest.raises(ValueError, match=rf"{name}: the tensor is .*; expected at least two dimensions"):
            getattr(init, name)(empty(*shape))

    def test_eye(self) -> None:
        for shape in ((3,), (2, 2, 2)):
            with pytest.raises(ValueError, match=r"eye_: the tensor is .*; expected two dimensions"):
                init.eye_(empty(*shape))

    @random_ones
    def test_tensors(self, function: Any) -> None:
        name = function.__name__
        with pytest.raises(TypeError, match=rf"{name}: tensor is a ndarray; expected a Tensor"):
            function(np.zeros((2, 2), np.float32))
        with pytest.raises(
            TypeError, match=rf"{name}: tensor is of dtype int64; expected float32 or float64"
        ):
            function(dl.tensor([[1, 2], [3, 4]]))

    def test_read_only(self) -> None:
        array = np.zeros((2, 2), np.float32)
        array.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            init.ones_(dl.Tensor(array))
