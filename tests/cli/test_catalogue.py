from __future__ import annotations

import json

from dlkit.cli import main
from dlkit.recipes import names, recipes


def test_names_data_and_targets_are_listed(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for recipe in recipes():
        assert f"dlkit train {recipe.name}\n" in text
        for data, target in recipe.targets.items():
            assert data in text
            assert target.text in text


def test_json(capsys):
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == names()
    mlp = next(row for row in rows if row["name"] == "mlp")
    assert mlp["must_reach"]["digits"]["at_least"] >= 0.975
