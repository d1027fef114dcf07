"""Options of ``python -m pytest bench``, the workers of its comparisons, and the tables at its end."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dlkit.study import results, table
from dlkit.study.comparison import Session
from dlkit.study.libraries import dlkit_peer
from dlkit.study.peers import Company, find_peers, settle
from dlkit.study.workloads import Workload, make_inputs, workloads

_RESULTS = Path(__file__).parent / "results"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dlkit", "dlkit against its peers")
    group.addoption(
        "--shape", action="append", help="MxKxN (tn, nt: transposed), or part of a workload's name"
    )
    group.addoption("--threads", default="1,2", help="thread counts (default: 1,2)")
    group.addoption("--peers", help="some of numpy,numpy-best,torch,torch-best,jax,onnx (default: all)")
    group.addoption("--turns", type=int, help="rounds of the alternating comparison (default: 21)")
    group.addoption("--quick", action="store_true", help="small workloads, few rounds")
    group.addoption(
        "--results", type=Path, help="folder for the JSON (default: bench/results, complete runs only)"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every benchmark the workloads of its chapter, at each thread count."""
    if "workload" not in metafunc.fixturenames:
        return
    option = metafunc.config.option
    chapter = metafunc.module.CHAPTER
    try:
        found = workloads(chapter, option.shape, quick=option.quick)
        counts = [int(count) for count in option.threads.split(",")]
        find_peers(_peer_names(option))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    metafunc.parametrize("workload", found, ids=lambda workload: workload.name, scope="session")
    metafunc.parametrize("threads", counts, ids=lambda count: f"{count}t", scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the benchmarks of one chapter and thread count together: they share worker processes."""
    items.sort(key=lambda item: (str(item.path), item.callspec.params["threads"]))  # type: ignore[attr-defined]


def _peer_names(option: Any) -> list[str] | None:
    return option.peers.split(",") if option.peers else None


class _Sessions:
    """One comparison at a time, started when its first benchmark comes, finished when another's comes."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.records: list[dict[str, Any]] = []
        self._key: tuple[str, int] | None = None
        self._company: Company | None = None
        self._session: Session | None = None

    def at(self, chapter: str, threads: int) -> Session:
        if self._key != (chapter, threads):
            self.finish()
            option = self.config.option
            company = Company(find_peers(_peer_names(option), chapter), threads)
            self._key, self._company = (chapter, threads), company
            rounds = option.turns or (3 if option.quick else 21)
            command = shlex.join(["python", "-m", "pytest", *sys.argv[1:]])
            self._session = Session(company, chapter, rounds=rounds, command=command)
        assert self._session is not None
        return self._session

    def finish(self) -> None:
        if self._session is not None and self._company is not None:
            try:
                if self._session.started:
                    self.records.append(self._session.record())
            finally:
                self._company.close()
        self._key = self._company = self._session = None


_SESSIONS = pytest.StashKey[_Sessions]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SESSIONS] = _Sessions(config)


@pytest.fixture
def compare(
    benchmark: Any, request: pytest.FixtureRequest, workload: Workload, threads: int
) -> dict[str, Any]:
    """Time dlkit in this process, then all peers in turn; the comparison's row goes into ``extra_info``."""
    session = request.config.stash[_SESSIONS].at(request.module.CHAPTER, threads)
    prepared = dlkit_peer.prepare(workload, make_inputs(workload), {"threads": threads})
    seconds = _seconds_of_one(prepared.run)
    benchmark.group = f"{request.module.CHAPTER}, {threads} thread{'s' * (threads > 1)}"
    benchmark.pedantic(
        prepared.run, rounds=session.rounds, iterations=max(1, round(session.turn / seconds)), warmup_rounds=1
    )
    settle(os.getpid(), besides=threading.get_native_id())
    row = session.add(workload)
    benchmark.extra_info.update(row)
    return row


def _seconds_of_one(run: Any) -> float:
    from dlkit.study.own import calibrate

    return calibrate(run, 0.002)[1]


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    sessions = config.stash[_SESSIONS]
    sessions.finish()
    option = config.option
    complete = not (option.shape or option.peers or option.quick or option.keyword or session.testsfailed)
    folder = option.results or (_RESULTS if complete else None)
    if folder is not None:
        for record in sessions.records:
            results.write(record, folder)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for record in config.stash[_SESSIONS].records:
        count = record["threads"]
        terminalreporter.section(f"{record['chapter']}, {count} thread{'s' * (count > 1)}")
        terminalreporter.write_line(table.text(record))
