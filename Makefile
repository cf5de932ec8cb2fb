# Every command builds .venv first if it does not exist.
#
#   make demo    segments a real sample with the shipped weights and draws demo/overlay.png
#   make test    every check and every test
#   make check   linter, format, types and import rules, in less than a minute; `make test` begins with it
#   make format  corrects what the linter can correct, and formats the code
#   make docs    builds the documentation as a site that needs no network: site/index.html
#
#   PYTHON       the interpreter that creates the environment (3.11 or newer)
#   TORCH        what pip installs as PyTorch; without a GPU, the CPU build if pip finds one
#   TORCH_FLAGS  more options for that pip call, e.g. --index-url with PyTorch's index of CPU builds
#   WORKERS      number of worker processes of the demo
#   SIDE_BY_SIDE number of processes that run tests; many tests only wait, for Slurm or for processes that are killed

PYTHON ?= python3
TORCH_VERSION := 2.13.0
TORCH ?= torch==$(TORCH_VERSION)
TORCH_FLAGS ?=
WORKERS ?= 2
SIDE_BY_SIDE ?= 3
BIN := .venv/bin
HAS_GPU := $(shell command -v nvidia-smi 2>/dev/null)
# The pipeline sets the number of threads; libraries must not start additional ones.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check format docs install clean

install: .venv/.installed

.venv/.installed: setup.cfg pyproject.toml Makefile containers/install.sh
	PYTHON='$(PYTHON)' TORCH='$(TORCH)' EDITABLE=yes \
	  containers/install.sh .venv $(if $(HAS_GPU),cuda,cpu) test $(TORCH_FLAGS)
	touch $@

demo: install
	$(BIN)/fgnet demo configs/fib25_nano.toml --folder demo --workers $(WORKERS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy fgnet_pipeline model/fgnet
	$(BIN)/lint-imports --no-logo setup.cfg
	$(BIN)/python benchmarks/house_counts.py --bounds

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	$(BIN)/sphinx-build -q -W --keep-going -b html -c docs/site -d build/doctrees . site

# numba compiles a cached kernel again if its own file changes, but not if it calls a function of another file that
# changes. So the cache is deleted.
# Many tests start processes, and each would compile all our modules anew if the environment forbids to keep them compiled.
test: export PYTHONDONTWRITEBYTECODE :=
test: check
	find fgnet_pipeline/kernels -name '*.nb[ci]' -delete
	$(BIN)/python tests/compile_kernels.py
	$(BIN)/python -m pytest -n $(SIDE_BY_SIDE) --dist loadgroup --no-loadscope-reorder

clean:
	rm -rf .venv demo build dist site *.egg-info
