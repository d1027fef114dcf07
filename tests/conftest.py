"""What every test may rely on: data sets if they are there, hypothesis without deadlines, fixtures of the kernels."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from tested_backends import ONLY, needs

import dlkit
import dlkit.kernels as K

# DLKIT_TEST_SEED: another number draws other inputs; "fresh" draws new ones in every run (see CONTRIBUTING.md).
_SEED = os.environ.get("DLKIT_TEST_SEED", "0")

# Several test processes share the processor: OpenMP's threads (scikit-learn's, PyTorch's) that wait by spinning take it
# from each other, and a t-SNE of a second lasts a minute.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Deadlines measure the machine, not the code: others may be using it too.
settings.register_profile(
    "dlkit", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=_SEED != "fresh"
)
settings.load_profile("dlkit")

_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"
if not os.environ.get("DLKIT_DATA") and _BESIDE_THE_REPOSITORY.is_dir():
    os.environ["DLKIT_DATA"] = str(_BESIDE_THE_REPOSITORY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take minutes: a process that gets one last is what all others wait for."""
    items.sort(key=lambda item: item.path.name != "test_every_isa.py")


def pytest_configure() -> None:
    """Let interrupts arrive: a shell has its background jobs ignore them, and they pass that on."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_failed: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what fails."""
    if report.failed:
        _failed.add(report.nodeid)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """End a process of xdist's whose GPU a failed test has lost, so that a new one goes on with the others."""
    if nodeid in _failed and ONLY == "cuda" and "PYTEST_XDIST_WORKER" in os.environ:
        import cupy

        try:
            cupy.cuda.runtime.deviceSynchronize()
        except Exception as error:  # stays until the process ends: every test after it would fail
            sys.stderr.write(f"{nodeid}: the GPU is lost: {error}\n")
            sys.stderr.flush()
            os._exit(1)


@pytest.fixture
def data_folder() -> Path:
    """The folder of official data files, or a skip."""
    value = os.environ.get("DLKIT_DATA", "")
    if not value or not Path(value).is_dir():
        pytest.skip("needs the official data files: set DLKIT_DATA to their folder")
    return Path(value)


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = K.get_num_threads()
    K.set_num_threads(request.param)
    yield request.param
    K.set_num_threads(before)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def seed(request: pytest.FixtureRequest) -> int:
    """Seed all that dlkit and PyTorch draw: the same for a test in every run, alone or among others."""
    if _SEED == "fresh":
        value = int(np.random.SeedSequence().generate_state(1)[0])
    else:
        value = zlib.crc32(f"{_SEED}:{request.node.nodeid}".encode())
    request.node.add_report_section("setup", "seed", str(value))
    dlkit.manual_seed(value)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(value)
    return value


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


class Fenced:
    """Memory between two pages that must not be touched."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        self.inside = -(-size // page) * page
        self.memory = mmap.mmap(-1, self.inside + 2 * page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for fence in (address, address + page + self.inside):
            assert protect(fence, page, 0) == 0, ctypes.get_errno()

    def array(self, values: Any, at_end: bool) -> Any:
        start = mmap.PAGESIZE + (self.inside - values.nbytes if at_end else 0)
        array = np.frombuffer(self.memory, values.dtype, values.size, start).reshape(values.shape)
        array[...] = values
        return array


@pytest.fixture(scope="module")
def fenced() -> list[Fenced]:
    """Four places for arrays of up to a megabyte; a read or write past one ends the process."""
    return [Fenced(1 << 20) for _ in range(4)]


_TESTS = Path(__file__).resolve().parent
_OTHER_ISAS = [isa for isa in K.config()["isas_available"] if isa != K.config()["isa"]]


@pytest.fixture(params=_OTHER_ISAS)
def on_other_isa(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Run tests, named by folder or file, in a process with each other instruction set of this machine."""
    if "DLKIT_ISA" in os.environ:
        pytest.skip("DLKIT_ISA chooses the one instruction set to test")

    def run(*paths: str, ignore: tuple[str, ...] = ()) -> None:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        command += [f"--ignore-glob={_TESTS}/*/test_device_*.py"]  # no CPU kernels
        command += [f"--ignore={_TESTS / name}" for name in ignore]
        done = subprocess.run(
            [*command, *(str(_TESTS / path) for path in paths)],
            env={**os.environ, "DLKIT_ISA": request.param},
            cwd=_TESTS.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        assert " passed" in done.stdout

    return run


@pytest.fixture
def simt() -> Any:
    """The namespace of the emulated GPU's arrays."""
    needs("simt")
    from dlkit.kernels import simt

    return simt


@pytest.fixture(params=["cpu", "simt"])
def device(request: pytest.FixtureRequest) -> Any:
    if request.param == "simt":
        needs("simt")
    return request.param


@pytest.fixture
def torch(seed: int) -> Any:
    module = pytest.importorskip("torch")
    module.manual_seed(
        seed
    )  # Of the first test in a process that asks for it: then it was not there to be seeded.
    return module
