from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from dlkit.study import peers
from dlkit.study.peers import (
    AbsentError,
    Company,
    Peer,
    PeerError,
    Process,
    find_peers,
    removed_variables,
    thread_environment,
)


def test_dlkit_comes_first_and_names_are_checked():
    assert [peer.name for peer in find_peers(["torch", "numpy"])] == ["dlkit", "numpy", "torch"]
    assert find_peers()[0].name == "dlkit"
    assert [peer.name for peer in find_peers(["onnx"], "matmul")] == ["dlkit", "onnx"]
    with pytest.raises(ValueError, match="bench: peer is 'tensorflow'; expected some of dlkit, numpy"):
        find_peers(["tensorflow"])


def test_a_chapter_is_compared_with_those_that_have_it():
    def names(chapter):
        return [peer.name for peer in find_peers(None, chapter)]

    assert "onnx" in names("recurrent")
    assert "onnx" not in names("matmul")
    assert {"dlkit", "numpy", "torch", "jax"} <= set(names("matmul"))


def test_every_library_gets_the_thread_count():
    found = thread_environment(2)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "DLKIT_NUM_THREADS"):
        assert found[name] == "2"
    assert "XLA_FLAGS" not in found
    assert "intra_op_parallelism_threads=1" in thread_environment(1)["XLA_FLAGS"]


def test_no_inherited_variable_chooses_kernels(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "5")
    monkeypatch.setenv("DLKIT_ISA", "baseline")
    removed = removed_variables()
    assert {"OPENBLAS_CORETYPE", "MKL_DEBUG_CPU_TYPE"} <= removed.keys()
    assert "DLKIT_ISA" not in removed  # which of dlkit's own kernels run is asked for, and the record says so


def test_a_worker_answers_and_ends(tmp_path: Path):
    process = Process(find_peers(["numpy"])[1], 1, tmp_path)
    try:
        assert "numpy" in process.versions
        process.settle()
        assert peers.running_threads(process.pid) == 0
        with pytest.raises(PeerError, match="numpy: time: RuntimeError: nothing is set up"):
            process.ask("time", inner=1, warm=0)
    finally:
        process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_worker_that_dies_is_an_error_that_shows_what_it_printed(tmp_path: Path):
    broken = Peer("broken", "broken", "no/such", False, "")
    with pytest.raises(AbsentError, match="not installed"):
        Process(broken, 1, tmp_path)
    process = Process(find_peers(["numpy"])[1], 1, tmp_path)
    try:
        process.ask("release")
        os.kill(process.pid, 9)
        with pytest.raises(PeerError, match=r"numpy: the worker ended at 'release' with status -9"):
            process.ask("release")
    finally:
        process.close()


def test_who_is_absent_is_kept_with_the_reason(monkeypatch):
    def nothing(folder: Path) -> dict[str, str]:
        raise AbsentError("the processor has no such thing")

    special = Peer("special", "Special", "numpy", True, "", nothing)
    with Company([special], 1) as company:
        assert company.absent == {"special": "the processor has no such thing"}
        assert company.processes == {}
        folder = company.folder
        assert folder.is_dir()
    assert not folder.exists()


def test_skylake_kernels_need_avx512(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(peers, "cpu_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(AbsentError, match="no AVX-512"):
        peers._skylake_kernels(tmp_path)
    monkeypatch.setattr(peers, "cpu_flags", lambda: frozenset({"avx512f"}))
    assert peers._skylake_kernels(tmp_path)["OPENBLAS_CORETYPE"] == "SkylakeX"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD is for Linux")
def test_the_preloaded_library_says_yes(tmp_path: Path):
    import ctypes

    try:
        found = peers._intel_answer(tmp_path)
    except AbsentError as reason:
        pytest.skip(str(reason))
    assert ctypes.CDLL(found["LD_PRELOAD"]).mkl_serv_intel_cpu_true() == 1


def test_without_a_compiler_the_reason_says_so(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    monkeypatch.setattr(peers.sys, "platform", "linux")
    with pytest.raises(AbsentError, match="no C compiler"):
        peers._intel_answer(tmp_path)


def test_processor_seconds_grow():
    if not Path("/proc/self/stat").exists():
        assert peers.used_seconds(os.getpid()) == 0
        return
    before, end = peers.used_seconds(os.getpid()), time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert 0.05 < peers.used_seconds(os.getpid()) - before < 1
