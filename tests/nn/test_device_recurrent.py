"""Recurrent modules on an emulated GPU: the numbers of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.kernels.backend import to_host
from dlkit.nn.utils import rnn

MODULES = {
    "rnn": lambda: nn.RNN(4, 6, nonlinearity="relu"),
    "lstm": lambda: nn.LSTM(4, 6, num_layers=2, dropout=0.3, bidirectional=True, recurrent_dropout=0.2),
    "gru": lambda: nn.GRU(4, 6, reset_after=False, new_z=True, batch_first=True),
    "peepholes": lambda: nn.LSTM(4, 6, coupled=True, peepholes=True, bias=False),
    "layer_norm": lambda: nn.GRU(4, 6, layer_norm=True, bidirectional=True),
    "any": lambda: nn.Recurrent("input_gate", 4, 6, bidirectional=True),
}


def run(module: Any, device: str, packed: bool, arrays: list[Any]) -> dict[str, Any]:
    """Outputs of one pass, and all gradients of a sum of squares of them."""
    module.to(device)
    module.zero_grad()
    dl.manual_seed(5)
    steps, h, c = (dl.tensor(a, device=device, requires_grad=True) for a in arrays)
    states = (h, c) if module.has_c else h
    given = rnn.pack_padded_sequence(steps, [2, 4, 1], module.batch_first, False) if packed else steps
    y, last = module(given, states)
    if packed:
        y, lengths = rnn.pad_packed_sequence(y, module.batch_first, padding_value=0.5)
        np.testing.assert_array_equal(lengths, [2, 4, 1])
    ends = last if module.has_c else (last,)
    total = (y * y).sum()
    for i, end in enumerate(ends):
        total = total + (i + 2) * (end * end).sum()
    total.backward()
    inputs = {"x": steps, "h0": h, **({"c0": c} if module.has_c else {})}
    found = {"y": y, **{f"end {i}": end for i, end in enumerate(ends)}}
    values = {name: tensor.detach()._array for name, tensor in found.items()}
    values |= {f"d{name}": tensor.grad._array for name, tensor in inputs.items()}
    values |= {f"d{name}": p.grad._array for name, p in module.named_parameters()}
    assert all(
        dl.tensor(value).device == (device if device == "cpu" else "simt") for value in values.values()
    )
    return {name: to_host(value) for name, value in values.items()}


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("name", MODULES)
def test_modules(simt: Any, name: str, packed: bool, rng: np.random.Generator) -> None:
    module = MODULES[name]()
    layers = module.num_layers * module.directions
    shapes = (3, 4, 4) if module.batch_first else (4, 3, 4), (layers, 3, 6), (layers, 3, 6)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    expected, found = (run(module, device, packed, arrays) for device in ("cpu", "simt"))
    assert list(expected) == list(found)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_both_directions_of_a_module_are_one_launch(simt: Any, kind: Any) -> None:
    from dlkit import _simt

    module = kind(4, 128, bidirectional=True).to("simt")
    before = _simt.get_mode()
    _simt.set_mode("both")
    _simt.reset_counters()
    try:
        y, _ = module(dl.zeros(2, 2, 4, device="simt"))
        y.sum().backward()
        names = [launch["kernel"] for launch in _simt.counters()]
    finally:
        _simt.set_mode(before)
        _simt.reset_counters()
    assert names.count("persistent") == names.count("persistent backward") == 1


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cells(simt: Any, kind: Any, rng: np.random.Generator) -> None:
    cell = kind(3, 5)
    x = rng.standard_normal((2, 3)).astype(np.float32)
    results = []
    for device in ("cpu", "simt"):
        cell.to(device)
        state = None
        for _ in range(3):
            state = cell(dl.tensor(x, device=device), state)
        results.append(state[1] if isinstance(state, tuple) else state)
    np.testing.assert_allclose(results[1].cpu().detach().numpy(), results[0].detach().numpy(), rtol=1e-5)


def test_a_second_backward_pass(simt: Any, rng: np.random.Generator) -> None:
    layer = nn.GRU(3, 4).to("simt")
    x = dl.tensor(rng.standard_normal((3, 2, 3)).astype(np.float32), device="simt")
    loss = layer(x)[0].sum()
    loss.backward(retain_graph=True)
    once = to_host(layer.weight_hh_l0.grad._array)
    loss.backward()
    np.testing.assert_allclose(to_host(layer.weight_hh_l0.grad._array), 2 * once, rtol=1e-6)
