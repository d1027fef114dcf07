from __future__ import annotations

import numpy as np
import pytest

from dlkit.study.workloads import (
    CHAPTERS,
    Workload,
    make_inputs,
    matmul,
    parse_shape,
    reference,
    relative_error,
    workloads,
)


def test_shapes_are_read_as_people_write_them():
    assert parse_shape("64x784x512") == (64, 784, 512, False, False)
    assert parse_shape(" 784X64×512tn ") == (784, 64, 512, True, False)
    assert parse_shape("2x3x4nt") == (2, 3, 4, False, True)
    assert parse_shape("2x3x4tt") == (2, 3, 4, True, True)


@pytest.mark.parametrize("text", ["64x784", "0x2x3", "axbxc", "2x3x4n", "", "-1x2x3"])
def test_what_is_no_shape_is_an_error_that_names_it(text):
    with pytest.raises(ValueError, match=r"bench: shape is .*expected MxKxN"):
        parse_shape(text)


def test_the_chapter_has_the_shapes_of_the_table_and_the_cost_of_a_call():
    found = workloads("matmul")
    assert len(found) == 17
    assert found[0].bound == "call"
    transposed = [w.params for w in found if w.params["trans_a"] or w.params["trans_b"]]
    assert [(p["m"], p["k"], p["n"], p["trans_a"], p["trans_b"]) for p in transposed] == [
        (784, 64, 512, True, False),
        (64, 512, 784, False, True),
        (20, 2600, 650, False, True),
    ]


def test_unknown_chapters_and_names_are_errors():
    with pytest.raises(
        ValueError, match="bench: chapter is 'attention'; expected one of matmul, layers, conv"
    ):
        workloads("attention")
    with pytest.raises(ValueError, match="bench: no workload of layers is named like 'gelu'; there are Adam"):
        workloads("layers", ["gelu"])
    with pytest.raises(ValueError, match="there are LSTM 35×20, 200 → 200; LSTM 35×20, 650 → 650; ") as error:
        workloads("recurrent", ["9x9"])
    assert "forward" not in str(error.value)


def test_parts_of_names_choose():
    assert {w.kind for w in workloads("layers", ["tanh", "adam"])} == {"tanh", "adam"}
    assert workloads("recurrent", ["gru 35x20"]) == workloads("recurrent", ["GRU 35×20"]) != []


def test_units():
    workload = matmul(100, 100, 100)
    assert workload.value(1e-5) == pytest.approx(200.0)
    assert Workload("x", "x", unit="ms").value(0.5) == 500
    assert Workload("x", "x", unit="us").value(0.5) == 5e5
    assert Workload("x", "x", unit="samples/s", samples=64).value(0.5) == 128
    assert Workload("x", "x", unit="tokens/s", samples=700).value(0.5) == 1400


def test_flops_and_bytes_of_a_product():
    workload = matmul(2, 3, 5)
    assert workload.flops == 2 * 2 * 3 * 5
    assert workload.bytes == 4 * (6 + 15 + 10)


def test_flops_of_a_training_step():
    # 2·64·(784·512 + 512·512 + 512·10) forward, as much for the weights' gradients, and for the inputs' of
    # all layers but the first.
    workload = workloads("models")[0]
    first, second, third = 784 * 512, 512 * 512, 512 * 10
    assert workload.flops == 2 * 64 * (3 * (first + second + third) - first)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_inputs_are_the_same_for_the_same_seed_and_answers_are_float64(chapter):
    for workload in workloads(chapter, quick=True):
        one, two, other = make_inputs(workload), make_inputs(workload), make_inputs(workload, seed=1)
        assert all(np.array_equal(one[name], two[name]) for name in one)
        assert not all(np.array_equal(one[name], other[name]) for name in one)
        answers = reference(workload, one)
        assert answers
        assert all(array.dtype == np.float64 and np.isfinite(array).all() for array in answers.values())


def test_reference_gradient_of_the_network_agrees_with_finite_differences():
    # Adam's first step hides the gradient's size; cross-entropy's own gradient does not.
    (workload,) = [w for w in workloads("layers", quick=True) if w.kind == "cross_entropy"]
    inputs = make_inputs(workload)
    answers = reference(workload, inputs)
    nudged = {**inputs, "logits": inputs["logits"].astype(np.float64)}
    nudged["logits"][3, 7] += 1e-6
    slope = (reference(workload, nudged)["loss"] - answers["loss"]) / 1e-6
    # The float32 input is exact in float64, so only the difference quotient's error is left.
    assert slope == pytest.approx(answers["grad"][3, 7], rel=1e-3)


def test_flops_of_a_training_step_for_sentences():
    # Forward over all windows, backward over one for each sentence and filter.
    text = workloads("models")[3]
    windows = sum(k * (56 - k + 1) for k in (3, 4, 5))
    assert text.flops == 2 * 50 * 100 * 300 * (windows + 2 * (3 + 4 + 5))


def test_flops_of_a_training_step_of_a_cnn():
    # A product for each weight and place: forward, for the weights, and for the inputs of all layers but the first.
    lenet, wide = workloads("models")[1:3]
    first, second = 6 * 25 * 28 * 28, 16 * 6 * 25 * 10 * 10
    linear = 400 * 120 + 120 * 84 + 84 * 10
    assert lenet.flops == 2 * 64 * (2 * first + 3 * (second + linear))
    first, second, linear = 20 * 25 * 24 * 24, 50 * 20 * 25 * 8 * 8, 800 * 500 + 500 * 10
    assert wide.flops == 2 * 64 * (2 * first + 3 * (second + linear))


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_training_lowers_the_reference_loss(number):
    workload = workloads("models", quick=True)[number]
    inputs = make_inputs(workload)
    one_batch = Workload(**{**workload.to_json(), "params": {**workload.params, "batches": 1, "lr": 0.02}})
    losses = reference(one_batch, inputs)["losses"]
    assert losses[-1] < losses[0]


def test_operations_of_a_language_models_step():
    (single,) = workloads("models", ["language model, small"])
    assert single.flops == 6 * 700 * (2 * 8 * 200 * 200 + 10_000 * 200)
    assert single.value(0.5) == 1400  # tokens a second


def test_relative_error():
    expected = np.array([3.0, 4.0])
    assert relative_error(expected, expected) == 0
    assert relative_error(np.array([3.0, 4.5]), expected) == pytest.approx(0.1)
    assert relative_error(np.array([3.0]), expected) == np.inf
    assert relative_error(np.array([3.0, np.nan]), expected) == np.inf
