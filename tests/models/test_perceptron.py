from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlkit import autograd
from dlkit.models import Perceptron, perceptron_loss


def textbook(x, y, outputs, epochs=1, lr=1.0):
    """The rule as the textbook writes it, one sample at a time: weights, averages, decisions."""
    w, b = np.zeros((outputs, x.shape[1])), np.zeros(outputs)
    w_sum, b_sum, said_all = np.zeros_like(w), np.zeros_like(b), []
    for _ in range(epochs):
        for sample, true in zip(x.astype(np.float64), y, strict=True):
            scores = w @ sample + b
            said = int(scores[0] > 0) if outputs == 1 else int(scores.argmax())
            said_all.append(said)
            if said != true:
                if outputs == 1:
                    w[0] += lr * (true - said) * sample
                    b[0] += lr * (true - said)
                else:
                    w[true] += lr * sample
                    b[true] += lr
                    w[said] -= lr * sample
                    b[said] -= lr
            w_sum += w
            b_sum += b
    count = epochs * len(x)
    return w, b, w_sum / count, b_sum / count, said_all


def decisions(scores):
    return [int(s[0] > 0) if len(s) == 1 else int(np.argmax(s)) for s in scores]


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(1, 200),
    features=st.integers(1, 12),
    outputs=st.sampled_from([1, 2, 3, 10]),
    seed=st.integers(0, 2**32 - 1),
)
def test_learn_makes_the_decisions_of_the_textbook_rule(samples, features, outputs, seed):
    rng = np.random.default_rng(seed)
    # Small integers: sums are exact in float32, so that ties fall the same way in both.
    x = rng.integers(-3, 4, (samples, features)).astype(np.float32)
    y = rng.integers(0, max(outputs, 2), samples)
    model = Perceptron(features, outputs, averaged=True)
    said = decisions(model.learn(x, y)) + decisions(model.learn(x, y))
    w, b, w_mean, b_mean, expected = textbook(x, y, outputs, epochs=2)
    assert said == expected
    np.testing.assert_array_equal(model.weight.data, w)
    np.testing.assert_array_equal(model.bias.data, b)
    weight, bias = model.average()
    np.testing.assert_allclose(weight, w_mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(bias, b_mean, rtol=1e-5, atol=1e-5)


def test_learn_on_real_numbers_in_float64():
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((300, 20)), rng.integers(0, 4, 300)
    model = Perceptron(20, 4, dtype=np.float64)
    said = decisions(model.learn(x, y, lr=0.5))
    w, b, _, _, expected = textbook(x, y, 4, lr=0.5)
    assert said == expected
    np.testing.assert_allclose(model.weight.data, w, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(model.bias.data, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 2])
def test_separable_samples_end_without_mistakes(outputs):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 2)).astype(np.float32)
    side = x @ np.array([1.0, 2.0], np.float32) - 0.3
    x, y = x[abs(side) > 0.2], (side[abs(side) > 0.2] > 0).astype(np.int64)
    model = Perceptron(2, outputs)
    for _ in range(100):
        before = model.weight.data.copy()
        if decisions(model.learn(x, y)) == y.tolist():
            break
    else:
        pytest.fail("no end after 100 epochs")
    np.testing.assert_array_equal(model.weight.data, before)  # no mistake, no change
    np.testing.assert_array_equal(model.predict(x), y)


def test_xor_is_never_learned():
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([0, 1, 1, 0])
    model = Perceptron(2, 1)
    for _ in range(50):
        model.learn(x, y)
        assert (model.predict(x) != y).any()


def test_evaluation_mode_predicts_with_the_average():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((100, 5)).astype(np.float32), rng.integers(0, 3, 100)
    model = Perceptron(5, 3, averaged=True)
    model.learn(x, y)
    weight, bias = model.average()
    tensor = autograd.Tensor(x)
    last = model(tensor).data
    np.testing.assert_allclose(last, x @ model.weight.data.T + model.bias.data, rtol=1e-4, atol=1e-4)
    model.eval()
    mean = model(tensor).data
    np.testing.assert_allclose(mean, x @ weight.T + bias, rtol=1e-4, atol=1e-4)
    assert abs(mean - last).max() > 1e-3
    np.testing.assert_array_equal(model.predict(x), mean.argmax(axis=1))


def test_state_dict_keeps_the_average():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((70, 5)).astype(np.float32), rng.integers(0, 3, 70)
    model, other = Perceptron(5, 3, averaged=True), Perceptron(5, 3, averaged=True)
    model.learn(x, y)
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other.average()[0], model.average()[0])
    model.learn(x, y)
    other.learn(x, y)
    np.testing.assert_array_equal(other.weight.data, model.weight.data)
    np.testing.assert_array_equal(other.average()[0], model.average()[0])


def test_names_and_shapes_are_those_of_a_linear_layer():
    state = Perceptron(7, 3).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {"weight": (3, 7), "bias": (3,)}


@pytest.mark.parametrize("outputs", [1, 3])
def test_gradient_of_the_loss_on_one_sample_is_the_rule(outputs):
    rng = np.random.default_rng(6)
    model = Perceptron(4, outputs, dtype=np.float64)
    start = rng.standard_normal((outputs, 4))
    model.weight.data[...] = start
    for _ in range(10):
        x, y = rng.standard_normal((1, 4)), rng.integers(0, max(outputs, 2), 1)
        model.weight.data[...] = start
        model.bias.data[...] = 0
        for parameter in model.parameters():
            parameter.grad = None
        perceptron_loss(model(autograd.Tensor(x)), y).backward()
        slope = np.zeros_like(start) if model.weight.grad is None else model.weight.grad.data.copy()
        model.learn(x, y)
        np.testing.assert_allclose(model.weight.data, start - slope, rtol=1e-12, atol=1e-12)


def test_loss_by_hand():
    scores = autograd.Tensor(np.array([[1.0, 3.0, 2.0], [5.0, 1.0, 0.0]], np.float32))
    assert perceptron_loss(scores, np.array([2, 0])).item() == pytest.approx(0.5)
    binary = autograd.Tensor(np.array([[2.0], [-1.0], [0.5]], np.float32))
    assert perceptron_loss(binary, np.array([0, 1, 1])).item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.zeros((3, 4)), np.zeros(3, int), ValueError, r"x is \(3, 4\), expected \(N, 5\)"),
        (np.zeros(5), np.zeros(1, int), ValueError, r"x is \(5,\), expected \(N, 5\)"),
        (np.zeros((3, 5)), np.zeros(2, int), ValueError, r"y is \(2,\), expected \(3,\)"),
        (np.zeros((3, 5)), np.zeros(3), TypeError, "dtype float64, expected integer"),
        (np.zeros((3, 5)), np.array([0, 1, 3]), ValueError, "labels lie in 0 … 3, expected 0 … 2"),
        (np.zeros((3, 5)), np.array([0, -1, 2]), ValueError, "labels lie in -1 … 2"),
        (np.full((3, 5), np.nan), np.zeros(3, int), ValueError, "NaN or infinity"),
    ],
)
def test_wrong_samples(x, y, error, message):
    model = Perceptron(5, 3)
    with pytest.raises(error, match=message):
        model.learn(x, y)
    assert not model.weight.data.any()


def test_wrong_arguments():
    with pytest.raises(ValueError, match="in_features is 0"):
        Perceptron(0, 3)
    with pytest.raises(ValueError, match="out_features is -1"):
        Perceptron(3, -1)
    with pytest.raises(ValueError, match="lr is 0"):
        Perceptron(2, 2).learn(np.zeros((1, 2)), np.zeros(1, int), lr=0)
    with pytest.raises(RuntimeError, match="averaged=True"):
        Perceptron(2, 2).average()
    with pytest.raises(RuntimeError, match="no samples"):
        Perceptron(2, 2, averaged=True).average()
    with pytest.raises(ValueError, match=r"scores is \(2, 3\) and labels \(3,\)"):
        perceptron_loss(autograd.Tensor(np.zeros((2, 3), np.float32)), np.zeros(3, int))


def test_learning_no_samples_changes_nothing():
    model = Perceptron(3, 2, averaged=True)
    assert model.learn(np.zeros((0, 3)), np.zeros(0, int)).shape == (0, 2)
    assert not model.weight.data.any()
