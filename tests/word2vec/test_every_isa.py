"""The tests of this chapter, on every other instruction set of this machine."""

from __future__ import annotations

from collections.abc import Callable


def test_all(on_other_isa: Callable[..., None]) -> None:
    on_other_isa("word2vec")
