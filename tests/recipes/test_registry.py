from __future__ import annotations

from dataclasses import fields

import pytest

from dlkit.recipes import SettingsError, get, names, recipes


def test_names_are_those_of_the_recipes():
    assert [recipe.name for recipe in recipes()] == names()


@pytest.mark.parametrize("name", names())
def test_every_recipe_is_complete(name):
    recipe = get(name)
    assert recipe.summary
    assert not recipe.summary.endswith(".")
    own = {"corpus"} if any(f.name == "corpus" for f in fields(recipe.settings_type)) else set()
    assert set(recipe.presets) <= {*recipe.datasets, *own}
    # Each data set (or the recipe itself) says what must be reached.
    assert set(recipe.targets) == set(recipe.datasets or [""])
    for data in recipe.datasets:
        assert recipe.settings(data=data).as_dict()["data"] == data
    for limits in recipe.settings_type.options().values():
        assert limits.help.endswith(".")


def test_underscore_and_case_do_not_matter():
    assert get("Gradient_Descent") is get("gradient-descent")


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(
        SettingsError, match=r"unknown recipe 'perceptrn', expected .* \(did you mean 'perceptron'\?\)"
    ):
        get("perceptrn")
