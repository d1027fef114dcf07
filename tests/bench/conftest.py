"""Scripts of bench/ that write results and a page: imported with both elsewhere."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Any]:
    """Import a script by its name; its results and its page are in a temporary folder."""

    def load(name: str) -> Any:
        monkeypatch.syspath_prepend(str(_BENCH))
        sys.modules.pop(name, None)
        module = importlib.import_module(name)
        markers = name.replace("_", "-")
        page = tmp_path / "page.md"
        page.write_text(f"before\n<!-- {markers}:begin -->\nold\n<!-- {markers}:end -->\nafter\n")
        monkeypatch.setattr(module, "PAGE", page)
        monkeypatch.setattr(module, "FILE", tmp_path / "results.json")
        return module

    return load
