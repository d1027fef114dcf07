"""python/dlkit/kernels/variants.py: the ladders."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit.kernels as K


def test_the_ladder_of_matmul() -> None:
    steps = K.variants("matmul")
    names = [step.name for step in steps]
    assert names[0] == "naive"
    assert len(set(names)) == len(names)
    assert {"loop_order", "blocked", "register_tile", "packed", "threaded", "matvec"} < set(names)
    for step in steps:
        assert step == K.Variant(step.name, step.idea, step.needs)
        assert step.idea
        vector = np.ones(3)
        np.testing.assert_array_equal(K.matmul(vector, vector, variant=step.name), 3)


@pytest.mark.parametrize("operation", ["activation", "softmax", "column_sum", "adam_step"])
def test_the_ladders_of_layers(operation: str) -> None:
    names = [step.name for step in K.variants(operation)]
    assert names[0] == "naive"
    assert len(names) > 1


def test_what_is_changed_is_a_copy() -> None:
    K.variants("matmul").clear()
    assert K.variants("matmul")


def test_unknown_operation() -> None:
    with pytest.raises(
        ValueError, match=r"variants: operation is 'matmil'; expected one of matmul, .*did you mean 'matmul'"
    ):
        K.variants("matmil")
    with pytest.raises(ValueError, match=r"variants: operation is 'qqqq'; expected one of [a-z0-9_, ]*$"):
        K.variants("qqqq")
