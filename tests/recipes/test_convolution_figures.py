from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit import nn
from dlkit.models import CNN, MLP
from dlkit.recipes.convolution_figures import feature_maps, first_filters, saliency, saliency_maps

pytest.importorskip("matplotlib")


def picture(path):
    from matplotlib.image import imread

    pixels = imread(path)[..., :3]
    assert min(pixels.shape[:2]) > 100
    return pixels


@pytest.fixture
def model():
    dl.manual_seed(0)
    return CNN(
        (1, 12, 12), filters=(70, 4), kernels=3, hidden=(9,), out_features=3, dropout=0.5, batch_norm=True
    )


def test_first_filters_shows_signs_in_two_colours(tmp_path, model):
    model[0].weight.data[0], model[0].weight.data[1] = 1, -1
    pixels = picture(first_filters(model, tmp_path / "f.png")).reshape(-1, 3)
    assert (pixels[:, 2] - pixels[:, 0] > 0.2).any()
    assert (pixels[:, 0] - pixels[:, 2] > 0.2).any()
    with pytest.raises(ValueError, match="MLP has no Conv2d"):
        first_filters(MLP(4), tmp_path / "f.png")


def test_feature_maps_has_a_row_for_each_layer(tmp_path, model):
    image = np.random.default_rng(0).random((1, 12, 12)).astype(np.float32)
    deep = picture(feature_maps(model, image, tmp_path / "deep.png"))
    shallow = picture(feature_maps(CNN((1, 12, 12), (3,), 3, hidden=()), image, tmp_path / "shallow.png"))
    assert deep.shape[0] > 1.5 * shallow.shape[0]
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_saliency_is_the_gradient_of_the_answer(model):
    x = np.random.default_rng(1).random((4, 1, 12, 12)).astype(np.float32)
    model.train()
    for parameter in model.parameters():
        parameter.grad = None
    maps, answers = saliency(model, x)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    model.eval()
    scores = model(x).data
    np.testing.assert_array_equal(answers, scores.argmax(axis=1))
    for i in range(4):
        one = dl.tensor(x[i : i + 1], requires_grad=True)
        model(one)[0, int(answers[i])].backward()
        np.testing.assert_allclose(maps[i], np.abs(one.grad.data[0, 0]), rtol=1e-4, atol=1e-7)


def test_saliency_of_a_linear_model_is_its_weights():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    maps, answers = saliency(linear, np.ones((1, 1, 3, 3), np.float32))
    np.testing.assert_allclose(maps[0].ravel(), np.abs(linear[1].weight.data[answers[0]]), rtol=1e-6)


def test_saliency_maps_draws_the_classes_that_there_are(tmp_path, model):
    x = np.random.default_rng(2).random((6, 1, 12, 12)).astype(np.float32)
    picture(
        saliency_maps(model, x, np.array([0, 2, 0, 2, 0, 0]), tmp_path / "s.png", classes=["a", "b", "c"])
    )
