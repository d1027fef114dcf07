import pytest

from dlkit.data import DataError, DataNotFoundError
from dlkit.data.json_file import read_object


def test_an_object(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"é": [1]}', encoding="utf-8")
    assert read_object(path) == {"é": [1]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 99_999, "is not JSON"),
        (b"[]", "holds a list, expected an object"),
        (b"{}" + b" " * 99, "has 101 bytes, expected at most 100"),
    ],
)
def test_other_files(tmp_path, content, text):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.json {text}"):
        read_object(path, max_bytes=100 if len(content) == 101 else 1 << 20)


def test_missing_files(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "x.json", tmp_path / "file" / "x.json"):
        with pytest.raises(DataNotFoundError, match=r"x\.json: no such file"):
            read_object(path)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_object(tmp_path)
