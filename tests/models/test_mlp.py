from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import dlkit
from dlkit import autograd, nn
from dlkit.models import MLP
from dlkit.models.mlp import ACTIVATIONS

TORCH_NAMES = {
    "relu": "ReLU",
    "leaky-relu": "LeakyReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softplus": "Softplus",
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (7,), (9, 5)])
def test_computes_what_the_same_layers_in_torch_compute(activation, hidden, torch):
    model = MLP(6, hidden, 4, activation=activation, dropout=0.3).eval()
    layers: list = []
    sizes = [6, *hidden, 4]
    for before, after in pairwise(sizes[:-1]):
        layers += [
            torch.nn.Linear(before, after),
            getattr(torch.nn, TORCH_NAMES[activation])(),
            torch.nn.Dropout(0.3),
        ]
    theirs = torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-2], 4)).eval()
    theirs.load_state_dict({n: torch.from_numpy(np.array(v.data)) for n, v in model.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(model(autograd.Tensor(x)).data, expected, rtol=1e-5, atol=1e-6)


def test_same_seed_same_weights():
    def weights(seed):
        dlkit.kernels.manual_seed(seed)
        return np.concatenate([p.data.ravel() for p in MLP(5, (6,), 3).parameters()])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert (weights(1) != weights(2)).any()


def test_layers():
    model = MLP(8, (5, 4), 3, activation="tanh", dropout=0.5, input_dropout=0.1)
    kinds = [type(layer) for layer in model]
    assert kinds == [
        nn.Dropout, nn.Linear, nn.Tanh, nn.Dropout, nn.Linear, nn.Tanh, nn.Dropout, nn.Linear,
    ]  # fmt: skip
    assert sum(p.data.size for p in model.parameters()) == 8 * 5 + 5 + 5 * 4 + 4 + 4 * 3 + 3


def test_dropout_works_in_training_alone():
    model = MLP(8, (50,), 3, dropout=0.5)
    x = autograd.Tensor(np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32))
    model.train()
    assert (model(x).data != model(x).data).any()
    model.eval()
    np.testing.assert_array_equal(model(x).data, model(x).data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 0}, "sizes are"),
        ({"hidden": (5, 0)}, "sizes are"),
        ({"hidden": (5.5,)}, "sizes are"),
        ({"dropout": 1.0}, "dropout is 1.0, expected a probability"),
        ({"input_dropout": -0.1}, "input_dropout is -0.1"),
        ({"activation": "rleu"}, r"activation is 'rleu', expected one of relu, .* \(did you mean 'relu'\?\)"),
        ({"activation": 7}, "activation is 7"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLP(**{"in_features": 4, "out_features": 2, **arguments})
