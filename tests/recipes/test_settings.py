from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from dlkit.recipes.settings import Limits, Settings, SettingsError, describe, nearest, option


@dataclass(frozen=True)
class Example(Settings):
    count: int = option(3, "A count.", at_least=1, at_most=10)
    rate: float = option(0.5, "A rate.", above=0, below=1)
    sizes: tuple[int, ...] = option((4, 5), "Sizes.", at_least=1)
    rule: str = option("sgd", "A rule.", choices=("sgd", "adam"))
    on: bool = option(False, "A switch.")
    limit: float | None = option(None, "A limit.", above=0)
    steps: tuple[int, ...] = option((1,), "Steps.", at_least=1, empty=False)

    def check(self) -> None:
        if self.on and self.rule == "adam":
            raise SettingsError("on is set but rule is adam")


def test_text_becomes_numbers():
    made = Example.make(
        {"count": "7", "rate": "1e-1", "sizes": "8,9", "on": "true", "limit": "2", "seed": "11"}
    )
    assert (made.count, made.rate, made.sizes, made.on, made.limit, made.seed) == (
        7,
        0.1,
        (8, 9),
        True,
        2.0,
        11,
    )


@pytest.mark.parametrize(
    ("given", "sizes"), [("none", ()), ("", ()), ("7", (7,)), ([1, 2], (1, 2)), (6, (6,))]
)
def test_lists_of_sizes(given, sizes):
    assert Example.make({"sizes": given}).sizes == sizes


def test_none_where_it_is_allowed():
    assert Example.make({"limit": "none"}).limit is None
    with pytest.raises(SettingsError, match="rate is 'none', expected a number"):
        Example.make({"rate": "none"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "count is 0, expected an integer of at least 1 and of at most 10"),
        ({"count": 11}, "count is 11"),
        ({"count": 2.5}, "count is 2.5, expected an integer"),
        ({"count": True}, "count is True, expected an integer"),
        ({"count": "many"}, "count is 'many', expected an integer"),
        ({"count": None}, "count is None, expected an integer"),
        ({"rate": 0}, "rate is 0.0, expected a number above 0 and below 1"),
        ({"rate": 1}, "rate is 1.0"),
        ({"rate": "nan"}, "rate is nan"),
        ({"rate": float("inf")}, "rate is inf"),
        ({"rate": True}, "rate is True"),
        ({"sizes": "5,x"}, "sizes is '5,x', expected integers of at least 1, .* such as 512,512, or none$"),
        ({"sizes": "5,0"}, "sizes is 5,0, expected integers of at least 1, separated by commas"),
        ({"sizes": [1.5]}, r"sizes is \[1.5\]"),
        ({"rule": "adm"}, r"rule is 'adm', expected one of sgd, adam \(did you mean 'adam'\?\)"),
        ({"rule": 3}, "rule is 3, expected one of sgd, adam"),
        ({"steps": "none"}, "steps is none, expected integers of at least 1, .* such as 512,512$"),
        ({"steps": "1,x"}, "steps is '1,x', expected integers of at least 1, .* such as 512,512$"),
        ({"on": "maybe"}, "on is 'maybe', expected true or false"),
        ({"limit": -1}, "limit is -1.0, expected a number above 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "seed is"),
        ({"on": True, "rule": "adam"}, "on is set but rule is adam"),
        ({"cuont": 3}, r"unknown setting 'cuont' \(did you mean 'count'\?\)"),
    ],
)
def test_wrong_values(values, message):
    with pytest.raises(SettingsError, match=message):
        Example.make(values)


def test_goes_through_json():
    made = Example.make({"sizes": (1, 2, 3), "limit": 0.25})
    assert Example.make(json.loads(json.dumps(made.as_dict()))) == made


def test_describe():
    assert describe(int, Limits("", at_least=1)) == "an integer of at least 1"
    assert describe(int, Limits("", at_most=1 << 28)) == "an integer of at most 268435456"
    assert describe(float | None, Limits("", above=0)) == "a number above 0 (or none)"
    assert describe(str, Limits("", choices=("a", "b"))) == "one of a, b"


def test_nearest_says_nothing_about_the_unlike():
    assert nearest("zzz", ["mnist", "digits"]) == ""
