"""Recurrent layers as modules: against PyTorch, by finite differences, packed against padded, and bad input."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlkit as dl
from dlkit import nn
from dlkit.autograd import gradcheck
from dlkit.nn.utils import rnn


def tensor(rng: np.random.Generator, *shape: int, grad: bool = True) -> Any:
    return dl.tensor(rng.standard_normal(shape), requires_grad=grad)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_is_pytorchs(rng, kind, bidirectional, batch_first, layers, torch):
    chosen = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": batch_first}
    theirs = getattr(torch.nn, kind)(5, 7, **chosen).double()
    ours = getattr(nn, kind)(5, 7, **chosen, dtype=np.float64)
    ours.load_state_dict({k: v.detach().numpy().copy() for k, v in theirs.state_dict().items()})
    x = tensor(rng, 4, 3, 5)
    batch = 4 if batch_first else 3
    state = rng.standard_normal((layers * (2 if bidirectional else 1), batch, 7))
    h, x_there = dl.tensor(state, requires_grad=True), torch.tensor(x.numpy(), requires_grad=True)
    h_there = torch.tensor(state, requires_grad=True)
    pair = kind == "LSTM"
    y, last = ours(x, (h, dl.tensor(2 * state)) if pair else h)
    expected, expected_last = theirs(x_there, (h_there, torch.tensor(2 * state)) if pair else h_there)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), atol=1e-12)
    lasts = list(zip(last, expected_last, strict=True)) if pair else [(last, expected_last)]
    seed = rng.standard_normal(y.shape)
    total, expected_total = (y * dl.tensor(seed)).sum(), (expected * torch.tensor(seed)).sum()
    for a, b in lasts:
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), atol=1e-12)
        total, expected_total = total + (a * a).sum(), expected_total + (b * b).sum()
    total.backward()
    expected_total.backward()
    np.testing.assert_allclose(x.grad.numpy(), x_there.grad.numpy(), atol=1e-11)
    np.testing.assert_allclose(h.grad.numpy(), h_there.grad.numpy(), atol=1e-11)
    for (name, p), (expected_name, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == expected_name
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-11)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_are_pytorchs(rng, kind, torch):
    theirs = getattr(torch.nn, kind)(5, 7).double()
    ours = getattr(nn, kind)(5, 7, dtype=np.float64)
    ours.load_state_dict({k: v.detach().numpy().copy() for k, v in theirs.state_dict().items()})
    x, h, c = (rng.standard_normal((3, n)) for n in (5, 7, 7))
    pair = kind == "LSTMCell"
    found = ours(dl.tensor(x), (dl.tensor(h), dl.tensor(c)) if pair else dl.tensor(h))
    expected = theirs(torch.tensor(x), (torch.tensor(h), torch.tensor(c)) if pair else torch.tensor(h))
    for a, b in zip(found, expected, strict=True) if pair else [(found, expected)]:
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), atol=1e-12)
    single = ours(dl.tensor(x[0]))
    assert (single[0] if pair else single).shape == (7,)


@given(data=st.data())
@settings(max_examples=60)
def test_any_layer_is_pytorchs(data):
    """Any settings and sizes, packed or not, with first states or without: outputs, states and all gradients."""
    torch = pytest.importorskip("torch")
    draw = data.draw
    kind = draw(st.sampled_from(["RNN", "LSTM", "GRU"]))
    inputs, hidden, layers = (draw(st.integers(1, most)) for most in (9, 19, 3))
    chosen: dict[str, Any] = {
        name: draw(st.booleans()) for name in ("bias", "batch_first", "bidirectional")
    } | {"num_layers": layers}
    if kind == "RNN":
        chosen["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    lengths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    packing = draw(st.sampled_from(["padded", "sorted", "unsorted"]))
    if packing == "sorted":
        lengths.sort(reverse=True)
    given_states = draw(st.booleans())
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)

    theirs = getattr(torch.nn, kind)(inputs, hidden, **chosen).double()
    ours = getattr(nn, kind)(inputs, hidden, **chosen, dtype=np.float64)
    ours.load_state_dict({k: v.detach().numpy().copy() for k, v in theirs.state_dict().items()})
    batch, pair = len(lengths), kind == "LSTM"
    x = rng.standard_normal((batch, max(lengths), inputs))
    x = x if chosen["batch_first"] else x.swapaxes(0, 1).copy()
    shape = (layers * (2 if chosen["bidirectional"] else 1), batch, hidden)
    states = [rng.standard_normal(shape) for _ in range(1 + pair)] if given_states else []
    shares = rng.standard_normal(3)

    def run(layer: Any, tensor: Any, pack: Any, pad: Any) -> list[Any]:
        given_x = tensor(x, requires_grad=True)
        hx = [tensor(s, requires_grad=True) for s in states]
        sequence = given_x
        if packing != "padded":
            sequence = pack(given_x, lengths, chosen["batch_first"], packing == "sorted")
        y, last = layer(sequence, (tuple(hx) if pair else hx[0]) if hx else None)
        if packing != "padded":
            y, _ = pad(y, chosen["batch_first"])
        outputs = [y, *(last if pair else (last,))]
        sum((share * o * o).sum() for share, o in zip(shares, outputs, strict=False)).backward()
        gradients = [t.grad for t in (given_x, *hx, *layer.parameters())]
        return [(t.detach() if hasattr(t, "detach") else t).numpy() for t in [*outputs, *gradients]]

    there = torch.nn.utils.rnn
    found = run(ours, dl.tensor, rnn.pack_padded_sequence, rnn.pad_packed_sequence)
    expected = run(theirs, torch.tensor, there.pack_padded_sequence, there.pad_packed_sequence)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


LADDER = [
    ("tanh", {}),
    ("relu", {}),
    ("additive", {}),
    ("interpolate", {}),
    ("input_gate", {}),
    ("lstm", {"peepholes": True}),
    ("coupled_lstm", {"peepholes": True}),
    ("gru", {"new_z": True}),
    ("gru_reset_first", {}),
]


@pytest.mark.parametrize(("cell", "options"), LADDER, ids=[cell for cell, _ in LADDER])
def test_gradients(rng, cell, options):
    layer = nn.Recurrent(cell, 3, 5, num_layers=2, bidirectional=True, dtype=np.float64, **options)
    x = tensor(rng, 4, 2, 3)
    h = tensor(rng, 4, 2, 5)
    state = (h, tensor(rng, 4, 2, 5)) if layer.has_c else h

    def result(*_: Any) -> Any:
        y, last = layer(x, state)
        return y.tanh().sum() + sum((s * s).sum() for s in (last if layer.has_c else (last,)))

    inputs = [x, *(state if layer.has_c else (h,)), *layer.parameters()]
    assert gradcheck(result, inputs)


def test_a_retained_graph_gives_the_same_gradients_again(rng):
    layer = nn.GRU(3, 4, dtype=np.float64)
    x = tensor(rng, 5, 2, 3)
    y, _ = layer(x)
    total = (y * y).sum()
    total.backward(retain_graph=True)
    once = [t.grad.numpy().copy() for t in (x, *layer.parameters())]
    total.backward()
    for t, g in zip((x, *layer.parameters()), once, strict=True):
        np.testing.assert_allclose(t.grad.numpy(), 2 * g, rtol=1e-12)


def test_gradients_are_written_where_they_stay(rng):
    layer = nn.LSTM(3, 4, bidirectional=True, dtype=np.float64)
    x = tensor(rng, 5, 2, 3, grad=False)
    parameters = list(layer.parameters())

    def gradients() -> list[Any]:
        (layer(x)[0] ** 2).sum().backward()
        return [p.grad.numpy().copy() for p in parameters]

    expected = gradients()
    places = [p.grad._array.__array_interface__["data"] for p in parameters]
    layer.zero_grad()
    for a, b in zip(gradients(), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [p.grad._array.__array_interface__["data"] for p in parameters] == places
    # There are gradients already; some have none; one is part of another array; one is in two places.
    for a, b in zip(gradients(), expected, strict=True):
        np.testing.assert_allclose(a, 2 * b, rtol=1e-12)
    layer.zero_grad()
    parameters[0].grad = dl.tensor(np.ones((16, 3)))
    for i, (a, b) in enumerate(zip(gradients(), expected, strict=True)):
        np.testing.assert_allclose(a, b + (i == 0), rtol=1e-12)
    shared = np.zeros(32)
    for i, p in enumerate(parameters):
        p.grad = dl.tensor(np.zeros(p.shape))
        if i in (2, 3):
            p.grad = dl.autograd.base.make(shared[16 * (i - 2) : 16 * (i - 1)])
    for a, b in zip(gradients(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(shared, np.concatenate(expected[2:4]), rtol=1e-12)
    # A hook sees all of its gradient, and may replace it.
    layer.zero_grad()
    seen: list[Any] = []
    parameters[1].register_hook(lambda g: (seen.append(g.numpy().copy()), g * 2)[1])
    found = gradients()
    np.testing.assert_array_equal(seen[0], expected[1])
    np.testing.assert_allclose(found[1], 2 * expected[1], rtol=1e-12)
    np.testing.assert_array_equal(found[0], expected[0])


def test_directions_may_have_the_same_weights(rng):
    layer = nn.GRU(3, 4, bidirectional=True, dtype=np.float64)
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(layer, f"{part}_l0_reverse", getattr(layer, f"{part}_l0"))
    x = tensor(rng, 5, 2, 3)
    assert gradcheck(lambda *_: (layer(x)[0] ** 2).sum(), [x, *layer.parameters()])
    before = [p.grad for p in layer.parameters()]
    for _ in range(2):  # into none, and into what is there
        (layer(x)[0] ** 2).sum().backward()
    twice = [p.grad.numpy().copy() for p in layer.parameters()]
    layer.zero_grad()
    (layer(x)[0] ** 2).sum().backward()
    for p, g, b in zip(layer.parameters(), twice, before, strict=True):
        assert b is None
        np.testing.assert_allclose(2 * p.grad.numpy(), g, rtol=1e-12)


def test_only_what_is_tracked_gets_gradients(rng):
    layer = nn.LSTM(3, 4, dtype=np.float64)
    layer.weight_hh_l0.requires_grad = False
    x = tensor(rng, 5, 2, 3, grad=False)
    layer(x)[0].sum().backward()
    assert layer.weight_hh_l0.grad is None
    assert layer.weight_ih_l0.grad is not None
    with dl.no_grad():
        assert layer(x)[0].grad_fn is None


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_packed_is_padded_without_the_padding(rng, kind, batch_first):
    layer = getattr(nn, kind)(
        3, 6, num_layers=2, bidirectional=True, batch_first=batch_first, dtype=np.float64
    )
    lengths = [2, 5, 1, 4]
    sequences = [rng.standard_normal((n, 3)) for n in lengths]
    padded = rnn.pad_sequence([dl.tensor(s) for s in sequences], batch_first)
    state = rng.standard_normal((4, 4, 6))
    initial = dl.tensor(state)
    packed = rnn.pack_padded_sequence(padded, lengths, batch_first, enforce_sorted=False)
    y, last = layer(packed, (initial, initial) if kind == "LSTM" else initial)
    found, found_lengths = rnn.pad_packed_sequence(y, batch_first)
    assert list(found_lengths) == lengths
    h = last[0] if kind == "LSTM" else last
    for b, sequence in enumerate(sequences):
        start = dl.tensor(state[:, b])
        alone, alone_last = layer(dl.tensor(sequence), (start, start) if kind == "LSTM" else start)
        of_b = found[b] if batch_first else found[:, b]
        np.testing.assert_allclose(of_b.numpy()[: lengths[b]], alone.numpy(), atol=1e-12)
        assert not of_b.numpy()[lengths[b] :].any()
        alone_h = alone_last[0] if kind == "LSTM" else alone_last
        np.testing.assert_allclose(h.numpy()[:, b], alone_h.numpy(), atol=1e-12)


def test_steps_one_at_a_time_are_a_sequence(rng):
    layer = nn.LSTM(3, 5, num_layers=2, dtype=np.float64)
    x = tensor(rng, 6, 2, 3, grad=False)
    whole, _ = layer(x)
    state = None
    for t in range(6):
        y, state = layer(x[t : t + 1], state)
        np.testing.assert_allclose(y.numpy()[0], whole.numpy()[t], atol=1e-12)


def test_truncated_backpropagation_stops_at_detached_states(rng):
    layer = nn.GRU(3, 5, dtype=np.float64)
    x = tensor(rng, 4, 2, 3)
    _, state = layer(x[:2])
    y, _ = layer(x[2:], state.detach())
    y.sum().backward()
    assert not x.grad.numpy()[:2].any()
    assert x.grad.numpy()[2:].any()


def test_dropout_acts_in_training_alone(rng):
    layer = nn.LSTM(4, 50, num_layers=2, dropout=0.5, recurrent_dropout=0.5)
    x = dl.tensor(rng.standard_normal((6, 3, 4)).astype(np.float32))
    a, b = layer(x)[0].numpy(), layer(x)[0].numpy()
    assert not np.array_equal(a, b)
    layer.eval()
    a, b = layer(x)[0].numpy(), layer(x)[0].numpy()
    np.testing.assert_array_equal(a, b)


def test_recurrent_dropout_is_the_same_at_every_step(rng):
    # Without input and biases, h = h' + tanh(U (m h')): units that U does not see leave all others as they are.
    layer = nn.Recurrent("additive", 1, 200, bias=False, recurrent_dropout=0.5, dtype=np.float64)
    layer.weight_hh_l0.data = dl.tensor(np.eye(200))
    start = dl.tensor(np.ones((1, 1, 200)))
    y, _ = layer(dl.tensor(np.zeros((5, 1, 1))), start)
    moved = y.numpy()[:, 0] != 1
    assert 60 < moved[0].sum() < 140
    for step in moved:
        np.testing.assert_array_equal(step, moved[0])


def test_weights_survive_a_file(rng, tmp_path):
    layer = nn.LSTM(3, 4, bidirectional=True)
    nn.save_safetensors(layer, tmp_path / "lstm.safetensors")
    other = nn.LSTM(3, 4, bidirectional=True)
    other.load_state_dict(nn.load_safetensors(tmp_path / "lstm.safetensors"))
    x = dl.tensor(rng.standard_normal((2, 2, 3)).astype(np.float32))
    np.testing.assert_array_equal(layer(x)[0].numpy(), other(x)[0].numpy())


def test_weights_of_a_projection_are_refused_with_the_reason():
    state = nn.LSTM(3, 4).state_dict() | {"weight_hr_l0": np.zeros((2, 4))}
    with pytest.raises(
        ValueError, match=r"unexpected: weight_hr_l0; weight_hr_l… are of an LSTM with proj_size"
    ):
        nn.LSTM(3, 4).load_state_dict(state)
    state = {f"1.{name}": value for name, value in state.items()}
    with pytest.raises(ValueError, match="with proj_size, which dlkit"):
        nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 4)).load_state_dict(state)


def test_code_for_pytorch_runs(rng):
    assert repr(nn.LSTM(3, 4, proj_size=0)) == "LSTM(3, 4)"
    for layer in (nn.RNN(3, 4), nn.LSTM(3, 4), nn.GRU(3, 4), nn.Recurrent("additive", 3, 4)):
        before = {name: np.array(value) for name, value in layer.state_dict().items()}
        layer.flatten_parameters()
        for name, value in layer.state_dict().items():
            np.testing.assert_array_equal(value, before[name])
    for layer in (nn.LSTM(3, 4), nn.RNNCell(3, 4), nn.LSTMCell(3, 4), nn.GRUCell(3, 4, bias=False)):
        before = {name: np.array(value) for name, value in layer.state_dict().items()}
        layer.reset_parameters()
        for name, value in layer.state_dict().items():
            assert (value != before[name]).all()
            assert (np.abs(value) <= 0.5).all()


def test_dropout_of_one_layer_warns():
    for make in (
        lambda **more: nn.Recurrent("gru", 3, 4, **more),
        *(lambda kind=kind, **more: kind(3, 4, **more) for kind in (nn.RNN, nn.LSTM, nn.GRU)),
    ):
        with pytest.warns(UserWarning, match=r"dropout is 0.5 but num_layers is 1") as caught:
            make(dropout=0.5)
        assert [w.filename for w in caught] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            make(dropout=0.5, num_layers=2)
            make(recurrent_dropout=0.5)


def test_weights_of_another_architecture_are_refused():
    lstm, gru = nn.LSTM(3, 4), nn.GRU(3, 4)
    with pytest.raises(ValueError, match="weight_ih_l0"):
        gru.load_state_dict(lstm.state_dict())


BAD = [
    (lambda: nn.LSTM(0, 4), ValueError, "input_size"),
    (lambda: nn.LSTM(3, -1), ValueError, "hidden_size"),
    (lambda: nn.GRU(3, 4, num_layers=0), ValueError, "num_layers"),
    (lambda: nn.LSTM(3, 4, dropout=1.0), ValueError, "dropout is 1.0"),
    (lambda: nn.LSTM(3, 4, dropout="x"), TypeError, "dropout is 'x'; expected a number"),
    (lambda: nn.LSTM(3, 4, recurrent_dropout=float("nan")), ValueError, "recurrent_dropout is nan"),
    (lambda: nn.RNN(3, 4, nonlinearity="sin"), ValueError, "nonlinearity is 'sin'"),
    (lambda: nn.Recurrent("ltsm", 3, 4), ValueError, "cell is 'ltsm'"),
    (lambda: nn.Recurrent("gru", 3, 4, peepholes=True), ValueError, "peepholes"),
    (lambda: nn.LSTM(3, 4)(dl.tensor(np.zeros((2, 2, 5), "f"))), ValueError, "5 features; expected input_size, 3"),
    (lambda: nn.LSTM(3, 4)(dl.tensor(np.zeros((0, 2, 3), "f"))), ValueError, "at least one step"),
    (lambda: nn.LSTM(3, 4)(dl.tensor(np.zeros((2, 0, 3), "f"))), ValueError, "at least one step"),
    (lambda: nn.LSTM(3, 4)(dl.tensor(np.zeros(3, "f"))), ValueError, "2 or 3 dimensions"),
    (lambda: nn.LSTM(3, 4)([1.0]), TypeError, "input is a list"),
    (lambda: nn.LSTM(3, 4)(dl.tensor(np.zeros((2, 2, 3), "f")), dl.tensor(np.zeros((1, 2, 4), "f"))), TypeError,
     r"expected a pair of tensors \(h, c\)"),
    (lambda: nn.GRU(3, 4)(dl.tensor(np.zeros((2, 2, 3), "f")), dl.tensor(np.zeros((1, 3, 4), "f"))), ValueError,
     r"hx's h is \(1, 3, 4\); expected \(1, 2, 4\)"),
    (lambda: nn.GRUCell(3, 4)(dl.tensor(np.zeros((2, 5), "f"))), ValueError, r"expected \(B, 3\)"),
    (lambda: nn.LSTM(3, 4, proj_size=2), ValueError, "LSTM: proj_size is 2; expected 0"),
    (lambda: nn.GRU(3, 4, proj_size=2), TypeError, "proj_size"),
    (lambda: nn.GRU(3, 4)(rnn.PackedSequence(dl.zeros(5, 3), [])), ValueError, r"GRU: batch_sizes is \(0,\)"),
    (lambda: nn.GRU(3, 4)(rnn.PackedSequence(dl.zeros(5, 3), [2.9, 2.1])), TypeError,
     "GRU: batch_sizes has dtype float.*; expected integers"),
    (lambda: nn.GRU(3, 4)(rnn.PackedSequence(dl.zeros(5, 3), [2, 2])), ValueError, "GRU: batch_sizes add up to 4"),
    (lambda: nn.GRU(3, 4)(rnn.PackedSequence(np.zeros((5, 3), "f"), [3, 2])), TypeError,
     "GRU: data of the sequence is a ndarray; expected a Tensor"),
    (lambda: nn.GRU(3, 4)(dl.tensor(np.zeros((2, 2, 3)))), TypeError, "float"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "message"), BAD, ids=[m for _, _, m in BAD])
def test_errors(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_repr_shows_what_is_not_the_default():
    assert (
        repr(nn.LSTM(3, 4, num_layers=2, bidirectional=True))
        == "LSTM(3, 4, num_layers=2, bidirectional=True)"
    )
    assert repr(nn.Recurrent("additive", 3, 4)) == "Recurrent(additive, 3, 4)"
    assert repr(nn.GRUCell(3, 4, bias=False)) == "GRUCell(3, 4, bias=False)"
    assert repr(nn.LSTM(3, 4, peepholes=True, bias=False)) == "LSTM(3, 4, bias=False, peepholes=True)"
    assert repr(nn.LSTM(3, 4, coupled=True)) == "LSTM(3, 4, coupled=True)"
    assert repr(nn.GRU(3, 4, reset_after=False)) == "GRU(3, 4, reset_after=False)"
    assert repr(nn.RNN(3, 4, nonlinearity="relu")) == "RNN(3, 4, nonlinearity='relu')"
    assert repr(nn.RNNCell(3, 4, nonlinearity="relu")) == "RNNCell(3, 4, nonlinearity='relu')"
    assert repr(nn.GRUCell(3, 4, new_z=True)) == "GRUCell(3, 4, new_z=True)"
    assert repr(nn.GRUCell(3, 4, reset_after=False)) == "GRUCell(3, 4, reset_after=False)"
    assert repr(nn.RecurrentCell("additive", 3, 4)) == "RecurrentCell(additive, 3, 4)"
    assert repr(nn.LSTM(3, 4)) == "LSTM(3, 4)"


def test_new_z_is_for_grus_alone():
    for make in (
        lambda: nn.Recurrent("lstm", 3, 4, new_z=True),
        lambda: nn.RecurrentCell("tanh", 3, 4, new_z=True),
    ):
        with pytest.raises(ValueError, match=r"new_z is True but the cell is .*; expected a GRU"):
            make()
    with pytest.raises(TypeError, match="new_z"):
        nn.LSTM(3, 4, new_z=True)


def test_cells_refuse_what_is_no_tensor():
    cell = nn.LSTMCell(3, 4)
    with pytest.raises(TypeError, match="LSTMCell: input is a ndarray; expected a Tensor"):
        cell(np.zeros((2, 3), np.float32))
    h = np.zeros((2, 4), np.float32)
    with pytest.raises(TypeError, match=r"LSTMCell: hx is a tuple; expected a pair of tensors \(h, c\)"):
        cell(dl.zeros(2, 3), (h, h))
