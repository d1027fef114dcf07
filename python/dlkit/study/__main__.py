"""``python -m dlkit.study``: comparisons and studies from the command line, without the cli extra."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlkit.study.comparison import compare
from dlkit.study.peers import PeerError
from dlkit.study.studies import LADDERS
from dlkit.study.table import show
from dlkit.study.workloads import CHAPTERS


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for and print its tables."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["report"]:
        from dlkit.study import report

        return report.main(given[1:])
    chosen = _parser().parse_args(given)
    command = shlex.join(["python", "-m", "dlkit.study", *given])
    try:
        return int(chosen.run(chosen, command))
    except (ValueError, ImportError, RuntimeError, PeerError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dlkit.study", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    for chapter in CHAPTERS:
        command = commands.add_parser(chapter, help=f"dlkit and its peers side by side: {chapter}")
        command.add_argument(
            "--shape", nargs="+", help="MxKxN, with tn or nt appended for transposed operands"
        )
        command.add_argument("--peers", help="some of numpy,numpy-best,torch,torch-best,jax,onnx")
        command.add_argument("--rounds", type=int)
        command.add_argument("--quick", action="store_true", help="small workloads, few rounds")
        command.set_defaults(run=_compare, chapter=chapter)
        _common(command)
    command = commands.add_parser("ladder", help="every variant of an operation")
    command.add_argument("operation", nargs="?", default="matmul", choices=LADDERS)
    command.set_defaults(run=_study)
    _common(command)
    command = commands.add_parser("roofline", help="what bounds each product, and how close it comes")
    command.add_argument("--plot", type=Path, help="a PNG to draw")
    command.set_defaults(run=_study, study="roofline-matmul")
    _common(command)
    command = commands.add_parser("choice", help="the default of matmul beside each of its candidates")
    command.set_defaults(run=_study, study="choice-matmul")
    _common(command)
    command = commands.add_parser("step-profile", help="where the time of a training step goes")
    command.set_defaults(run=_study, study="step-profile")
    _common(command)
    command = commands.add_parser("augment", help="what distorting a batch of images costs a training step")
    command.set_defaults(run=_study, study="augment")
    _common(command)
    command = commands.add_parser("memory", help="memory of recurrent training passes, beside PyTorch's")
    command.set_defaults(run=_study, study="memory-recurrent")
    _common(command)
    command = commands.add_parser("simt", help="the CUDA ladders on the SIMT machine, counted")
    command.add_argument(
        "operation", nargs="?", default="matmul", choices=("matmul", "layers", "conv", "recurrent")
    )
    command.add_argument(
        "--size",
        help="MxKxN or one number; of layers the number of elements; of conv NxCxHxW-FxK; of recurrent TxBxI-H",
    )
    command.add_argument("--json", help="a file or a folder for the results")
    command.set_defaults(run=_simt)
    command = commands.add_parser("footprint", help="import time, wheel size, memory of the demo")
    command.add_argument("--root", type=Path, default=Path.cwd(), help="the repository (default: here)")
    command.add_argument("--json", help="a file or a folder for the results")
    command.set_defaults(run=_footprint)
    commands.add_parser("report", help="fill the tables of the docs from bench/results")
    return parser


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", default="1", type=_counts, help="thread counts, such as 1,2")
    command.add_argument("--json", help="a file or a folder for the results")


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _compare(chosen: Any, command: str) -> int:
    records = compare(
        chosen.chapter,
        shapes=chosen.shape,
        threads=chosen.threads,
        peers=chosen.peers.split(",") if chosen.peers else None,
        rounds=chosen.rounds,
        json_path=chosen.json,
        quick=chosen.quick,
        progress=_say,
        command=command,
    )
    for record in records:
        show(record)
        print()
    return 0


def _study(chosen: Any, command: str) -> int:
    from dlkit.study import roofline, studies

    name = getattr(chosen, "study", None) or f"ladder-{chosen.operation}"
    records = studies.study(name, chosen.threads, json_path=chosen.json, progress=_say, command=command)
    for record in records:
        print(studies.text(record), end="\n\n")
    if getattr(chosen, "plot", None):
        print(roofline.plot(records[-1], chosen.plot))
    return 0


def _simt(chosen: Any, command: str) -> int:
    from dlkit.study import studies

    record = studies.count(
        chosen.operation, json_path=chosen.json, progress=_say, size=chosen.size, command=command
    )
    print(studies.text(record))
    return 0


def _footprint(chosen: Any, command: str) -> int:
    from dlkit.study import footprint, results, studies

    record = footprint.measure(chosen.root, progress=_say, command=command)
    if chosen.json:
        results.write(record, chosen.json)
    print(studies.text(record))
    for name in footprint.missed(record):
        print(f"above its limit: {name}", file=sys.stderr)
    return 1 if footprint.missed(record) else 0


if __name__ == "__main__":
    sys.exit(main())
