from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit as dl

# (shape, what is done, what NumPy does)
CASES = {
    "reshape": ((2, 3, 2), lambda a: a.reshape(3, 4), lambda a: a.reshape(3, 4)),
    "reshape of a tuple": ((2, 3), lambda a: a.reshape((3, -1)), lambda a: a.reshape(3, 2)),
    "reshape to nothing": ((1, 1), lambda a: a.reshape(()), lambda a: a.reshape(())),
    "reshape of nothing": ((), lambda a: a.reshape(1, 1), lambda a: a.reshape(1, 1)),
    "reshape of zero size": ((0, 3), lambda a: a.reshape(3, 0), lambda a: a.reshape(3, 0)),
    "flatten": ((2, 3, 2), lambda a: a.flatten(), lambda a: a.reshape(-1)),
    "flatten the last": ((2, 3, 2), lambda a: a.flatten(1), lambda a: a.reshape(2, 6)),
    "flatten the first": ((2, 3, 2), lambda a: a.flatten(0, -2), lambda a: a.reshape(6, 2)),
    "flatten a number": ((), lambda a: a.flatten(), lambda a: a.reshape(1)),
    "squeeze": ((1, 2, 1), lambda a: a.squeeze(), lambda a: a.reshape(2)),
    "squeeze one": ((1, 2, 1), lambda a: a.squeeze(-1), lambda a: a.reshape(1, 2)),
    "squeeze what is larger": ((1, 2), lambda a: a.squeeze(1), lambda a: a),
    "squeeze a number": ((), lambda a: a.squeeze(0), lambda a: a),
    "unsqueeze": ((2, 3), lambda a: a.unsqueeze(1), lambda a: a[:, None]),
    "unsqueeze the end": ((2, 3), lambda a: a.unsqueeze(-1), lambda a: a[..., None]),
    "unsqueeze a number": ((), lambda a: a.unsqueeze(0), lambda a: a[None]),
    "permute": ((2, 3, 1), lambda a: a.permute(2, 0, 1), lambda a: a.transpose(2, 0, 1)),
    "permute a tuple": ((2, 3), lambda a: a.permute((-1, 0)), lambda a: a.T),
    "transpose": ((2, 3, 2), lambda a: a.transpose(0, -1), lambda a: a.swapaxes(0, 2)),
    "T": ((2, 3), lambda a: a.T, lambda a: a.T),
    "t": ((2, 3), lambda a: a.t(), lambda a: a.T),
    "mT": ((2, 3, 4), lambda a: a.mT, lambda a: a.swapaxes(1, 2)),
    "expand": ((3, 1), lambda a: a.expand(3, 4), lambda a: np.broadcast_to(a, (3, 4))),
    "expand more": ((3,), lambda a: a.expand(2, -1), lambda a: np.broadcast_to(a, (2, 3))),
    "expand a number": ((), lambda a: a.expand((2, 2)), lambda a: np.broadcast_to(a, (2, 2))),
    "expand to zero size": ((1, 3), lambda a: a.expand(0, 3), lambda a: np.broadcast_to(a, (0, 3))),
    "contiguous": ((2, 3), lambda a: a.T.contiguous(), lambda a: a.T),
    "clone": ((2, 3), lambda a: a.clone(), lambda a: a),
    "view": ((2, 6), lambda a: a.contiguous().view(3, 4), lambda a: a.reshape(3, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_against_numpy(check, rng, name):
    shape, function, reference = CASES[name]
    check(function, reference, rng.standard_normal(shape))


def test_they_share_memory():
    x = dl.arange(6).reshape(2, 3)
    for other in (
        x.reshape(3, 2),
        x.view(6),
        x.T,
        x.flatten(),
        x.unsqueeze(0),
        x.expand(2, 2, 3),
        x.detach(),
    ):
        assert np.shares_memory(x.numpy(), other.numpy())
    assert not np.shares_memory(x.numpy(), x.clone().numpy())
    assert not np.shares_memory(x.numpy(), x.T.contiguous().numpy())
    assert x.contiguous() is x


class TestErrors:
    x = dl.ones(2, 3)

    def test_reshape(self):
        with pytest.raises(
            ValueError, match=r"reshape: the tensor is \(2, 3\), 6 elements; they do not fit \(4, 2\)"
        ):
            self.x.reshape(4, 2)
        with pytest.raises(ValueError, match=r"reshape: .*do not fit"):
            self.x.reshape(-1, -1)
        with pytest.raises(TypeError, match=r"reshape: shape is \(2\.0, 3\); expected integers"):
            self.x.reshape(2.0, 3)
        with pytest.raises(TypeError, match=r"reshape: shape is .*; expected integers"):
            self.x.reshape("6")

    def test_view(self):
        with pytest.raises(
            RuntimeError, match=r"view: .*cannot be seen as \(6,\) without a copy; use reshape"
        ):
            self.x.T.view(6)

    def test_dimensions(self):
        for call in (
            lambda d: self.x.squeeze(d),
            lambda d: self.x.transpose(0, d),
            lambda d: self.x.permute(0, d),
            lambda d: self.x.flatten(0, d),
            lambda d: self.x.split(1, d),
            lambda d: self.x.chunk(1, d),
            lambda d: self.x.unbind(d),
            lambda d: dl.cat([self.x], d),
        ):
            with pytest.raises(IndexError, match="dim is 2; expected -2 to 1"):
                call(2)
            with pytest.raises(TypeError, match="dim is a float; expected an integer"):
                call(0.5)
        for call in (lambda d: self.x.unsqueeze(d), lambda d: dl.stack([self.x], d)):
            with pytest.raises(IndexError, match="dim is 3; expected -3 to 2"):
                call(3)

    def test_permute(self):
        for dims in ((0,), (0, 0), (0, 1, 1)):
            with pytest.raises(
                ValueError, match=r"permute: dims are .*each of the tensor's 2 dimensions once"
            ):
                self.x.permute(*dims)

    def test_flatten(self):
        with pytest.raises(ValueError, match="flatten: start_dim is 1 and end_dim is 0"):
            self.x.flatten(1, 0)

    def test_expand(self):
        for sizes in ((4, 3), (3,), (-1, 2, 3)):
            with pytest.raises(
                ValueError, match=r"expand: the tensor is \(2, 3\); it cannot be broadcast to"
            ):
                self.x.expand(*sizes)

    def test_stack(self):
        with pytest.raises(
            ValueError, match=r"stack: tensor 1 is \(3,\) but tensor 0 is \(2,\); expected one shape"
        ):
            dl.stack([dl.ones(2), dl.ones(3)])
        with pytest.raises(ValueError, match="stack: no tensors given"):
            dl.stack([])
        with pytest.raises(TypeError, match="stack: tensor 1 is a NoneType"):
            dl.stack([dl.ones(2), None])
        with pytest.raises(TypeError, match="stack: tensors is a int; expected a sequence of tensors"):
            dl.stack(3)

    def test_cat(self):
        with pytest.raises(
            ValueError, match=r"cat: tensor 1 is \(3, 2\) but tensor 0 is \(2, 3\); expected the same"
        ):
            dl.cat([self.x, self.x.T])
        with pytest.raises(ValueError, match=r"cat: tensor 1 is \(3,\)"):
            dl.cat([self.x, dl.ones(3)])
        with pytest.raises(ValueError, match="cat: tensor 0 has no dimensions"):
            dl.cat([dl.tensor(1.0), dl.tensor(2.0)])
        with pytest.raises(ValueError, match="cat: no tensors given"):
            dl.cat([])

    def test_split(self):
        with pytest.raises(
            ValueError, match=r"split: sizes \[1, 1\] sum to 2; expected 3, the size of dimension 1"
        ):
            self.x.split([1, 1], 1)
        with pytest.raises(ValueError, match="split: sizes"):
            self.x.split([-1, 4], 1)
        with pytest.raises(ValueError, match="split: split_size is 0; expected at least 1"):
            self.x.split(0)
        with pytest.raises(ValueError, match="chunk: chunks is 0; expected at least 1"):
            self.x.chunk(0)
        with pytest.raises(TypeError, match="split: split_size is a float; expected an integer"):
            self.x.split(1.5)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cat_and_stack(check, rng, dim, torch):
    x, y = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    for name, reference in (("cat", np.concatenate), ("stack", np.stack)):
        check(
            lambda a, b, name=name: getattr(dl, name)([a, b, b], dim),
            lambda a, b, reference=reference: reference([a, b, b], axis=dim),
            x,
            y,
            pytorch=lambda a, b, name=name: getattr(torch, name)([a, b, b], dim),
        )
    if dim == 0:
        check(
            lambda a, b: dl.cat((a, b)),
            lambda a, b: np.concatenate((a, b)),
            rng.standard_normal((1, 3)),
            rng.standard_normal((0, 3)),
            pytorch=False,
        )


def test_stack_of_numbers(check, rng):
    check(
        lambda a, b: dl.stack([a, b, b]),
        lambda a, b: np.stack([a, b, b]),
        *rng.standard_normal(2),
        pytorch=False,
    )


def test_cat_of_what_is_not_all_float32():
    x = dl.ones(2, requires_grad=True)
    out = dl.cat([x, dl.arange(2), np.ones(1), [1.0]])
    assert out.dtype == np.float64
    out.sum().backward()
    assert x.grad.dtype == np.float32
    assert dl.cat([x, dl.arange(2)]).dtype == np.float32
    assert dl.stack([dl.arange(2), dl.arange(2)]).dtype == np.int64


@pytest.mark.parametrize("argument", [1, 2, 3, 5, [1, 2, 0], (3,)], ids=str)
@pytest.mark.parametrize("dim", [0, -1])
def test_split(check, rng, argument, dim):
    shape = (3, 2) if dim == 0 else (2, 3)
    x = rng.standard_normal(shape)
    pieces = dl.Tensor(x).split(argument, dim)
    assert dl.cat(pieces, dim).tolist() == x.tolist()
    if isinstance(argument, int):
        assert all(piece.shape[dim] == argument for piece in pieces[:-1])
    check(lambda a: dl.cat([2 * p for p in a.split(argument, dim)][::-1], dim),
          lambda a: 2 * np.concatenate(
              np.split(a, np.cumsum([p.shape[dim] for p in pieces])[:-1], axis=dim)[::-1], axis=dim),
          x, pytorch=False)  # fmt: skip


def test_part_of_a_split():
    # Pieces that nothing is computed from count as gradient 0.
    x = dl.arange(4).float().requires_grad_()
    first, _, third = x.split([1, 1, 2])
    (first.sum() + 3 * third.sum() + third[0]).backward()
    assert x.grad.tolist() == [1.0, 0.0, 4.0, 3.0]


def test_chunk_and_unbind(rng, torch):
    for length in (1, 4, 5, 7):
        x = rng.standard_normal((length, 2))
        for chunks in (1, 2, 3, 5):
            ours, theirs = dl.Tensor(x).chunk(chunks), torch.tensor(x).chunk(chunks)
            assert [p.shape for p in ours] == [tuple(p.shape) for p in theirs]
    a = dl.Tensor(x, requires_grad=True)
    rows = a.unbind()
    assert [row.tolist() for row in rows] == x.tolist()
    (rows[1] * 2).sum().backward()
    assert a.grad.tolist() == [[0.0, 0.0], [2.0, 2.0]] + [[0.0, 0.0]] * (length - 2)
    assert [c.shape for c in a.unbind(-1)] == [(length,)] * 2
    assert dl.zeros(0, 3).unbind() == ()


@given(st.data())
def test_any_reshape_and_permutation(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    order = data.draw(st.permutations(range(len(shape))))
    x = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    a = dl.Tensor(x, requires_grad=True)
    out = a.permute(*order).reshape(-1)
    np.testing.assert_array_equal(out.numpy(), x.transpose(order).reshape(-1))
    out.backward(out.numpy())  # the gradient of an element is then the element itself
    np.testing.assert_array_equal(a.grad.numpy(), x)
