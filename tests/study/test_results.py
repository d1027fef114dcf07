from __future__ import annotations

import pytest

from dlkit.study import results


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
