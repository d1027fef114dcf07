from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import dlkit as dl

INDICES = {
    "integer": 1,
    "last": -1,
    "integers": (1, 2),
    "slice": slice(1, None),
    "step": (slice(None), slice(None, None, 2)),
    "backwards": (slice(None, None, -1),),
    "none": (None, 1),
    "ellipsis": (..., 1),
    "empty slice": slice(2, 1),
    "list": [0, 2, 0],
    "array": np.array([[0, 1], [2, 2]]),
    "pairs": ([0, 1, 0], [1, 1, 1]),
    "mixed": (slice(None), [0, 0, 3]),
    "mask": np.arange(12).reshape(3, 4) % 3 == 0,
    "row mask": np.array([True, False, True]),
    "nothing": np.zeros(3, bool),
    "numpy integer": np.int64(2),
    "empty tuple": (),
    "true": True,
}


@pytest.mark.parametrize("name", INDICES)
def test_against_numpy(check, rng, name):
    index = INDICES[name]
    check(lambda a: a[index], lambda a: a[index], rng.standard_normal((3, 4)), pytorch=name != "backwards")


def test_tensors_as_indices(check, rng):
    x = rng.standard_normal((3, 4))
    rows, mask = dl.tensor([2, 0, 2]), dl.tensor([True, False, True])
    check(lambda a: a[rows], lambda a: a[[2, 0, 2]], x, pytorch=False)
    check(lambda a: a[mask], lambda a: a[[0, 2]], x, pytorch=False)
    check(lambda a: a[rows, dl.tensor([1, 1, 1])], lambda a: a[[2, 0, 2], 1], x, pytorch=False)
    check(lambda a: a[dl.tensor(1)], lambda a: a[1], x, pytorch=False)
    check(lambda a: a[a > 0], lambda a: a[a > 0], x)


def test_rows_of_an_embedding_add_up():
    table = dl.zeros(4, 2, requires_grad=True)
    table[[1, 1, 3, 1]].sum().backward()
    assert table.grad.tolist() == [[0, 0], [3, 3], [0, 0], [1, 1]]


def test_an_index_changed_later_does_no_harm():
    x = dl.arange(4).float().requires_grad_()
    for wrap in (np.array, lambda v: (np.array(v),), list):
        index = wrap([0, 1])
        out = x[index].sum()
        (index[0] if isinstance(index, tuple) else index)[:] = [2, 3]
        out.backward()
        assert x.grad.tolist() == [1, 1, 0, 0]
        x.zero_grad()
    index = dl.tensor([0, 1])
    out = x[index].sum()
    index[:] = 3
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()
    index = dl.tensor([0, 1])
    out = x.gather(0, index).sum()
    index.fill_(2)
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()


def test_views_and_copies():
    x = dl.arange(6).reshape(2, 3)
    assert np.shares_memory(x.numpy(), x[0].numpy())
    assert np.shares_memory(x.numpy(), x[:, 1:].numpy())
    assert not np.shares_memory(x.numpy(), x[[0]].numpy())


class TestAssignment:
    def test_places(self):
        x = dl.zeros(3, 2)
        x[0] = 1
        x[1, 1] = 2.5
        x[2] = [3, 4]
        assert x.tolist() == [[1, 1], [0, 2.5], [3, 4]]
        x[x > 2] = 0
        assert x.tolist() == [[1, 1], [0, 0], [0, 0]]
        x[:, 0] = dl.tensor([7.0, 8.0, 9.0])
        x[dl.tensor([0, 1]), 1] = np.array([5, 6])
        assert x.tolist() == [[7, 5], [8, 6], [9, 0]]

    def test_a_tensor_of_another_dtype(self):
        x = dl.zeros(2)
        x[:] = dl.tensor([1, 2])
        assert x.tolist() == [1.0, 2.0]

    def test_only_under_no_grad_where_gradients_are_wanted(self):
        w = dl.ones(2, requires_grad=True)
        with pytest.raises(RuntimeError, match=r"setitem: the tensor is a leaf .*under no_grad"):
            w[0] = 5
        with pytest.raises(RuntimeError, match="setitem: the tensor is a result of a recorded operation"):
            (2 * w)[0] = 5
        with dl.no_grad():
            w[0] = 5
        assert w.tolist() == [5.0, 1.0]

    def test_a_value_whose_gradient_would_be_lost(self):
        w = dl.ones(2, requires_grad=True)
        x = dl.zeros(3)
        with pytest.raises(RuntimeError, match=r"setitem: value requires a gradient.*not recorded"):
            x[0] = w[0]
        assert x.tolist() == [0, 0, 0]
        with dl.no_grad():
            x[0] = w[0]
        x[1] = w[1].detach()
        assert x.tolist() == [1, 1, 0]

    def test_errors(self):
        x = dl.zeros(2, 3)
        with pytest.raises(IndexError, match=r"indexing: .*out of bounds.* \(the tensor is \(2, 3\)\)"):
            x[5] = 1
        with pytest.raises(ValueError, match=r"setitem: value is \(2,\); it does not broadcast to \(3,\)"):
            x[0] = [1, 2]
        for value in ("a", None, 1j, object()):
            with pytest.raises(TypeError, match="setitem: value is"):
                x[0] = value
        with pytest.raises(ValueError, match="setitem: the tensor's memory is read-only"):
            dl.ones(1).expand(3)[0] = 1
        with pytest.raises(TypeError, match=r"setitem: value is float.*int64"):
            dl.arange(3)[0] = 0.5


@pytest.mark.parametrize(
    "index", [5, (0, 9), (0, 0, 0), [7], np.array([0, -5]), np.ones(4, bool), 1.5, "a", (1.0, 0)], ids=repr
)
def test_indices_that_do_not_fit(index):
    with pytest.raises(IndexError, match=r"indexing: .* \(the tensor is \(3, 4\)\)"):
        dl.ones(3, 4)[index]


class TestGather:
    @pytest.mark.parametrize("dim", [0, 1, -1])
    def test_against_numpy(self, check, rng, dim, torch):
        x = rng.standard_normal((3, 4))
        index = rng.integers(0, x.shape[dim], (2, 4) if dim == 0 else (3, 5))
        check(
            lambda a: a.gather(dim, index),
            lambda a: np.take_along_axis(a, index, dim),
            x,
            pytorch=lambda a: a.gather(dim, torch.tensor(index)),
        )

    def test_fewer_rows_than_the_tensor(self):
        x = dl.arange(12).reshape(3, 4).float().requires_grad_()
        out = x.gather(1, dl.tensor([[3, 3]]))
        out.sum().backward()
        assert out.tolist() == [[3.0, 3.0]]
        assert x.grad.sum().item() == 2
        assert x.grad.numpy()[0, 3] == 2

    def test_the_log_probability_of_labels(self):
        logits = dl.randn(5, 3, requires_grad=True)
        labels = dl.tensor([0, 2, 1, 1, 0])
        picked = logits.log_softmax(1).gather(1, labels.unsqueeze(1))
        assert picked.squeeze(1).tolist() == logits.log_softmax(1)[dl.arange(5), labels].tolist()

    def test_errors(self):
        x = dl.ones(3, 4)
        with pytest.raises(TypeError, match="gather: index is of dtype float32; expected integers"):
            x.gather(0, dl.zeros(1, 4))
        with pytest.raises(ValueError, match=r"gather: index is \(4,\) but the tensor is \(3, 4\)"):
            x.gather(0, dl.tensor([0, 0, 0, 0]))
        with pytest.raises(ValueError, match="gather: index is"):
            x.gather(0, np.zeros((1, 5), int))
        for wrong in (-1, 3):
            with pytest.raises(
                IndexError, match=rf"gather: index holds {min(wrong, 0)} to {max(wrong, 0)}; expected 0 to 2"
            ):
                x.gather(0, np.array([[0, 0, 0, wrong]]))
        with pytest.raises(IndexError, match="gather: dim is 2"):
            x.gather(2, np.zeros((1, 4), int))


_index = arrays.basic_indices((4, 3, 2), allow_newaxis=True) | arrays.integer_array_indices((4, 3, 2))


@given(_index, st.integers(0, 100))
def test_gradients_of_any_index(index, seed):
    x = np.arange(24, dtype=np.float64).reshape(4, 3, 2)
    a = dl.Tensor(x, requires_grad=True)
    out = a[index]
    np.testing.assert_array_equal(out.numpy(), x[index])
    gradient = np.asarray(np.random.default_rng(seed).standard_normal(out.shape))
    out.backward(gradient)
    expected = np.zeros(24)
    np.add.at(expected, np.asarray(x[index]).astype(int).reshape(-1), gradient.reshape(-1))
    np.testing.assert_allclose(a.grad.numpy().reshape(-1), expected, atol=1e-12)


@given(arrays.arrays(bool, (4, 3)))
def test_gradients_of_any_mask(mask):
    x = dl.Tensor(np.ones((4, 3)), requires_grad=True)
    out = x[mask]
    assert out.shape == (mask.sum(),)
    (out * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2.0 * mask)
