from __future__ import annotations

import json

import pytest

from dlkit.cli import main


def test_a_table_and_a_file(tmp_path, capfd):
    path = tmp_path / "m.json"
    arguments = ["bench", "matmul", "16x16x16", "--peers", "numpy", "--rounds", "1", "--json", str(path)]
    assert main(arguments) == 0
    text = capfd.readouterr().out
    assert "16×16×16" in text
    assert "NumPy" in text
    record = json.loads(path.read_text())
    assert record["chapter"] == "matmul"
    assert record["rows"][0]["peers"]["dlkit"]["seconds"] > 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["matmull"], 2, "Did you mean 'matmul'"),
        (["matmul", "--peers", "trch"], 2, "unknown peer 'trch', expected some of"),
        (["matmul", "--threads", "0"], 2, "threads is '0'"),
        (["matmul", "--threads", "two"], 2, "threads is 'two'"),
        (["matmul", "--rounds", "0"], 2, "--rounds"),
        (["matmul", "12by12"], 1, "shape is '12by12'"),
        (["layers", "nothing-like-it"], 1, "no workload of layers is named like"),
    ],
)
def test_wrong_arguments(capsys, arguments, status, message):
    assert main(["bench", *arguments]) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
