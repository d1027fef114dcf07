"""Peers: who is compared, each configuration in a process of its own.

Kernels are picked when a library is loaded (``OPENBLAS_CORETYPE``, a preloaded library, thread counts), so
each configuration needs its own process with its own environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from dlkit.study.machine import cpu_flags

#: Variables that choose kernels or threads begin so. None is inherited: some containers set them (an
#: ``OPENBLAS_CORETYPE=Haswell`` halves NumPy on a machine with AVX-512), and "default" is what a plain shell
#: gives.
_CHOOSERS = [
    "OPENBLAS_",
    "OMP_",
    "GOMP_",
    "KMP_",
    "MKL_",
    "DNNL_",
    "ONEDNN_",
    "ATEN_",
    "XLA_",
    "JAX_",
    "LD_PRELOAD",
    "NPROC",
    "PJRT_",
    "BLIS_",
    "MALLOC_",
    "DLKIT_NUM_THREADS",
]

_PRELOADED_SOURCE = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"


class PeerError(RuntimeError):
    """A peer computed something wrong, or its process failed."""


class AbsentError(Exception):
    """A peer cannot take part; the message says why."""


@dataclass(frozen=True)
class Peer:
    """One configuration of one library.

    Parameters
    ----------
    name, label : str
        How it is asked for, and how a table calls it.
    library : str
        The module ``dlkit.study.libraries.<library>_peer``.
    configured : bool
        Whether it is more than what users get by default.
    how : str
        What was done to configure it.
    environment : callable
        Given a scratch folder, returns the variables to set; raises `AbsentError` if the machine
        lacks what it needs.
    options : dict
        Passed on to the library's ``prepare``.
    chapters : tuple of str
        Where it is compared if nobody names it; empty: everywhere.
    """

    name: str
    label: str
    library: str
    configured: bool
    how: str
    environment: Callable[[Path], dict[str, str]] = lambda folder: {}
    options: Mapping[str, Any] = field(default_factory=dict)
    chapters: tuple[str, ...] = ()


def _skylake_kernels(folder: Path) -> dict[str, str]:
    if "avx512f" not in cpu_flags():
        raise AbsentError("the processor has no AVX-512 for OPENBLAS_CORETYPE=SkylakeX")
    return {"OPENBLAS_CORETYPE": "SkylakeX"} | _keep_memory(folder)


def _keep_memory(folder: Path) -> dict[str, str]:
    """Return settings with which glibc keeps freed memory, as tuning guides ask of an allocator.

    Otherwise each large result is mapped, filled page by page and unmapped again.
    """
    large = str(1 << 30)
    return {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": large, "MALLOC_TRIM_THRESHOLD_": large}


def _intel_answer(folder: Path) -> dict[str, str]:
    """Build the library that makes MKL pick its kernels by the instruction set, not by the maker."""
    if not sys.platform.startswith("linux"):
        raise AbsentError("LD_PRELOAD needs Linux")
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    compiler = next((found for name in names if name and (found := shutil.which(name))), None)
    if compiler is None:
        raise AbsentError("no C compiler for the preloaded mkl_serv_intel_cpu_true")
    source, library = folder / "intel_cpu_true.c", folder / "intel_cpu_true.so"
    source.write_text(_PRELOADED_SOURCE, encoding="utf-8")
    built = subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(library), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise AbsentError(f"{compiler} could not build the preloaded library: {built.stderr.strip()[:200]}")
    return {"LD_PRELOAD": str(library)} | _keep_memory(folder)


def _cpu_only(folder: Path) -> dict[str, str]:
    return {"JAX_PLATFORMS": "cpu"} | _keep_memory(folder)


PEERS = (
    Peer("dlkit", "dlkit", "dlkit", False, "as installed"),
    Peer("numpy", "NumPy", "numpy", False, "as installed"),
    Peer(
        "numpy-best",
        "NumPy (AVX-512)",
        "numpy",
        True,
        "OPENBLAS_CORETYPE=SkylakeX, freed memory kept",
        _skylake_kernels,
    ),
    Peer("torch", "PyTorch", "torch", False, "as installed"),
    Peer(
        "torch-best",
        "PyTorch (best)",
        "torch",
        True,
        "preloaded mkl_serv_intel_cpu_true returning 1, channels_last, fused optimizers, freed memory kept",
        _intel_answer,
        {"best": True},
    ),
    Peer("jax", "JAX", "jax", True, "jax.jit, donated state, freed memory kept", _cpu_only),
    Peer(
        "onnx",
        "ONNX Runtime",
        "onnx",
        True,
        "weights as constants, arrays bound once, freed memory kept",
        _keep_memory,
        chapters=("recurrent",),
    ),
)


def find_peers(names: Sequence[str] | None = None, chapter: str = "") -> list[Peer]:
    """Return the peers of these names, dlkit always first; by default all that a chapter is compared with.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    known = {peer.name: peer for peer in PEERS}
    if names is None:
        return [peer for peer in PEERS if not peer.chapters or chapter in peer.chapters]
    for name in names:
        if name not in known:
            raise ValueError(f"bench: peer is {name!r}; expected some of {', '.join(known)}")
    return [known["dlkit"], *(peer for peer in PEERS if peer.name in names and peer.name != "dlkit")]


def removed_variables() -> dict[str, str]:
    """Return the variables of this process that workers do not inherit."""
    return {k: v for k, v in os.environ.items() if k.startswith(tuple(_CHOOSERS))}


def thread_environment(threads: int) -> dict[str, str]:
    """Return the variables that give every library `threads` threads."""
    count = str(threads)
    names = [
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "DLKIT_NUM_THREADS",
        "NPROC",
        "PJRT_NPROC",
    ]
    found = dict.fromkeys(names, count)
    if threads == 1:
        found["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return found


def running_threads(pid: int, *, besides: int = 0) -> int:
    """Return how many threads of a process are running, one left out (Linux; elsewhere always 0)."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0
    count = 0
    for task in tasks:
        try:
            stat = Path(f"/proc/{pid}/task/{task}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        count += int(task) != besides and stat.rpartition(")")[2].split()[0] == "R"
    return count


def settle(pid: int, *, besides: int = 0, limit: float = 0.5) -> None:
    """Wait until threads that spin after a parallel region sleep, at most `limit` seconds."""
    end = time.monotonic() + limit
    while running_threads(pid, besides=besides) and time.monotonic() < end:
        time.sleep(0.0005)


def wait_for_quiet(limit: float = 0.05) -> None:
    """Wait until nothing but this thread is running on the machine, at most `limit` seconds (Linux only).

    Two threads that meet at a barrier lose a hundredfold when a third has one of two processors; whoever has
    the turn then would look slow.
    """
    end = time.monotonic() + limit
    while time.monotonic() < end:
        try:
            running = int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].split("/")[0])
        except (OSError, ValueError, IndexError):
            return
        if running <= 1:
            return
        time.sleep(0.001)


def busy_seconds() -> float | None:
    """Return processor seconds that the machine has worked since it started; None where unknown."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, soft = (int(field) for field in fields[:7])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def used_seconds(pid: int) -> float:
    """Return processor seconds that a process has used; 0 where unknown."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Process:
    """A peer's worker process.

    Parameters
    ----------
    peer : Peer
    threads : int
    folder : Path
        Scratch folder for the preloaded library and for answers.

    Raises
    ------
    AbsentError
        If the peer cannot take part here.
    """

    def __init__(self, peer: Peer, threads: int, folder: Path) -> None:
        self.peer, self.threads, self.folder = peer, threads, folder
        removed = removed_variables()
        environment = {k: v for k, v in os.environ.items() if k not in removed}
        environment |= thread_environment(threads) | peer.environment(folder)
        package = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [package, environment.get("PYTHONPATH", "")])
        )
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dlkit.study.worker", peer.library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        try:
            self._answer("start")
            self.versions: dict[str, str] = self.ask("hello")["versions"]
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        """Send a command and return its answer.

        Raises
        ------
        AbsentError
            If the library has no such operation.
        PeerError
            If the command failed or the process ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"command": command, **fields}) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError):
            pass  # the missing answer says so, with what the process printed
        return self._answer(command)

    def _answer(self, command: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._log.seek(0)
            printed = self._log.read().strip()[-800:]
            raise PeerError(
                f"{self.peer.name}: the worker ended at {command!r} with status {status}: {printed}"
            )
        answer: dict[str, Any] = json.loads(line)
        if answer.pop("ok"):
            return answer
        if "absent" in answer:
            raise AbsentError(answer["absent"])
        raise PeerError(f"{self.peer.name}: {command}: {answer['error']}")

    def settle(self) -> None:
        """Wait until the process is idle."""
        settle(self.pid)

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


class Company:
    """The worker processes of one comparison, and the reasons of those who are absent.

    Use as a context manager; the processes end with it.
    """

    def __init__(self, peers: Sequence[Peer], threads: int) -> None:
        self.threads = threads
        self.processes: dict[str, Process] = {}
        self.absent: dict[str, str] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="dlkit-bench-")
        self.folder = Path(self._folder.name)
        try:
            for peer in peers:
                try:
                    self.processes[peer.name] = Process(peer, threads, self.folder)
                except AbsentError as reason:
                    self.absent[peer.name] = str(reason)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Company:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes and remove the scratch folder."""
        for process in self.processes.values():
            process.close()
        self._folder.cleanup()
