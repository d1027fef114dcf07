"""What the stages left, as one JSON file and one table: python report.py PARTS STAGES OUT."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

Record = dict[str, Any]

#: What leaves a NAME.json, beside the environment.
SCRIPTS = ("ceilings", "matmul", "conv", "layers", "recurrent", "train", "word2vec")


def gather(parts: Path, stages: Path) -> Record:
    """Return one record of what is there. A part that is missing or broken is null, and its stage says why."""
    record: Record = {}
    for name in ("environment", *SCRIPTS):
        try:
            record[name] = json.loads((parts / f"{name}.json").read_text())
        except (OSError, ValueError):
            record[name] = None
    record["stages"] = []
    if stages.exists():
        for line in stages.read_text().splitlines():
            name, code, seconds, last = (line.split("\t") + [""] * 4)[:4]
            record["stages"].append(
                {"name": name, "code": int(code), "seconds": float(seconds), "last": last}
            )
    return record


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table that reads well as text and as Markdown."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return [line(heads), line(["-" * width for width in widths]), *(line(row) for row in rows)]


def _entries(row: Record) -> dict[str, Record]:
    return {entry["name"]: entry for entry in row.get("results", [])}


def _best_peer(entries: dict[str, Record]) -> float | None:
    return min(
        (
            entries[p]["seconds"]
            for p in ("torch", "torch channels_last", "cupy")
            if "seconds" in entries.get(p, {})
        ),
        default=None,
    )


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _ratio(peer: float | None, own: float | None) -> float | None:
    return None if peer is None or own is None else peer / own


# The most that a right result is off by, of its norm.
TOLERANCE = {
    "float32": 1e-4,
    "tf32": 2e-3,
    "bfloat16": 1e-2,
    "float16": 2e-3,
    "layer": 1e-4,
    "conv": 1e-4,
    "conv tf32": 1e-2,
}


def judge(row: Record, kind: str) -> None:
    """Say of each wrong result that it is; its time then counts for nothing."""
    for entry in row.get("results", []):
        if entry.get("error") is not None and not entry["error"] <= TOLERANCE[kind]:
            entry["failure"] = entry.get("failure") or f"WRONG: off by {entry['error']:.1e}"
        if str(entry.get("failure") or "").startswith("WRONG"):
            entry.pop("seconds", None)


def _error(entry: Record) -> str:
    error = entry.get("error")
    return "–" if error is None else f"{error:.1e}"


def matmul_rows(record: Record) -> list[list[str]]:
    """Return a row for each variant at each shape."""
    found = []
    for row in (record["matmul"] or {}).get("rows", []):
        judge(row, row["mode"])
        name = f"{row['mode']} {row['layout']} {row['m']}x{row['k']}x{row['n']}"
        entries = _entries(row)
        peer = _best_peer(entries)
        if not entries:
            found.append([name, "–", "–", "–", "–", "–", row.get("failure", "")])
        for entry in entries.values():
            seconds = entry.get("seconds")
            label = entry["name"] + (f" ({row['choice']})" if entry["name"] == "automatic" else "")
            found.append(
                [
                    name, label, _text(seconds and seconds * 1e6, ".1f"),
                    _text(seconds and row["flops"] / seconds / 1e12, ".2f"),
                    _text(_ratio(peer, seconds), ".2f"), _error(entry), entry.get("failure") or "",
                ]
            )  # fmt: skip
    return found


def conv_rows(record: Record, chapter: str = "conv") -> list[list[str]]:
    """Return a row for each variant of each operation at each shape, of convolution or of recurrent layers."""
    found = []
    for row in (record.get(chapter) or {}).get("rows", []):
        judge(row, "conv tf32" if row["mode"] == "tf32" else "conv")
        name = f"{row['operation']} {row['shape']}, {row['mode']}"
        entries = _entries(row)
        peer = _best_peer(entries)
        if not entries:
            found.append([name, "–", "–", "–", "–", "–", row.get("failure", "")])
        for entry in entries.values():
            seconds = entry.get("seconds")
            label = entry["name"] + (f" ({row.get('choice')})" if entry["name"] == "automatic" else "")
            found.append(
                [
                    name, label, _text(seconds and seconds * 1e6, ".1f"),
                    _text(seconds and row["flops"] / seconds / 1e12, ".2f"),
                    _text(_ratio(peer, seconds), ".2f"), _error(entry), entry.get("failure") or "",
                ]
            )  # fmt: skip
    return found


def layer_rows(record: Record) -> list[list[str]]:
    """Return a row for each contender of each operation."""
    bandwidth = ((record["ceilings"] or {}).get("ceilings") or {}).get("copy_bandwidth")
    found = []
    for row in (record["layers"] or {}).get("rows", []):
        judge(row, "layer")
        name = f"{row.get('operation', '?')} {'x'.join(map(str, row['shape']))}"
        entries = _entries(row)
        peer = _best_peer(entries)
        if not entries:
            found.append([name, "–", "–", "–", "–", "–", "–", row.get("failure", "")])
        for entry in entries.values():
            seconds = entry.get("seconds")
            rate = row["bytes"] / seconds if seconds else None
            found.append(
                [
                    name, entry["name"], _text(seconds and seconds * 1e6, ".1f"), _text(rate and rate / 1e9, ".0f"),
                    _text(rate and bandwidth and 100 * rate / bandwidth, ".0f"), _text(_ratio(peer, seconds), ".2f"),
                    _error(entry), entry.get("failure") or "",
                ]
            )  # fmt: skip
    return found


def train_rows(record: Record) -> list[list[str]]:
    """Return a row for each library and way to launch."""
    return [
        [
            row["library"], row["launch"], _text(row.get("step_seconds") and row["step_seconds"] * 1e6, ".1f"),
            _text(row.get("training_seconds"), ".2f"), _text(row.get("accuracy"), ".3f"), row.get("failure", ""),
        ]
        for row in (record["train"] or {}).get("rows", [])
    ]  # fmt: skip


def word2vec_rows(record: Record) -> list[list[str]]:
    """Return a row for each run of the engine."""
    return [
        [
            row["kind"], row["where"], str(row["at_once"]),
            _text(row.get("words_per_second") and row["words_per_second"] / 1e6, ".2f"),
            _text(row.get("ratio"), ".1f"), _text(row.get("loss"), ".4f"), row.get("failure") or "",
        ]
        for row in (record.get("word2vec") or {}).get("rows", [])
    ]  # fmt: skip


def render(record: Record) -> str:
    """Return the whole report as text."""
    environment = record["environment"] or {}
    lines = [
        f"# dlkit on {environment.get('gpu', 'an unknown GPU')}",
        "",
        f"Driver {environment.get('driver')}, {environment.get('nvcc')}, Python {environment.get('python')}, "
        + ", ".join(f"{k} {v}" for k, v in (environment.get("versions") or {}).items())
        + f"; {environment.get('date')}; commit {environment.get('commit')}.",
        "Medians of alternating rounds, CUDA events, inputs that rotate through three times the second-level cache.",
    ]
    if any((record.get(name) or {}).get("dry_run") for name in SCRIPTS):
        lines.append("A DRY RUN on the SIMT machine: no time here means anything.")
    ceilings = (record["ceilings"] or {}).get("ceilings") or {}
    if ceilings:
        copy = ceilings.get("copy_bandwidth")
        lines += [
            "",
            "## Ceilings",
            "",
            f"- copy, read and written: {_text(copy and copy / 1e9, '.0f')} GB/s",
        ]
        lines += [
            f"- {name} 8192 cubed through PyTorch: {_text(ceilings.get(name) and ceilings[name] / 1e12, '.1f')} TFLOP/s"
            for name in ("bf16", "fp16", "tf32", "fp32")
        ]
    for head, columns, rows in (
        (
            "Matmul",
            ["workload", "kernel", "µs", "TFLOP/s", "× best peer", "error", "failure"],
            matmul_rows(record),
        ),
        (
            "Convolution",
            ["workload", "kernel", "µs", "TFLOP/s", "× best peer", "error", "failure"],
            conv_rows(record),
        ),
        (
            "Layers",
            ["workload", "kernel", "µs", "GB/s", "% of copy", "× best peer", "error", "failure"],
            layer_rows(record),
        ),
        (
            "Recurrent layers",
            ["workload", "kernel", "µs", "TFLOP/s", "× best peer", "error", "failure"],
            conv_rows(record, "recurrent"),
        ),
        (
            "Training the MLP",
            ["library", "launch", "µs a step", "s", "accuracy", "failure"],
            train_rows(record),
        ),
        (
            "Word vectors: one pass over a text",
            ["kind", "where", "at once", "million words/s", "× CPU, 2 threads", "loss", "failure"],
            word2vec_rows(record),
        ),
    ):
        if rows:
            lines += ["", f"## {head}", "", *table(columns, rows)]
    return "\n".join([*lines, "", "## Stages", "", *stage_lines(record), ""])


def stage_lines(record: Record) -> list[str]:
    """Return the table of the stages: what failed, and what it said last."""
    rows = []
    for stage in record["stages"]:
        outcome = {0: "ok", 124: "out of time", 137: "out of time", 99: "left out"}.get(
            stage["code"], "FAILED"
        )
        rows.append([stage["name"], outcome, f"{stage['seconds']:.0f}", stage["last"][:100]])
    running = {name: (record.get(name) or {}).get("running") for name in SCRIPTS}
    ended = [f"- {name} ended while this ran: {what}" for name, what in running.items() if what]
    return [*table(["stage", "outcome", "s", "last words"], rows), *([""] if ended else []), *ended]


def summary(record: Record) -> list[str]:
    """Return the few lines that matter: stages, then the automatic choice beside the best peer."""
    lines = stage_lines(record)
    for rows, column in (
        (matmul_rows(record), 4),
        (conv_rows(record), 4),
        (layer_rows(record), 5),
        (conv_rows(record, "recurrent"), 4),
    ):
        lines += [
            f"{row[0]}: {row[1]}, {row[column]} x best peer, error {row[column + 1]} {row[column + 2]}".rstrip()
            for row in rows
            if row[1].startswith(("automatic", "hopper"))
        ]
    lines += [
        f"train {' '.join(row[:2])}: {row[2]} us a step, accuracy {row[4]} {row[5]}"
        for row in train_rows(record)
    ]
    lines += [
        f"word2vec {', '.join(row[:3])}: {row[3]} M words/s, {row[4]} x the CPU, loss {row[5]} {row[6]}".rstrip()
        for row in word2vec_rows(record)
    ]
    return lines


def file_name(record: Record) -> str:
    """Return gpu-NAME.json, the name in small letters, digits and dashes."""
    gpu = str((record["environment"] or {}).get("gpu", "unknown"))
    return "gpu-" + re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-") + ".json"


if __name__ == "__main__":
    parts_folder, stages_file, out_folder = (Path(argument) for argument in sys.argv[1:4])
    everything = gather(parts_folder, stages_file)
    (out_folder / file_name(everything)).write_text(json.dumps(everything, indent=1))
    (out_folder / "report.md").write_text(render(everything))
    print("\n".join(summary(everything)))
