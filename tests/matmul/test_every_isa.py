"""The tests of this chapter, on every other instruction set of this machine."""

from __future__ import annotations

from collections.abc import Callable


def test_all(on_other_isa: Callable[..., None]) -> None:
    the_same = ("matmul/test_errors.py", "matmul/test_threads.py")  # compiled once for all of them
    on_other_isa("matmul", ignore=the_same)
