"""What of bench/gpu needs no GPU: the protocol of timing, the report, and the script when things fail."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GPU = Path(__file__).resolve().parents[2] / "bench" / "gpu"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_gpu_{name}", GPU / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


timing = load("timing")
report = load("report")
recording = load("record")
FOREVER = timing.Deadline(math.inf)


class FakeClock:
    """Seconds that calls say they take, on a device that is lost from the first error on, or never."""

    def __init__(self, lost: bool = False) -> None:
        self.log: list[tuple[str, int]] = []
        self.is_lost = lost

    def lost(self) -> bool:
        return self.is_lost

    def prepare(self, calls: Sequence[Callable[[], Any]], count: int) -> Callable[[], float]:
        def measure() -> float:
            name, seconds = calls[0]()
            self.log.append((name, count))
            return float(seconds)

        return measure


def contender(name: str, seconds: float, error: float = 0.0) -> Any:
    return timing.Contender(name, [lambda: (name, seconds)] * 2, lambda: error)


def compare(contenders: list[Any], clock: FakeClock, deadline: Any = FOREVER, rounds: int = 7) -> list[Any]:
    results: list[Any] = timing.compare(contenders, clock, deadline, lambda name: None, rounds)
    return results


def test_rounds_alternate() -> None:
    clock = FakeClock()
    results = compare([contender("a", 1e-3), contender("b", 2e-3)], clock, rounds=3)
    assert [name for name, _ in clock.log[-6:]] == ["a", "b"] * 3
    assert [result.record()["seconds"] for result in results] == [1e-3, 2e-3]


def test_short_calls_are_repeated_long_ones_are_not() -> None:
    clock = FakeClock()
    compare([contender("short", 1e-5), contender("long", 1.0)], clock, rounds=1)
    assert clock.log[-2:] == [("short", 200), ("long", 1)]


def broken() -> None:
    raise ValueError("no such kernel")


def test_a_contender_that_fails_drops_out_alone() -> None:
    results = compare([timing.Contender("broken", [broken]), contender("a", 1e-3)], FakeClock())
    assert results[0].record()["failure"] == "ValueError: no such kernel"
    assert "seconds" not in results[0].record()
    assert results[1].record()["seconds"] == 1e-3


def test_nothing_runs_on_a_device_that_is_lost() -> None:
    clock, started = FakeClock(lost=True), []
    contenders = [contender("a", 1e-3), timing.Contender("broken", [broken]), contender("b", 1e-3)]
    results = timing.compare(contenders, clock, FOREVER, started.append)
    assert started == ["a", "broken"]
    failures = [result.failure for result in results]
    assert failures == [None, "ValueError: no such kernel", "the device is lost"]
    assert [name for name, _ in clock.log] == ["a", "a"]  # no rounds


def test_one_that_loses_the_device_in_a_round_is_the_last() -> None:
    calls = []

    def late() -> tuple[str, float]:
        calls.append(1)
        if len(calls) > 5:
            raise ValueError("an illegal memory access")
        return "late", 1e-3

    clock = FakeClock(lost=True)
    results = compare([timing.Contender("late", [late]), contender("b", 1.0)], clock)
    assert results[0].failure == "ValueError: an illegal memory access"
    assert clock.log[-1][0] == "b"
    assert results[1].failure is None
    assert len(results[1].seconds) == len(results[0].seconds)


def test_without_time_nothing_runs() -> None:
    (result,) = compare([contender("a", 1e-3)], FakeClock(), timing.Deadline(time.time()))
    assert result.record()["failure"] == "no time left"


def test_the_end_is_a_time_of_day() -> None:
    assert 50 < timing.Deadline(time.time() + 60).left() <= 60
    assert timing.Deadline(time.time() - 60).left() == 0


def test_nan_is_wrong_and_stays_out_of_the_json() -> None:
    (result,) = compare([contender("a", 1e-3, float("nan"))], FakeClock())
    entry = result.record()
    assert entry["error"] is None
    assert entry["failure"].startswith("WRONG")


def read(path: Path) -> Any:
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # nothing half written beside it
    return json.loads(path.read_text())


def test_a_record_is_written_after_each_row(tmp_path: Path) -> None:
    path = tmp_path / "conv.json"
    record = recording.Record(path, lambda: False, dry_run=True)
    with record.row("conv2d 8x3", mode="float32") as row:
        assert read(path)["running"].startswith("conv2d 8x3: ")
        record.start("naive")
        assert read(path)["running"] == "conv2d 8x3: naive"
        row["results"] = [{"name": "naive", "failure": None}]
    whole = {"mode": "float32", "results": [{"name": "naive", "failure": None}]}
    assert read(path) == {"dry_run": True, "rows": [whole], "running": None}
    with record.row("conv2d 9x3", mode="tf32"):
        assert read(path)["rows"] == [whole, {"mode": "tf32"}]
        broken()
    assert read(path)["rows"][1] == {"mode": "tf32", "failure": "ValueError: no such kernel"}
    assert record.failures() == 1


@pytest.mark.parametrize("where", ["row", "contender"])
def test_a_record_ends_with_the_row_that_lost_the_device(tmp_path: Path, where: str) -> None:
    path = tmp_path / "conv.json"
    record = recording.Record(path, lambda: True)
    with record.row("first"):
        pass  # nothing failed: the device is not asked

    def second() -> None:
        with record.row("second") as row:
            record.start("naive")
            if where == "row":
                broken()
            row["results"] = [{"name": "naive", "failure": "an illegal memory access"}]

    with pytest.raises(recording.DeviceLostError, match="second: naive"):
        second()
    found = read(path)
    assert len(found["rows"]) == 2
    assert found["running"] == "second: naive"


def test_input_sets_leave_the_cache() -> None:
    assert timing.input_sets(50 << 20, 50 << 20) * (50 << 20) >= 2 * (50 << 20)
    assert timing.input_sets(1 << 40, 50 << 20) == 2
    assert timing.input_sets(1, 50 << 20) == 64


def record() -> dict[str, Any]:
    def entry(name: str, seconds: float, error: float | None) -> dict[str, Any]:
        return {"name": name, "seconds": seconds, "error": error, "failure": None}

    matmul = {
        "mode": "bfloat16", "layout": "nn", "m": 10, "k": 10, "n": 10, "flops": 2000, "choice": "mma_16bit",
        "results": [entry("torch", 2e-6, 1e-3), entry("cupy", 4e-6, None), entry("automatic", 1e-6, 1e-3),
                    entry("hopper_16bit", 1e-7, 0.5)],
    }  # fmt: skip
    layer = {
        "shape": [8, 4], "operation": "softmax", "bytes": 1000,
        "results": [entry("torch", 2e-6, None), entry("automatic", 1e-6, 1e-7)],
    }  # fmt: skip
    conv = {
        "mode": "float32", "operation": "conv2d", "shape": "1x2", "flops": 2000, "choice": "winograd",
        "results": [entry("torch", 3e-6, None), entry("torch channels_last", 2e-6, None),
                    entry("automatic", 1e-6, 1e-6)],
    }  # fmt: skip
    return {
        "environment": {"gpu": "NVIDIA H100 80GB HBM3", "driver": "580"},
        "ceilings": {"ceilings": {"copy_bandwidth": 2e9, "bf16": 7e14}},
        "matmul": {"rows": [matmul, {**matmul, "results": [], "failure": "no time left"}]},
        "conv": {"rows": [conv, {**conv, "results": [], "failure": "no time left"}]},
        "layers": {"rows": [layer]},
        "recurrent": {"rows": [{**conv, "operation": "lstm forward", "choice": "persistent"}]},
        "train": {"rows": [{"library": "dlkit", "launch": "eager", "failure": "boom"}]},
        "word2vec": {"rows": [{"kind": "skip-gram", "where": "cuda", "at_once": "default", "words_per_second": 2e8,
                               "ratio": 31.0, "loss": 2.5, "failure": None}]},
        "stages": [{"name": "build", "code": 0, "seconds": 9.0, "last": "done"},
                   {"name": "tests", "code": 124, "seconds": 60.0, "last": ""}],
    }  # fmt: skip


def test_ratios_are_to_the_best_peer() -> None:
    rows = {row[1]: row for row in report.matmul_rows(record())}
    assert rows["automatic (mma_16bit)"][4] == "2.00"
    assert rows["cupy"][4] == "0.50"


def test_convolution_is_held_to_the_better_layout() -> None:
    rows = {row[1]: row for row in report.conv_rows(record())}
    assert rows["automatic (winograd)"][2:5] == ["1.0", "0.00", "2.00"]
    assert rows["torch"][4] == "0.67"


def test_recurrent_layers() -> None:
    rows = {row[1]: row for row in report.conv_rows(record(), "recurrent")}
    assert rows["automatic (persistent)"][0] == "lstm forward 1x2, float32"
    assert "## Recurrent layers" in report.render(record())


def test_a_wrong_result_has_no_time() -> None:
    rows = {row[1]: row for row in report.matmul_rows(record())}
    assert rows["hopper_16bit"][2:5] == ["–", "–", "–"]
    assert rows["hopper_16bit"][6].startswith("WRONG")


def test_layers_are_a_share_of_the_copy() -> None:
    rows = {row[1]: row for row in report.layer_rows(record())}
    assert rows["automatic"][3:6] == ["1", "50", "2.00"]


def test_word_vectors() -> None:
    assert report.word2vec_rows(record()) == [
        ["skip-gram", "cuda", "default", "200.00", "31.0", "2.5000", ""]
    ]
    assert (
        "word2vec skip-gram, cuda, default: 200.00 M words/s, 31.0 x the CPU, loss 2.5000"
        in report.summary(record())
    )


def test_report_has_everything() -> None:
    text = report.render(record())
    for part in (
        "H100",
        "no time left",
        "softmax 8x4",
        "boom",
        "out of time",
        "copy, read and written: 2 GB/s",
    ):
        assert part in text
    widths = {len(line) for line in text.splitlines() if line.startswith("| bfloat16")}
    assert len(widths) == 1


def test_report_names_what_a_script_ended_in() -> None:
    unfinished = record()
    unfinished["conv"]["running"] = "conv2d 1x2, tf32: tensor_tf32"
    line = "- conv ended while this ran: conv2d 1x2, tf32: tensor_tf32"
    assert line in report.render(unfinished).splitlines()
    assert line in report.summary(unfinished)
    assert "ended while" not in report.render(record())


def test_report_of_nothing() -> None:
    nothing: dict[str, Any] = dict.fromkeys(("environment", "ceilings", "matmul", "conv", "layers", "train"))
    assert "Stages" in report.render({**nothing, "stages": []})
    assert report.file_name({**nothing, "stages": []}) == "gpu-unknown.json"
    assert report.file_name(record()) == "gpu-nvidia-h100-80gb-hbm3.json"


def run_script(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(GPU / "run.sh"), *arguments],
        capture_output=True, text=True, timeout=120, env={**os.environ, **environment}, cwd=tmp_path, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--fast", "a"]])
def test_wrong_arguments(tmp_path: Path, arguments: list[str]) -> None:
    done = run_script(tmp_path, *arguments)
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_a_build_that_fails_is_recorded(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "cmake").write_text("#!/bin/sh\necho no compiler today\nexit 3\n")
    (tools / "cmake").chmod(0o755)
    done = run_script(
        tmp_path, "out", "--dry-run", PATH=f"{tools}:{os.environ['PATH']}", PYTHON=sys.executable,
        DLKIT_GPU_BUILD=str(tmp_path / "build"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "build: exit" in done.stdout
    (path,) = (tmp_path / "out").glob("gpu-*.json")
    stages = json.loads(path.read_text())["stages"]
    assert [stage["name"] for stage in stages] == ["environment", "build"]
    assert stages[1]["last"] == "no compiler today"
    assert "no compiler today" in (tmp_path / "out" / "log.txt").read_text()


def test_stages_that_are_not_there(tmp_path: Path) -> None:
    done = run_script(tmp_path, "out", STAGES="conv speed")
    assert done.returncode == 2
    assert "STAGES has 'speed'; expected some of: build memcheck" in done.stderr
    done = run_script(tmp_path, "out", STAGES="conv", DLKIT_GPU_BUILD=str(tmp_path / "build"))
    assert done.returncode == 2
    assert "nothing is built" in done.stderr


def test_some_stages_take_what_was_built_and_keep_what_was_measured(tmp_path: Path) -> None:
    build, tools = tmp_path / "build", tmp_path / "tools"
    (build / "parts").mkdir(parents=True)
    (build / "site").mkdir()
    (build / "parts" / "ceilings.json").write_text(json.dumps({"ceilings": {"copy_bandwidth": 2e9}}))
    (build / "stages.tsv").write_text("environment\t0\t1\told\nceilings\t0\t9\tgood\nconv\t1\t9\tbad\n")
    # An interpreter whose two scripts of this test are others.
    tools.mkdir()
    python = tools / "python"
    python.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        '  bench/gpu/conv.py) echo "until $5, unbuffered $PYTHONUNBUFFERED" ;;\n'
        "  bench/gpu/layers.py) echo lost; exit 3 ;;\n"
        f'  *) exec "{sys.executable}" "$@" ;;\n'
        "esac\n"
    )
    python.chmod(0o755)
    begin = time.time()
    done = run_script(
        tmp_path, "out", STAGES="layers conv", PYTHON=str(python), DLKIT_GPU_BUILD=str(build), DLKIT_COMMIT="abc",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    (path,) = (tmp_path / "out").glob("gpu-*.json")
    found = json.loads(path.read_text())
    codes = {"ceilings": 0, "environment": 0, "layers": 3, "conv": 0}
    assert {stage["name"]: stage["code"] for stage in found["stages"]} == codes
    assert [found["stages"][i]["last"] for i in (0, 2)] == ["good", "lost"]
    until, unbuffered = found["stages"][-1]["last"].removeprefix("until ").split(", unbuffered ")
    assert begin + 60 < float(until) < time.time() + 80
    assert unbuffered == "1"
    assert found["ceilings"] == {"ceilings": {"copy_bandwidth": 2e9}}
    assert found["environment"]["commit"] == "abc"


def test_a_process_whose_gpu_a_test_has_lost_is_replaced(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    (tmp_path / "cupy.py").write_text(
        "import os\nfrom types import SimpleNamespace\n\n"
        "def synchronize():\n"
        "    if 'LOST' in os.environ:\n"
        "        raise RuntimeError('an illegal memory access was encountered')\n\n"
        "cuda = SimpleNamespace(runtime=SimpleNamespace(deviceSynchronize=synchronize))\n"
    )
    (tmp_path / "test_three.py").write_text(
        "import os\n\n"
        "def test_wrong():\n    assert 'found' == 'expected'\n\n"
        "def test_loses_it():\n    os.environ['LOST'] = '1'\n    assert 'pointer' == 'valid'\n\n"
        "def test_right():\n    assert 'LOST' not in os.environ\n"
    )
    tests = GPU.parents[1] / "tests"
    paths = os.pathsep.join(str(path) for path in (tmp_path, tests, tests / "cases"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "conftest", "-p", "no:cacheprovider", "-n", "1", "test_three.py"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False,
        env={**os.environ, "DLKIT_TEST_BACKEND": "cuda", "PYTHONPATH": paths},
    )  # fmt: skip
    assert "assert 'found' == 'expected'" in done.stdout
    assert "assert 'pointer' == 'valid'" in done.stdout
    assert "crashed while running 'test_three.py::test_loses_it'" in done.stdout
    assert "test_loses_it: the GPU is lost: an illegal memory access" in done.stderr
    assert "3 failed, 1 passed" in done.stdout
