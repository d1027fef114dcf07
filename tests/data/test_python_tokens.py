"""The interpreter's library as tagged lines."""

from __future__ import annotations

from dlkit.data import load_tagged
from dlkit.data.python_tokens import tagged_lines

SOURCE = '''
# a comment
import os.path as p
class Box(Base):
    """Text
    on lines."""
    def area(self, w, h=2, *rest):
        return self.scale * w.value(h, f"{w}") + os.getcwd() - size(0x1F)
'''


def test_what_names_are_told_by_where_they_stand():
    lines = tagged_lines(SOURCE)
    found = {}
    for tokens, tags in lines:
        found.update(zip(tokens, tags, strict=True))
    expected = {
        **{"import": "keyword", "os": "name", "p": "module", "Box": "class", "area": "function"},
        **{"rest": "parameter", "scale": "attribute", "value": "method", "getcwd": "method", "size": "call"},
        **{"0x1F": "number", '"""Text': "string", "return": "keyword", "*": "operator"},
    }
    assert {token: found[token] for token in expected} == expected
    assert dict(zip(*lines[0], strict=True))["os"] == "module"
    assert not any(text.startswith("#") for tokens, _ in lines for text in tokens)


def test_a_damaged_program_gives_what_came_before():
    assert tagged_lines("x = 1\ny = (") == [(["x", "=", "1"], ["name", "operator", "number"])]
    assert tagged_lines("") == []


def test_the_set():
    found = load_tagged("python")
    assert found.task == "tokens"
    assert len(found.train) > 5000
    assert 0.08 < len(found.test) / len(found.train) < 0.2
    parts = [{tuple(s.tokens) for s in part} for part in (found.train, found.validation, found.test)]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    assert {"name", "keyword", "function", "class", "parameter"} <= set(found.tags)
