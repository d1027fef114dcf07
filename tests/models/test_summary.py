from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
import dlkit.kernels as K
from dlkit import nn
from dlkit.models import CNN, MLP, summary

#: A shape that each layer takes; those of `Sequential` and the like are no layers of their own.
SHAPES = {
    nn.Linear: lambda: (nn.Linear(6, 4), (3, 6)),
    nn.Conv2d: lambda: (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 9, 8)),
    nn.Conv1d: lambda: (nn.Conv1d(4, 6, 3, dilation=2, bias=False), (2, 4, 9)),
    nn.BatchNorm1d: lambda: (nn.BatchNorm1d(5), (3, 5)),
    nn.BatchNorm2d: lambda: (nn.BatchNorm2d(5), (3, 5, 2, 2)),
    nn.LayerNorm: lambda: (nn.LayerNorm(5), (3, 5)),
    nn.Embedding: lambda: (nn.Embedding(7, 3), (np.array([[1, 2], [0, 6]]),)),
    nn.Maxout: lambda: (nn.Maxout(3), (2, 6, 5, 5)),
    nn.MaxOverTime: lambda: (nn.MaxOverTime(), (2, 3, 8)),
    nn.RNN: lambda: (nn.RNN(3, 5), (4, 2, 3)),
    nn.LSTM: lambda: (nn.LSTM(3, 5, num_layers=2, bidirectional=True, peepholes=True), (4, 2, 3)),
    nn.GRU: lambda: (nn.GRU(3, 5, bias=False), (4, 2, 3)),
    nn.Recurrent: lambda: (nn.Recurrent("additive", 3, 5), (4, 2, 3)),
    nn.RNNCell: lambda: (nn.RNNCell(3, 5), (2, 3)),
    nn.LSTMCell: lambda: (nn.LSTMCell(3, 5), (2, 3)),
    nn.GRUCell: lambda: (nn.GRUCell(3, 5), (2, 3)),
    nn.CRF: lambda: (nn.CRF(4), (dl.zeros(3, 2, 4), np.array([[1, 0], [3, 2], [0, 0]]))),
    nn.SampledSoftmaxLoss: lambda: (
        nn.SampledSoftmaxLoss(6, 9, 4),
        (np.zeros((3, 6), np.float32), np.array([0, 8, 2])),
    ),
    nn.RecurrentCell: lambda: (nn.RecurrentCell("relu", 3, 5), (2, 3)),
}
_NOT_LAYERS = {
    nn.Module,
    nn.ModuleList,
    nn.Sequential,
    nn.AdaptiveLogSoftmaxWithLoss,
    nn.TiedAdaptiveLogSoftmaxWithLoss,
}
_LAYERS = [
    kind
    for name in nn.__all__
    if isinstance(kind := getattr(nn, name), type) and issubclass(kind, nn.Module) and kind not in _NOT_LAYERS
]


def made(kind):
    """A layer of the kind, and something that it takes."""
    if kind in SHAPES:
        return SHAPES[kind]()
    if "Loss" in kind.__name__:
        target = {
            "CrossEntropyLoss": np.array([0, 2]),
            "NLLLoss": np.array([0, 2]),
            "MultiMarginLoss": np.array([0, 2]),
            "HingeLoss": np.ones((2, 3), np.float32),
        }.get(kind.__name__, np.full((2, 3), 0.5, np.float32))
        return kind(), (np.full((2, 3), 0.25, np.float32), target)
    if "Pool" in kind.__name__:
        shape = (2, 3, 8) if "1d" in kind.__name__ else (2, 3, 8, 8)
        for arguments in ((2,), ()):
            try:
                return kind(*arguments), shape
            except TypeError:
                continue
    return kind(), (2, 3)


@pytest.mark.parametrize("kind", _LAYERS, ids=lambda kind: kind.__name__)
def test_every_layer_is_known(kind):
    module, given = made(kind)
    found = summary(module, given)
    assert len(found) == 1
    layer = found.layers[0]
    assert layer.flops is not None, f"summary does not know {kind.__name__}"
    assert layer.flops >= 0
    assert layer.parameters == sum(p.numel() for p in module.parameters())
    arguments = given if any(isinstance(a, np.ndarray) for a in given) else (np.zeros(given, np.float32),)
    made_of_it = module.eval()(*map(dl.Tensor, arguments))
    assert layer.output_shape == (made_of_it[0] if isinstance(made_of_it, tuple) else made_of_it).shape


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_operations_of_recurrent_layers_are_those_that_the_kernels_count(kind):
    layer = kind(6, 9, num_layers=2, bidirectional=True, bias=False)
    K.reset_counters()
    layer(dl.Tensor(np.zeros((4, 3, 6), np.float32)))
    gates = layer.weight_hh_l0.shape[0] // 9
    elementwise = 4 * 3 * 2 * 2 * 6 * gates * 9
    counted = K.counters()["flops"]
    assert summary(layer, (4, 3, 6)).flops == counted + elementwise


def test_operations_of_products_are_those_that_the_kernels_count():
    model = CNN((1, 12, 12), filters=(3,), kernels=3, pools=1, hidden=(7,), out_features=4)
    found = summary(model, (5, 144))
    K.reset_counters()
    model.eval()(np.zeros((5, 144), np.float32))
    counted = K.counters()["flops"]
    # The kernels count products, not the additions of biases and the activations.
    biases = 5 * (3 * 10 * 10 + 7 + 4)
    elementwise = 5 * (3 * 10 * 10 + 7)
    assert found.flops == counted + biases + elementwise


def test_shapes_parameters_and_bytes():
    found = summary(MLP(784, (100,), 10, dropout=0.5), (1, 784))
    assert [layer.name for layer in found] == ["0", "1", "2", "3"]
    assert [layer.output_shape for layer in found] == [(1, 100)] * 3 + [(1, 10)]
    assert [layer.parameters for layer in found] == [78500, 0, 0, 1010]
    assert found.parameters == 79510
    assert found.layers[0].flops == 2 * 784 * 100 + 100
    assert found.layers[0].bytes == 4 * (784 + 78500 + 100)
    assert found.layers[2].bytes == 0
    assert found.bytes == sum(layer.bytes for layer in found)


def test_the_table():
    text = str(summary(MLP(784, (100,), 10), (1, 784)))
    lines = text.splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters", "FLOPs", "bytes"]
    assert lines[2].split()[0] == "0"
    assert "Linear(in_features=784, out_features=100, bias=True)" in lines[2]
    assert lines[2].split()[-4:] == ["1×100", "78,500", "156,900", "317,536"]
    assert lines[-1].split() == ["total", "79,510", "159,010", "322,816"]


class Twice(nn.Module):
    """A layer used twice, and one of somebody's own."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.own = Own()

    def forward(self, x):
        return self.own(self.shared(self.shared(x)))


class Own(nn.Module):
    def forward(self, x):
        return x * 2


def test_shared_layers_count_their_parameters_once_and_unknown_ones_say_so():
    found = summary(Twice(), (3, 4))
    assert [layer.name for layer in found] == ["shared", "shared", "own"]
    assert [layer.parameters for layer in found] == [20, 0, 0]
    assert found.layers[2].flops is None
    assert found.flops == 2 * 3 * 4 * 9
    assert "?" in str(found)
    assert str(found).splitlines()[-1].startswith("?: a layer of your own")


def test_the_model_is_as_before():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    model[2].eval()
    dl.manual_seed(3)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    state = K.random.get_state()
    summary(model, (4, 3))
    assert [module.training for module in model.modules()] == [True, True, True, False]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert not any(module._forward_hooks for module in model.modules())
    after = K.random.get_state()
    assert repr(after) == repr(state)
    with pytest.raises(ValueError, match="linear"):
        summary(model, (4, 5))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_float64_and_several_inputs():
    class Add(nn.Module):
        def forward(self, a, b):
            return a + b

    found = summary(Add(), (np.zeros((2, 3)), np.zeros((2, 3))))
    assert found.layers[0].bytes == 3 * 6 * 8
    wide = summary(nn.Linear(3, 2, dtype=np.float64), (1, 3))
    assert wide.layers[0].bytes == 8 * (3 + 8 + 2)


def test_no_module():
    with pytest.raises(TypeError, match=r"summary: model is a function, expected a dlkit\.nn\.Module"):
        summary(lambda x: x, (1, 2))
