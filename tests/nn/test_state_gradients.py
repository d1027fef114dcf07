"""Jacobians of a recurrent layer's last state by earlier ones."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit import kernels, nn
from dlkit.kernels import CELLS
from dlkit.kernels.recurrent import RecurrentWeights
from dlkit.nn import init
from dlkit.nn.state_gradients import gradient_bound, state_gradients

T, B, INPUTS, H = 5, 3, 2, 4


def make(cell, **settings):
    dl.manual_seed(3)
    layer = nn.Recurrent(cell, INPUTS, H, dtype=np.float64, **settings)
    init.normal_(layer.weight_hh_l0, 0.0, 0.7)
    return layer, np.random.default_rng(0).standard_normal((T, B, INPUTS))


def weights_of(layer):
    return [RecurrentWeights(*(None if w is None else w.data for w in layer._weights(0)[0]))]


def last_state(layer, x, h, c):
    """The last state after some steps from a given one, for finite differences."""
    batch = x.shape[1]
    sizes = [batch] * len(x)
    rows = x.reshape(-1, x.shape[2])
    return kernels.recurrent(rows, weights_of(layer), sizes, h, c, cell=layer.cell, new_z=layer.new_z)[1][0]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layer_norm", [False, True], ids=["", "layer_norm"])
def test_against_finite_differences(cell, layer_norm):
    layer, x = make(cell, peepholes=CELLS[cell].has_c, layer_norm=layer_norm)
    found = state_gradients(layer, x)
    assert (found.by_c is not None) == CELLS[cell].has_c
    np.testing.assert_array_equal(found.lags, np.arange(T + 1))
    np.testing.assert_allclose(found.by_h[0], 1)
    eps = 1e-7 if layer_norm else 1e-6  # normalised, a small state is a step from its limit
    for lag in range(1, T + 1):
        for b in range(B):
            one = x[:, b : b + 1]
            # The state that many steps before the end, by running up to it.
            h = c = np.zeros((1, 1, H))
            if lag < T:
                _, h, cn, _ = kernels.recurrent(
                    one[: T - lag, 0], weights_of(layer), [1] * (T - lag), cell=cell
                )
                c = cn if cn is not None else c
            for by, which in ((found.by_h, 0), (found.by_c, 1)):
                if by is None:
                    continue
                jacobian = np.empty((H, H))
                for k in range(H):
                    ends = []
                    for sign in (1, -1):
                        state = [h.copy(), c.copy()]
                        state[which][0, 0, k] += sign * eps
                        ends.append(
                            last_state(layer, one[T - lag :], state[0], state[1] if layer.has_c else None)[0]
                        )
                    jacobian[:, k] = (ends[0] - ends[1]) / (2 * eps)
                assert by[lag, b] == pytest.approx(np.linalg.norm(jacobian, 2), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("cell", ["tanh", "relu"])
@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_never_above_the_bound(cell, scale):
    layer, x = make(cell)
    layer.weight_hh_l0.data[...] *= scale
    found = state_gradients(layer, x)
    bound = gradient_bound(layer) ** found.lags
    assert (found.by_h <= bound[:, None] * (1 + 1e-9)).all()
    # ReLU with the identity and no input passes gradients on as they are.
    if cell == "relu":
        init.eye_(layer.weight_hh_l0)
        for name in ("bias_ih_l0", "bias_hh_l0"):
            init.zeros_(getattr(layer, name))
        init.ones_(layer.weight_ih_l0)
        np.testing.assert_allclose(state_gradients(layer, np.abs(x)).by_h, 1)
        assert gradient_bound(layer) == 1


def test_some_lags_and_float32():
    layer, x = make("lstm")
    all_of_them = state_gradients(layer, x)
    some = state_gradients(layer, x, lags=[4, 0, 2])
    np.testing.assert_array_equal(some.lags, [0, 2, 4])
    np.testing.assert_array_equal(some.by_h, all_of_them.by_h[[0, 2, 4]])
    np.testing.assert_array_equal(some.by_c, all_of_them.by_c[[0, 2, 4]])
    single = nn.Recurrent("lstm", INPUTS, H, batch_first=True)
    assert state_gradients(single, x.astype(np.float32)).by_h.dtype == np.float64


def test_bad_input():
    layer, x = make("gru")
    for bad in (x[0], x[:0], x[:, :, :1]):
        with pytest.raises(ValueError, match=r"state_gradients: x is .* expected \(T, B, 2\)"):
            state_gradients(layer, bad)
    for lags in ([], [-1], [T + 1]):
        with pytest.raises(ValueError, match="expected some of 0 … 5"):
            state_gradients(layer, x, lags=lags)
    with pytest.raises(ValueError, match="2 layers and 1 directions"):
        state_gradients(nn.Recurrent("gru", INPUTS, H, 2), x)
    with pytest.raises(ValueError, match="expected tanh or relu"):
        gradient_bound(layer)
    layer = nn.RNN(INPUTS, H, layer_norm=True)
    with pytest.raises(ValueError, match="gradient_bound: the layer has layer_norm=True"):
        gradient_bound(layer)
