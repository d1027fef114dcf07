from __future__ import annotations

import json

from dlkit.cli.console import pairs, print_json


def test_pairs_line_up(capsys):
    pairs([("a", "one"), ("longer", "two [not markup]")])
    assert capsys.readouterr().out == "  a       one\n  longer  two [not markup]\n"


def test_json_is_json(capsys):
    print_json({"name": "ü", "values": [1, 2.5]})
    assert json.loads(capsys.readouterr().out) == {"name": "ü", "values": [1, 2.5]}
