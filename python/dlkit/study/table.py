"""A record as a table: rows of text, for the terminal and for Markdown."""

from __future__ import annotations

from typing import Any

#: So many workloads that a peer has not are named, more are counted.
_NAMED = 4


def columns(record: dict[str, Any]) -> list[str]:
    """Return the column heads: workload, dlkit, each peer, the two ratios, percent of the ceiling."""
    labels = [peer["label"] for peer in record["peers"]]
    return ["workload", "unit", *labels, "× best default", "× best configured", "% of ceiling"]


def rows(record: dict[str, Any]) -> list[list[str]]:
    """Return the cells of each row, as text; a peer that is absent shows as ``–``."""
    found = []
    for row in record["rows"]:
        workload = row["workload"]
        cells = [workload["name"], workload["unit"]]
        cells += [_number(row["peers"].get(peer["name"], {}).get("value")) for peer in record["peers"]]
        cells += [_ratio(row["against_default"]), _ratio(row["against_best"]), _percent(row)]
        found.append(cells)
    return found


def head(record: dict[str, Any]) -> str:
    """Return the line that says where, with what and how a record was measured."""
    machine, ceiling = record["machine"], record["ceiling"]
    versions = {}
    for peer in record["peers"]:
        for key in ("dlkit", "numpy", "torch", "jax", "onnxruntime"):
            if key in peer["versions"]:
                versions[key] = peer["versions"][key]
    isa = next((p["versions"].get("isa", "") for p in record["peers"] if p["name"] == "dlkit"), "")
    count, cores = record["threads"], machine["cores"]
    return (
        f"{machine['cpu']}, {cores} core{'s' * (cores != 1)}, {machine['isa']} (dlkit: {isa}), "
        f"{count} thread{'s' * (count > 1)}; FMA peak {ceiling['peak'] / 1e9:.0f} GFLOP/s, "
        f"memory {ceiling['bandwidth'] / 1e9:.0f} GB/s; Python {machine['python']}, "
        f"{', '.join(f'{k} {v}' for k, v in versions.items())}; medians of {record['protocol']['rounds']} "
        f"alternating rounds; {record['date']}; `{record['command']}`"
    )


def notes(record: dict[str, Any]) -> list[str]:
    """Return the lines under a table: how peers were configured, and who is absent and why."""
    found = []
    for peer in record["peers"]:
        if peer["absent"]:
            found.append(f"{peer['label']} is absent: {peer['absent']}.")
        elif peer["configured"]:
            found.append(f"{peer['label']}: {peer['how']}.")
    others = record["protocol"].get("others_cores") or 0.0
    if others > 0.1:
        found.append(f"Other processes kept {others:.2f} processors busy meanwhile.")
    reasons: dict[str, list[str]] = {}
    labels = {peer["name"]: peer["label"] for peer in record["peers"] if not peer["absent"]}
    for row in record["rows"]:
        for name, entry in row["peers"].items():
            if name in labels and entry.get("absent"):
                reasons.setdefault(f"{labels[name]}: {entry['absent']}", []).append(row["workload"]["name"])
    for reason, names in reasons.items():
        which = "; ".join(names) if len(names) <= _NAMED else f"{len(names)} workloads"
        found.append(f"{reason} ({which}).")
    return found


def markdown_lines(titles: list[str], cells: list[list[str]], text_columns: int = 2) -> list[str]:
    """Return the lines of a Markdown table; all but the first `text_columns` columns are set to the right."""
    rule = "| " + " | ".join("---" if i < text_columns else "---:" for i in range(len(titles))) + " |"
    return ["| " + " | ".join(titles) + " |", rule, *("| " + " | ".join(row) + " |" for row in cells)]


def markdown(record: dict[str, Any]) -> str:
    """Return a record as a Markdown table with its head line above and its notes below."""
    lines = [head(record), "", *markdown_lines(columns(record), rows(record))]
    remarks = notes(record)
    return "\n".join(lines + ([""] + [f"- {remark}" for remark in remarks] if remarks else []))


def summary(record: dict[str, Any]) -> str:
    """Return a record as a short Markdown table: dlkit, the best default peer, the best peer, the ratios."""
    labels = {peer["name"]: peer["label"] for peer in record["peers"]}
    cells = []
    for row in record["rows"]:
        workload, peers = row["workload"], row["peers"]
        line = [workload["name"], workload["unit"], _number(peers["dlkit"].get("value"))]
        for key in ("against_default", "against_best"):
            best = row[key]
            line += [
                f"{_number(peers[best['peer']]['value'])} ({labels[best['peer']]})" if best else "–",
                _ratio(best),
            ]
        cells.append(line)
    titles = ["workload", "unit", "dlkit", "best default peer", "×", "best configured peer", "×"]
    return "\n".join([head(record), "", *markdown_lines(titles, cells)])


def text(record: dict[str, Any]) -> str:
    """Return a record as a plain table for a terminal of any width."""
    lines = aligned(columns(record), rows(record), text_columns=2)
    return "\n".join([head(record), "", *lines, "", *notes(record)])


def aligned(titles: list[str], cells: list[list[str]], text_columns: int = 2) -> list[str]:
    """Return the lines of a plain table; all but the first `text_columns` columns are set to the right."""
    widths = [max(len(line[i]) for line in [titles, *cells]) for i in range(len(titles))]

    def line(parts: list[str]) -> str:
        sided = [
            part.ljust(width) if i < text_columns else part.rjust(width)
            for i, (part, width) in enumerate(zip(parts, widths, strict=True))
        ]
        return "  ".join(sided).rstrip()

    return [line(titles), line(["-" * width for width in widths]), *map(line, cells)]


def show(record: dict[str, Any]) -> None:
    """Print a record as a table, with rich where it is installed and the terminal is wide enough."""
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ImportError:
        print(text(record))
        return
    console = Console()
    plain = text(record)
    if not console.is_terminal or max(len(line) for line in plain.splitlines()[2:]) > console.width:
        print(plain)
        return
    shown = Table(title=f"{record['chapter']}, {record['threads']} thread{'s' * (record['threads'] > 1)}")
    for i, title in enumerate(columns(record)):
        shown.add_column(title, justify="left" if i < 2 else "right")
    for cells in rows(record):
        shown.add_row(*map(escape, cells))
    console.print(shown)
    for remark in [head(record), *notes(record)]:
        console.print(escape(remark), style="dim")


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def _ratio(against: dict[str, Any] | None) -> str:
    return "–" if against is None else f"{against['ratio']:.2f}"


def _percent(row: dict[str, Any]) -> str:
    value = row.get("percent_of_ceiling")
    if value is None:
        return "–"
    return f"{value:.0f} %" + (" (mem)" if row["workload"]["bound"] == "bytes" else "")
