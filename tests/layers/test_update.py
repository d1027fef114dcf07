"""csrc/layers/update.cpp: optimizer steps, scaling and clamping in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K

_SHAPES = [(), (0,), (1,), (3, 5), (10,), (33, 100), (150_001,)]


def _arrays(rng: np.random.Generator, dtype: Any, scale: float = 1.0) -> list[Any]:
    return [np.asarray(scale * rng.standard_normal(shape), dtype=dtype) for shape in _SHAPES]


def _gradients(rng: np.random.Generator, dtype: Any) -> list[Any]:
    """Gradients that weight decay does not cancel.

    Where their sum is of the size of eps, the first step of Adam, g / (|g| + eps), has no digits in float32.
    """
    return [np.asarray(np.copysign(1 + abs(g), g), dtype) for g in _arrays(rng, dtype)]


def _off(got: list[Any], expected: list[Any]) -> float:
    difference = sum(
        float(((g.astype(np.float64) - e) ** 2).sum()) for g, e in zip(got, expected, strict=True)
    )
    return (difference / sum(float((np.asarray(e) ** 2).sum()) for e in expected)) ** 0.5


def _wide(arrays: list[Any]) -> list[Any]:
    return [array.astype(np.float64) for array in arrays]


_ADAM = [
    {},
    {"weight_decay": 0.1},
    {"weight_decay": 0.1, "decoupled": True},
    {"beta1": 0.5, "beta2": 0.9, "eps": 1e-3},
    {"eps": 0.0},
]


@pytest.mark.parametrize("variant", [variant.name for variant in K.variants("adam_step")])
@pytest.mark.parametrize("settings", _ADAM, ids=str)
def test_adam(
    settings: dict[str, Any], variant: str, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    params = _arrays(rng, dtype)
    firsts, seconds = ([np.zeros_like(p) for p in params] for _ in range(2))
    p, m, v = _wide(params), _wide(firsts), _wide(seconds)
    beta1, beta2, eps = (
        settings.get(key, default) for key, default in (("beta1", 0.9), ("beta2", 0.999), ("eps", 1e-8))
    )
    decay, decoupled, lr = settings.get("weight_decay", 0.0), settings.get("decoupled", False), 0.05
    for step in range(1, 5):
        grads = _gradients(rng, dtype) if decay and not decoupled else _arrays(rng, dtype)
        K.adam_step(params, grads, firsts, seconds, step=step, lr=lr, variant=variant, **settings)
        for i, grad in enumerate(_wide(grads)):
            if decoupled:
                p[i] = p[i] * (1 - lr * decay)
            else:
                grad = grad + decay * p[i]
            m[i] = beta1 * m[i] + (1 - beta1) * grad
            v[i] = beta2 * v[i] + (1 - beta2) * grad**2
            p[i] = p[i] - lr * (m[i] / (1 - beta1**step)) / (np.sqrt(v[i] / (1 - beta2**step)) + eps)
    tolerance = 3e-7 if dtype is np.float32 else 1e-12
    assert _off(params, p) < tolerance
    assert _off(firsts, m) < tolerance
    assert _off(seconds, v) < tolerance


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_adam_against_pytorch(name: str, dtype: Any, rng: np.random.Generator, torch: Any) -> None:
    params = _arrays(rng, dtype)
    theirs = [torch.nn.Parameter(torch.tensor(p, dtype=torch.float64)) for p in params]
    optimizer = getattr(torch.optim, name)(theirs, lr=0.01, weight_decay=0.02)
    firsts, seconds = ([np.zeros_like(p) for p in params] for _ in range(2))
    for step in range(1, 4):
        grads = _gradients(rng, dtype) if name == "Adam" else _arrays(rng, dtype)
        for parameter, grad in zip(theirs, grads, strict=True):
            parameter.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
        K.adam_step(
            params, grads, firsts, seconds, step=step, lr=0.01, weight_decay=0.02, decoupled=name == "AdamW"
        )
    tolerance = 3e-7 if dtype is np.float32 else 1e-12
    assert _off(params, [parameter.detach().numpy() for parameter in theirs]) < tolerance


@pytest.mark.parametrize("variant", [variant.name for variant in K.variants("adam_step")])
def test_adam_at_the_edges_of_float32(variant: str) -> None:
    gradients = np.array([0.0, 1e-30, 1e-3, 1e18, 1e25, np.inf, np.nan], np.float32)
    param, first, second = (np.zeros_like(gradients) for _ in range(3))
    with np.errstate(all="ignore"):
        K.adam_step([param], [gradients], [first], [second], step=1, lr=0.5, variant=variant)
    # Of 1e25 the mean of squares is infinite: no step, as the definition says.
    np.testing.assert_allclose(param[:5], [0, -0.5e-22, -0.5, -0.5, 0], rtol=1e-4)
    assert np.isnan(param[5:]).all()


def test_averages_do_not_end_among_denormal_numbers() -> None:
    # And the processor's mode is as before: Python's own denormal numbers still are some.
    param, first, second = (np.ones(100, np.float32) for _ in range(3))
    zeros = np.zeros_like(param)
    for step in range(1, 1200):
        K.adam_step([param], [zeros], [first], [second], step=step, lr=1e-3)
    assert ((first == 0) | (first >= np.finfo(np.float32).tiny)).all()
    assert np.float64(5e-324) * np.float64(1.0) > 0


@pytest.mark.parametrize("variant", ["naive", "fused"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01},
        {"momentum": 0.9, "nesterov": True},
    ],
    ids=str,
)
def test_sgd_against_pytorch(
    settings: dict[str, Any], variant: str, dtype: Any, threads: int, rng: np.random.Generator, torch: Any
) -> None:
    params = _arrays(rng, dtype)
    theirs = [torch.nn.Parameter(torch.tensor(p, dtype=torch.float64)) for p in params]
    optimizer = torch.optim.SGD(theirs, lr=0.1, **settings)
    velocities = [
        np.full_like(p, np.nan) for p in params
    ]  # what they hold before the first step must not matter
    for step in range(3):
        grads = _arrays(rng, dtype)
        for parameter, grad in zip(theirs, grads, strict=True):
            parameter.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
        given = velocities if "momentum" in settings else None
        K.sgd_step(params, grads, given, lr=0.1, first=step == 0, variant=variant, **settings)
    tolerance = 1e-6 if dtype is np.float32 else 1e-12
    assert _off(params, [parameter.detach().numpy() for parameter in theirs]) < tolerance


def test_threads_change_no_bit(rng: np.random.Generator) -> None:
    start = rng.standard_normal((4, 300_007), dtype=np.float32)
    start[3] **= 2
    before = K.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            K.set_num_threads(count)
            p, g, m, v = ([row[:9].copy(), row[9:].copy()] for row in start)
            K.adam_step(p, g, m, v, step=3, lr=0.01)
            K.sgd_step(p, g, m, lr=0.1, momentum=0.9)
            K.scale_inplace(p, 1.5)
            K.clamp_inplace(p, 2.0)
            results.append(b"".join(array.tobytes() for array in p + m + v))
    finally:
        K.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_arrays_of_any_layout_and_dtype(rng: np.random.Generator) -> None:
    strided = rng.standard_normal((9, 8))[::2, ::-2]
    fortran = np.asfortranarray(rng.standard_normal((4, 6)))
    single = rng.standard_normal((3, 3)).astype(np.float32)
    params = [strided, fortran, single, fortran.copy("F")]
    grads = [rng.standard_normal((5, 4)), rng.standard_normal((4, 6)), single.T * 2, fortran.copy("F")]
    grads[2] = np.ascontiguousarray(grads[2]).T
    firsts, seconds = ([np.zeros_like(p) for p in params] for _ in range(2))
    plain = [[np.ascontiguousarray(a).copy() for a in arrays] for arrays in (params, grads, firsts, seconds)]
    K.adam_step(params, grads, firsts, seconds, step=1, lr=0.1)
    K.adam_step(*plain, step=1, lr=0.1)
    for got, expected in zip([*params, *firsts, *seconds], [*plain[0], *plain[2], *plain[3]], strict=True):
        np.testing.assert_array_equal(got, expected)


def test_scale_and_clamp(dtype: Any, threads: int, rng: np.random.Generator) -> None:
    arrays = _arrays(rng, dtype)
    arrays.append(rng.standard_normal((6, 9)).astype(dtype)[:, ::2])
    expected = [array.copy() for array in arrays]
    K.scale_inplace(arrays, 0.25)
    for got, before in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(got, before * dtype(0.25))
    K.clamp_inplace(arrays, 0.1)
    for got, before in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(got, np.clip(before * dtype(0.25), -dtype(0.1), dtype(0.1)))
    special = np.array([np.nan, np.inf, -np.inf], dtype)
    K.clamp_inplace([special], 2.0)
    np.testing.assert_array_equal(special, [np.nan, 2, -2])


class TestErrors:
    @staticmethod
    def adam(*lists: Any, **settings: Any) -> None:
        K.adam_step(*lists, **{"step": 1, "lr": 0.1, **settings})

    @staticmethod
    def four(*shapes: Any) -> list[list[Any]]:
        return [[np.zeros(shape, np.float32) for shape in shapes] for _ in range(4)]

    def test_lengths(self) -> None:
        lists = self.four((2,), (3,))
        lists[1].pop()
        with pytest.raises(ValueError, match="adam_step: params has 2 arrays but grads has 1"):
            self.adam(*lists)

    def test_shapes(self) -> None:
        lists = self.four((2,), (3,))
        lists[2][1] = np.zeros(4, np.float32)
        with pytest.raises(ValueError, match=r"exp_avgs\[1\] is \(4,\) but params\[1\] is \(3,\)"):
            self.adam(*lists)

    def test_dtypes(self) -> None:
        lists = self.four((2,), (3,))
        lists[3][0] = np.zeros(2)
        with pytest.raises(TypeError, match=r"exp_avg_sqs\[0\] is float64 but params\[0\] is float32"):
            self.adam(*lists)
        lists[0][1] = np.zeros(3, np.int32)
        with pytest.raises(TypeError, match=r"adam_step: .*\[0\] is float64|params\[1\] has dtype int32"):
            self.adam(*lists)
        with pytest.raises(TypeError, match=r"sgd_step: grads\[0\] is a list; expected a NumPy array"):
            K.sgd_step([np.zeros(2)], [[0.0, 0.0]], None, lr=0.1)  # type: ignore[list-item]

    def test_nothing_is_written_before_an_error(self) -> None:
        lists = self.four((2,), (3,))
        lists[1] = [np.ones(2, np.float32), np.ones(4, np.float32)]
        with pytest.raises(ValueError, match=r"grads\[1\] is \(4,\)"):
            self.adam(*lists)
        assert not lists[0][0].any()

    def test_read_only(self) -> None:
        lists = self.four((2,))
        lists[1][0].flags.writeable = False  # a gradient is only read
        self.adam(*lists)
        lists[2][0].flags.writeable = False
        with pytest.raises(ValueError, match=r"exp_avgs\[0\] is read-only"):
            self.adam(*lists)

    def test_shared_memory(self) -> None:
        lists = self.four((4,), (4,))
        lists[0][1] = lists[0][0][::-1]
        with pytest.raises(ValueError, match=r"params\[\d\] shares memory with params\[\d\]"):
            self.adam(*lists)
        lists = self.four((4,))
        lists[1] = lists[0]
        with pytest.raises(ValueError, match="shares memory with"):
            self.adam(*lists)
        p = [np.zeros(3), np.zeros(3)]
        g = np.ones(3)
        K.sgd_step(p, [g, g], None, lr=1.0)  # gradients may be one array
        assert (p[1] == -1).all()

    def test_not_a_list(self) -> None:
        with pytest.raises(TypeError, match=r"params is a ndarray; expected a list of arrays"):
            K.sgd_step(np.ones((2, 2)), np.ones((2, 2)), None, lr=0.1)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            ({"step": 0}, "step is 0; expected 1 or more"),
            ({"lr": float("nan")}, "lr is nan; expected a finite number"),
            ({"beta1": 1.0}, "beta1 is 1.0; expected 0 <= beta1 < 1"),
            ({"beta2": -0.1}, "beta2 is -0.1"),
            ({"eps": -1.0}, "eps is -1.0"),
            ({"weight_decay": float("inf")}, "weight_decay is inf"),
        ],
    )
    def test_adam_settings(self, settings: dict[str, Any], text: str) -> None:
        with pytest.raises(ValueError, match=rf"adam_step: {text}"):
            self.adam(*self.four((2,)), **settings)

    def test_sgd_settings(self) -> None:
        one = [np.ones(2)]
        two = [np.ones(2)]
        with pytest.raises(ValueError, match="momentum is not 0 but velocities is None"):
            K.sgd_step(one, two, None, lr=0.1, momentum=0.9)
        with pytest.raises(ValueError, match="nesterov=True needs a momentum above 0 and no dampening"):
            K.sgd_step(one, two, None, lr=0.1, nesterov=True)
        with pytest.raises(TypeError, match=r"lr is 'x'; expected a number"):
            K.sgd_step(one, two, None, lr="x")  # type: ignore[arg-type]

    def test_clamp_limit(self) -> None:
        with pytest.raises(ValueError, match=r"clamp_inplace: limit is -1.0; expected 0 or more"):
            K.clamp_inplace([np.ones(2)], -1.0)


@pytest.mark.parametrize("variant", [variant.name for variant in K.variants("adadelta_step")])
@pytest.mark.parametrize(
    "settings", [{}, {"weight_decay": 0.1}, {"rho": 0.5, "eps": 1e-3, "lr": 0.2}], ids=str
)
def test_adadelta(
    settings: dict[str, Any], variant: str, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    params = _arrays(rng, dtype)
    squares, changes = ([np.zeros_like(p) for p in params] for _ in range(2))
    p, s, u = _wide(params), _wide(squares), _wide(changes)
    lr, rho, eps, decay = (
        settings.get(key, default)
        for key, default in (("lr", 1.0), ("rho", 0.9), ("eps", 1e-6), ("weight_decay", 0.0))
    )
    for _ in range(4):
        grads = _gradients(rng, dtype)
        K.adadelta_step(params, grads, squares, changes, variant=variant, **settings)
        for i, grad in enumerate(_wide(grads)):
            g = grad + decay * p[i]
            s[i] = rho * s[i] + (1 - rho) * g * g
            step = np.sqrt(u[i] + eps) / np.sqrt(s[i] + eps) * g
            u[i] = rho * u[i] + (1 - rho) * step * step
            p[i] = p[i] - lr * step
    bound = 3e-6 if dtype is np.float32 else 1e-14
    for got, expected in ((params, p), (squares, s), (changes, u)):
        assert _off(got, expected) < bound


def test_adadelta_refuses() -> None:
    one = [np.ones(3)]
    with pytest.raises(ValueError, match="adadelta_step: rho is 2"):
        K.adadelta_step(one, [np.ones(3)], [np.ones(3)], [np.ones(3)], rho=2.0)
    with pytest.raises(ValueError, match="shares memory"):
        K.adadelta_step(one, one, [np.ones(3)], [np.ones(3)])
    with pytest.raises(ValueError, match="adadelta_step: params has 1 arrays but grads has 0"):
        K.adadelta_step(one, [], [np.ones(3)], [np.ones(3)])
