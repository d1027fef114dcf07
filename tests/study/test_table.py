from __future__ import annotations

from dlkit.study import table


def test_a_row_shows_peers_ratios_and_percent(record):
    assert table.columns(record) == [
        "workload", "unit", "dlkit", "NumPy", "PyTorch (best)", "JAX",
        "× best default", "× best configured", "% of ceiling",
    ]  # fmt: skip
    assert table.rows(record) == [["64×784×512", "GFLOP/s", "200", "100", "160", "–", "2.00", "1.25", "80 %"]]


def test_the_head_says_where_with_what_and_how(record):
    head = table.head(record)
    for part in (
        "Some CPU 9000", "2 cores", "AVX-512", "1 thread;", "peak 250 GFLOP/s", "memory 40 GB/s", "numpy 1.2",
        "torch 1.2", "5 alternating rounds", "2026-01-02", "`dlkit bench matmul`",
    ):  # fmt: skip
        assert part in head


def test_who_is_absent_and_how_others_were_configured_is_said(record):
    assert table.notes(record) == ["PyTorch (best): how torch-best.", "JAX is absent: not installed."]
    record["protocol"]["others_cores"] = 0.5
    assert "Other processes kept 0.50 processors busy meanwhile." in table.notes(record)
    record["rows"][0]["peers"]["numpy"] = {"absent": "no such operation"}
    assert "NumPy: no such operation (64×784×512)." in table.notes(record)
    assert table.rows(record)[0][3] == "–"
    record["rows"] *= 5
    assert "NumPy: no such operation (5 workloads)." in table.notes(record)


def test_markdown_is_a_table(record):
    lines = table.markdown(record).splitlines()
    assert lines[2].startswith("| workload | unit | dlkit | NumPy |")
    assert lines[3].count("---:") == 7
    assert lines[4].startswith("| 64×784×512 | GFLOP/s | 200 | 100 | 160 |")


def test_the_summary_names_the_best_peers(record):
    last = table.summary(record).splitlines()[-1]
    assert last == "| 64×784×512 | GFLOP/s | 200 | 100 (NumPy) | 2.00 | 160 (PyTorch (best)) | 1.25 |"
    record["rows"][0]["against_default"] = record["rows"][0]["against_best"] = None
    assert table.summary(record).splitlines()[-1].endswith("| 200 | – | – | – | – |")


def test_text_and_show_hold_every_cell(record, capsys):
    plain = table.text(record)
    table.show(record)
    shown = capsys.readouterr().out
    for cell in table.rows(record)[0]:
        assert cell in plain
        assert cell in shown


def test_memory_bound_rows_say_which_ceiling(record):
    record["rows"][0]["workload"]["bound"] = "bytes"
    assert table.rows(record)[0][-1] == "80 % (mem)"
    record["rows"][0]["percent_of_ceiling"] = None
    assert table.rows(record)[0][-1] == "–"
