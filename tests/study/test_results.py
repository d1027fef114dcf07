from __future__ import annotations

import pytest

from dlkit.study import results, studies


def test_written_records_are_read_back(record, tmp_path):
    path = results.write(record, tmp_path / "new" / "folder")
    assert path.name == "matmul-some-cpu-9000-1t.json"
    assert results.read(path) == record
    assert results.write(record, tmp_path / "mine.json") == tmp_path / "mine.json"
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["mine.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"chapter": "matmul"}', b"\xff\xfe"])
def test_what_is_no_record_is_an_error(content, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bench: .*x\.json is no"):
        results.read(path)


def test_a_place_that_cannot_be_written_is_an_error_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "in", tmp_path / "file" / "a.json"):
        with pytest.raises(
            ValueError, match=r"json is '.*': .*; expected a file or folder that can be written"
        ):
            studies.study("ladder-recurrent", [1], json_path=path)
    results.check(tmp_path / "new" / "a.json")
    assert (tmp_path / "new").is_dir()
