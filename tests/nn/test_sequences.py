"""Packing and padding of sequences: against PyTorch, there and back, and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlkit as dl
from dlkit.nn.utils import rnn

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=7)


@given(lengths=LENGTHS, batch_first=st.booleans(), more=st.integers(0, 3))
def test_there_and_back(lengths, batch_first, more):
    rng = np.random.default_rng(0)
    longest = max(lengths) + more
    x = rng.standard_normal((len(lengths), longest, 2))
    for b, n in enumerate(lengths):
        x[b, n:] = -7
    given_x = dl.tensor(x if batch_first else x.swapaxes(0, 1))
    packed = rnn.pack_padded_sequence(given_x, lengths, batch_first, enforce_sorted=False)
    assert packed.data.shape == (sum(lengths), 2)
    assert int(packed.batch_sizes.sum()) == sum(lengths)
    assert (np.diff(packed.batch_sizes) <= 0).all()
    back, found = rnn.pad_packed_sequence(packed, batch_first, padding_value=-7, total_length=longest)
    assert list(found) == lengths
    np.testing.assert_array_equal(back.numpy(), given_x.numpy())


@pytest.mark.parametrize("batch_first", [False, True])
def test_is_pytorchs(rng, batch_first, torch):
    there = torch.nn.utils.rnn
    x = rng.standard_normal((4, 6, 3) if batch_first else (6, 4, 3))
    lengths = [3, 6, 1, 6]
    ours = rnn.pack_padded_sequence(dl.tensor(x), lengths, batch_first, False)
    theirs = there.pack_padded_sequence(torch.tensor(x), lengths, batch_first, False)
    np.testing.assert_array_equal(ours.data.numpy(), theirs.data.numpy())
    np.testing.assert_array_equal(ours.batch_sizes, theirs.batch_sizes.numpy())
    sequences = [rng.standard_normal((n, 2)) for n in (5, 3, 3)]
    mine = rnn.pack_sequence([dl.tensor(s) for s in sequences])
    reference = there.pack_sequence([torch.tensor(s) for s in sequences])
    np.testing.assert_array_equal(mine.data.numpy(), reference.data.numpy())
    padded = rnn.pad_sequence([dl.tensor(s) for s in sequences[::-1]], batch_first, 9.0)
    expected = there.pad_sequence([torch.tensor(s) for s in sequences[::-1]], batch_first, 9.0)
    np.testing.assert_array_equal(padded.numpy(), expected.numpy())


def test_batch_sizes_may_be_a_list_or_a_tensor(simt):
    data = dl.tensor(np.arange(5.0))
    expected, _ = rnn.pad_packed_sequence(rnn.PackedSequence(data, np.array([3, 2])))
    for sizes in ([3, 2], dl.tensor([3, 2]), dl.tensor([3, 2]).to("simt"), np.array([3, 2], np.uint8)):
        found, lengths = rnn.pad_packed_sequence(rnn.PackedSequence(data, sizes))
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
        assert lengths.tolist() == [2, 2, 1]


def test_gradients_reach_what_is_not_padding(rng):
    x = dl.tensor(rng.standard_normal((4, 2, 3)), requires_grad=True)
    packed = rnn.pack_padded_sequence(x, [4, 2])
    (rnn.pad_packed_sequence(packed)[0] * 3).sum().backward()
    expected = np.zeros((4, 2, 3))
    expected[:, 0] = 3
    expected[:2, 1] = 3
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def zeros(*shape: int) -> Any:
    return dl.tensor(np.zeros(shape, np.float32))


def packed(sizes: Any, data: Any = None) -> Any:
    return rnn.pad_packed_sequence(rnn.PackedSequence(zeros(5, 2) if data is None else data, sizes))


BAD = [
    (
        lambda: rnn.pack_padded_sequence(zeros(4, 2, 3), [4, 0]),
        ValueError,
        r"lengths\[1\] is 0; expected 1 to 4",
    ),
    (
        lambda: rnn.pack_padded_sequence(zeros(4, 2, 3), [5, 1]),
        ValueError,
        r"lengths\[0\] is 5; expected 1 to 4",
    ),
    (lambda: rnn.pack_padded_sequence(zeros(4, 2, 3), [1, 2]), ValueError, "enforce_sorted=False"),
    (
        lambda: rnn.pack_padded_sequence(zeros(4, 2, 3), [4]),
        ValueError,
        r"lengths is \(1,\); expected \(2,\)",
    ),
    (lambda: rnn.pack_padded_sequence(zeros(4, 2, 3), [2.0, 1.0]), TypeError, "expected integers"),
    (lambda: rnn.pack_padded_sequence(zeros(4), [4]), ValueError, "input is"),
    (lambda: rnn.pack_padded_sequence(zeros(4, 0, 3), []), ValueError, "at least one sequence"),
    (
        lambda: rnn.pack_padded_sequence(zeros(0, 2, 3), [1, 1]),
        ValueError,
        r"input is \(0, 2, 3\); expected at least one step of",
    ),
    (lambda: rnn.pack_padded_sequence(np.zeros((4, 2, 3)), [4, 2]), TypeError, "input is a ndarray"),
    (
        lambda: rnn.pad_sequence([zeros(3, 2), zeros(0, 2)]),
        ValueError,
        r"^pad_sequence: sequences\[1\] is \(0, 2\); expected \(L, ...\), L at least 1",
    ),
    (lambda: rnn.pad_sequence([zeros(3, 2), np.zeros((2, 2))]), TypeError, r"sequences\[1\] is a ndarray"),
    (lambda: rnn.pad_sequence([zeros()]), ValueError, r"sequences\[0\] is \(\)"),
    (lambda: rnn.pad_sequence([zeros(2, 3), zeros(2, 4)]), ValueError, "^pad_sequence: .* one shape"),
    (lambda: packed([]), ValueError, r"batch_sizes is \(0,\); expected \(T,\)"),
    (lambda: packed([2.9, 2.1]), TypeError, "batch_sizes has dtype float.*; expected integers"),
    (lambda: packed([2, 2]), ValueError, "batch_sizes add up to 4; expected the rows of data, 5"),
    (lambda: packed([2, 3]), ValueError, r"batch_sizes is \[2, 3\]; expected no increase"),
    (lambda: packed([5, 0]), ValueError, r"batch_sizes is \[5, 0\]; expected no increase, and 1 at"),
    (lambda: packed([3, 2], np.zeros((5, 2))), TypeError, "data of the sequence is a ndarray"),
    (lambda: packed([3, 2], zeros()), ValueError, r"data of the sequence is \(\); expected \(rows"),
    (lambda: rnn.pad_packed_sequence(zeros(5, 2)), TypeError, "sequence is a Tensor; expected a Packed"),
    (lambda: rnn.pack_sequence([]), ValueError, "sequences is empty"),
    (lambda: rnn.pack_sequence([zeros(2, 3), zeros(2, 4)]), ValueError, "one shape"),
    (lambda: rnn.pack_sequence([zeros(1, 3), zeros(2, 3)]), ValueError, "lengths increase"),
    (
        lambda: rnn.pad_packed_sequence(rnn.pack_sequence([zeros(3, 1)]), total_length=2),
        ValueError,
        "total_length",
    ),
]


@pytest.mark.parametrize(("make", "kind", "message"), BAD, ids=[m for _, _, m in BAD])
def test_errors(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
