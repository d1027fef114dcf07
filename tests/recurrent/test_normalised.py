"""Layer normalisation in recurrent layers: every variant against the definition, the definition by finite differences.

That it is what `functional.layer_norm` makes of each step: tests/nn/test_recurrent_steps.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recurrent_cases import Case, assert_close, changed, check_by_finite_differences, everything, make, single

import dlkit.kernels as K
from dlkit.kernels import CELLS, RecurrentWeights
from dlkit.kernels.recurrent import RecurrentSaved

VARIANTS = [variant.name for variant in K.variants("recurrent")]
NORMS = ("norm_ih", "norm_hh", "norm_c", "norm_c_bias")


def normalised(cell: str, lengths: list[int], inputs: int, hidden: int, **options: Any) -> Case:
    return make(cell, lengths, inputs, hidden, norms=True, **options)


def assert_close_as_rounded(found: list[Any], case: Case, rounding: float, times: int = 12) -> None:
    """That answers are no farther from the definition's than so many roundings of all that is given take those.

    Where a deviation is small, or few units leave little of a gradient but a difference, that is far.
    """
    expected = everything(case, "naive")
    rng = np.random.default_rng(0)
    allowed = [rounding * np.linalg.norm(a) for a in expected]
    for _ in range(4):
        moved = everything(changed(case, lambda v: v * (1 + rounding * rng.uniform(-1, 1, v.shape))), "naive")
        allowed = [max(m, np.linalg.norm(a - b)) for m, a, b in zip(allowed, moved, expected, strict=True)]
    assert len(found) == len(expected)
    for i, (a, b, most) in enumerate(zip(found, expected, allowed, strict=True)):
        assert a.shape == b.shape
        assert np.linalg.norm(a - b) <= times * most, i


def cases(cell: str) -> list[Case]:
    made = [
        normalised(cell, lengths, 7, hidden, seed=i)
        for i, (lengths, hidden) in enumerate(
            [([5, 5, 5], 37), ([9, 6, 6, 2, 1], 48), ([4], 3), ([1, 1], 20)]
        )
    ]
    made.append(normalised(cell, [9, 6, 6, 2, 1], 5, 50, mask=True, seed=5))
    made.append(normalised(cell, [3] * 70, 3, 16, directions=1, bias=False, states=False, seed=6))
    made.append(normalised(cell, [6, 3], 0, 9, seed=7))
    made.append(normalised(cell, [2] * 3, 4, 100, directions=1, new_z=True, seed=8))
    made.append(normalised(cell, [3, 3, 2], 4, 1, seed=9))
    return made


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("variant", VARIANTS[1:])
def test_variants_agree_with_the_definition(cell, variant, threads):
    for case in cases(cell):
        assert_close(everything(case, variant), everything(case, "naive"), 1e-12)


@pytest.mark.parametrize("cell", list(CELLS))
def test_float32_is_close_to_float64(cell):
    for precise in cases(cell):
        case = single(precise)
        for variant in VARIANTS:
            assert_close_as_rounded(everything(case, variant), precise, 2.0**-23)


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("mask", [False, True], ids=["", "mask"])
def test_gradients_by_finite_differences(cell, mask):
    check_by_finite_differences(normalised(cell, [5, 3, 3, 1], 4, 6, mask=mask, new_z=mask))


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
    case = normalised(cell, lengths, inputs, hidden, **options)
    assert_close_as_rounded(everything(case, variant), case, 2.0**-52)


def test_one_unit_is_always_its_mean():
    # Nothing of a gate of one unit is left but its bias: all gradients by its products are 0, to the bit.
    case = normalised("tanh", [4, 2], 3, 1, dtype=np.float32)
    for variant in VARIANTS:
        y, _, _, saved = K.recurrent(*case[:4], keep=True, variant=variant, mask=None, **case.settings)
        dx, dh0, _, dweights = K.recurrent_backward(
            saved, *case[:3], y, case.dy, case.dhn, variant=variant, **case.settings
        )
        assert not dx.any()
        assert not dh0.any()
        for i, (w, d) in enumerate(zip(case.weights, dweights, strict=True)):
            assert not any(gradient.any() for gradient in (d.ih, d.hh, d.norm_ih, d.norm_hh))
            assert d.ih_bias.all()
            np.testing.assert_allclose(y[:, i], np.tanh(w.ih_bias + w.hh_bias)[0], rtol=1e-6)


def test_two_units_whose_difference_eps_outweighs():
    case = normalised("lstm", [6, 4, 1], 5, 2)
    small = [w._replace(ih=w.ih * 1e-3, hh=w.hh * 1e-3) for w in case.weights]
    case = case._replace(weights=small)
    for variant in VARIANTS[1:]:
        assert_close(everything(case, variant), everything(case, "naive"), 1e-11)


def test_a_mean_far_from_zero_costs_no_digits():
    # Products that are all about 10, and differ by some hundredths: their squares have no digits left of that.
    case = normalised("lstm", [4, 4], 6, 40, directions=1, dtype=np.float32, states=False)
    w = case.weights[0]
    case = case._replace(x=np.abs(case.x) + 1, weights=[w._replace(ih=(w.ih * 0.01 + 1).astype(np.float32))])
    exact = changed(case, np.float64)
    expected = K.recurrent(*exact[:3], **exact.settings)[0]
    products = (exact.x @ exact.weights[0].ih.T).reshape(-1, 4, 40)
    rounding = 2**-24 * products.max() / products.std(-1).min()
    for variant in VARIANTS:
        found = K.recurrent(*case[:3], variant=variant, **case.settings)[0]
        assert np.linalg.norm(found - expected) <= 4 * rounding * np.linalg.norm(expected)


def test_variants_can_be_mixed():
    case = normalised("lstm", [6, 4, 1], 5, 40)
    for forward in VARIANTS:
        for backward in VARIANTS:
            assert_close(everything(case, forward, backward), everything(case, "naive"), 1e-12)


@pytest.mark.parametrize("cell", list(CELLS))
def test_same_bits_every_time(cell, threads):
    case = normalised(cell, [20] * 5, 30, 70, dtype=np.float32)
    first = everything(case, None)
    for _ in range(3):
        for a, b in zip(everything(case, None), first, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_reset_first"])
def test_blocks_of_inference_are_one_sequence(cell, threads):
    # More rows than inference prepares at a time, forward and from the end; what training computes.
    case = normalised(cell, [400, 300, 7], 3, 20)
    y, hn, cn, _ = K.recurrent(*case[:5], **case.settings)
    whole, last, last_c, _ = K.recurrent(*case[:5], keep=True, **case.settings)
    np.testing.assert_allclose(y, whole, atol=1e-12)
    np.testing.assert_allclose(hn, last, atol=1e-12)
    if cn is not None:
        np.testing.assert_allclose(cn, last_c, atol=1e-12)


@pytest.mark.parametrize("cell", list(CELLS))
def test_resumed_is_uninterrupted(cell, threads):
    """Sequences cut in two, the state carried over: the same states, and the same gradients."""
    case = normalised(cell, [7, 7, 7], 6, 33, directions=1)
    x, weights, sizes, h0, c0, settings, dy, dhn, dcn = case
    whole = everything(case, None)
    cut = 3 * 4
    first = K.recurrent(x[:cut], weights, sizes[:4], h0, c0, keep=True, **settings)
    second = K.recurrent(x[cut:], weights, sizes[4:], first[1], first[2], keep=True, **settings)
    found = [np.concatenate([first[0], second[0]]), *second[1:3]]
    dx2, dh, dc, dw2 = K.recurrent_backward(
        second[3], x[cut:], weights, sizes[4:], second[0], dy[cut:], dhn, dcn, **settings
    )
    dx1, dh0, dc0, dw1 = K.recurrent_backward(
        first[3], x[:cut], weights, sizes[:4], first[0], dy[:cut], dh, dc, **settings
    )
    found += [np.concatenate([dx1, dx2]), dh0, dc0]
    found += [None if a is None else a + b for a, b in zip(dw1[0], dw2[0], strict=True)]
    assert_close([a for a in found if a is not None], whole, 1e-13)


def test_a_large_hidden_state_is_multiplied_in_blocks():
    case = normalised("lstm", [3, 3, 2], 4, 700, directions=1, dtype=np.float32)
    assert_close(everything(case, "packed"), everything(case, "sequence"), 2e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_reset_first", "relu"])
def test_directions_side_by_side(cell):
    # Of two threads each takes a direction: the numbers are those of one thread, but for dx, to which both add.
    case = normalised(cell, [12, 9, 9, 4], 20, 40, mask=True, dtype=np.float32)
    before = K.get_num_threads()
    try:
        K.set_num_threads(1)
        alone = everything(case, None)
        for count in (2, 3, 5):
            K.set_num_threads(count)
            found = everything(case, None)
            if count == 5 and cell == "lstm":
                # Its sums are cut elsewhere, and one rounding of what is given takes some gradients 1.8e-6 away.
                assert_close_as_rounded(found, case, 6e-8, times=3)
            else:
                assert_close(found, alone, 2e-6)
            by_x = 3 if CELLS[cell].has_c else 2
            for i, (a, b) in enumerate(zip(found, alone, strict=True)):
                if count < 4 and i != by_x:
                    np.testing.assert_array_equal(a, b)
    finally:
        K.set_num_threads(before)


@pytest.mark.parametrize("cell", list(CELLS))
def test_threads_that_take_sequences(cell):
    # Sequences of very different lengths, with all that a pass may be given; more threads than some steps have rows.
    lengths = [9, 9, 8, 7, 7, 5, 4, 3, *[2] * 10, *[1] * 30]
    case = normalised(cell, lengths, 5, 21, directions=1, mask=True, seed=3)
    before = K.get_num_threads()
    try:
        for given_case in (case, case._replace(h0=None, c0=None)):
            exact = everything(given_case, "naive")
            for count in (2, 3, 5):
                K.set_num_threads(count)
                found = everything(given_case, "packed")
                assert_close(found, exact, 1e-12)
                for a, b in zip(everything(given_case, "packed"), found, strict=True):
                    np.testing.assert_array_equal(a, b)
    finally:
        K.set_num_threads(before)


def test_gradients_are_added_to_what_is_there(threads):
    for cell in ("gru", "coupled_lstm"):
        case = normalised(cell, [4, 2], 3, 10, directions=1)
        x, weights, sizes, h0, c0, settings, dy, _, _ = case
        for variant in VARIANTS:
            y, _, _, saved = K.recurrent(x, weights, sizes, h0, c0, keep=True, variant=variant, **settings)
            kept = RecurrentSaved(tuple(r.copy() for r in saved.reserves))
            once = K.recurrent_backward(saved, x, weights, sizes, y, dy, variant=variant, **settings)[3][0]
            out = [RecurrentWeights(*(None if a is None else np.ones_like(a) for a in weights[0]))]
            K.recurrent_backward(
                kept, x, weights, sizes, y, dy, out=out, accumulate=True, variant=variant, **settings
            )
            for a, b in zip(out[0], once, strict=True):
                if a is not None:
                    np.testing.assert_allclose(a, b + 1, atol=1e-12)


def test_some_gradients_alone():
    case = normalised("lstm", [4, 2], 3, 10, directions=1)
    x, weights, sizes, h0, c0, settings, dy, _, _ = case
    for variant in VARIANTS:
        y, _, _, saved = K.recurrent(x, weights, sizes, h0, c0, keep=True, variant=variant, **settings)
        kept = [r.copy() for r in saved.reserves]
        _, _, _, (all_of_them,) = K.recurrent_backward(
            saved, x, weights, sizes, y, dy, variant=variant, **settings
        )
        for part in RecurrentWeights._fields:
            wanted = RecurrentWeights(None, None)._replace(
                **{part: np.full_like(getattr(weights[0], part), np.nan)}
            )
            saved = RecurrentSaved(tuple(r.copy() for r in kept))
            dx, dh0, dc0, _ = K.recurrent_backward(
                *(saved, x, weights, sizes, y, dy),
                **{"out": [wanted], "by_x": False, "by_state": False, "variant": variant, **settings},
            )
            assert (dx, dh0, dc0) == (None, None, None)
            np.testing.assert_allclose(getattr(wanted, part), getattr(all_of_them, part), atol=1e-12)


@pytest.mark.parametrize("without", ["norm_c", "norm_c_bias", "peepholes"])
def test_parts_that_are_left_out(without, threads):
    case = normalised("lstm", [5, 3, 3], 4, 30)
    nothing = {without: None, **({"norm_c_bias": None} if without == "norm_c" else {})}
    case = case._replace(weights=[w._replace(**nothing) for w in case.weights])
    for variant in VARIANTS[1:]:
        assert_close(everything(case, variant), everything(case, "naive"), 1e-12)
    if without == "norm_c":
        return
    # What is left out is 0.
    zeros = [
        w._replace(**{without: np.zeros((3, 30) if without == "peepholes" else 30)}) for w in case.weights
    ]
    y = K.recurrent(*case[:5], **case.settings)[0]
    np.testing.assert_allclose(K.recurrent(case.x, zeros, *case[2:5], **case.settings)[0], y, atol=1e-13)


def test_stacks_have_norms():
    weights = normalised("lstm", [1], 4, 6).weights
    x = np.random.default_rng(0).standard_normal((5, 3, 4))
    y, hn, _ = K.lstm(x, [weights])
    found, last, _, _ = K.recurrent(x.reshape(15, 4), weights, [3] * 5)
    np.testing.assert_array_equal(y, found.reshape(5, 3, 12))
    np.testing.assert_array_equal(hn, last)


def errors() -> list[tuple[str, type[Exception], dict[str, Any], str]]:
    w = normalised("lstm", [1], 3, 4, directions=1).weights[0]
    gru = normalised("gru", [1], 3, 4, directions=1).weights[0]
    return [
        ("one gain", ValueError, {"norm_hh": None}, "norm_ih is given but norm_hh is None; expected both"),
        ("the other", ValueError, {"norm_ih": None}, "norm_hh is given but norm_ih is None; expected both"),
        ("c alone", ValueError, {"norm_ih": None, "norm_hh": None}, "norm_c is given but norm_ih is None"),
        ("a shift alone", ValueError, {"norm_c": None}, "norm_c_bias is given but norm_c is None"),
        ("a GRU's c", ValueError, gru._replace(norm_c=np.ones(4))._asdict(), "norm_c is given but the cell is gru"),
        ("a gain of each unit", ValueError, {"norm_ih": np.ones(4)}, r"norm_ih is \(4,\); expected \(16,\)"),
        ("two dimensions", ValueError, {"norm_hh": np.ones((4, 4))}, r"norm_hh is \(4, 4\); expected \(16,\)"),
        ("c of all gates", ValueError, {"norm_c": np.ones(16)}, r"norm_c is \(16,\); expected \(4,\)"),
        ("a shift of all gates", ValueError, {"norm_c_bias": np.ones(16)}, r"norm_c_bias is \(16,\); expected \(4,\)"),
        ("another dtype", TypeError, {"norm_ih": np.float32(w.norm_ih)}, "norm_ih is float32"),
        ("integers", TypeError, {"norm_c": np.ones(4, int)}, "norm_c"),
        ("a number", ValueError, {"norm_hh": 1.0}, "norm_hh"),
    ]  # fmt: skip


@pytest.mark.parametrize("case", errors(), ids=lambda case: case[0])
def test_errors(case):
    _, kind, changed, message = case
    weights = normalised("lstm", [1], 3, 4, directions=1).weights[0]._replace(**changed)
    cell = "lstm" if len(weights.hh) == 16 else "gru"
    with pytest.raises(kind, match=f"^recurrent: .*{message}"):
        K.recurrent(np.zeros((4, 3)), [weights], [2, 2], cell=cell)


def test_errors_of_gradients():
    case = normalised("lstm", [3, 2], 4, 5, directions=1)
    plain = case._replace(weights=[RecurrentWeights(*case.weights[0][:5])])

    def refused(message: str, of: Any, reserves: Any = None, **out: Any) -> None:
        x, weights, sizes, h0, c0, settings, dy, _, _ = of
        y, _, _, saved = K.recurrent(x, weights, sizes, h0, c0, keep=True, **settings)
        saved = saved if reserves is None else RecurrentSaved(reserves)
        wanted = None if not out else [RecurrentWeights(None, None)._replace(**out)]
        with pytest.raises(ValueError, match=f"^recurrent_backward: {message}"):
            K.recurrent_backward(saved, x, weights, sizes, y, dy, out=wanted, **settings)

    kept = K.recurrent(*plain[:5], keep=True, **plain.settings)[3].reserves
    refused(r"reserve is \(5, 6, 5\); expected \(5, 86\)", case, kept)
    kept = K.recurrent(*case[:5], keep=True, **case.settings)[3].reserves
    refused(r"reserve is \(5, 86\); expected \(5, 6, 5\)", plain, kept)
    refused(r"dnorm_ih is \(5,\); expected \(20,\)", case, norm_ih=np.zeros(5))
    refused(r"dnorm_c is \(20,\); expected \(5,\)", case, norm_c=np.zeros(20))
    refused("dnorm_hh overlaps norm_hh", case, norm_hh=case.weights[0].norm_hh)
    memory = np.zeros(30)
    refused("dnorm_hh overlaps dnorm_ih", case, norm_ih=memory[:20], norm_hh=memory[10:])
    refused("dnorm_c_bias overlaps dnorm_c", case, norm_c=memory[:5], norm_c_bias=memory[4:9])
    for part, size in zip(NORMS, (20, 20, 5, 5), strict=True):
        refused(f"d{part} is given but {part} is None; expected None", plain, **{part: np.zeros(size)})


@pytest.mark.parametrize("at_end", [False, True], ids=["at the beginning", "at the end"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reads_stay_within_the_arrays(fenced, at_end, dtype):
    fence = type(fenced[0])

    def guarded(value: Any) -> Any:
        return fence(value.nbytes).array(value, at_end)

    for cell in CELLS:
        case = normalised(cell, [3, 2, 1], 5, 21, dtype=dtype)
        case = changed(case, guarded)
        for variant in VARIANTS:
            everything(case, variant)
