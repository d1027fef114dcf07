# Every target sets itself up: a virtual environment in .venv, the extension built into it, and the packages that the
# target needs. Needs GNU make, Python 3.10 or newer and a C++20 compiler; CMake and Ninja come as Python packages.
#
#   make PYTHON=python3.12 VENV=.venv312 test     another interpreter, another environment
#   make test PYTEST_ARGS="tests/layers -k adam"  some of the tests
#   make bench BENCH_ARGS="--quick"               a shorter benchmark

PYTHON      ?= python3
VENV        ?= .venv
TEST_EXTRAS ?= dev
PYTEST_ARGS ?=
# Tests run in so many processes, whole files in each; PYTEST_ARGS="-n 0" is one, for a debugger.
TEST_JOBS   ?= $(shell n=$$(nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1); echo $$((n < 4 ? n : 4)))
BENCH_ARGS  ?=
DEMO_DIR    ?= runs/demo
REPRODUCE_ARGS ?=

BIN    := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
say     = @printf '\033[1m==>\033[0m %s\n'

# What the extension is made of; C++ sources that come or go count as a change.
BUILD_INPUTS := CMakeLists.txt pyproject.toml $(shell find cmake csrc -type f -o -type d)
# The GPU module, built for one architecture: that shows that it compiles, links, and imports without a driver.
NVCC := $(shell command -v nvcc 2>/dev/null)
CUDA_ARCHITECTURES ?= 90a-real
CUDA_MODULE := build/cuda/built
SANITIZE_VENV := .venv-sanitize
SANITIZE_TESTS ?= tests/core tests/kernels tests/layers tests/matmul tests/conv tests/recurrent tests/ngram tests/augment \
  tests/word2vec
# This machine's best instruction set alone, or all: three times as long to build. Chapters of csrc, such as
# ngram,word2vec, or all of them.
SANITIZE_ISAS ?= native
SANITIZE_CHAPTERS ?=

comma := ,
extras = $(foreach extra,$(subst $(comma), ,$(1)),$(STAMPS)/extra-$(extra))

.DEFAULT_GOAL := help
.PHONY: help build demo test bench study profile-step footprint figures tables lint format docs serve-docs reproduce \
  reproduce-mlp reproduce-mnist reproduce-text reproduce-gates reproduce-tagger reproduce-senna reproduce-nnlm \
  reproduce-lm sweep-text compare-ngram sanitize cuda cuda-resources wheel clean
.SECONDARY:
.NOTPARALLEL:

help: ## this list
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1 | \2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s%s\n", $$1, $$2 }'

build: $(STAMPS)/extension ## the extension, built into .venv

demo: $(if $(wildcard $(STAMPS)/extension),$(call extras,cli),$(STAMPS)/demo) ## train a network on real handwritten digits
	$(say) "training a multi-layer perceptron on real digits; its run folder is $(DEMO_DIR)"
	@$(BIN)/dlkit train mlp --data digits --run-dir "$(DEMO_DIR)" --overwrite

test: $(call extras,$(TEST_EXTRAS)) $(if $(NVCC),$(CUDA_MODULE)) ## every test; needs no network and no GPU
	@$(BIN)/python -m pytest -m "not slow" -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

bench: $(call extras,cli$(comma)bench) ## dlkit beside NumPy, PyTorch and JAX; results into bench/results
	@$(BIN)/python -m pytest bench $(BENCH_ARGS)

study: $(call extras,cli) ## ladders, counts, roofline and step profile for the docs; results into bench/results
	@$(BIN)/python -m dlkit.study ladder matmul --threads 1,2 --json bench/results
	@$(BIN)/python -m dlkit.study ladder layers --threads 1,2 --json bench/results
	@$(BIN)/python -m dlkit.study ladder conv --threads 1,2 --json bench/results
	@$(BIN)/python -m dlkit.study ladder recurrent --threads 1,2 --json bench/results
	@$(BIN)/python -m dlkit.study memory --threads 1 --json bench/results
	@$(BIN)/python -m dlkit.study ladder word2vec --threads 1 --json bench/results
	@$(BIN)/python -m dlkit.study roofline --threads 1,2 --json bench/results
	@$(BIN)/python -m dlkit.study choice --json bench/results
	@$(BIN)/python -m dlkit.study simt matmul --json bench/results
	@$(BIN)/python -m dlkit.study simt layers --json bench/results
	@$(BIN)/python -m dlkit.study simt conv --json bench/results
	@$(BIN)/python -m dlkit.study simt recurrent --json bench/results
	@$(BIN)/python -m dlkit.study step-profile --threads 1,2 --json bench/results
	@$(BIN)/python -m dlkit.study augment --threads 1,2 --json bench/results

profile-step: $(STAMPS)/extension ## where the time of a training step goes; results into bench/results
	@$(BIN)/python -m dlkit.study step-profile --threads 1,2 --json bench/results

footprint: $(call extras,cli) ## import time, size of the wheel, memory of the demo; results into bench/results
	@$(BIN)/python -m dlkit.study footprint --json bench/results

figures: $(call extras,cli) ## the pictures of the docs, drawn by the recipes
	@$(BIN)/python bench/figures.py

tables: $(STAMPS)/extension ## fill the tables of README and docs from bench/results
	@$(BIN)/python -m dlkit.study report

lint: $(call extras,dev) ## ruff, mypy and clang-format, changing nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "make lint: run 'make format'" >&2; exit 1; }
	@$(BIN)/mypy
	@find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' | xargs $(BIN)/clang-format --dry-run -Werror

format: $(call extras,dev) ## ruff and clang-format, changing files
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format .
	@find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' | xargs $(BIN)/clang-format -i

docs: $(call extras,cli$(comma)docs) ## the site, into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(say) "site/index.html"

serve-docs: $(call extras,cli$(comma)docs) ## the site, rebuilt as its sources change, on port 8000
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

reproduce: reproduce-mlp reproduce-mnist reproduce-text reproduce-gates reproduce-tagger reproduce-senna reproduce-nnlm reproduce-lm ## every published row: trains, measures, writes results and tables

reproduce-mlp: $(call extras,cli) ## perceptron, softmax and multi-layer rows on MNIST
	@$(BIN)/python bench/reproduce_mlp.py $(REPRODUCE_ARGS)

reproduce-mnist: $(call extras,cli) ## the course's MNIST table, and maxout, stochastic pooling and dropout in pairs (hours)
	@$(BIN)/python bench/reproduce_cnn.py $(REPRODUCE_ARGS)

reproduce-text: $(call extras,cli) ## sentence classification: the rows of docs/models/text-cnn.md
	@$(BIN)/python bench/reproduce_text.py $(REPRODUCE_ARGS)

reproduce-gates: $(call extras,cli) ## gradients over time in every cell, IRNN and LSTM, LSTM against GRU
	@$(BIN)/python bench/reproduce_gates.py $(REPRODUCE_ARGS)

compare-ngram: $(call extras,cli) ## n-gram models beside KenLM (COMPARE_ARGS="--lmplz PATH --build-binary PATH")
	@$(BIN)/python bench/compare_ngram.py $(COMPARE_ARGS)

reproduce-tagger: $(call extras,cli text chinese) ## parts of speech, Chinese words, named entities: the rows of docs/models/tagger.md
	@$(BIN)/python bench/reproduce_tagger.py $(REPRODUCE_ARGS)

reproduce-nnlm: $(call extras,cli) ## feed-forward language models: the rows of docs/models/nnlm.md
	@$(BIN)/python bench/reproduce_nnlm.py $(REPRODUCE_ARGS)

reproduce-senna: $(call extras,cli text) ## feed-forward taggers, with vectors trained here: the rows of docs/models/senna.md
	@$(BIN)/python bench/reproduce_senna.py $(REPRODUCE_ARGS)

reproduce-lm: $(call extras,cli) ## recurrent language models: the rows of docs/models/lm.md (hours; REPRODUCE_ARGS="--keep DIR" goes on)
	@$(BIN)/python bench/reproduce_lm.py $(REPRODUCE_ARGS)

sweep-text: $(call extras,cli) ## the settings of sentence classification, one after the other, as plots and a table
	@$(BIN)/python bench/sweep_text.py $(SWEEP_ARGS)

sanitize: $(SANITIZE_VENV)/stamps/extension ## kernel tests under Address- and UndefinedBehaviorSanitizer (two hours; SANITIZE_CHAPTERS=ngram,word2vec SANITIZE_TESTS="tests/ngram tests/word2vec": half an hour)
	$(say) "testing under AddressSanitizer and UndefinedBehaviorSanitizer: $(SANITIZE_TESTS)"
	@LD_PRELOAD="$$($${CXX:-g++} -print-file-name=libasan.so) $$($${CXX:-g++} -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	PYTHONMALLOC=malloc $(SANITIZE_VENV)/bin/python -m pytest --capture=sys -m "not slow" \
	  $(SANITIZE_TESTS) $(PYTEST_ARGS)

cuda-resources: ## registers, spills and shared memory of the CUDA kernels; into bench/results (nvcc, some minutes)
	@"$(PYTHON)" bench/cuda_resources.py --json bench/results/cuda-resources.json

cuda: $(CUDA_MODULE) ## the GPU module, in build/cuda: shows that it compiles, where there is nvcc but no GPU

wheel: $(STAMPS)/extension ## dist/dlkit-*.whl
	@$(PIP) wheel --no-build-isolation --no-deps --wheel-dir dist .
	@ls -l dist/*.whl

clean: ## remove what the build made; .venv, run folders and results stay
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks $(STAMPS)/extension
	rm -rf $(SANITIZE_VENV)

# --- How it sets itself up -------------------------------------------------------------------------------------------

# The environment. Made once; whatever is missing on the machine is named before anything is done.
$(VENV)/bin/python:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "make: no $(PYTHON) here; dlkit needs Python 3.10 or newer (name one: make PYTHON=python3.12 ...)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "make: $(PYTHON) is $$("$(PYTHON)" --version 2>&1); dlkit needs Python 3.10 or newer" \
	    "(name one: make PYTHON=python3.12 ...)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: $(PYTHON) cannot make virtual environments (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(say) "making a virtual environment in $(VENV)"
	@"$(PYTHON)" -m venv --clear "$(VENV)"

# What the build itself needs, in the environment rather than in a temporary one, so that builds are incremental.
$(STAMPS)/build-tools: | $(VENV)/bin/python
	@$(PIP) install "scikit-build-core>=0.10" "pybind11>=2.13" "cmake>=3.20" ninja
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/extension: $(BUILD_INPUTS) | $(STAMPS)/build-tools
	@$(call check_compiler,$(BIN)/python)
	$(say) "building the kernels into $(VENV) (some minutes on two cores, the first time)"
	@$(PIP) install --no-build-isolation --config-settings=cmake.define.DLKIT_SIMT=ON --config-settings=cmake.define.DLKIT_ISAS=all \
	  --editable .
	@touch $@

# For the demo alone, the first time: without the emulated GPU, and for this machine's instruction set only, which is a
# third of the compilation. Every other target builds the rest.
$(STAMPS)/demo: $(BUILD_INPUTS) | $(STAMPS)/build-tools
	@$(call check_compiler,$(BIN)/python)
	$(say) "building the kernels into $(VENV) (about two minutes on two cores, the first time)"
	@$(PIP) install --no-build-isolation --config-settings=cmake.define.DLKIT_SIMT=OFF \
	  --config-settings=cmake.define.DLKIT_ISAS=native --editable ".[cli]"
	@touch $@

# dlkit itself is there. What comes as sources is built apart from this environment, with what it asks for.
$(STAMPS)/extra-%: pyproject.toml | $(STAMPS)/extension
	$(say) "installing what 'dlkit[$*]' needs"
	@$(PIP) install "dlkit[$*]"
	@touch $@

ifneq ($(VENV),$(SANITIZE_VENV))  # else it is the extension above: below, make runs itself so
$(SANITIZE_VENV)/stamps/extension: $(BUILD_INPUTS)
	@$(MAKE) --no-print-directory VENV=$(SANITIZE_VENV) $(SANITIZE_VENV)/stamps/build-tools
	@$(call check_compiler,$(SANITIZE_VENV)/bin/python)
	$(say) "building the kernels with sanitizers into $(SANITIZE_VENV) (some minutes)"
	@$(SANITIZE_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-build-isolation \
	  --config-settings=cmake.define.DLKIT_SANITIZE=ON --config-settings=cmake.define.DLKIT_ISAS=$(SANITIZE_ISAS) \
	  --config-settings=cmake.define.DLKIT_SANITIZE_CHAPTERS=$(SANITIZE_CHAPTERS) \
	  --config-settings=build-dir=build/sanitize \
	  --config-settings=install.strip=false --editable . pytest hypothesis threadpoolctl
	@touch $@
endif

$(CUDA_MODULE): $(BUILD_INPUTS) | $(STAMPS)/build-tools
	@test -n "$(NVCC)" || { echo "make: no nvcc on the path; the GPU module needs CUDA 12.4 or newer" >&2; exit 1; }
	$(say) "building the GPU module into build/cuda, for $(CUDA_ARCHITECTURES) (some minutes on two cores)"
	@$(BIN)/cmake -S . -B build/cuda -G Ninja -DCMAKE_MAKE_PROGRAM="$(CURDIR)/$(BIN)/ninja" -DDLKIT_CUDA=ON \
	  -DDLKIT_CUDA_ARCHITECTURES="$(CUDA_ARCHITECTURES)" -DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python" \
	  -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)" --log-level=WARNING
	@$(BIN)/ninja -C build/cuda --quiet _cuda
	@touch $@

# A compiler that knows C++20, and the headers of the interpreter: the two things that pip cannot bring.
define check_compiler
headers=$$($(1) -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
test -e "$$headers/Python.h" || { \
  echo "make: no Python.h in $$headers (on Debian and Ubuntu: apt install python3-dev)" >&2; exit 1; }; \
for compiler in $${CXX:-c++ g++ clang++}; do \
  if printf '#include <concepts>\nint main() {}\n' | $$compiler -std=c++20 -x c++ -fsyntax-only - 2>/dev/null; then \
    found=yes; break; fi; \
done; \
test -n "$$found" || { \
  echo "make: no C++20 compiler (GCC 11, Clang 14 or newer; on Debian and Ubuntu: apt install g++)" >&2; exit 1; }
endef
