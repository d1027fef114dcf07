#!/usr/bin/env bash
# Everything that needs a real GPU, in one call of under ten minutes: build, sanitizers, tests, ceilings, kernels
# against cuBLAS, cuDNN and CuPy, training.
#
#   bench/gpu/run.sh OUT              results into OUT: gpu-NAME.json, report.md, log.txt
#   bench/gpu/run.sh OUT --dry-run    the same steps on the SIMT machine, tiny: tries the scripts where there is no GPU
#                                     (CUDA graphs have no emulation: their two rows of training say so)
#
#   STAGES="conv layers" bench/gpu/run.sh OUT
#       these stages alone, in this order. Without `build` they take what the last call built (in build/gpu), and their
#       results are put beside those that the last calls left there.
#   DLKIT_COMMIT=$(git rev-parse HEAD) bench/gpu/run.sh OUT
#       what to record as the commit, where the sources are a copy without .git.
#
# Needs nvcc, CMake, ninja and a Python with PyTorch, CuPy, NumPy, pytest and hypothesis; no network. PYTHON names the
# interpreter. A stage that fails or runs out of time is recorded, and the next one runs. The report is written anew
# after each.
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

# What was never tried comes first, what takes long and can be asked for again comes last.
all="build memcheck tests recurrent word2vec train recipe racecheck ceilings matmul conv layers"
chosen="${STAGES:-$all}"
for name in $chosen; do
  case " $all " in
    *" $name "*) ;;
    *) echo "run.sh: STAGES has '$name'; expected some of: $all" >&2; exit 2 ;;
  esac
done

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
mkdir -p "$out" || exit 1
out="$(cd "$out" && pwd)"
cd "$root" || exit 1

python="${PYTHON:-python3}"
# CMake and Ninja may be packages of the interpreter's environment; nvcc and compute-sanitizer may be where CUDA puts
# them.
PATH="$PATH:$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):/usr/local/cuda/bin" || exit 1
total=585
build="${DLKIT_GPU_BUILD:-$root/build/gpu$dry_run}"
parts="$build/parts"
stages="$build/stages.tsv"
log="$out/log.txt"
case " $chosen " in
  *" build "*) rm -rf "$parts" "$stages" ;;
  *) [ -d "$build/site" ] || { echo "run.sh: nothing is built in $build; expected STAGES with build" >&2; exit 2; } ;;
esac
mkdir -p "$parts"
: >> "$stages"
: > "$log"
SECONDS=0
# A dry run may be on a machine of few cores.
patience=1
[ -z "$dry_run" ] || { patience=6 total=$((6 * total)); }

# stage NAME LIMIT COMMAND...: within LIMIT seconds and what is left of all, less 5 for the report. UNTIL tells the
# command when its time is over, in seconds since 1970.
stage() {
  local name="$1" limit=$(($2 * patience)) left=$((total - SECONDS - 5)) begin=$SECONDS code=99
  local output="$build/stage.log"
  shift 2
  [ "$limit" -le "$left" ] || limit=$left
  printf '\n===== %s\n' "$name" >> "$log"
  if [ "$limit" -gt 3 ]; then
    # Interrupted, Python says what it was at, and pytest what had failed.
    UNTIL=$(($(date +%s) + limit)) timeout --signal=INT --kill-after=10 "$limit" "$@" > "$output" 2>&1 < /dev/null
    code=$?
    # At most 1 MB of each, the end where it is more.
    tail -c 1000000 "$output" >> "$log"
  else
    echo "no time left" > "$output"
  fi
  local last=""
  [ "$code" -eq 0 ] || last="$(grep -m 1 ' error: ' "$output")" # a compiler's first, else whatever came last
  last="$(printf '%s' "${last:-$(grep -v '^[[:space:]]*$' "$output" | tail -n 1)}" | tr -d '\t' | cut -c1-200)"
  # In place of what an earlier call says of it.
  { grep -v "^$name"$'\t' "$stages"; printf '%s\t%d\t%d\t%s\n' "$name" "$code" "$((SECONDS - begin))" "$last"; } \
    > "$stages.new"
  mv "$stages.new" "$stages"
  [ "$code" -eq 0 ] || failed=1
  echo "$name: exit $code after $((SECONDS - begin)) s: $last"
  report > /dev/null
  return "$code"
}

report() {
  "$python" bench/gpu/report.py "$parts" "$stages" "$out"
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
    # Gigabytes of libraries, which a fresh machine reads from its disk at the first import.
    "$python" -c 'import torch, cupy' > /dev/null 2>&1 &
  fi
  cmake -G Ninja -S "$root" -B "$build/cmake" -DCMAKE_BUILD_TYPE=Release -DDLKIT_ISAS=native \
    "-DPython_EXECUTABLE=$("$python" -c 'import sys; print(sys.executable)')" "${options[@]}" &&
    cmake --build "$build/cmake" --parallel "$(nproc)" &&
    rm -rf "$build/site" && cp -r "$root/python" "$build/site" &&
    cmake --install "$build/cmake" --prefix "$build/site"
}

run_tests() {
  # Tests of devices take both backends in turn: here the GPU alone, in a dry run the emulated one alone.
  local files options=() jobs
  files="$(find tests -name 'test_device*.py') tests/matmul/test_hopper.py tests/test_cuda.py tests/cuda"
  jobs="$(nproc)"
  "$python" -c 'import xdist' 2> /dev/null && options+=(-n "$((jobs < 8 ? jobs : 8))" --dist loadfile)
  # shellcheck disable=SC2086
  DLKIT_TEST_BACKEND="$([ -n "$dry_run" ] && echo simt || echo cuda)" \
    "$python" -m pytest -v --tb=short --maxfail=50 -p no:cacheprovider -o faulthandler_timeout=20 -m "not slow" \
    "${options[@]}" $files
}

sanitize() {
  if [ -n "$dry_run" ]; then
    "$python" bench/gpu/sanitize.py --dry-run
  else
    # Each tensor with an allocation of its own: in PyTorch's large ones nothing is out of bounds.
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
      compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 20 "$python" bench/gpu/sanitize.py
  fi
}

measure() {
  rm -f "$parts/$1.json"
  "$python" "bench/gpu/$1.py" --out "$parts" --until "$((UNTIL - 6))" ${dry_run:+"$dry_run"}
}

train() {
  "$python" -m dlkit train mlp --data digits --device "$([ -n "$dry_run" ] && echo cpu || echo cuda)" \
    --run-dir "$build/run" --overwrite
}

run_stage() {
  case "$1" in
    build) stage build 240 bash -c build_extensions ;;
    memcheck | racecheck) stage "$1" 45 bash -c "sanitize $1" ;;
    tests) stage tests 100 bash -c run_tests ;;
    recipe) stage recipe 25 bash -c train ;;
    ceilings) stage ceilings 25 bash -c "measure ceilings" ;;
    train) stage train 30 bash -c "measure train" ;;
    recurrent | word2vec | layers) stage "$1" 60 bash -c "measure $1" ;;
    conv) stage conv 80 bash -c "measure conv" ;;
    matmul) stage matmul 90 bash -c "measure matmul" ;;
  esac
}

export -f build_extensions run_tests sanitize measure train
export root python build parts dry_run
export PYTHONPATH="$build/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

failed=0
stage environment 20 "$python" bench/gpu/environment.py "$parts/environment.json"
for name in $chosen; do
  run_stage "$name" || [ "$name" != build ] || break
done
report
echo "after $SECONDS s: $out"
exit "$failed"
