from __future__ import annotations

import copy
from pathlib import Path

import pytest

from dlkit.study import ladder, report, results, roofline

_PAGE = """# Products

before
<!-- table:matmul-1t:begin -->
old
<!-- table:matmul-1t:end -->
between <!-- table:matmul-1t-summary:begin --><!-- table:matmul-1t-summary:end -->
after
"""


@pytest.fixture
def root(record, tmp_path: Path) -> Path:
    (tmp_path / "docs" / "models").mkdir(parents=True)
    results.write(record, tmp_path / "bench" / "results")
    for page in ("README.md", "docs/matmul.md", "docs/models/mlp.md"):
        (tmp_path / page).write_text(_PAGE, encoding="utf-8")
    (tmp_path / "docs" / "plain.md").write_text("no table here\n", encoding="utf-8")
    return tmp_path


def test_tables_are_written_between_markers_and_nowhere_else(root: Path):
    changed = report.update(root)
    assert {page.relative_to(root).as_posix() for page in changed} == {
        "README.md",
        "docs/matmul.md",
        "docs/models/mlp.md",
    }
    page = (root / "docs/matmul.md").read_text(encoding="utf-8")
    assert page.startswith("# Products\n\nbefore\n<!-- table:matmul-1t:begin -->\n\n")
    assert page.endswith("<!-- table:matmul-1t-summary:end -->\nafter\n")
    assert "old" not in page
    assert "| 64×784×512 | GFLOP/s | 200 | 100 | 160 | – | 2.00 | 1.25 | 80 % |" in page
    assert "| 64×784×512 | GFLOP/s | 200 | 100 (NumPy) | 2.00 |" in page


def test_a_second_time_changes_nothing(root: Path):
    report.update(root)
    first = (root / "README.md").read_text(encoding="utf-8")
    assert report.update(root) == []
    assert (root / "README.md").read_text(encoding="utf-8") == first


def test_the_last_measured_is_shown(root: Path, record):
    later = copy.deepcopy(record)
    later["date"], later["machine"]["cpu"] = "2026-02-01", "Another CPU 1"
    results.write(later, root / "bench" / "results")
    assert report.find_record("matmul-1t", root / "bench" / "results")["machine"]["cpu"] == "Another CPU 1"


def test_a_forced_instruction_set_has_a_table_of_its_own(root: Path, record):
    forced = copy.deepcopy(record)
    forced["machine"]["dlkit_isa"], forced["date"] = "avx2", "2026-03-01"
    results.write(forced, root / "bench" / "results")
    folder = root / "bench" / "results"
    assert report.find_record("matmul-1t-avx2", folder)["machine"]["dlkit_isa"] == "avx2"
    assert report.find_record("matmul-1t", folder)["machine"]["dlkit_isa"] == ""


def test_check_changes_nothing_and_says_what_is_out_of_date(root: Path, capsys):
    assert report.main(["--root", str(root), "--check"]) == 1
    assert "out of date: README.md" in capsys.readouterr().out
    assert (root / "README.md").read_text(encoding="utf-8") == _PAGE
    assert report.main(["--root", str(root)]) == 0
    assert report.main(["--root", str(root), "--check"]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table:matmul-1t:begin -->", "'matmul-1t' has its begin marker but no end"),
        ("<!-- table:matmul-1t:end -->", "'matmul-1t' has its end marker but no begin"),
        (
            "<!-- table:matmul:begin --><!-- table:matmul:end -->",
            "table is 'matmul'; expected chapter and threads",
        ),
    ],
)
def test_markers_that_cannot_be_filled_are_errors_that_name_the_page(root: Path, text, message, capsys):
    (root / "docs" / "matmul.md").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        report.update(root)
    assert report.main(["--root", str(root)]) == 1
    assert "docs/matmul.md" in capsys.readouterr().err


def test_a_table_without_results_stays_as_it_is(root: Path, capsys):
    text = "<!-- table:layers-2t:begin -->\nearlier\n<!-- table:layers-2t:end -->"
    (root / "docs" / "plain.md").write_text(text, encoding="utf-8")
    with pytest.raises(report.NoResultsError, match="no results for table 'layers-2t'"):
        report.update(root)
    assert report.main(["--root", str(root)]) == 0
    assert "no results yet: docs/plain.md: layers-2t" in capsys.readouterr().err
    assert (root / "docs" / "plain.md").read_text(encoding="utf-8") == text
    assert "| 64×784×512 |" in (root / "README.md").read_text(encoding="utf-8")


def test_ladders_and_rooflines_have_tables(root: Path):
    folder = root / "bench" / "results"
    results.write(ladder.measure_ladder(shapes=["8x8x8"], rounds=1), folder)
    results.write(roofline.measure_roofline(["16x16x16"], rounds=1), folder)
    assert "| naive | " in report.render("ladder-matmul-1t", folder)
    assert "| 16×16×16 | " in report.render("roofline-matmul-1t", folder)
