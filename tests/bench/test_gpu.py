"""What of bench/gpu needs no GPU: the protocol of timing, the report, and the script when things fail."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
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


class FakeClock:
    """Seconds that calls say they take."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []

    def prepare(self, calls: Sequence[Callable[[], Any]], count: int) -> Callable[[], float]:
        def measure() -> float:
            name, seconds = calls[0]()
            self.log.append((name, count))
            return float(seconds)

        return measure


def contender(name: str, seconds: float, error: float = 0.0) -> Any:
    return timing.Contender(name, [lambda: (name, seconds)] * 2, lambda: error)


def test_rounds_alternate() -> None:
    clock = FakeClock()
    results = timing.compare(
        [contender("a", 1e-3), contender("b", 2e-3)], clock, timing.Deadline(9), rounds=3
    )
    assert [name for name, _ in clock.log[-6:]] == ["a", "b"] * 3
    assert [result.record()["seconds"] for result in results] == [1e-3, 2e-3]


def test_short_calls_are_repeated_long_ones_are_not() -> None:
    clock = FakeClock()
    timing.compare([contender("short", 1e-5), contender("long", 1.0)], clock, timing.Deadline(9), rounds=1)
    assert clock.log[-2:] == [("short", 200), ("long", 1)]


def test_a_contender_that_fails_drops_out_alone() -> None:
    def broken() -> None:
        raise ValueError("no such kernel")

    results = timing.compare(
        [timing.Contender("broken", [broken]), contender("a", 1e-3)], FakeClock(), timing.Deadline(9)
    )
    assert results[0].record()["failure"] == "ValueError: no such kernel"
    assert "seconds" not in results[0].record()
    assert results[1].record()["seconds"] == 1e-3


def test_without_time_nothing_runs() -> None:
    (result,) = timing.compare([contender("a", 1e-3)], FakeClock(), timing.Deadline(0))
    assert result.record()["failure"] == "no time left"


def test_nan_is_wrong_and_stays_out_of_the_json() -> None:
    (result,) = timing.compare([contender("a", 1e-3, float("nan"))], FakeClock(), timing.Deadline(9))
    entry = result.record()
    assert entry["error"] is None
    assert entry["failure"].startswith("WRONG")


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
