from __future__ import annotations

import numpy as np

import dlkit as dl
from dlkit.train.state import plain


def test_tensors_become_arrays():
    tensor = dl.Tensor(np.arange(3.0))
    found = plain({"a": [tensor, 1], "b": (tensor, None), 3: {"c": np.ones(2)}})
    assert found["a"][0] is tensor.data
    assert isinstance(found["b"], tuple)
    assert found["a"][1] == 1
    assert found[3]["c"].tolist() == [1, 1]


def test_copies():
    tensor = dl.Tensor(np.arange(3.0))
    found = plain({"a": tensor}, copy=True)
    tensor.data[0] = 9
    assert found["a"].tolist() == [0, 1, 2]
