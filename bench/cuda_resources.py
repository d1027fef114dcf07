"""What the compiler gives each CUDA kernel: registers, spills, static shared memory, and how many blocks fit.

Compiles the kernels of csrc/ for one architecture with nvcc's resource report; needs no GPU. Kernels that one name
stands for (a template's instances) are one row: the worst of each column. Run it with ``make cuda-resources``.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REGISTERS = 65536  # of a multiprocessor, compute capability 8.0 to 9.0
WARPS = 64
FUNCTION = re.compile(r"Compiling entry function '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def sources(chapters: list[str]) -> list[Path]:
    """Return the CUDA sources of some chapters, of all without any."""
    folders = [ROOT / "csrc" / chapter for chapter in chapters] or [
        folder for folder in (ROOT / "csrc").iterdir() if folder.is_dir() and folder.name != "simt"
    ]
    return sorted(path for folder in folders for path in folder.glob("*.cu"))


def report(path: Path, arch: str) -> list[dict[str, Any]]:
    """Compile one source and return its kernels with what the assembler says of them."""
    command = [
        *(
            "nvcc",
            "-std=c++20",
            "-O3",
            f"-arch={arch}",
            "-cubin",
            "-o",
            "/dev/null",
            "-I",
            str(ROOT / "csrc"),
        ),
        *("--expt-relaxed-constexpr", "-diag-suppress=177", "--resource-usage", str(path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"cuda_resources: {path.name} did not compile:\n{done.stderr[-2000:]}")
    kernels: list[dict[str, Any]] = []
    for line in done.stderr.splitlines():
        if found := FUNCTION.search(line):
            kernels.append({"file": str(path.relative_to(ROOT / "csrc")), "function": found[1]})
        elif found := SPILLS.search(line):
            kernels[-1]["spilled"] = int(found[2])
        elif found := USED.search(line):
            shared = SHARED.search(line)
            kernels[-1].update(registers=int(found[1]), shared=int(shared[1]) if shared else 0)
    return kernels


def demangled(names: list[str]) -> list[str]:
    """Return names without types and arguments: the kernel's own."""
    text = subprocess.run(["c++filt", *names], capture_output=True, text=True, check=True).stdout
    plain = []
    for line in text.splitlines():
        name = re.sub(r"^(void|[\w:]+) (?=dlkit)", "", line)
        depth, kept = 0, ""
        for character in name.replace("(anonymous namespace)::", ""):
            depth += character in "<("
            kept += character if not depth else ""
            depth -= character in ">)"
        plain.append(kept.split("::")[-1].strip())
    return plain


def summary(kernels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each kernel's name: the most of each column over its instances."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for kernel, name in zip(kernels, demangled([k["function"] for k in kernels]), strict=True):
        groups[kernel["file"], name].append(kernel)
    rows = []
    for (file, name), group in sorted(groups.items()):
        registers = max(k["registers"] for k in group)
        per_warp = (registers + 7) // 8 * 8 * 32
        rows.append(
            {
                "file": file,
                "kernel": name,
                "instances": len(group),
                "registers": registers,
                "spilled": max(k.get("spilled", 0) for k in group),
                "shared": max(k["shared"] for k in group),
                "warps": min(WARPS, REGISTERS // per_warp),
            }
        )
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table."""
    lines = [
        "| source | kernel | instances | registers | bytes spilled | static shared bytes | warps by registers |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['file']} | {r['kernel']} | {r['instances']} | {r['registers']} | {r['spilled'] or '–'} "
        f"| {r['shared'] or '–'} | {r['warps']} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Compile, print the table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapters", nargs="*", help="folders of csrc; all by default")
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--json", type=Path, help="where to write the rows to")
    options = parser.parse_args()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda path: report(path, options.arch), sources(options.chapters)))
    rows = summary([kernel for kernels in found for kernel in kernels])
    print(markdown(rows))
    if options.json is not None:
        version = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
        compiler = re.search(r"release ([\d.]+)", version)
        record = {
            "arch": options.arch,
            "nvcc": compiler[1] if compiler else "unknown",
            "date": date.today().isoformat(),
            "kernels": rows,
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
