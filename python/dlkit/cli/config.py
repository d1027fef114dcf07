"""``dlkit config``: the machine as dlkit sees it, and what it can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from .console import output, pairs, print_json


def config(
    as_json: bool = typer.Option(False, "--json", help="Print JSON for other programs."),
    no_measure: bool = typer.Option(False, "--no-measure", help="Leave out the measured peak and bandwidth."),
) -> None:
    """Show instruction set, threads, caches, measured peak and bandwidth, and the backends built."""
    import dlkit
    from dlkit import kernels

    facts: dict[str, Any] = {"dlkit": dlkit.__version__, **kernels.config()}
    if not no_measure:
        threads = kernels.get_num_threads()
        facts["measured"] = {
            f"{count}_thread{'s' if count > 1 else ''}": {
                "peak_gflops_float32": kernels.measure_peak(count) / 1e9,
                "peak_gflops_float64": kernels.measure_peak(count, "float64") / 1e9,
                "bandwidth_gb_per_s": kernels.measure_bandwidth(count) / 1e9,
            }
            for count in sorted({1, threads})
        }
    if as_json:
        print_json(facts)
        return
    output().print("[bold]dlkit config[/]")
    pairs(_lines(facts))


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    known: dict[str, tuple[str, Callable[[Any], str]]] = {
        "dlkit": ("dlkit", str),
        "cpu": ("processor", str),
        "isa": ("instruction set", lambda v: f"{v} (DLKIT_ISA chooses another)"),
        "isas_available": ("available", lambda v: ", ".join(v)),
        "threads": ("threads", lambda v: f"{v} (DLKIT_NUM_THREADS, dlkit.set_num_threads)"),
        "cpus_usable": ("processors usable", str),
        "cache_bytes": ("caches", lambda v: ", ".join(f"{n.upper()} {_bytes(b)}" for n, b in v.items())),
        "compiler": ("compiler", str),
        "backends": ("backends built", lambda v: ", ".join(v)),
        "cuda": ("GPU", str),
    }
    for key, (name, text) in known.items():
        if key in facts:
            lines.append((name, text(facts[key])))
    for key, value in facts.items():
        if key not in known and key != "measured":
            lines.append((key.replace("_", " "), str(value)))
    for threads, measured in facts.get("measured", {}).items():
        label = f"measured, {threads.replace('_', ' ')}"
        lines.append(
            (
                label,
                f"{measured['peak_gflops_float32']:.0f} GFLOP/s float32, "
                f"{measured['peak_gflops_float64']:.0f} float64, "
                f"{measured['bandwidth_gb_per_s']:.0f} GB/s from memory",
            )
        )
    return lines


def _bytes(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:g} {unit}"
    return f"{count} B"
