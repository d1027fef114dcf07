"""A recurrent layer with an answer."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import Tensor, no_grad
from dlkit.kernels import CELLS
from dlkit.models import SequenceModel
from dlkit.models.sequence_model import count_parameters, hidden_for


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("every_step", [False, True])
def test_shapes_and_gradients(cell, every_step):
    dl.manual_seed(0)
    model = SequenceModel(3, 5, 4, cell, every_step)
    x = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)
    out = model(Tensor(x))
    assert out.shape == ((2, 6, 4) if every_step else (2, 4))
    np.testing.assert_array_equal(model(Tensor(x.reshape(2, -1))).numpy(), out.numpy())
    (out * out).sum().backward()
    assert all(np.abs(p.grad.numpy()).sum() > 0 for p in model.parameters())
    assert count_parameters(5, cell, 3, 4) == sum(p.data.size for p in model.parameters())


def test_every_step_ends_as_the_last():
    dl.manual_seed(0)
    model = SequenceModel(2, 4, 3, "gru", True)
    last = SequenceModel(2, 4, 3, "gru")
    last.load_state_dict(model.state_dict())
    x = Tensor(np.random.default_rng(0).standard_normal((5, 7, 2)).astype(np.float32))
    with no_grad():
        np.testing.assert_allclose(model(x).numpy()[:, -1], last(x).numpy(), rtol=1e-6)


def test_first_weights():
    dl.manual_seed(0)
    irnn = SequenceModel(2, 6, 1, "relu", init="identity", gain=0.9).recurrent
    np.testing.assert_allclose(irnn.weight_hh_l0.numpy(), 0.9 * np.eye(6), rtol=1e-6)
    assert not irnn.bias_ih_l0.numpy().any()
    assert 0.3 < np.abs(irnn.weight_ih_l0.numpy()).max() < 0.41
    lstm = SequenceModel(2, 6, 1, "lstm", init="orthogonal", forget_bias=1.5).recurrent
    for gate in lstm.weight_hh_l0.numpy().reshape(4, 6, 6):
        np.testing.assert_allclose(gate @ gate.T, np.eye(6), atol=1e-5)
    np.testing.assert_allclose(lstm.bias_ih_l0.numpy().reshape(4, 6)[:, 0], [0, 1.5, 0, 0])


@pytest.mark.parametrize("cell", [c for c in CELLS if CELLS[c].gates > 1])
def test_forget_bias_opens_what_keeps_the_state(cell):
    layers = []
    for bias in (0.0, 3.0):
        dl.manual_seed(0)
        layers.append(SequenceModel(1, 8, 1, cell, forget_bias=bias).recurrent)
    layer = layers[1]
    layer.bias_ih_l0.data[...] -= layers[0].bias_ih_l0.data  # nothing but the 3 is left
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_hh_l0"):
        getattr(layer, name).data[...] = 0
    x, ends = Tensor(np.zeros((1, 1, 1), np.float32)), []
    for value in (0.5, 0.6):
        state = Tensor(np.full((1, 1, 8), value, np.float32))
        ends.append(layer(x, (state, state))[1][1] if layer.has_c else layer(x, state)[1])
    kept = (ends[1].numpy() - ends[0].numpy()) / 0.1
    np.testing.assert_allclose(kept, 1 / (1 + np.exp(-3)), rtol=1e-4)


@pytest.mark.parametrize("cell", [c for c in CELLS if CELLS[c].gates > 1])
def test_memory_spreads_what_units_keep(cell):
    layers = []
    for memory in (0, 50):
        dl.manual_seed(0)
        layers.append(SequenceModel(1, 400, 1, cell, forget_bias=0.0, memory=memory).recurrent)
    added = (layers[1].bias_ih_l0.numpy() - layers[0].bias_ih_l0.numpy()).reshape(CELLS[cell].gates, 400)
    changed = {gate: row for gate, row in enumerate(added) if row.any()}
    keeps = 0 if cell in ("interpolate", "coupled_lstm") else 1
    sign = -1 if cell == "coupled_lstm" else 1
    assert set(changed) == ({0, 1} if cell in ("lstm", "input_gate") else {keeps})
    steps = np.exp(sign * changed[keeps])
    assert 1 <= steps.min() < 3
    assert 47 < steps.max() <= 49.001
    np.testing.assert_allclose(steps.mean(), 25, atol=2)
    if len(changed) == 2:
        np.testing.assert_allclose(changed[0], -changed[1], atol=1e-5)


def test_memory_says_nothing_to_a_cell_without_gates():
    models = []
    for memory in (0, 50):
        dl.manual_seed(0)
        models.append(SequenceModel(2, 3, 1, "tanh", memory=memory))
    for name, value in models[0].state_dict().items():
        np.testing.assert_array_equal(value, models[1].state_dict()[name])


@pytest.mark.parametrize("cell", CELLS)
def test_units_for_a_budget(cell):
    hidden = hidden_for(5000, cell, 28, 10)
    off = [abs(count_parameters(h, cell, 28, 10) - 5000) for h in (hidden - 1, hidden, hidden + 1)]
    assert off[1] == min(off)


def test_errors():
    with pytest.raises(ValueError, match="init is 'eye'"):
        SequenceModel(1, 2, 3, init="eye")
    for memory in (2, -5, 7.5, float("nan"), "7"):
        with pytest.raises(
            ValueError, match=f"memory is {memory!r}; expected 0, or an integer of at least 3"
        ):
            SequenceModel(1, 2, 3, memory=memory)
    with pytest.raises(ValueError, match="a multiple of 3"):
        SequenceModel(3, 2, 2)(Tensor(np.zeros((2, 7), np.float32)))
    with pytest.raises(ValueError, match="hidden_for: cell is 'lstmm'"):
        hidden_for(5000, "lstmm", 1, 1)
