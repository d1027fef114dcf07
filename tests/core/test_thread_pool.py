"""csrc/core/thread_pool.cpp and affinity.h: teams and barriers by a program of their own, threads that sleep."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import dlkit.kernels as K

_HERE = Path(__file__).resolve().parent
_SOURCES = _HERE.parents[1] / "csrc"


def _compiler() -> list[str]:
    command = shlex.split(os.environ.get("CXX", "c++"))
    if shutil.which(command[0]) is None:
        pytest.skip("needs a C++ compiler: set CXX")
    return [*command, "-std=c++20", "-pthread", "-I", str(_SOURCES)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/core/thread_pool.cpp, built with the pool that it tests."""
    if "DLKIT_ISA" in os.environ:
        pytest.skip("the same for every instruction set")
    built = tmp_path_factory.mktemp("thread_pool") / "thread_pool"
    sources = [_HERE / "thread_pool.cpp", _SOURCES / "core/thread_pool.cpp", _SOURCES / "core/cpu.cpp"]
    done = subprocess.run(
        [*_compiler(), "-O1", "-o", built, *sources], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return built


@pytest.mark.parametrize(
    "case",
    ["a_team", "parts", "more_members_than_processors", "nested", "several_callers", "exceptions", "forks"],
)
def test_threads_by_themselves(program: Path, case: str) -> None:
    done = subprocess.run([program, case], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_member_of_a_team_may_not_throw() -> None:
    if "DLKIT_ISA" in os.environ:
        pytest.skip("the same for every instruction set")
    text = """
        #include "core/thread_pool.h"
        void run() { dlkit::parallel_team(2, [](int, int) %s {}); }
    """

    def accepts(body: str) -> bool:
        done = subprocess.run(
            [*_compiler(), "-fsyntax-only", "-x", "c++", "-"],
            input=text % body,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 0

    assert accepts("noexcept")
    assert not accepts("")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_workers_that_made_way_may_run_everywhere_again():
    before = K.get_num_threads()
    K.set_num_threads(2)
    try:
        a = np.ones((256, 256), np.float32)
        others = os.sched_getaffinity(0)
        for _ in range(20):
            K.matmul(a, a)
            # Longer than workers spin, so that they sleep; the caller moves about meanwhile.
            os.sched_setaffinity(0, {min(others)})
            time.sleep(0.01)
            os.sched_setaffinity(0, {max(others)})
            K.matmul(a, a)
            os.sched_setaffinity(0, others)
            time.sleep(0.01)
        threads = [int(name) for name in os.listdir("/proc/self/task")]
        assert all(os.sched_getaffinity(thread) == others for thread in threads)
    finally:
        K.set_num_threads(before)
