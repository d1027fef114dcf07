from __future__ import annotations

import json

import pytest

from dlkit.study import compare, results
from dlkit.study.table import text


def test_a_quick_comparison_of_every_chapter(tmp_path):
    lines: list[str] = []
    for chapter in ("matmul", "layers", "conv", "models"):
        (record,) = compare(
            chapter,
            peers=["numpy"],
            quick=True,
            rounds=2,
            json_path=tmp_path,
            progress=lines.append,
            command="me",
        )
        assert record["chapter"] == chapter
        assert record["command"] == "me"
        assert record["ceiling"]["peak"] > record["ceiling"]["bandwidth"] > 0
        for row in record["rows"]:
            assert row["peers"]["dlkit"]["seconds"] > 0
            percent = row["percent_of_ceiling"]
            assert (percent is None) == (row["workload"]["bound"] == "call")
            if "ratio" in row["peers"]["numpy"]:
                assert row["against_default"]["peer"] == row["against_best"]["peer"] == "numpy"
                assert row["against_default"]["ratio"] > 0
            else:
                assert row["against_default"] is row["against_best"] is None
                assert row["peers"]["numpy"]["absent"]
        stored = results.read(tmp_path / results.file_name(record))
        assert stored == json.loads(json.dumps(record))
        assert record["machine"]["cpu"] in text(record)
    assert any(line.startswith("matmul, 1 thread, 1/3: 2×2×2") for line in lines)


def test_two_thread_counts_give_two_records(tmp_path):
    found = compare("matmul", shapes=["8x8x8"], threads=(1, 2), peers=[], rounds=1, json_path=tmp_path)
    assert [record["threads"] for record in found] == [1, 2]
    assert len(list(tmp_path.glob("matmul-*-[12]t.json"))) == 2


def test_a_forced_instruction_set_is_on_the_record(monkeypatch, tmp_path):
    monkeypatch.setenv("DLKIT_ISA", "baseline")
    (record,) = compare("matmul", shapes=["8x8x8"], peers=[], rounds=1, json_path=tmp_path)
    assert record["machine"]["dlkit_isa"] == "baseline"
    assert record["peers"][0]["versions"]["isa"] == "baseline"
    assert results.file_name(record).endswith("-1t-baseline.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chapter": "attention"}, "chapter is 'attention'"),
        ({"shapes": ["3x3"]}, "shape is '3x3'"),
        ({"peers": ["nobody"]}, "peer is 'nobody'"),
        ({"rounds": 0}, "rounds is 0"),
        ({"threads": [0]}, "threads is 0"),
        ({"threads": [1, 2], "json_path": "one.json"}, "one file for 2 thread counts"),
    ],
)
def test_wrong_arguments_are_errors_before_any_work(arguments, message, monkeypatch):
    def nobody(*anything):
        raise AssertionError("work was begun")

    monkeypatch.setattr("dlkit.study.comparison.Company", nobody)
    with pytest.raises(ValueError, match=message):
        compare(**arguments)
