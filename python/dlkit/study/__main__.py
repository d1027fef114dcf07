"""``python -m dlkit.study``: a comparison from the command line, without the cli extra."""

from __future__ import annotations

import argparse
import sys

from dlkit.study.comparison import compare
from dlkit.study.peers import PeerError
from dlkit.study.table import show
from dlkit.study.workloads import CHAPTERS


def main() -> int:
    """Compare one chapter and print its tables."""
    parser = argparse.ArgumentParser(prog="python -m dlkit.study", description=__doc__)
    parser.add_argument("chapter", choices=CHAPTERS)
    parser.add_argument("--shape", nargs="+", help="MxKxN, with tn or nt appended for transposed operands")
    parser.add_argument("--threads", default="1", help="thread counts, such as 1,2")
    parser.add_argument("--peers", help="some of numpy,numpy-best,torch,torch-best,jax")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--json", help="a file or a folder for the results")
    parser.add_argument("--quick", action="store_true", help="small workloads, few rounds")
    chosen = parser.parse_args()
    try:
        records = compare(
            chosen.chapter,
            shapes=chosen.shape,
            threads=[int(count) for count in chosen.threads.split(",")],
            peers=chosen.peers.split(",") if chosen.peers else None,
            rounds=chosen.rounds,
            json_path=chosen.json,
            quick=chosen.quick,
            progress=lambda line: print(line, file=sys.stderr),
            command=" ".join(["python -m dlkit.study", *sys.argv[1:]]),
        )
    except (ValueError, PeerError) as error:
        print(error, file=sys.stderr)
        return 1
    for record in records:
        show(record)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
