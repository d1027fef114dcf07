from __future__ import annotations

import pytest

from dlkit.study import footprint, report, results


def test_a_record_and_its_table(tmp_path, monkeypatch):
    monkeypatch.setattr(footprint, "_wheel", lambda root, folder: (1_500_000, 4_000_000))
    monkeypatch.setattr(footprint, "_imports", lambda modules, path, rounds: {"numpy": 0.06, "dlkit": 0.08})
    demo = {"peak_memory": 150e6, "train_seconds": 2.0, "seconds": 4.0}
    monkeypatch.setattr(footprint, "_demo", lambda: demo)
    lines: list[str] = []
    record = footprint.measure(tmp_path, progress=lines.append)
    assert lines == ["wheel", "imports", "demo"]
    results.write(record, tmp_path)
    page = report.render("footprint", tmp_path)
    assert "| base wheel | 1.5 MB | 5 MB |" in page
    assert "| import dlkit, NumPy included | 80 ms | 120 ms |" in page
    assert "| peak memory of the demo | 150 MB |" in page
    assert footprint.missed(record) == []


def test_imports_are_timed_in_fresh_interpreters(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "alone.py").write_text("import sys; assert 'numpy' not in sys.modules", encoding="utf-8")
    seconds = footprint._imports(("numpy", "alone"), tmp_path, 1)
    assert 0 < seconds["alone"] < seconds["numpy"]
    assert list(tmp_path.glob("__pycache__/alone.*.pyc"))  # as pip leaves it


def test_limits_are_held():
    rows = [
        footprint._row("a", 2.0, "s", 1.0),
        footprint._row("b", 1.0, "s", 1.0),
        footprint._row("c", 9.0, "s"),
    ]
    assert footprint.missed({"rows": rows}) == ["a"]


def test_a_command_that_fails_says_what_it_printed():
    import sys

    with pytest.raises(RuntimeError, match=r"footprint: nothing failed: .*no such thing"):
        footprint._run([sys.executable, "-c", "raise SystemExit('no such thing')"], "nothing")
