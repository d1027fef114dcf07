"""Recurrent layers: every variant against the definition, the definition against finite differences and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recurrent_cases import (
    Case,
    assert_close,
    changed,
    check_by_finite_differences,
    errors,
    everything,
    make,
    single,
)

import dlkit.kernels as K
from dlkit import _cpu
from dlkit.kernels import CELLS, RecurrentWeights

VARIANTS = [variant.name for variant in K.variants("recurrent")]
LENGTHS = ([5, 5, 5], [9, 6, 6, 2, 1], [4], [1, 1])


def cases(cell: str) -> list[Case]:
    made = [make(cell, lengths, 7, 37, seed=i) for i, lengths in enumerate(LENGTHS)]
    made.append(make(cell, LENGTHS[1], 5, 50, mask=True, seed=5))
    made.append(make(cell, [3] * 70, 3, 16, directions=1, bias=False, states=False, seed=6))
    made.append(make(cell, [6, 3], 0, 9, seed=7))
    made.append(make(cell, [2] * 3, 4, 100, directions=1, new_z=True, seed=8))
    return made


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("variant", VARIANTS[1:])
def test_variants_agree_with_the_definition(cell, variant, threads):
    for case in cases(cell):
        assert_close(everything(case, variant), everything(case, "naive"), 1e-12)


@pytest.mark.parametrize("cell", list(CELLS))
def test_float32_is_close_to_float64(cell, threads):
    for precise in cases(cell):
        exact = everything(precise, "naive")
        case = single(precise)
        for variant in VARIANTS:
            assert_close(everything(case, variant), exact, 3e-6)


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("mask", [False, True], ids=["", "mask"])
def test_gradients_by_finite_differences(cell, mask):
    check_by_finite_differences(make(cell, [5, 3, 3, 1], 4, 6, mask=mask, new_z=mask))


@given(
    cell=st.sampled_from(list(CELLS)),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=9),
    inputs=st.integers(0, 40),
    hidden=st.integers(1, 130),
    directions=st.integers(1, 2),
    bias=st.booleans(),
    states=st.booleans(),
    mask=st.booleans(),
    new_z=st.booleans(),
    variant=st.sampled_from([None, *VARIANTS[1:]]),
    seed=st.integers(0, 2**16),
)
def test_any_shape(variant, cell, lengths, inputs, hidden, **options):
    case = make(cell, lengths, inputs, hidden, **options)
    assert_close(everything(case, variant), everything(case, "naive"), 1e-11)


def test_variants_can_be_mixed():
    case = make("lstm", [6, 4, 1], 5, 40)
    for forward in VARIANTS:
        for backward in VARIANTS:
            assert_close(everything(case, forward, backward), everything(case, "naive"), 1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru", "tanh"])
def test_same_bits_every_time(cell, threads):
    case = make(cell, [20] * 5, 30, 150, dtype=np.float32)
    first = everything(case, None)
    for _ in range(5):
        for a, b in zip(everything(case, None), first, strict=True):
            np.testing.assert_array_equal(a, b)


def test_blocks_of_inference_are_one_sequence():
    # More rows than inference prepares at a time, forward and from the end.
    case = make("gru", [400, 300, 7], 3, 20)
    y, hn, _, _ = K.recurrent(case.x, case.weights, case.sizes, case.h0, **case.settings)
    whole, last, _, _ = K.recurrent(case.x, case.weights, case.sizes, case.h0, keep=True, **case.settings)
    np.testing.assert_allclose(y, whole, atol=1e-13)
    np.testing.assert_allclose(hn, last, atol=1e-13)


def test_a_large_hidden_state_is_multiplied_in_blocks():
    case = make("lstm", [3, 3, 2], 4, 700, directions=1, dtype=np.float32)
    assert_close(everything(case, "packed"), everything(case, "sequence"), 2e-6)


def test_two_directions_are_two_passes():
    case = make("lstm", [7, 4, 4], 3, 11)
    y, hn, _, _ = K.recurrent(case.x, case.weights, case.sizes, **case.settings)
    forward, _, _, _ = K.recurrent(case.x, case.weights[:1], case.sizes, **case.settings)
    np.testing.assert_array_equal(y[:, :11], forward)
    # The other direction: each sequence turned around, through a forward pass.
    sizes = np.asarray(case.sizes)
    offsets = np.cumsum(sizes) - sizes
    lengths = (sizes[:, None] > np.arange(sizes[0])).sum(axis=0)
    index = [[offsets[lengths[b] - 1 - t] + b for b in range(n)] for t, n in enumerate(sizes)]
    turned = np.concatenate(index)
    backward, last, _, _ = K.recurrent(case.x[turned], case.weights[1:], case.sizes, **case.settings)
    np.testing.assert_allclose(y[turned, 11:], backward, atol=1e-13)
    np.testing.assert_allclose(hn[1], last[0], atol=1e-13)


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_reset_first", "relu"])
def test_directions_side_by_side(cell):
    # Of two threads each takes a direction: the numbers are those of one thread, but for dx, to which both add.
    case = make(cell, [12, 9, 9, 4], 20, 40, mask=True, dtype=np.float32)
    before = K.get_num_threads()
    try:
        K.set_num_threads(1)
        alone = everything(case, None)
        for count in (2, 3, 5):
            K.set_num_threads(count)
            found = everything(case, None)
            assert_close(found, alone, 1e-6)
            by_x = 3 if CELLS[cell].has_c else 2
            for i, (a, b) in enumerate(zip(found, alone, strict=True)):
                if count < 4 and i != by_x:
                    np.testing.assert_array_equal(a, b)
    finally:
        K.set_num_threads(before)


@pytest.mark.parametrize("cell", list(CELLS))
def test_threads_that_take_sequences(cell):
    # Enough sequences for each thread to have its own, of very different lengths, with all that a pass may be given.
    lengths = [9, 9, 8, 7, 7, 5, 4, 3, *[2] * 10, *[1] * 30]
    case = make(cell, lengths, 5, 21, directions=1, mask=True, seed=3)
    plain = case._replace(weights=[w._replace(peepholes=None) for w in case.weights])
    before = K.get_num_threads()
    try:
        for given in (case, plain, plain._replace(h0=None, c0=None)):
            exact = everything(given, "naive")
            for count in (2, 3, 5):
                K.set_num_threads(count)
                found = everything(given, "packed")
                assert_close(found, exact, 1e-12)
                for a, b in zip(everything(given, "packed"), found, strict=True):
                    np.testing.assert_array_equal(a, b)
    finally:
        K.set_num_threads(before)


@pytest.mark.parametrize("cell", list(CELLS))
def test_threads_make_the_input_products_of_their_sequences(cell):
    # Several blocks of steps where nothing is kept; columns that leave lanes empty, and none; from no inputs to more
    # than threads take of their own; no biases; last steps in which a thread has one row, or none.
    lengths = [31, *[21] * 20, *[12] * 15, 1, 1]
    before = K.get_num_threads()
    try:
        for inputs, hidden, bias in (
            (7, 21, True),
            (40, 16, False),
            (1, 5, True),
            (0, 12, True),
            (2500, 30, True),
        ):
            case = make(cell, lengths, inputs, hidden, directions=1, bias=bias, seed=inputs)
            x, weights, sizes, h0, c0, settings, *_ = case
            K.set_num_threads(1)
            exact = K.recurrent(x, weights, sizes, h0, c0, variant="sequence", **settings)
            for count in (2, 3):
                K.set_num_threads(count)
                for keep in (False, True):
                    found = K.recurrent(x, weights, sizes, h0, c0, keep=keep, variant="packed", **settings)
                    assert_close(
                        [a for a in found[:3] if a is not None],
                        [a for a in exact[:3] if a is not None],
                        1e-12,
                    )
    finally:
        K.set_num_threads(before)


def test_directions_that_share_gradients(threads):
    # Weights that both directions have: what each adds is there in the end, though two threads must not add at once.
    case = make("lstm", [9, 7, 2], 6, 33, dtype=np.float64)
    x, weights, sizes, _, _, settings, dy, _, _ = case
    tied = [weights[0], weights[0]]
    y, _, _, saved = K.recurrent(x, tied, sizes, keep=True, **settings)
    reserves = tuple(r.copy() for r in saved.reserves)
    apart = K.recurrent_backward(saved, x, tied, sizes, y, dy, **settings)[3]
    out = RecurrentWeights(*(None if a is None else np.zeros_like(a) for a in weights[0]))
    K.recurrent_backward(
        type(saved)(reserves), x, tied, sizes, y, dy, out=[out, out], accumulate=True, **settings
    )
    for found, one, other in zip(out, *apart, strict=True):
        if found is not None:
            np.testing.assert_allclose(found, one + other, atol=1e-12)


def test_calls_of_a_pair_that_share_memory_follow_each_other(threads):
    case = make("tanh", [5, 5], 4, 20)
    x, (one, other), sizes, _, _, _, _, _, _ = case
    y = np.zeros((len(x), 20))
    first = ("tanh", False, False, sizes, x, *one, None, None, None, y, False, None)
    second = ("tanh", False, True, sizes, x, *other, None, None, None, y, False, None)
    _cpu.recurrent_pair(*first, *second)
    expected = np.zeros_like(y)
    _cpu.recurrent(*(expected if a is y else a for a in second))
    np.testing.assert_array_equal(y, expected)
    # The second call reads what the first one writes.
    z = np.zeros_like(y)
    square = RecurrentWeights(other.hh, other.hh, other.ih_bias, other.hh_bias)
    _cpu.recurrent_pair(*first, "tanh", False, False, sizes, y, *square, None, None, None, z, False, None)
    expected = np.zeros_like(y)
    _cpu.recurrent("tanh", False, False, sizes, y, *square, None, None, None, expected, False, None)
    np.testing.assert_array_equal(z, expected)


def test_errors_of_pairs():
    case = make("tanh", [5, 5], 4, 6)
    x, (one, other), sizes, _, _, _, _, _, _ = case
    y = np.zeros((len(x), 12))
    first = ("tanh", False, False, sizes, x, *one, None, None, None, y[:, :6], False, None)
    single = RecurrentWeights(*(None if a is None else a.astype(np.float32) for a in other))
    z = np.zeros((len(x), 6), np.float32)
    with pytest.raises(TypeError, match=r"^recurrent: .*float32.*float64|^recurrent: .*float64.*float32"):
        _cpu.recurrent_pair(
            *first,
            "tanh",
            False,
            True,
            sizes,
            x.astype(np.float32),
            *single,
            None,
            None,
            None,
            z,
            False,
            None,
        )
    with pytest.raises(TypeError, match=r"^recurrent: "):
        _cpu.recurrent_pair(*first)
    with pytest.raises(TypeError, match=r"^recurrent_backward: "):
        _cpu.recurrent_pair_backward(*first)


def test_gradients_are_added_to_what_is_there():
    case = make("gru", [4, 2], 3, 10, directions=1)
    x, weights, sizes, h0, _, settings, dy, _, _ = case
    results = []
    for variant in VARIANTS:
        y, _, _, saved = K.recurrent(x, weights, sizes, h0, keep=True, variant=variant, **settings)
        reserves = [r.copy() for r in saved.reserves]
        once = K.recurrent_backward(saved, x, weights, sizes, y, dy, variant=variant, **settings)[3][0]
        out = [RecurrentWeights(*(None if a is None else np.ones_like(a) for a in weights[0]))]
        saved = type(saved)(tuple(reserves))
        K.recurrent_backward(
            saved, x, weights, sizes, y, dy, out=out, accumulate=True, variant=variant, **settings
        )
        for a, b in zip(out[0], once, strict=True):
            if a is not None:
                np.testing.assert_allclose(a, b + 1, atol=1e-12)
        results.append(out)
    assert len(results) == len(VARIANTS)


def test_stacks_are_layers_one_after_the_other():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 3, 4)).astype(np.float32)
    first, second = make("lstm", [1], 4, 6).weights, make("lstm", [1], 12, 6).weights
    layers = [
        [RecurrentWeights(*(None if a is None else np.float32(a) for a in w)) for w in layer]
        for layer in (first, second)
    ]
    y, hn, cn = K.lstm(x, layers)
    below, _, _, _ = K.recurrent(x.reshape(15, 4), layers[0], [3] * 5)
    above, last, _, _ = K.recurrent(below, layers[1], [3] * 5)
    np.testing.assert_array_equal(y, above.reshape(5, 3, 12))
    np.testing.assert_array_equal(hn[2:], last)
    assert cn.shape == (4, 3, 6)
    for name, cell in (("gru", "gru"), ("rnn", "tanh")):
        y, hn = getattr(K, name)(x.astype(np.float64), [make(cell, [1], 4, 6).weights])
        assert y.shape == (5, 3, 12)
        assert hn.shape == (2, 3, 6)


@pytest.mark.parametrize("cell", K.CELLS)
def test_cells_are_steps(cell):
    """Three sequences of four steps, by steps of the cell alone."""
    x, weights, sizes, h0, c0, settings, *_ = make(cell, [4, 4, 4], 4, 5, directions=1)
    settings.pop("mask", None)
    y, hn, cn, _ = K.recurrent(x, weights, sizes, h0, c0, **settings)
    has_c = K.CELLS[cell].has_c
    step = K.lstm_cell if has_c else K.gru_cell if cell.startswith("gru") else K.rnn_cell
    state = [h0[0], c0[0]] if has_c else [h0[0]]
    for t in range(4):
        found = step(x[3 * t : 3 * t + 3], weights[0], *state, **settings)
        state = list(found) if has_c else [found]
        np.testing.assert_allclose(state[0], y[3 * t : 3 * t + 3], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(state[0], hn[0], rtol=1e-12, atol=1e-14)
    if has_c:
        np.testing.assert_allclose(state[1], cn[0], rtol=1e-12, atol=1e-14)


def test_errors_of_cells():
    weights = make("lstm", [1], 3, 4, directions=1).weights[0]
    with pytest.raises(ValueError, match=r"lstm_cell: x is \(2, 2, 3\); expected \(B, I\), B at least 1"):
        K.lstm_cell(np.zeros((2, 2, 3)), weights)
    with pytest.raises(ValueError, match=r"lstm_cell: x is \(0, 3\); expected \(B, I\), B at least 1"):
        K.lstm_cell(np.zeros((0, 3)), weights)
    with pytest.raises(ValueError, match=r"lstm_cell: c is \(3, 4\); expected \(2, 4\)"):
        K.lstm_cell(np.zeros((2, 3)), weights, np.zeros((2, 4)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"lstm_cell: h is \(2, 5\); expected \(2, 4\)"):
        K.lstm_cell(np.zeros((2, 3)), weights, np.zeros((2, 5)))
    with pytest.raises(TypeError, match=r"lstm_cell: weights holds a list; expected RecurrentWeights"):
        K.lstm_cell(np.zeros((2, 3)), [weights])
    with pytest.raises(
        TypeError, match=r"lstm_cell: there is no argument 'batch_sizes'; expected cell, new_z or"
    ):
        K.lstm_cell(np.zeros((2, 3)), weights, batch_sizes=[2])
    with pytest.raises(ValueError, match="gru_cell: cell is 'lstm'; expected one of gru, gru_reset_first"):
        K.gru_cell(np.zeros((2, 3)), weights, cell="lstm")


@pytest.mark.parametrize("cell", ["lstm", "gru", "tanh", "relu"])
def test_agrees_with_pytorch(cell, torch):
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(cell, torch.nn.RNN)
    extra = {} if cell in ("lstm", "gru") else {"nonlinearity": cell}
    theirs = kind(6, 33, num_layers=2, bidirectional=True, **extra).double()
    parameters = [p.detach().numpy() for p in theirs.parameters()]
    directions = [RecurrentWeights(*parameters[i : i + 4]) for i in range(0, 16, 4)]
    x = np.random.default_rng(2).standard_normal((7, 4, 6))
    ours = {"lstm": K.lstm, "gru": K.gru}.get(cell, K.rnn)
    y, hn, *_ = ours(x, [directions[:2], directions[2:]], cell=cell)
    expected, states = theirs(torch.tensor(x))
    np.testing.assert_allclose(y, expected.detach().numpy(), atol=1e-12)
    last = states[0] if cell == "lstm" else states
    np.testing.assert_allclose(hn, last.detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("case", errors(), ids=lambda case: case[0])
def test_errors(case):
    _, kind, changed, message = case
    given = {
        "x": np.zeros((4, 3)),
        "weights": make("lstm", [1], 3, 4, directions=1).weights,
        "batch_sizes": [2, 2],
        **changed,
    }
    with pytest.raises(kind, match=message):
        K.recurrent(given.pop("x"), given.pop("weights"), given.pop("batch_sizes"), **given)


def test_gradients_that_overlap():
    case = make("lstm", [3, 2], 4, 4, directions=1)
    x, weights, sizes, h0, c0, settings, dy, _, _ = case
    y, _, _, saved = K.recurrent(x, weights, sizes, h0, c0, keep=True, **settings)
    w, kept = weights[0], [r.copy() for r in saved.reserves]
    memory = np.zeros(200)

    def message(out: RecurrentWeights, dy: Any = dy) -> str:
        with pytest.raises(ValueError, match=r"^recurrent_backward: .* overlaps ") as raised:
            K.recurrent_backward(saved, x, weights, sizes, y, dy, out=[out], **settings)
        np.testing.assert_array_equal(saved.reserves[0], kept[0])  # before any work
        return str(raised.value)

    nothing = RecurrentWeights(None, None)
    assert "dweight_ih overlaps weight_ih" in message(nothing._replace(ih=w.ih))
    assert "dbias_hh overlaps bias_ih" in message(nothing._replace(hh_bias=w.ih_bias))
    assert "dbias_hh overlaps dbias_ih" in message(
        nothing._replace(ih_bias=memory[:16], hh_bias=memory[15:31])
    )
    assert "reserve overlaps dy" in message(nothing, saved.reserves[0].reshape(-1)[: y.size].reshape(y.shape))
    beside = nothing._replace(ih_bias=memory[:16], hh_bias=memory[16:32])
    K.recurrent_backward(saved, x, weights, sizes, y, dy, out=[beside], **settings)
    np.testing.assert_array_equal(memory[:16], memory[16:32])


@pytest.mark.parametrize("true", [1, np.True_])
def test_what_counts_as_true(true):
    case = make("gru", [3, 2], 4, 5)
    expected = K.recurrent(case.x, case.weights, case.sizes, cell="gru", new_z=True, keep=True)
    found = K.recurrent(case.x, case.weights, case.sizes, cell="gru", new_z=true, keep=true)
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[3] is not None


def test_sizes_that_change_as_they_are_read():
    class Emptying:
        def __index__(self) -> int:
            sizes.clear()
            return 2

    sizes: list[Any] = [Emptying(), 2, *[1] * 1000]
    case = make("tanh", [2, 2], 3, 4, directions=1)
    with pytest.raises(ValueError, match="batch_sizes"):
        K.recurrent(case.x, case.weights, sizes, cell="tanh")
    assert not sizes


def test_errors_of_stacks():
    weights = make("lstm", [1], 3, 4, directions=1).weights
    with pytest.raises(ValueError, match="layers is empty"):
        K.lstm(np.zeros((2, 2, 3)), [])
    with pytest.raises(ValueError, match=r"x is \(4, 3\); expected \(T, B, I\)"):
        K.lstm(np.zeros((4, 3)), [weights])
    with pytest.raises(ValueError, match="h0 is"):
        K.lstm(np.zeros((2, 2, 3)), [weights], np.zeros((2, 2, 4)))

    with pytest.raises(ValueError, match="lstm: cell is 'gru'; expected one of lstm, coupled_lstm"):
        K.lstm(np.zeros((2, 2, 3)), [weights], cell="gru")
    with pytest.raises(ValueError, match="rnn: cell is 'lstm'"):
        K.rnn(np.zeros((2, 2, 3)), [weights], cell="lstm")
    with pytest.raises(ValueError, match=r"batch_sizes\[0\] is 0; expected at least 1"):
        K.lstm(np.zeros((2, 0, 3)), [weights])
    with pytest.raises(ValueError, match=r"weight_hh is \(\); expected \(4 H, H\)"):
        K.lstm(np.zeros((2, 2, 3)), [[weights[0]._replace(hh=None)]])


def test_errors_of_gradients():
    case = make("lstm", [3, 2], 4, 5)
    x, weights, sizes, h0, c0, settings, dy, dhn, _ = case
    y, _, _, saved = K.recurrent(x, weights, sizes, h0, c0, keep=True, **settings)

    def refused(message: str, y: Any = y, dy: Any = dy, saved: Any = saved, **more: Any) -> None:
        with pytest.raises(ValueError, match=f"^recurrent_backward: {message}"):
            K.recurrent_backward(saved, x, weights, sizes, y, dy, **more, **settings)

    refused(r"y is \(5, 5\); expected \(5, 10\)", y=y[:, :5])
    refused(r"y is \(50,\)", y=y.reshape(-1))
    refused(r"dy is \(5, 11\); expected \(5, 10\)", dy=np.zeros((5, 11)))
    refused("saved is of 1 directions and weights of 2", saved=type(saved)(saved.reserves[:1]))
    refused("out is of 1 directions", out=weights[:1])
    refused(r"dhn is \(1, 2, 5\); expected \(2, B, H\)", dhn=dhn[:1])
    refused(r"dhn is \(4, 2, 5\); expected \(2, B, H\)", dhn=np.zeros((4, 2, 5)))
    refused(r"dcn is \(3, 2, 5\); expected \(2, B, H\)", dcn=np.zeros((3, 2, 5)))
    refused("reserve is ", saved=type(saved)((saved.reserves[0][:-1], saved.reserves[1])))


def test_errors_of_options_that_a_cell_has_no_use_for():
    x, weights, sizes, h0, _, settings, dy, dhn, _ = make("tanh", [3, 2], 4, 5)
    y, _, _, saved = K.recurrent(x, weights, sizes, h0, keep=True, **settings)
    with pytest.raises(ValueError, match=r"^recurrent: c0 is given but the cell is tanh; expected an LSTM"):
        K.recurrent(x, weights, sizes, h0, "garbage", **settings)
    for more, message in (
        ({"dcn": dhn}, "dcn is given but the cell is tanh; expected an LSTM"),
        ({"new_z": True}, "new_z is True but the cell is tanh; expected a GRU"),
    ):
        with pytest.raises(ValueError, match=f"^recurrent_backward: {message}"):
            K.recurrent_backward(saved, x, weights, sizes, y, dy, **{**settings, **more})
    layers = [make("lstm", [1], 4, 5).weights]
    with pytest.raises(ValueError, match="new_z is True but the cell is lstm; expected a GRU"):
        K.lstm(np.zeros((2, 3, 4)), layers, new_z=True)


def test_strided_inputs_are_taken():
    case = make("gru", [4, 4], 3, 8)
    expected = K.recurrent(case.x, case.weights, case.sizes, case.h0, **case.settings)[0]
    wide = np.zeros((8, 6))
    wide[:, ::2] = case.x
    weights = [
        RecurrentWeights(*(None if a is None else np.asfortranarray(a) for a in w)) for w in case.weights
    ]
    found = K.recurrent(wide[:, ::2], weights, case.sizes, case.h0, **case.settings)[0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("at_end", [False, True], ids=["at the beginning", "at the end"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reads_stay_within_the_arrays(fenced, at_end, dtype):
    fence = type(fenced[0])

    def guarded(value: Any) -> Any:
        return fence(value.nbytes).array(value, at_end)

    for cell in CELLS:
        case = make(cell, [3, 2, 1], 5, 21, dtype=dtype)
        case = changed(case, guarded)
        for variant in VARIANTS:
            everything(case, variant)
