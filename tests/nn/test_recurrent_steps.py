"""Recurrent layers a step at a time: they are what the kernels compute, with layer normalisation and without."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.autograd import gradcheck
from dlkit.kernels import CELLS
from dlkit.kernels.recurrent import RecurrentWeights
from dlkit.nn import functional as F
from dlkit.nn.recurrent_steps import recurrent_steps
from dlkit.nn.utils import rnn

OPTIONS = [
    *((cell, {}) for cell in CELLS),
    ("lstm", {"peepholes": True}),
    ("coupled_lstm", {"peepholes": True}),
    ("gru", {"new_z": True}),
    ("gru_reset_first", {"new_z": True}),
]


def tensor(rng, *shape):
    return dl.tensor(rng.standard_normal(shape), requires_grad=True)


@pytest.mark.parametrize(("cell", "options"), OPTIONS)
@pytest.mark.parametrize("sizes", [[3, 3, 3], [4, 2, 2, 1]])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True], ids=["", "layer_norm"])
def test_steps_are_the_kernels(rng, cell, options, sizes, mask, layer_norm):
    """Both directions, with what they return and all gradients."""
    inputs, hidden, gates = 3, 4, CELLS[cell].gates
    results = []
    hides = rng.integers(0, 2, (2, sizes[0], hidden)) * 2.0 if mask else None
    width = gates * hidden
    shapes = {"ih": (width, inputs), "hh": (width, hidden), "ih_bias": (width,), "hh_bias": (width,)}
    if options.get("peepholes"):
        shapes["peepholes"] = (3, hidden)
    if layer_norm:
        shapes |= {"norm_ih": (width,), "norm_hh": (width,)}
        if CELLS[cell].has_c:
            shapes |= {"norm_c": (hidden,), "norm_c_bias": (hidden,)}
    arrays = [{part: rng.standard_normal(shape) for part, shape in shapes.items()} for _ in range(2)]
    x, h0, c0 = (rng.standard_normal(s) for s in ((sum(sizes), inputs), *[(2, sizes[0], hidden)] * 2))
    for run in (F.recurrent, recurrent_steps):
        weights = [
            RecurrentWeights(**{part: dl.tensor(a, requires_grad=True) for part, a in w.items()})
            for w in arrays
        ]
        given = [dl.tensor(a, requires_grad=True) for a in (x, h0, c0)[: 3 if CELLS[cell].has_c else 2]]
        state = run(
            given[0], weights, sizes, *given[1:], cell=cell, new_z=options.get("new_z", False), mask=hides
        )
        total = (state.output * state.output).sum() + (state.h**3).sum()
        if state.c is not None:
            total = total + (state.c * state.c).sum()
        total.backward()
        grads = [t.grad.numpy() for t in (*given, *(t for w in weights for t in w if t is not None))]
        values = [state.output.numpy(), state.h.numpy(), *([] if state.c is None else [state.c.numpy()])]
        results.append(values + grads)
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("cell", "options"), OPTIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_gradients_of_layer_normalisation(rng, cell, options, bias):
    layer = nn.Recurrent(cell, 2, 3, bias=bias, layer_norm=True, dtype=np.float64, **options)
    for parameter in layer.parameters():
        parameter.data[...] += 0.3 * rng.standard_normal(parameter.shape)
    sizes = (1, 2, 3)
    state = tensor(rng, *sizes)

    def run(x, h, *parameters):
        y, last = layer(x, (h, 2 * h) if layer.has_c else h)
        return (y, *last) if layer.has_c else (y, last)

    assert gradcheck(run, (tensor(rng, 3, 2, 2), state, *layer.parameters()))


def test_against_the_definition(rng):
    """An LSTM as Ba et al. write it, in NumPy, each gate normalised apart."""
    dl.manual_seed(1)
    layer = nn.LSTM(3, 4, layer_norm=True, dtype=np.float64)
    for parameter in layer.parameters():
        parameter.data[...] = rng.standard_normal(parameter.shape)
    p = {name: np.asarray(value) for name, value in layer.state_dict().items()}
    x = rng.standard_normal((5, 2, 3))

    def norm(a):
        return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)

    def gates(a, gain, bias):
        return (norm(a.reshape(2, 4, 4)).reshape(2, 16)) * gain + bias

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    h = c = np.zeros((2, 4))
    wanted = []
    for step in x:
        a = gates(step @ p["weight_ih_l0"].T, p["norm_ih_l0"], p["bias_ih_l0"])
        a = a + gates(h @ p["weight_hh_l0"].T, p["norm_hh_l0"], p["bias_hh_l0"])
        i, f, g, o = np.split(a, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(norm(c) * p["norm_c_l0"] + p["norm_c_bias_l0"])
        wanted.append(h)
    y, (hn, cn) = layer(dl.tensor(x))
    np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-10)
    np.testing.assert_allclose(hn.numpy()[0], h, rtol=1e-10)
    np.testing.assert_allclose(cn.numpy()[0], c, rtol=1e-10)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_packed_is_padded_without_the_padding(rng, kind):
    dl.manual_seed(0)
    layer = kind(3, 4, num_layers=2, bidirectional=True, layer_norm=True, dtype=np.float64)
    lengths = [5, 2, 4]
    sequences = [tensor(rng, n, 3) for n in lengths]
    packed = rnn.pack_sequence(sequences, enforce_sorted=False)
    output, last = layer(packed)
    padded, found = rnn.pad_packed_sequence(output)
    assert list(found) == lengths
    for b, sequence in enumerate(sequences):
        y, end = layer(sequence)
        np.testing.assert_allclose(padded.numpy()[: lengths[b], b], y.numpy(), atol=1e-12)
        for a, e in zip(last, end, strict=True) if layer.has_c else [(last, end)]:
            np.testing.assert_allclose(a.numpy()[:, b], e.numpy(), atol=1e-12)


def test_scale_of_the_weights_does_not_matter(rng):
    """What layer normalisation is for: weights twice as large give the same states."""
    dl.manual_seed(0)
    layer = nn.GRU(3, 8, layer_norm=True, dtype=np.float64)
    x = tensor(rng, 6, 2, 3)
    found = []
    for _ in range(2):
        for name in ("weight_ih_l0", "weight_hh_l0"):
            getattr(layer, name).data[...] *= 100  # the first time so that eps is nothing beside the variance
        found.append(layer(x)[0].numpy().copy())
    np.testing.assert_allclose(*found, atol=1e-3)
    plain = nn.GRU(3, 8, dtype=np.float64)
    before = plain(x)[0].numpy().copy()
    plain.weight_hh_l0.data[...] *= 100
    assert np.abs(plain(x)[0].numpy() - before).max() > 0.1


def test_names_and_files(tmp_path):
    dl.manual_seed(0)
    layer = nn.LSTM(3, 4, bidirectional=True, layer_norm=True)
    names = list(layer.state_dict())
    assert names[4:8] == ["norm_ih_l0", "norm_hh_l0", "norm_c_l0", "norm_c_bias_l0"]
    assert "norm_hh_l0_reverse" in names
    assert (layer.norm_ih_l0.numpy() == 1).all()
    assert (layer.norm_c_bias_l0.numpy() == 0).all()
    assert "norm_c_l0" not in nn.GRU(3, 4, layer_norm=True).state_dict()
    assert "layer_norm=True" in repr(layer)
    nn.save_safetensors(layer, tmp_path / "x.safetensors")
    other = nn.LSTM(3, 4, bidirectional=True, layer_norm=True)
    other.load_state_dict(nn.load_safetensors(tmp_path / "x.safetensors"))
    x = dl.tensor(np.ones((2, 1, 3), np.float32))
    np.testing.assert_array_equal(layer(x)[0].numpy(), other(x)[0].numpy())
    with pytest.raises((KeyError, ValueError, RuntimeError), match="norm_ih_l0"):
        nn.LSTM(3, 4).load_state_dict(layer.state_dict())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_layer_normalisation_is_one_operation(rng, kind, monkeypatch):
    """On the CPU: the kernel, and not the steps; a second backward pass and one without gradients give the same."""
    monkeypatch.setattr("dlkit.nn.recurrent.recurrent_steps", None)
    layer = kind(3, 5, layer_norm=True, recurrent_dropout=0.5, dtype=np.float64)
    x = tensor(rng, 4, 2, 3)
    dl.manual_seed(7)
    y, _ = layer(x)
    loss = (y * y).sum()
    loss.backward(retain_graph=True)
    once = [p.grad.numpy().copy() for p in layer.parameters()]
    loss.backward()
    for p, a in zip(layer.parameters(), once, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), 2 * a, rtol=1e-12)
    dl.manual_seed(7)
    with dl.no_grad():
        np.testing.assert_allclose(layer(x)[0].numpy(), y.numpy(), rtol=1e-12)


def test_steps_from_where_others_ended(rng):
    """The state carried from call to call, as a language model does."""
    layer = nn.LSTM(3, 6, num_layers=2, layer_norm=True, dtype=np.float64)
    x = tensor(rng, 7, 2, 3)
    y, (h, c) = layer(x)
    first, state = layer(x[:4])
    second, (hn, cn) = layer(x[4:], state)
    np.testing.assert_allclose(np.concatenate([first.numpy(), second.numpy()]), y.numpy(), rtol=1e-12)
    np.testing.assert_allclose(hn.numpy(), h.numpy(), rtol=1e-12)
    np.testing.assert_allclose(cn.numpy(), c.numpy(), rtol=1e-12)
