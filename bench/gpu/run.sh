#!/usr/bin/env bash
# Everything that needs a real GPU, in one call of under eight minutes: build, tests, sanitizer, ceilings, kernels against
# cuBLAS, cuDNN and CuPy, training.
#
#   bench/gpu/run.sh OUT              results into OUT: gpu-NAME.json, report.md, log.txt
#   bench/gpu/run.sh OUT --dry-run    the same steps on the SIMT machine, tiny: tries the scripts where there is no GPU
#                                     (CUDA graphs have no emulation: their two rows of training say so)
#
# Needs nvcc, CMake, ninja and a Python with PyTorch, CuPy, NumPy and pytest; no network. PYTHON names the interpreter.
# A stage that fails or runs out of time is recorded, and the next one runs.
set -uo pipefail

usage="usage: bench/gpu/run.sh OUT [--dry-run]"
out=""
dry_run=""
for argument in "$@"; do
  case "$argument" in
    --dry-run) dry_run="--dry-run" ;;
    -*) echo "$usage" >&2; exit 2 ;;
    *) [ -z "$out" ] || { echo "$usage" >&2; exit 2; }; out="$argument" ;;
  esac
done
[ -n "$out" ] || { echo "$usage" >&2; exit 2; }

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
mkdir -p "$out" || exit 1
out="$(cd "$out" && pwd)"
cd "$root" || exit 1

python="${PYTHON:-python3}"
# CMake and Ninja may be packages of the interpreter's environment.
PATH="$PATH:$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')" || exit 1
total=465
build="${DLKIT_GPU_BUILD:-$root/build/gpu$dry_run}"
parts="$build/parts"
stages="$build/stages.tsv"
log="$out/log.txt"
rm -rf "$parts"
mkdir -p "$parts"
: > "$stages"
: > "$log"
SECONDS=0
# A dry run may be on a machine of few cores.
patience=1
[ -z "$dry_run" ] || { patience=6 total=$((6 * total)); }

# stage NAME LIMIT COMMAND...: within LIMIT seconds and what is left of all, less 5 for the report.
stage() {
  local name="$1" limit=$(($2 * patience)) left=$((total - SECONDS - 5)) begin=$SECONDS code=99 output="$build/stage.log"
  shift 2
  [ "$limit" -le "$left" ] || limit=$left
  printf '\n===== %s\n' "$name" >> "$log"
  if [ "$limit" -gt 3 ]; then
    LIMIT=$limit timeout --kill-after=5 "$limit" "$@" > "$output" 2>&1 < /dev/null
    code=$?
    # At most 200 KB of each, the end where it is more.
    tail -c 200000 "$output" >> "$log"
  else
    echo "no time left" > "$output"
  fi
  local last=""
  [ "$code" -eq 0 ] || last="$(grep -m 1 ' error: ' "$output")" # a compiler's first, else whatever came last
  last="$(printf '%s' "${last:-$(grep -v '^[[:space:]]*$' "$output" | tail -n 1)}" | tr -d '\t' | cut -c1-200)"
  printf '%s\t%d\t%d\t%s\n' "$name" "$code" "$((SECONDS - begin))" "$last" >> "$stages"
  echo "$name: exit $code after $((SECONDS - begin)) s: $last"
  return "$code"
}

# Built straight into a folder: nothing is installed or fetched. pybind11's own CMake files where they are, else its
# headers as PyTorch ships them.
build_extensions() {
  local options=()
  local pybind
  if pybind="$("$python" -m pybind11 --cmakedir 2> /dev/null)"; then
    options+=("-Dpybind11_DIR=$pybind")
  else
    pybind="$("$python" -c 'import importlib.util, pathlib
print(pathlib.Path(importlib.util.find_spec("torch").origin).parent / "include")')" || return 1
    options+=("-Dpybind11_DIR=$root/bench/gpu/pybind11" "-DPYBIND11_HEADERS=$pybind")
  fi
  if [ -n "$dry_run" ]; then
    options+=(-DDLKIT_CUDA=OFF)
  else
    options+=(-DDLKIT_CUDA=ON -DDLKIT_CUDA_ARCHITECTURES=90a-real)
  fi
  cmake -G Ninja -S "$root" -B "$build/cmake" -DCMAKE_BUILD_TYPE=Release \
    "-DPython_EXECUTABLE=$("$python" -c 'import sys; print(sys.executable)')" "${options[@]}" &&
    cmake --build "$build/cmake" --parallel "$(nproc)" &&
    rm -rf "$build/site" && cp -r "$root/python" "$build/site" &&
    cmake --install "$build/cmake" --prefix "$build/site"
}

run_tests() {
  # Tests of devices take both backends in turn: here the GPU alone, in a dry run the emulated one alone.
  local files
  files="$(find tests -name 'test_device*.py') tests/matmul/test_hopper.py tests/cuda"
  # shellcheck disable=SC2086
  DLKIT_TEST_BACKEND="$([ -n "$dry_run" ] && echo simt || echo cuda)" \
    "$python" -m pytest -q --maxfail=20 -p no:cacheprovider -m "not slow" \
    -k "$([ -n "$dry_run" ] && echo 'not cuda' || echo 'not simt')" $files
}

sanitize() {
  if [ -n "$dry_run" ]; then
    "$python" bench/gpu/sanitize.py --dry-run
  else
    compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 20 "$python" bench/gpu/sanitize.py
  fi
}

measure() {
  "$python" "bench/gpu/$1.py" --out "$parts" --seconds "$((LIMIT - 12))" ${dry_run:+"$dry_run"}
}

train() {
  "$python" -m dlkit train mlp --data digits --device "$([ -n "$dry_run" ] && echo cpu || echo cuda)" \
    --run-dir "$build/run" --overwrite
}

export -f build_extensions run_tests sanitize measure train
export root python build parts dry_run
export PYTHONPATH="$build/site${PYTHONPATH:+:$PYTHONPATH}"

stage environment 20 "$python" bench/gpu/environment.py "$parts/environment.json"
if stage build 170 bash -c build_extensions; then
  stage tests 100 bash -c run_tests
  stage ceilings 25 bash -c "measure ceilings"
  stage matmul 90 bash -c "measure matmul"
  stage conv 80 bash -c "measure conv"
  stage layers 60 bash -c "measure layers"
  stage recurrent 60 bash -c "measure recurrent"
  stage train 30 bash -c "measure train"
  stage word2vec 60 bash -c "measure word2vec"
  stage recipe 25 bash -c train
  stage memcheck 45 bash -c "sanitize memcheck"
  stage racecheck 45 bash -c "sanitize racecheck"
fi
"$python" bench/gpu/report.py "$parts" "$stages" "$out"
echo "after $SECONDS s: $out"
! cut -f2 "$stages" | grep -qv '^0$'
