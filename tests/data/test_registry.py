from __future__ import annotations

import numpy as np
import pytest

from dlkit import data


def test_names():
    assert data.names() == ["digits", "mnist", "fashion-mnist"]


def test_split_alone():
    whole = data.load("digits")
    for split, wanted in (("train", whole.train), ("test", whole.test)):
        x, y = data.load("digits", split)
        np.testing.assert_array_equal(x, wanted[0])
        np.testing.assert_array_equal(y, wanted[1])


@pytest.mark.parametrize(
    ("name", "near"),
    [("digit", "digits"), ("minst", "mnist"), ("fashion", "fashion-mnist"), ("MNST", "mnist")],
)
def test_unknown_name_suggests_the_nearest(name, near):
    with pytest.raises(ValueError, match=f"unknown data set '{name}'.*did you mean '{near}'"):
        data.load(name)


def test_far_off_name_lists_all():
    with pytest.raises(ValueError, match=r"expected one of digits, mnist, fashion-mnist$"):
        data.load("zzz")


def test_spelling_is_forgiven():
    assert data.load(" Digits ").name == "digits"


def test_unknown_split():
    with pytest.raises(ValueError, match="split is 'dev', expected 'train', 'test' or None"):
        data.load("digits", "dev")
