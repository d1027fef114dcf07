"""The Embedding layer: its table, how it begins, how it travels."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn, optim


def test_table(dtype: Any) -> None:
    layer = nn.Embedding(10, 3, dtype=dtype)
    assert {name: p.shape for name, p in layer.named_parameters()} == {"weight": (10, 3)}
    assert layer.weight.dtype == dtype
    assert layer(np.zeros((2, 5), np.int32)).shape == (2, 5, 3)
    assert repr(layer) == "Embedding(10, 3)"
    assert repr(nn.Embedding(10, 3, -1)) == "Embedding(10, 3, padding_idx=9)"


def test_it_begins_normally() -> None:
    values = nn.Embedding(400, 300, padding_idx=2).weight.data
    assert (values[2] == 0).all()
    rest = np.delete(values, 2, axis=0)
    assert abs(rest.mean()) < 5 / np.sqrt(rest.size)
    assert abs(rest.std() - 1) < 5 / np.sqrt(2 * rest.size)


def test_seed() -> None:
    def values(seed: int) -> Any:
        dl.manual_seed(seed)
        return nn.Embedding(6, 5).weight.data

    np.testing.assert_array_equal(values(1), values(1))
    assert (values(1) != values(2)).any()


def test_the_padding_row_stays_in_training() -> None:
    layer = nn.Embedding(6, 4, padding_idx=0)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    before = layer.weight.data.copy()
    for _ in range(3):
        optimizer.zero_grad()
        (layer([[0, 1, 2], [0, 0, 5]]) ** 2).sum().backward()
        optimizer.step()
    changed = (layer.weight.data != before).any(axis=1)
    assert changed.tolist() == [False, True, True, False, False, True]


def test_from_pretrained(dtype: Any, rng: np.random.Generator) -> None:
    table = rng.standard_normal((5, 3)).astype(dtype)
    layer = nn.Embedding.from_pretrained(table)
    assert layer.weight.dtype == dtype
    assert not layer.weight.requires_grad
    np.testing.assert_array_equal(layer.weight.data, table)
    table[0] = 9
    assert (layer.weight.data[0] != 9).all()
    trained = nn.Embedding.from_pretrained(dl.tensor(table), freeze=False, padding_idx=1)
    assert trained.weight.requires_grad
    np.testing.assert_array_equal(trained.weight.data, table)  # the padding row too
    with pytest.raises(ValueError, match=r"embeddings is \(3,\); expected \(num_embeddings, embedding_dim\)"):
        nn.Embedding.from_pretrained(table[0])


def test_it_travels(tmp_path: Path) -> None:
    layer = nn.Embedding(5, 3)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other.weight.data, layer.weight.data)
    nn.save_safetensors(layer, tmp_path / "a.safetensors")
    other = nn.Embedding(5, 3)
    other.load_state_dict(nn.load_safetensors(tmp_path / "a.safetensors"))
    np.testing.assert_array_equal(other.weight.data, layer.weight.data)


def test_as_in_pytorch(torch: Any, rng: np.random.Generator) -> None:
    theirs = torch.nn.Embedding(9, 4, padding_idx=-3)
    ours = nn.Embedding(9, 4, padding_idx=-3)
    assert ours.padding_idx == theirs.padding_idx == 6
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    indices = rng.integers(0, 9, (6, 5))
    grad = rng.standard_normal((6, 5, 4)).astype(np.float32)
    out, expected = ours(indices), theirs(torch.tensor(indices))
    np.testing.assert_array_equal(out.data, expected.detach().numpy())
    out.backward(grad)
    expected.backward(torch.tensor(grad))
    np.testing.assert_allclose(ours.weight.grad.data, theirs.weight.grad.numpy(), atol=1e-6)
    theirs.load_state_dict(
        {name: torch.tensor(array) for name, array in nn.Embedding(9, 4).state_dict().items()}
    )


def test_errors() -> None:
    with pytest.raises(ValueError, match="Embedding: num_embeddings is 0; expected at least 1"):
        nn.Embedding(0, 3)
    with pytest.raises(TypeError, match="Embedding: embedding_dim is a float"):
        nn.Embedding(3, 2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Embedding: padding_idx is 3; expected -3 to 2"):
        nn.Embedding(3, 2, 3)
    with pytest.raises(TypeError, match="Embedding: dtype is int64"):
        nn.Embedding(3, 2, dtype=np.int64)
