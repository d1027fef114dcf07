"""LayerNorm, BatchNorm1d and BatchNorm2d: parameters, buffers, modes, and that state dicts travel."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn, optim

_BATCH_NORMS = [(nn.BatchNorm1d, (8, 5)), (nn.BatchNorm1d, (4, 5, 7)), (nn.BatchNorm2d, (3, 5, 4, 6))]


def _state(module: Any) -> Any:
    return {name: (array.shape, array.dtype.name) for name, array in module.state_dict().items()}


class TestLayerNorm:
    def test_parameters(self, dtype: Any) -> None:
        layer = nn.LayerNorm((3, 4), dtype=dtype)
        name = np.dtype(dtype).name
        assert _state(layer) == {"weight": ((3, 4), name), "bias": ((3, 4), name)}
        assert (layer.weight.data == 1).all()
        assert (layer.bias.data == 0).all()
        assert layer(np.zeros((2, 3, 4), dtype)).shape == (2, 3, 4)
        assert list(nn.LayerNorm(3, bias=False).state_dict()) == ["weight"]
        assert list(nn.LayerNorm(3, elementwise_affine=False).state_dict()) == []
        assert repr(nn.LayerNorm(3)) == "LayerNorm((3,), eps=1e-05, elementwise_affine=True)"

    @pytest.mark.parametrize("settings", [{}, {"bias": False}, {"elementwise_affine": False}, {"eps": 0.1}])
    def test_as_in_pytorch(self, settings: Any, torch: Any, rng: np.random.Generator) -> None:
        theirs, ours = torch.nn.LayerNorm((5, 6), **settings), nn.LayerNorm((5, 6), **settings)
        assert repr(ours).split("elementwise")[0] == repr(theirs).split("elementwise")[0]
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.normal_()
        ours.load_state_dict(theirs.state_dict())
        _compare(ours, theirs, (4, 5, 6), torch, rng)

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"LayerNorm: normalized_shape is \(0,\)"):
            nn.LayerNorm(0)
        with pytest.raises(TypeError, match=r"LayerNorm: normalized_shape is 2\.5"):
            nn.LayerNorm(2.5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="LayerNorm: eps is -1; expected 0 or more"):
            nn.LayerNorm(3, eps=-1)
        with pytest.raises(TypeError, match="LayerNorm: dtype is int64"):
            nn.LayerNorm(3, dtype=np.int64)


def _compare(ours: Any, theirs: Any, shape: tuple[int, ...], torch: Any, rng: np.random.Generator) -> None:
    x, grad = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    mine, leaf = dl.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    out, expected = ours(mine), theirs(leaf)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), atol=2e-5)
    out.backward(grad)
    expected.backward(torch.tensor(grad))
    np.testing.assert_allclose(mine.grad.data, leaf.grad.numpy(), atol=5e-5)
    gradients = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    assert list(gradients) == [name for name, _ in ours.named_parameters()]
    for name, parameter in ours.named_parameters():
        np.testing.assert_allclose(parameter.grad.data, gradients[name], atol=5e-5)
    for name, array in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], array.numpy(), atol=1e-5)


class TestBatchNorm:
    @pytest.mark.parametrize(("kind", "shape"), _BATCH_NORMS)
    def test_state(self, kind: Any, shape: tuple[int, ...], dtype: Any) -> None:
        layer = kind(5, dtype=dtype)
        name = np.dtype(dtype).name
        vector = ((5,), name)
        assert _state(layer) == {
            "weight": vector,
            "bias": vector,
            "running_mean": vector,
            "running_var": vector,
            "num_batches_tracked": ((), "int64"),
        }
        assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
        assert layer(np.ones(shape, dtype)).dtype == dtype
        assert layer.num_batches_tracked.item() == 1
        assert list(kind(5, affine=False).state_dict()) == [
            "running_mean",
            "running_var",
            "num_batches_tracked",
        ]
        assert list(kind(5, track_running_stats=False).state_dict()) == ["weight", "bias"]

    @pytest.mark.parametrize(("kind", "shape"), _BATCH_NORMS)
    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"momentum": None},
            {"momentum": 0.4, "eps": 0.1},
            {"affine": False},
            {"track_running_stats": False},
        ],
        ids=str,
    )
    def test_as_in_pytorch(
        self, kind: Any, shape: tuple[int, ...], settings: Any, torch: Any, rng: np.random.Generator
    ) -> None:
        theirs, ours = getattr(torch.nn, kind.__name__)(5, **settings), kind(5, **settings)
        assert repr(ours) == re.sub(", bias=[TF][a-z]+", "", repr(theirs))
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.normal_()
        ours.load_state_dict(theirs.state_dict())
        for _ in range(3):
            ours.zero_grad()
            theirs.zero_grad()
            _compare(ours, theirs, shape, torch, rng)
        ours.eval()
        theirs.eval()
        ours.zero_grad()
        theirs.zero_grad()
        _compare(ours, theirs, shape, torch, rng)
        theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})

    def test_modes(self, rng: np.random.Generator) -> None:
        layer = nn.BatchNorm1d(4, momentum=1.0)
        x = rng.standard_normal((50, 4), dtype=np.float32) * 3 + 2
        out = layer(x).data
        np.testing.assert_allclose(out.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(out.var(0), 1, atol=1e-4)
        layer.eval()
        before = copy.deepcopy(layer.state_dict())
        np.testing.assert_allclose(layer(x).data, out * np.sqrt(49 / 50), atol=1e-4)
        assert layer(x[:1]).shape == (1, 4)
        for name, array in layer.state_dict().items():
            np.testing.assert_array_equal(array, before[name])
        without = nn.BatchNorm1d(4, track_running_stats=False).eval()
        np.testing.assert_array_equal(without(x).data, out)

    def test_an_error_changes_nothing(self) -> None:
        layer = nn.BatchNorm1d(4)
        with pytest.raises(
            ValueError, match="one value for each channel; expected more than one in training"
        ):
            layer(np.zeros((1, 4), np.float32))
        assert layer.num_batches_tracked.item() == 0
        assert (layer.running_mean.data == 0).all()

    def test_it_travels(self, tmp_path: Path, rng: np.random.Generator) -> None:
        layer = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
        layer(rng.standard_normal((9, 3), dtype=np.float32))
        nn.save_safetensors(layer, tmp_path / "a.safetensors")
        loaded = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
        loaded.load_state_dict(nn.load_safetensors(tmp_path / "a.safetensors"))
        for other in (loaded, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            for name, array in layer.state_dict().items():
                np.testing.assert_array_equal(other.state_dict()[name], array)
        layer.double()
        assert layer.state_dict()["1.running_var"].dtype == np.float64
        assert layer.state_dict()["1.num_batches_tracked"].dtype == np.int64
        layer(rng.standard_normal((9, 3)))

    def test_reset(self, rng: np.random.Generator) -> None:
        layer = nn.BatchNorm2d(2)
        fresh = copy.deepcopy(layer.state_dict())
        layer(rng.standard_normal((4, 2, 3, 3), dtype=np.float32))
        nn.init.normal_(layer.weight)
        layer.reset_parameters()
        for name, array in layer.state_dict().items():
            np.testing.assert_array_equal(array, fresh[name])

    def test_it_trains(self, rng: np.random.Generator) -> None:
        x = rng.standard_normal((64, 6), dtype=np.float32) * [1, 10, 100, 1, 1, 1] + 5
        y = (x[:, :1] - 5) * (x[:, 1:2] - 5) > 0
        model = nn.Sequential(
            nn.BatchNorm1d(6), nn.Linear(6, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Linear(32, 1)
        )
        optimizer = optim.Adam(model.parameters(), lr=0.02)
        losses = []
        for _ in range(80):
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(
                model(x.astype(np.float32)), y.astype(np.float32)
            )
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.2 * losses[0]

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"BatchNorm1d: x is \(2, 3\); expected \(N, 4\) or \(N, 4, L\)"):
            nn.BatchNorm1d(4)(np.zeros((2, 3), np.float32))
        with pytest.raises(ValueError, match=r"BatchNorm1d: x is \(2, 4, 1, 1\)"):
            nn.BatchNorm1d(4)(np.zeros((2, 4, 1, 1), np.float32))
        with pytest.raises(ValueError, match=r"BatchNorm2d: x is \(2, 4\); expected \(N, 4, H, W\)"):
            nn.BatchNorm2d(4)(np.zeros((2, 4), np.float32))
        with pytest.raises(ValueError, match="BatchNorm2d: num_features is 0"):
            nn.BatchNorm2d(0)
        with pytest.raises(ValueError, match=r"BatchNorm1d: momentum is -0\.1"):
            nn.BatchNorm1d(4, momentum=-0.1)
        with pytest.raises(TypeError, match="BatchNorm1d: eps is a str"):
            nn.BatchNorm1d(4, eps="a")  # type: ignore[arg-type]
