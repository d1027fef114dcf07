from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl
from dlkit.autograd import gradcheck
from dlkit.data import pad_sentences
from dlkit.models import TextCNN


def small(**changes):
    dl.manual_seed(0)
    settings = {"words": 20, "classes": 3, "dimensions": 6, "filters": 4, "dtype": np.float64, **changes}
    return TextCNN(**settings)


def sentences():
    return [np.array([5, 6, 7]), np.array([], np.int64), np.array([1, 1]), np.arange(2, 19)]


def test_against_pytorch(torch):
    model = small(activation="tanh").eval()
    x = np.random.default_rng(0).integers(0, 20, (5, 12))
    weights = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    vectors = torch.nn.functional.embedding(torch.from_numpy(x), weights["embedding.weight"]).transpose(1, 2)
    parts = [
        torch.nn.functional.conv1d(vectors, weights[f"convs.{i}.weight"], weights[f"convs.{i}.bias"])
        .tanh()
        .max(2)[0]
        for i in range(3)
    ]
    expected = torch.nn.functional.linear(
        torch.cat(parts, 1), weights["output.weight"], weights["output.bias"]
    )
    np.testing.assert_allclose(model(x).numpy(), expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("mode", ["random", "static", "non-static", "multichannel"])
def test_gradients_go_where_the_mode_says(mode, k):
    model = small(mode=mode, k=k, dropout=0)
    x = pad_sentences(sentences()[:1] + sentences()[3:], model.before, model.after)
    learning = [p for p in model.parameters() if p.requires_grad]
    assert (model.embedding.weight in set(learning)) == (mode != "static")
    assert gradcheck(lambda *_: model(x).tanh(), [p for p in learning if p is not model.embedding.weight])
    model(x).sum().backward()
    gradient = model.embedding.weight.grad
    if mode == "static":
        assert gradient is None
    else:
        assert not gradient.numpy()[0].any()
        assert gradient.numpy()[5].any()


@pytest.mark.parametrize("k", [1, 2])
def test_scores_do_not_depend_on_the_batch(k):
    model = small(k=k).eval()
    together = model(pad_sentences(sentences(), model.before, model.after)).numpy()
    for row, sentence in enumerate(sentences()):
        alone = model(pad_sentences([sentence], model.before, model.after)).numpy()
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-12)
        wide = np.pad(pad_sentences([sentence], model.before, model.after), ((0, 0), (0, 40)))
        np.testing.assert_array_equal(model(wide).numpy(), alone)


def test_short_empty_and_unknown_sentences_have_scores():
    model = small().eval()
    for x in (np.array([[3]]), np.zeros((2, 0), np.int64), np.ones((1, 2), np.int64)):
        scores = model(x).numpy()
        assert scores.shape == (len(x), 3)
        assert np.isfinite(scores).all()
    # Too few places are filled up with padding.
    np.testing.assert_array_equal(model(np.array([[3]])).numpy(), model(np.array([[3, 0, 0, 0, 0]])).numpy())


def test_k_max_keeps_the_order_of_the_answers():
    model = small(regions=(1,), filters=1, k=2, activation="identity", classes=2).eval()
    model.convs[0].weight.data[...] = 0
    model.convs[0].weight.data[0, 0, 0] = 1
    model.convs[0].bias.data[...] = 0
    model.embedding.weight.data[2:6, 0] = [1, 5, -2, 3]
    vectors = model.embed(np.array([[2, 3, 4, 5]]))
    np.testing.assert_array_equal(model.pooled(vectors).numpy(), [[5, 3]])


def test_constrain_shortens_long_rows_alone():
    model = small(max_norm=3.0)
    model.output.weight.data[0] = 10.0
    before = model.output.weight.data.copy()
    model.constrain()
    after = model.output.weight.data
    assert np.linalg.norm(after[0]) == pytest.approx(3)
    np.testing.assert_array_equal(after[1:], before[1:])
    free = small(max_norm=0)
    free.output.weight.data[0] = 10.0
    free.constrain()
    assert (free.output.weight.data[0] == 10).all()


def test_vectors_of_ones_own():
    model = small(mode="multichannel")
    table = np.arange(120.0).reshape(20, 6)
    model.set_vectors(table)
    np.testing.assert_array_equal(model.embedding.weight.data[1:], table[1:])
    np.testing.assert_array_equal(model.fixed.weight.data[1:], table[1:])
    assert not model.embedding.weight.data[0].any()
    with pytest.raises(ValueError, match=r"table is \(3, 6\), expected \(20, 6\)"):
        model.set_vectors(table[:3])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"words": 1}, "words is 1"),
        ({"filters": 0}, "filters is 0"),
        ({"regions": ()}, "regions is empty"),
        ({"regions": (3, 0)}, "regions is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"max_norm": -1.0}, "max_norm is -1.0"),
        ({"activation": "rleu"}, r"activation is 'rleu'.*did you mean 'relu'"),
        ({"mode": "statc"}, r"mode is 'statc'.*did you mean 'static'"),
    ],
)
def test_wrong_settings(changes, text):
    with pytest.raises(ValueError, match=f"TextCNN: {text}"):
        small(**changes)


def test_wrong_inputs():
    model = small()
    with pytest.raises(ValueError, match=r"x is \(3,\), expected \(N, places\)"):
        model(np.array([1, 2, 3]))
    with pytest.raises(IndexError, match="20"):
        model(np.array([[20, 1, 2, 3, 4]]))
    with pytest.raises(TypeError, match="integers"):
        model(np.ones((1, 6)))
