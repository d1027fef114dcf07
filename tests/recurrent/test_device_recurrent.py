"""The CUDA kernels of recurrent layers against the CPU in float64: on the SIMT machine, on a GPU where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_cases import Case, changed, errors, everything, make, single
from tested_backends import needs

import dlkit.kernels as K
from dlkit.kernels import CELLS, RecurrentWeights
from dlkit.kernels.backend import backend_named, resolve_device, to_host, why_not

VARIANTS = [] if why_not("simt") else [step.name for step in K.variants("recurrent", "simt")]


class Device:
    def __init__(self, name: str) -> None:
        self.backend = backend_named(name)
        self.name = resolve_device(name, "test")

    def put(self, array: Any) -> Any:
        return None if array is None else self.backend.from_host(array, self.name)

    def case(self, case: Case) -> Case:
        """The same case in the device's memory."""
        return changed(case, self.put)


@pytest.fixture(params=["simt", "cuda"])
def device(request: pytest.FixtureRequest) -> Device:
    needs(request.param)
    return Device(request.param)


def assert_close(found: list[Any], expected: list[Any], tolerance: float) -> None:
    assert len(found) == len(expected)
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        host = to_host(a)
        assert host.shape == b.shape
        assert np.linalg.norm(host - b) <= tolerance * (np.linalg.norm(b) + 1e-30), i


def check(device: Device, case: Case, variant: str | None, backward: str | None = None) -> None:
    """In float64 and in float32 a device gives what the definition on the CPU gives in float64."""
    exact = everything(case, "naive")
    assert_close(everything(device.case(case), variant, backward), exact, 1e-11)
    assert_close(everything(device.case(single(case)), variant, backward), exact, 5e-6)


def cases(cell: str) -> list[Case]:
    return [
        make(cell, [5, 3, 3, 1], 5, 9, seed=1),
        make(cell, [2, 2, 2, 2, 2], 3, 8, directions=1, mask=True, seed=2),
        make(cell, [3, 1], 0, 13, bias=False, states=False, new_z=True, seed=3),
    ]


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_agree_with_the_definition(device: Device, cell: str, variant: str) -> None:
    for case in cases(cell):
        check(device, case, variant)


@settings(max_examples=12)
@given(
    cell=st.sampled_from(list(CELLS)),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    inputs=st.integers(0, 9),
    hidden=st.integers(1, 40),
    directions=st.integers(1, 2),
    bias=st.booleans(),
    states=st.booleans(),
    mask=st.booleans(),
    new_z=st.booleans(),
    variants=st.tuples(*2 * [st.sampled_from([None, *VARIANTS])]),
    seed=st.integers(0, 2**16),
)
def test_any_shape(
    cell: str, lengths: list[int], inputs: int, hidden: int, variants: Any, **options: Any
) -> None:
    """Forward and backward may be of different variants."""
    needs("simt")
    case = make(cell, lengths, inputs, hidden, **options)
    check(Device("simt"), case, *variants)


@pytest.mark.parametrize("variant", VARIANTS)
def test_inference_is_what_training_computes(device: Device, variant: str) -> None:
    case = device.case(make("lstm", [4, 4, 2], 3, 9, dtype=np.float32))
    y, hn, cn, saved = K.recurrent(*case[:5], variant=variant, **case.settings)
    assert saved is None
    kept = K.recurrent(*case[:5], keep=True, variant=variant, **case.settings)
    for a, b in zip((y, hn, cn), kept, strict=False):
        np.testing.assert_array_equal(to_host(a), to_host(b))


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_bits_every_time(device: Device, variant: str) -> None:
    case = device.case(make("gru", [4, 3], 3, 21, dtype=np.float32))
    first, again = (everything(case, variant) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(to_host(a), to_host(b))


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_are_added_to_what_is_there(device: Device, variant: str) -> None:
    case = make("lstm", [4, 2], 3, 10, directions=1)
    x, weights, sizes, h0, c0, settings, dy, _, _ = device.case(case)
    results = []
    for accumulate in (False, True):
        y, _, _, saved = K.recurrent(x, weights, sizes, h0, c0, keep=True, variant=variant, **settings)
        out = [RecurrentWeights(*(device.put(np.ones(a.shape)) for a in weights[0] if a is not None))]
        K.recurrent_backward(
            *(saved, x, weights, sizes, y, dy), out=out, accumulate=accumulate, variant=variant, **settings
        )
        results.append([to_host(a) for a in out[0] if a is not None])
    for once, added in zip(*results, strict=True):
        np.testing.assert_allclose(added, once + 1, atol=1e-12)


def test_only_what_is_wanted(device: Device) -> None:
    """Gradients by some of the weights alone, neither by the input nor by the states."""
    case = make("lstm", [3, 2], 3, 6, directions=1)
    expected = everything(case, "naive")
    x, weights, sizes, h0, c0, settings, dy, dhn, dcn = device.case(case)
    for variant in VARIANTS:
        y, _, _, saved = K.recurrent(x, weights, sizes, h0, c0, keep=True, variant=variant, **settings)
        wanted = [RecurrentWeights(None, device.put(np.empty(case.weights[0].hh.shape)))]
        dx, dh0, dc0, (found,) = K.recurrent_backward(
            *(saved, x, weights, sizes, y, dy, dhn, dcn),
            **{"by_x": False, "by_state": False, "out": wanted, "variant": variant, **settings},
        )
        assert dx is dh0 is dc0 is found.ih is None
        np.testing.assert_allclose(to_host(found.hh), expected[7], atol=1e-12)


def test_stacks(device: Device) -> None:
    """Several layers, and one of several directions, by the names of the cells."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    for call, cell in ((K.lstm, "lstm"), (K.gru, "gru"), (K.rnn, "tanh")):
        layers = [make(cell, [1], n, 5, dtype=np.float32).weights for n in (3, 10)]
        h0 = rng.standard_normal((4, 2, 5)).astype(np.float32)
        expected = call(x, layers, h0)
        there = [[RecurrentWeights(*map(device.put, w)) for w in layer] for layer in layers]
        found = call(device.put(x), there, device.put(h0))
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(to_host(a), b, rtol=1e-4, atol=1e-6)


def test_a_cell(device: Device) -> None:
    case = make("lstm", [1, 1], 3, 5, directions=1, dtype=np.float32)
    expected = K.lstm_cell(case.x, case.weights[0], case.h0[0], case.c0[0])
    there = RecurrentWeights(*map(device.put, case.weights[0]))
    found = K.lstm_cell(device.put(case.x), there, device.put(case.h0[0]), device.put(case.c0[0]))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(to_host(a), b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("kind", "change"), [e[1:3] for e in errors()], ids=[e[0] for e in errors()])
def test_errors_are_those_of_the_cpu(device: Device, kind: type[Exception], change: dict[str, Any]) -> None:
    weights = make("lstm", [1], 3, 4, directions=1).weights
    given: dict[str, Any] = {"x": np.zeros((4, 3)), "weights": weights, "batch_sizes": [2, 2], **change}
    with pytest.raises(kind) as expected:
        K.recurrent(**given)

    def there(name: str, value: Any) -> Any:
        if name == "weights":
            return [
                type(w)(*map(device.put, w)) if hasattr(w, "_fields") else tuple(map(device.put, w))
                for w in value
            ]
        return device.put(value) if isinstance(value, np.ndarray) else value

    with pytest.raises(kind) as found:
        K.recurrent(**{name: there(name, value) for name, value in given.items()})
    if "variant" not in change:  # whose names are the device's own
        assert str(found.value) == str(expected.value)


def test_errors_of_gradients_are_those_of_the_cpu(device: Device) -> None:
    case = device.case(make("lstm", [3, 2], 4, 5))
    x, weights, sizes, h0, c0, settings, dy, *_ = case
    y, _, _, saved = K.recurrent(x, weights, sizes, h0, c0, keep=True, **settings)
    for name in ("dhn", "dcn"):
        more = {name: device.put(np.zeros((4, 2, 5)))}
        with pytest.raises(
            ValueError, match=rf"^recurrent_backward: {name} is \(4, 2, 5\); expected \(2, B, H\)"
        ):
            K.recurrent_backward(saved, x, weights, sizes, y, dy, **more, **settings)
    case = device.case(make("gru", [3, 2], 4, 5))
    x, weights, sizes, h0, _, settings, dy, dhn, _ = case
    y, _, _, saved = K.recurrent(x, weights, sizes, h0, keep=True, **settings)
    with pytest.raises(ValueError, match=r"^recurrent_backward: dcn is given but the cell is gru"):
        K.recurrent_backward(saved, x, weights, sizes, y, dy, dhn, dhn, **settings)


def test_arrays_of_two_devices(simt: Any) -> None:
    case = make("lstm", [2, 2], 3, 4, directions=1, dtype=np.float32)
    there = Device("simt").case(case)
    with pytest.raises(TypeError, match=r"recurrent: weight_ih is on simt but the other arrays are on cpu"):
        K.recurrent(case.x, there.weights, case.sizes)
    with pytest.raises(TypeError, match=r"recurrent: x is on simt but weight_ih is on cpu"):
        K.recurrent(there.x, case.weights, case.sizes)


def launches(run: Any) -> list[str]:
    """The kernels that a call starts on the emulated GPU."""
    from dlkit import _simt

    before = _simt.get_mode()
    _simt.set_mode("both")
    _simt.reset_counters()
    try:
        run()
        return [launch["kernel"] for launch in _simt.counters()]
    finally:
        _simt.set_mode(before)
        _simt.reset_counters()


@pytest.mark.parametrize("variant", ["persistent", "streamed"])
def test_both_directions_are_one_launch(simt: Any, variant: str) -> None:
    case = Device("simt").case(make("gru", [3, 3, 1], 3, 9, dtype=np.float32))
    names = launches(lambda: everything(case, variant))
    assert names.count(variant) == names.count(f"{variant} backward") == 1


@pytest.mark.parametrize(("variant", "hidden"), [("persistent", 220), ("streamed", 300)])
def test_directions_that_do_not_fit_side_by_side_take_turns(simt: Any, variant: str, hidden: int) -> None:
    case = make("gru", [2, 1], 3, hidden, seed=6)
    there = Device("simt").case(single(case))
    exact, found = everything(case, "naive"), []
    names = launches(lambda: found.extend(everything(there, variant)))
    assert_close(found, exact, 5e-6)
    assert names.count(variant) == (2 if variant == "persistent" else 1)


@pytest.mark.parametrize("cell", ["lstm", "gru_reset_first", "tanh"])
def test_weights_that_do_not_fit(simt: Any, cell: str) -> None:
    """A part of each row stays in shared memory, the rest comes anew in each step; sums are added in the same order."""
    hidden = {"lstm": 250, "gru_reset_first": 300, "tanh": 500}[cell]
    case = make(cell, [3, 3, 1], 4, hidden, directions=1, mask=cell == "lstm", seed=4)
    device = Device("simt")
    exact = everything(case, "naive")
    there = device.case(single(case))
    with pytest.raises(ValueError, match="variant 'persistent' needs at most 64"):
        everything(there, "persistent")
    assert_close(everything(there, "streamed"), exact, 5e-6)


def test_streaming_does_not_change_a_bit(simt: Any) -> None:
    case = Device("simt").case(make("gru", [5, 4, 2], 3, 150, directions=1, dtype=np.float32))
    for a, b in zip(everything(case, "persistent"), everything(case, "streamed"), strict=True):
        np.testing.assert_array_equal(to_host(a), to_host(b))


@pytest.mark.parametrize("cell", ["gru", "gru_reset_first"])
def test_more_sequences_than_warps_take_at_once(simt: Any, cell: str) -> None:
    case = make(cell, [70, 66, 3], 2, 7, directions=1, seed=5)
    exact = everything(case, "naive")
    assert_close(everything(Device("simt").case(single(case)), "streamed"), exact, 5e-6)


def test_the_choice_by_size(simt: Any) -> None:
    """As estimated for an H100, but that the emulated GPU has four multiprocessors."""
    from dlkit import _simt

    def choice(cell: str, sizes: list[int], hidden: int, directions: int = 1, dtype: int = 0) -> str:
        settings = (0, dtype, 0, None, cell, False, sizes, sum(sizes), 100, hidden)
        return _simt.recurrent_choice(settings, directions)

    assert choice("lstm", [20] * 35, 128) == choice("lstm", [20] * 35, 128, 2) == "persistent"
    assert choice("gru_reset_first", [2] * 9, 64) == "persistent"
    assert choice("lstm", [4] * 35, 300) == "streamed"
    assert choice("lstm", list(range(100, 0, -1)), 128) == "stepwise"  # of so many sizes


def test_gradients_have_memory_of_their_own(simt: Any) -> None:
    case = Device("simt").case(make("tanh", [2, 2], 4, 4, directions=1, dtype=np.float32))
    y, _, _, saved = K.recurrent(*case[:4], keep=True, **case.settings)
    w = case.weights[0]
    with pytest.raises(ValueError, match="dweight_ih overlaps weight_ih; expected memory of its own"):
        K.recurrent_backward(
            saved, *case[:3], y, case.dy, out=[RecurrentWeights(w.ih, None)], **case.settings
        )
    with pytest.raises(ValueError, match=r"dweight_hh is \(4, 3\); expected \(4, 4\)"):
        K.recurrent_backward(
            *(saved, *case[:3], y, case.dy), out=[RecurrentWeights(None, w.hh[:, :3])], **case.settings
        )
    with pytest.raises(ValueError, match="dweight_hh is not contiguous"):
        K.recurrent_backward(
            *(saved, *case[:3], y, case.dy), out=[RecurrentWeights(None, w.hh.T)], **case.settings
        )


def test_layer_normalisation_is_refused(device: Device) -> None:
    case = device.case(make("lstm", [3, 2], 4, 5, norms=True))
    with pytest.raises(
        ValueError,
        match=r"^recurrent: norm_ih, norm_hh or norm_c is given and x is on a device; expected None",
    ):
        K.recurrent(*case[:5], **case.settings)
    plain = [RecurrentWeights(*w[:5]) for w in case.weights]
    y, _, _, saved = K.recurrent(case.x, plain, *case[2:5], keep=True, **case.settings)
    with pytest.raises(ValueError, match=r"^recurrent_backward: norm_ih, norm_hh or norm_c is given"):
        K.recurrent_backward(saved, case.x, plain, case.sizes, y, case.dy, out=case.weights, **case.settings)
