"""The memory of gradients: used again from step to step, but never while somebody else can see it."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit as dl


def address(tensor):
    return tensor.grad.numpy().__array_interface__["data"][0]


FORWARD = {
    "elementwise": lambda w, scale: (w * scale).sum(),
    "matmul": lambda w, scale: (dl.full((1, 4), scale) @ w).sum(),
    "linear": lambda w, scale: dl.nn.functional.linear(dl.full((1, 3), scale), w).sum(),
}
EACH = {"elementwise": 1.0, "matmul": 1.0, "linear": 1.0}


@pytest.fixture(params=FORWARD)
def step(request):
    """A backward pass after which every element of the gradient is `scale`."""
    w = dl.zeros(4, 3, requires_grad=True)

    def run(scale):
        FORWARD[request.param](w, scale).backward()
        return w

    return run


def test_the_memory_is_used_again(step):
    w = step(1.0)
    first = address(w)
    for scale in (2.0, 3.0, 4.0):
        w.zero_grad()
        assert w.grad is None
        step(scale)
        assert address(w) == first
        assert (w.grad.numpy() == scale).all()


KEEPERS = {
    "the tensor": lambda w: w.grad,
    "its array": lambda w: w.grad.numpy(),
    "its data": lambda w: w.grad.data,
    "a row": lambda w: w.grad.numpy()[0],
    "a view of a view": lambda w: w.grad.numpy()[1:].T[0],
    "a detached one": lambda w: w.grad.detach(),
    "a row as a tensor": lambda w: w.grad[0],
    "an element": lambda w: w.grad[0, 0],
    "reshaped": lambda w: w.grad.reshape(-1),
    "asarray": lambda w: np.asarray(w.grad),
    "a memoryview": lambda w: memoryview(w.grad.numpy()),
    "dlpack": lambda w: np.from_dlpack(w.grad),
    "a list": lambda w: [w.grad],
    "iteration": lambda w: next(iter(w.grad)),
}


@pytest.mark.parametrize("keeper", KEEPERS)
def test_a_gradient_that_is_kept_stays_as_it_is(step, keeper):
    w = step(1.0)
    kept = KEEPERS[keeper](w)
    for scale in (2.0, 3.0):
        w.zero_grad()
        step(scale)
        assert (w.grad.numpy() == scale).all()
        values = np.asarray(kept[0] if isinstance(kept, list) else kept)
        assert (values == 1.0).all()


def test_a_table_keeps_its_derivatives():
    x = dl.ones(3, requires_grad=True)
    y = (x * 2).sum()
    y.backward()
    row = dl.autograd.graph_table(y)["x"]
    x.zero_grad()
    (x * 5).sum().backward()
    assert row.derivative.tolist() == [2.0, 2.0, 2.0]


def test_accumulation_goes_into_the_gradient_that_is_there(step):
    w = step(1.0)
    kept = w.grad
    step(2.0)
    assert w.grad is kept
    assert (kept.numpy() == 3.0).all()


def test_no_gradient_shares_memory_with_another():
    a, b, c = (dl.ones(3, requires_grad=True) for _ in range(3))
    total = a + b + c
    total.retain_grad()
    total.sum().backward()
    tensors = [t.grad.numpy() for t in (a, b, c, total)]
    for i, first in enumerate(tensors):
        for second in tensors[:i]:
            assert not np.shares_memory(first, second)
    a.grad.mul_(7)
    assert b.grad.tolist() == [1.0, 1.0, 1.0]


def test_step_after_step_against_fresh_tensors(rng):
    """Whatever a user does with gradients between steps, they are those of a tensor that never had one before."""
    w = dl.zeros(4, 3, requires_grad=True)
    kept = []
    for _ in range(200):
        scale = float(rng.integers(1, 100))
        forward = FORWARD[str(rng.choice(list(FORWARD)))]
        what = rng.integers(0, 4)
        if w.grad is not None:
            if what == 0:
                kept.append((w.grad, w.grad.numpy().copy()))
                w.grad = None
            elif what == 1:
                w.zero_grad()
            elif what == 2:
                kept.append((w.grad[0], w.grad.numpy()[0].copy()))
                w.zero_grad()
        before = 0.0 if w.grad is None else w.grad.numpy().copy()
        forward(w, scale).backward()
        np.testing.assert_array_equal(w.grad.numpy(), before + np.full((4, 3), scale))
        for tensor, values in kept:
            np.testing.assert_array_equal(np.asarray(tensor), values)


class TestAssignment:
    def test_of_a_tensor_and_of_an_array(self):
        w = dl.zeros(2, requires_grad=True)
        for value in (dl.tensor([1.0, 2.0]), np.array([1, 2], np.float32), [1.0, 2.0], np.array([1, 2])):
            w.grad = value
            assert isinstance(w.grad, dl.Tensor)
            assert w.grad.dtype == np.float32
            assert w.grad.tolist() == [1.0, 2.0]
            (w * 1).sum().backward()
            assert w.grad.tolist() == [2.0, 3.0]

    def test_memory_that_belongs_to_others_is_not_written_over(self):
        w = dl.zeros(3, requires_grad=True)
        flat = np.arange(6, dtype=np.float32)
        w.grad = flat[:3]
        w.zero_grad()
        (w * 9).sum().backward()
        assert flat.tolist() == [0, 1, 2, 3, 4, 5]
        mine = dl.tensor([1.0, 2.0, 3.0])
        w.grad = mine
        w.zero_grad()
        (w * 9).sum().backward()
        assert mine.tolist() == [1.0, 2.0, 3.0]

    def test_read_only_and_scattered_memory_is_copied(self):
        w = dl.zeros(3, requires_grad=True)
        for value in (np.broadcast_to(np.float32(1), 3), np.ones(6, np.float32)[::2]):
            w.grad = value
            (w * 1).sum().backward()
            assert w.grad.tolist() == [2.0, 2.0, 2.0]
            assert value.tolist() == [1.0, 1.0, 1.0]

    def test_errors(self):
        w = dl.zeros(2, requires_grad=True)
        with pytest.raises(ValueError, match=r"Tensor.grad: value is \(3,\); expected \(2,\)"):
            w.grad = np.ones(3)
        with pytest.raises(TypeError, match=r"Tensor.grad: value is a str"):
            w.grad = "ab"
        assert w.grad is None

    def test_none(self):
        w = dl.ones(2, requires_grad=True)
        (w * 1).sum().backward()
        w.grad = None
        assert w.grad is None
        w.grad = None


def test_after_the_leaf_has_got_another_shape_or_dtype():
    w = dl.ones(2, requires_grad=True)
    (w * 1).sum().backward()
    w.zero_grad()
    w.data = np.ones(3)
    (w * 2).sum().backward()
    assert w.grad.dtype == np.float64
    assert w.grad.tolist() == [2.0, 2.0, 2.0]
