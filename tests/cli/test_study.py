from __future__ import annotations

import json

import pytest

from dlkit.cli import main


def test_a_ladder_and_a_roofline(tmp_path, capfd):
    path = tmp_path / "l.json"
    assert main(["study", "ladder", "matmul", "8x8x8", "--json", str(path)]) == 0
    assert "8×8×8" in capfd.readouterr().out
    assert json.loads(path.read_text())["chapter"] == "ladder-matmul"
    assert main(["study", "roofline", "8x8x8", "--plot", str(tmp_path / "r.png")]) == 0
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_counts_of_the_emulated_gpu(tmp_path, capfd):
    pytest.importorskip("dlkit._simt")
    assert main(["study", "matmul", "--backend", "simt", "--size", "64", "--json", str(tmp_path)]) == 0
    shown = capfd.readouterr().out
    assert "64×64×64" in shown
    assert "bank conflicts" in shown
    assert json.loads((tmp_path / "simt-matmul.json").read_text())["chapter"] == "simt-matmul"
    assert main(["study", "layers", "--size", "500"]) == 0
    assert "dropout" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["ladders"], 2, "Did you mean 'ladder'"),
        (["ladder", "matmull"], 2, "did you mean 'matmul'"),
        (["ladder", "layers", "8x8x8"], 2, "shapes are for matmul"),
        (["ladder", "matmul", "8by8"], 1, "shape is '8by8'"),
        (["matmul", "--backend", "cpu"], 2, "dlkit study ladder matmul"),
        (["matmul", "--size", "8by8"], 1, "shape is '8by8'"),
        (["step", "--threads", "none"], 2, "threads is 'none'"),
    ],
)
def test_wrong_arguments(capsys, arguments, status, message):
    assert main(["study", *arguments]) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
