"""python/dlkit/study/simt_counts.py: what the CUDA ladders do, counted on the SIMT machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import dlkit.kernels as K
from dlkit.study import report, results, simt_counts, studies
from dlkit.study.__main__ import main

_simt = pytest.importorskip("dlkit._simt")


@pytest.fixture(scope="module")
def matmul() -> dict[str, Any]:
    return simt_counts.measure("matmul", size="64")


def test_every_step_of_the_ladder_is_counted(matmul: dict[str, Any]) -> None:
    assert matmul["size"] == "64×64×64"
    names = [row["name"] for row in matmul["rows"]]
    steps = [step.name for step in K.variants("matmul", "simt")]
    assert [name for name in names if "/" not in name] + matmul["absent"] == steps
    assert all("hopper" in name for name in matmul["absent"])
    assert {name for name in names if "/" in name} == set(simt_counts.TILES)
    for row in matmul["rows"]:
        assert row["launches"] == len(row["kernels"]) >= 1
        assert row["counts"]["flops"] + row["counts"]["tensor_flops"] >= 2 * 64**3, row["name"]
        assert row["error"] < (1e-3 if "mma" in row["name"] else 1e-6), row["name"]


def test_counts_that_are_known(matmul: dict[str, Any]) -> None:
    naive, coalesced = matmul["rows"][:2]
    # 64³ multiply-adds by warps of 32: a sector for each lane and one for B, where lanes along a row need 5.
    assert naive["counts"]["global_load_sectors"] == 64**3 // 32 * 33
    assert coalesced["counts"]["global_load_sectors"] == 64**3 // 32 * 5
    assert naive["counts"]["flops"] == 2 * 64**3
    assert naive["load_efficiency"] == pytest.approx(0.125)
    assert coalesced["store_efficiency"] == naive["lane_efficiency"] == 1
    assert naive["bytes_moved"] == 32 * (64**3 // 32 * 33 + 64 * 64)
    assert naive["flops_per_byte"] == pytest.approx(2 * 64**3 / naive["bytes_moved"])


def test_a_second_time_the_counts_are_the_same(matmul: dict[str, Any]) -> None:
    again = simt_counts.measure("matmul", size="64x64x64")
    assert again["rows"] == matmul["rows"]


def test_the_machine_is_left_as_it_was() -> None:
    before = _simt.get_mode()
    simt_counts.measure("matmul", size="8x16x8nt")
    assert _simt.get_mode() == before
    assert _simt.counters() == []
    with pytest.raises(ValueError, match="shape is '8by8'"):
        simt_counts.measure("matmul", size="8by8")
    assert _simt.get_mode() == before


def test_layers() -> None:
    lines: list[str] = []
    record = simt_counts.measure("layers", size="2000", progress=lines.append)
    counted = {row["name"] for row in record["rows"]}
    assert {"sigmoid, 0.002 M values: naive", "Adam, 0.002 M values: fused"} <= counted
    assert all(row["launches"] and row["error"] < 1e-5 for row in record["rows"])
    assert lines[0] == "layers on the SIMT machine, sigmoid, 0.002 M values, naive"
    by_name = {row["name"].partition(",")[0] + row["name"][-5:]: row for row in record["rows"]}
    assert by_name["softmaxnaive"]["load_efficiency"] < 0.2 < by_name["softmaxfused"]["load_efficiency"]


def test_conv() -> None:
    record = simt_counts.measure("conv", size="1x4x6x7-9x3")
    assert record["size"] == "1×4×6×7 → 9, 3×3"
    by_name = {row["name"].partition("/")[0]: row for row in record["rows"]}
    wanted = {
        f"conv2d: {step}" for step in ("naive", "implicit_gemm", "tensor_tf32", "tensor_bf16", "winograd")
    }
    assert wanted <= set(by_name)
    assert "conv2d_backward_weight, depthwise: depthwise" in by_name
    for name, row in by_name.items():
        assert row["error"] < (1e-2 if "tensor" in name else 1e-5), name
    # 9 filters at 6 x 7 places, 4 channels: taps outside of the image are not multiplied.
    inside = (6 * 3 - 2) * (7 * 3 - 2)
    assert by_name["conv2d: naive"]["counts"]["flops"] == 2 * 9 * 4 * inside
    # Pooling, of images of 8 x 8: whole sectors, each once.
    for name, row in by_name.items():
        if name.endswith("2×2: packs"):
            assert row["load_efficiency"] == row["store_efficiency"] == 1, name
    wanted = {"k_max_pool1d, 3 of 64: warps", "maxout, pairs: packs", "adaptive_avg_pool2d, global: warps"}
    assert wanted <= set(by_name)
    with pytest.raises(ValueError, match="size is '8x8'"):
        simt_counts.measure("conv", size="8x8")


def test_recurrent() -> None:
    record = simt_counts.measure("recurrent", size="4x2x3-12")
    assert record["size"] == "4 steps of 2 sequences, 3 → 12"
    by_name = {row["name"]: row for row in record["rows"]}
    assert all(row["error"] < 1e-5 for row in record["rows"])
    # One launch for all steps, instead of two for each; W x of all, and the states before.
    assert by_name["lstm: persistent"]["launches"] == 3
    assert by_name["lstm: stepwise"]["launches"] == 2 + 2 * 4 - 1
    assert by_name["gru, backward: persistent"]["launches"] < by_name["gru, backward: stepwise"]["launches"]
    with pytest.raises(ValueError, match="size is '8x8'"):
        simt_counts.measure("recurrent", size="8x8")


def test_tables_and_files(matmul: dict[str, Any], tmp_path: Path) -> None:
    assert results.write(matmul, tmp_path) == tmp_path / "simt-matmul.json"
    assert "| naive | 1 | 524,288 | – |" in report.render("simt-matmul", tmp_path)
    few = report.render("simt-matmul-summary", tmp_path)
    assert re.search(r"^\| warp_tiled/\d+x\d+ \|", few, re.MULTILINE)
    assert few.startswith("Counts of the SIMT machine, 64×64×64; without hopper_tf32, hopper_16bit; dlkit ")
    assert len(few.splitlines()[2]) < len(studies.markdown(matmul).splitlines()[2])
    assert "bank conflicts" in studies.text(matmul)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="operation is 'models'"):
        simt_counts.measure("models")
    with pytest.raises(ValueError, match="size is '8x8'"):
        simt_counts.measure("layers", size="8x8")


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simt", "layers", "--size", "500", "--json", str(tmp_path)]) == 0
    assert "dropout" in capsys.readouterr().out
    assert results.read(tmp_path / "simt-layers.json")["command"].startswith(
        "python -m dlkit.study simt layers"
    )
