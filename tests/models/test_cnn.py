from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.autograd import gradcheck
from dlkit.models import CNN
from dlkit.models.cnn import count_weights, stages

SMALL = {
    "input_shape": (1, 10, 9),
    "filters": (3, 4),
    "kernels": 3,
    "pools": (2, 1),
    "hidden": (7,),
    "out_features": 5,
}


def kinds(model):
    return [type(module).__name__ for module in model.children()]


def test_layers_in_order():
    assert kinds(CNN(**SMALL)) == [
        *("Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "Flatten", "Linear", "ReLU", "Linear")
    ]
    full = CNN(**SMALL, batch_norm=True, dropout=0.5, conv_dropout=0.1, input_dropout=0.2, activation="tanh")
    assert kinds(full) == [
        *("Dropout", "Conv2d", "BatchNorm2d", "Tanh", "MaxPool2d", "Dropout"),
        *("Conv2d", "BatchNorm2d", "Tanh", "Dropout"),
        *("Flatten", "Linear", "BatchNorm1d", "Tanh", "Dropout", "Linear"),
    ]
    assert full[1].bias is None


def test_images_as_they_are_or_flat(rng):
    model = CNN(**SMALL)
    x = rng.random((6, 1, 10, 9), dtype=np.float32)
    out = model(dl.Tensor(x))
    assert out.shape == (6, 5)
    np.testing.assert_array_equal(model(x.reshape(6, 90)).data, out.data)


@pytest.mark.parametrize("shape", [(6, 91), (6, 1, 9, 10), (6, 10, 9), (6, 2, 10, 9), (90,)])
def test_images_of_another_size_are_an_error(shape):
    with pytest.raises(ValueError, match=r"CNN: x is \(.*\), expected \(N, 1, 10, 9\) or \(N, 90\)"):
        CNN(**SMALL)(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation": "maxout", "pieces": 2},
        {"batch_norm": True, "padding": "same"},
        {"pooling": "avg"},
        {"activation": "tanh", "filters": (2,), "pools": 3},
    ],
)
def test_gradients(settings):
    # One point, always the same: at others, now and then, a difference steps over a kink of ReLU or of a maximum.
    dl.manual_seed(0)
    rng = np.random.default_rng(0)
    model = CNN(**{**SMALL, **settings}, dtype=np.float64)
    x = rng.standard_normal((4, 90))
    labels = rng.integers(0, 5, 4)
    parameters = list(model.parameters())
    gradcheck(lambda *_: nn.functional.cross_entropy(model(x), labels), parameters)


def test_state_dict_is_that_of_pytorch(rng, torch):
    model = CNN((1, 28, 28), filters=(6, 16), kernels=5, hidden=(120, 84), dropout=0.3).eval()
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 5),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(6, 16, 5),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(256, 120),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(120, 84),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(84, 10),
    ).eval()
    theirs.load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in model.state_dict().items()}
    )
    x = rng.random((5, 1, 28, 28), dtype=np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model(x).data, expected, rtol=1e-4, atol=1e-5)


def test_save_and_load(tmp_path, rng):
    model = CNN(**SMALL, batch_norm=True).eval()
    nn.save_safetensors(model, tmp_path / "cnn.safetensors")
    again = CNN(**SMALL, batch_norm=True).eval()
    again.load_state_dict(nn.load_safetensors(tmp_path / "cnn.safetensors"))
    x = rng.random((3, 90), dtype=np.float32)
    np.testing.assert_array_equal(model(x).data, again(x).data)


def test_what_stages_make_of_an_image():
    plan = stages((1, 28, 28), (32, 32, 64, 64, 128), 3, (1, 2, 1, 2, 1))
    assert [(s.channels, s.filters, s.rows, s.columns) for s in plan] == [
        (1, 32, 26, 26),
        (32, 32, 12, 12),
        (32, 64, 10, 10),
        (64, 64, 4, 4),
        (64, 128, 2, 2),
    ]
    same = stages((1, 8, 8), (24, 48), (3,), 2, "same")
    assert [(s.rows, s.columns) for s in same] == [(4, 4), (2, 2)]


@pytest.mark.parametrize(
    "settings", [{}, {"activation": "maxout", "pieces": 3}, {"filters": (), "hidden": ()}]
)
def test_count_weights(settings):
    arguments = {**SMALL, **settings}
    arguments["pools"] = 1
    weights = sum(p.numel() for name, p in CNN(**arguments).named_parameters() if name.endswith("weight"))
    assert count_weights(**arguments) == weights


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filters": (3, 0)}, "filters is 3, 0, expected integers of at least 1"),
        ({"filters": (3, 2.5)}, "filters is 3, 2.5"),
        ({"hidden": (True,)}, "hidden is True"),
        ({"kernels": (3, 3, 3)}, "kernels is 3, 3, 3 but there are 2 stages"),
        (
            {"kernels": 11},
            r"kernels is 11, 11, but the feature maps before stage 1 are 10x9: expected at most 9",
        ),
        ({"pools": (2, 2)}, None),
        ({"pools": (4, 2)}, r"kernels is 3, 3, but the feature maps before stage 2 are 2x1"),
        ({"pools": (2, 3)}, r"pools is 2, 3, but the feature maps of stage 2 are 2x1: expected at most 1"),
        ({"input_shape": (10, 9)}, r"input_shape is \(10, 9\), expected \(channels, rows, columns\)"),
        ({"activation": "rellu"}, r"activation is 'rellu', expected one of .* \(did you mean 'relu'\?\)"),
        (
            {"pooling": "mac"},
            r"pooling is 'mac', expected one of max, avg, stochastic \(did you mean 'max'\?\)",
        ),
        ({"padding": "sane"}, r"padding is 'sane', .*'same'"),
        ({"dropout": 1.0}, "dropout is 1.0, expected a probability from 0 to below 1"),
        ({"pieces": 0}, "pieces is 0"),
        ({"out_features": 0}, "out_features is 0"),
    ],
)
def test_wrong_arguments(settings, message):
    if message is None:
        with pytest.raises(ValueError, match="pools is 2, 2"):
            CNN(**{**SMALL, **settings})
        return
    with pytest.raises(ValueError, match=message):
        CNN(**{**SMALL, **settings})
