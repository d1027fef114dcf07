from __future__ import annotations

import json

import pytest

from dlkit.study import studies
from dlkit.study.__main__ import main


def test_a_record_for_each_thread_count(tmp_path):
    records = studies.study("ladder-matmul", [1, 2], json_path=tmp_path, shapes=["8x8x8"], rounds=1)
    assert [record["threads"] for record in records] == [1, 2]
    assert len(list(tmp_path.glob("ladder-matmul-*.json"))) == 2
    assert "naive" in studies.text(records[0])
    assert "| naive | " in studies.markdown(records[0])


@pytest.mark.parametrize(
    ("threads", "path", "message"),
    [([0], None, "threads is 0"), ([1, 2], "one.json", "is one file for 2 thread counts")],
)
def test_wrong_arguments(threads, path, message):
    with pytest.raises(ValueError, match=message):
        studies.study("ladder-matmul", threads, json_path=path)


def test_from_the_command_line(tmp_path, capsys, monkeypatch):
    from dlkit.study import ladder, roofline

    monkeypatch.setattr(ladder, "SHAPES", ("8x8x8",))
    path = tmp_path / "ladder.json"
    assert main(["ladder", "matmul", "--json", str(path)]) == 0
    assert "8×8×8" in capsys.readouterr().out
    assert json.loads(path.read_text())["command"].startswith("python -m dlkit.study ladder matmul")
    monkeypatch.setattr(roofline, "workloads", lambda *a, **k: [ladder.matmul(8, 8, 8)])
    assert main(["roofline", "--threads", "0"]) == 1
    assert "threads is 0" in capsys.readouterr().err
    assert main(["report", "--root", str(tmp_path)]) == 0
