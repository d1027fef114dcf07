"""Many threads of Python, forks, and settings from the environment."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import dlkit.kernels as K


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_from_several_python_threads(rng: np.random.Generator, check: Any) -> None:
    shapes = [(100, 300, 200), (3, 9000, 5), (1, 784, 3000), (64, 64, 64), (5, 3, 2)]
    work = []
    for i in range(40):
        m, k, n = shapes[i % len(shapes)]
        work.append((rng.standard_normal((m, k)), rng.standard_normal((k, n))))
    before = K.get_num_threads()
    try:
        K.set_num_threads(2)
        expected = [K.matmul(a, b) for a, b in work]
        with ThreadPoolExecutor(6) as pool:
            for _ in range(5):
                for out, known in zip(pool.map(lambda pair: K.matmul(*pair), work), expected, strict=True):
                    assert out.tobytes() == known.tobytes()
    finally:
        K.set_num_threads(before)
    for out, (a, b) in zip(expected, work, strict=True):
        check(out, a, b)


def test_other_threads_run_meanwhile() -> None:
    """The interpreter's lock is free while a product is computed."""
    a = np.ones((1200, 1200))
    done = threading.Event()

    def multiply() -> None:
        K.matmul(a, a, variant="register_tile")
        done.set()

    worker = threading.Thread(target=multiply)
    worker.start()
    turns = 0
    while not done.wait(0.0005):
        turns += 1
    worker.join()
    assert turns > 5


def test_many_short_calls_of_changing_size() -> None:
    """Workers that wake late find another call's tasks, more or fewer of them."""
    one, two = np.ones((64, 64, 2)), np.ones((2, 300))
    before = K.get_num_threads()
    try:
        for count in (2, 3, 5):
            K.set_num_threads(count)
            for i in range(200):
                size = 8 + i % 56
                out = K.matmul(one[:size], np.broadcast_to(two, (size, 2, 300)))
                assert (out == 2).all()
    finally:
        K.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork() -> None:
    code = """
        import os, threading
        import numpy as np
        import dlkit.kernels as K
        K.set_num_threads(2)
        a, b = np.ones((300, 400), np.float32), np.ones((400, 500), np.float32)
        K.matmul(a, b)  # starts the workers
        busy = True
        def others():
            while busy:
                K.matmul(a, b)
        thread = threading.Thread(target=others)
        thread.start()  # some children are born while a product is computed
        codes = []
        for generation in range(20):
            child = os.fork()
            if child == 0:
                ok = all((K.matmul(a, b) == 400).all() for _ in range(3))
                if generation == 0:
                    grandchild = os.fork()
                    if grandchild == 0:
                        os._exit(0 if (K.matmul(a, b) == 400).all() else 1)
                    ok = ok and os.waitpid(grandchild, 0)[1] == 0
                os._exit(0 if ok else 1)
            codes.append(os.waitpid(child, 0)[1])
        busy = False
        thread.join()
        assert (K.matmul(a, b) == 400).all()
        print(codes)
    """
    done = _python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([0] * 20)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_multiprocessing_after_use() -> None:
    code = """
        import multiprocessing
        import numpy as np
        import dlkit.kernels as K
        a = np.ones((300, 400), np.float32)
        K.matmul(a, a.T)
        def total(_):
            return float(K.matmul(a, a.T).sum())
        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(total, range(6)) == [300 * 300 * 400] * 6
            print("done")
    """
    done = _python(code)
    assert done.stdout.strip() == "done", done.stderr


def test_exit_while_a_daemon_thread_computes() -> None:
    code = """
        import threading, time
        import numpy as np
        import dlkit.kernels as K
        K.set_num_threads(2)
        a = np.ones((400, 400))
        def forever():
            while True:
                K.matmul(a, a)
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.05)
        print("done")
    """
    for _ in range(3):
        done = _python(code)
        assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr


def test_fewer_threads_than_asked_for() -> None:
    """Where the system refuses more threads, those that there are do the work."""
    pytest.importorskip("resource")
    code = """
        import os, resource
        import numpy as np
        import dlkit.kernels as K
        a = np.ones((1500, 900), np.float32)
        K.set_num_threads(2)
        K.matmul(a, a.T)
        if os.geteuid() == 0:
            os.setuid(65534)  # limits do not hold for root
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        K.set_num_threads(16)
        print((K.matmul(a, a.T) == 900).all())
    """
    done = _python(code)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize("stack", [64 << 10, 256 << 10])
def test_on_a_thread_with_a_small_stack(stack: int, rng: np.random.Generator, check: Any) -> None:
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("AddressSanitizer needs more stack")
    a, b = rng.standard_normal((1, 3)), rng.standard_normal((3, 1_000_003))
    results: list[Any] = []
    before = threading.stack_size(stack)
    try:
        for pair in ((a, b), (b.T, a.T), (b.T[:100], b[:, :100])):
            thread = threading.Thread(target=lambda pair=pair: results.append((K.matmul(*pair), *pair)))
            thread.start()
            thread.join()
    finally:
        threading.stack_size(before)
    assert len(results) == 3
    for out, left, right in results:
        check(out, left, right)


@pytest.mark.parametrize("value", ["0", "-1", "1025", "two", "2.5", "2 ", "99999999999999999999", "0x2"])
def test_bad_number_of_threads_in_the_environment(value: str) -> None:
    done = _python("import dlkit", DLKIT_NUM_THREADS=value)
    assert done.returncode == 1
    assert f"DLKIT_NUM_THREADS is '{value}'; expected an integer from 1 to 1024" in done.stderr


def test_number_of_threads_in_the_environment() -> None:
    code = "import dlkit; print(dlkit.get_num_threads()); dlkit.set_num_threads(2); print(dlkit.get_num_threads())"
    assert _python(code, DLKIT_NUM_THREADS="7").stdout.split() == ["7", "2"]
    usable = str(K.config()["cpus_usable"])
    assert _python(code, DLKIT_NUM_THREADS="").stdout.split() == [usable, "2"]


@pytest.mark.parametrize("value", ["sse9", "AVX2", "avx", " ", "avx2,avx512"])
def test_bad_instruction_set_in_the_environment(value: str) -> None:
    done = _python("import dlkit", DLKIT_ISA=value)
    assert done.returncode == 1
    assert f"DLKIT_ISA is '{value}'; this machine has: " in done.stderr
    assert ", ".join(K.config()["isas_available"]) in done.stderr


def test_affinity_mask() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs an affinity mask")
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); import dlkit; print(dlkit.get_num_threads())"
    assert _python(code, DLKIT_NUM_THREADS="").stdout.strip() == "1"


def test_memory_does_not_grow_with_the_number_of_calls(rng: np.random.Generator) -> None:
    if not os.path.exists("/proc/self/statm") or "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("needs /proc and an allocator that gives memory back")
    a, b = rng.standard_normal((200, 700)), rng.standard_normal((700, 300))
    out = np.empty((200, 300))

    def pages() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    def calls(count: int) -> None:
        for _ in range(count):
            K.matmul(a, b, out=out)
            K.matmul(a, b, bias=b[0, :300], activation="relu")
            K.matmul(a[:3], np.repeat(b, 2, 1)[:, ::2])

    calls(20)
    before = pages()
    calls(60)
    assert pages() - before < 300
