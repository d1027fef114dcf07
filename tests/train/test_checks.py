from __future__ import annotations

import numpy as np
import pytest

from dlkit.train.checks import integer


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers(value):
    found = integer("fit", "epochs", value, 1)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, np.float32(2), [1]])
def test_others(value):
    with pytest.raises(ValueError, match=r"fit: epochs is .*, expected an integer of at least 1"):
        integer("fit", "epochs", value, 1)
