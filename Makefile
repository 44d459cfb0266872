# Everything a developer does, in one virtual environment made on first use.
#   make PYTHON=python3.12        another Python (3.11 or newer)
#   make PIP_ARGS="..."           arguments for pip; PIP_* variables and pip's own settings hold too,
#                                 and decide which build of torch is taken (CPU or CUDA)
#   make bench BENCH_ARGS="..."   arguments for the benchmarks, such as --only engine
#   make test PYTEST_ARGS="..."   arguments for pytest; JOBS=1 runs the tests in one process

PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
JOBS ?= auto

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready
PIP_INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
PYTEST = OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format bench docs clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## see what YggDrasil does
	@$(BIN)/python -m yggdrasil demo

test: $(READY) ## run the quick tests
	@$(PYTEST) -m "not slow and not network" $(PYTEST_ARGS)

test-slow: $(READY) ## run the slow tests
	@$(PYTEST) -m "slow and not network" $(PYTEST_ARGS)

lint: $(READY) ## check style, types, layers, docstrings and spelling
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/interrogate --quiet src/yggdrasil
	@$(BIN)/typos

format: $(READY) ## sort imports, mend what can be mended, format
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

bench: $(READY) ## measure against Diffusers, and write docs/benchmarks.md
	@OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks $(BENCH_ARGS)

docs: $(DOCS_READY) ## build the documentation into site/
	@DISABLE_MKDOCS_2_WARNING=true NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## remove caches and build outputs (.venv stays)
	@rm -rf build dist site htmlcov .coverage .coverage.* .hypothesis .import_linter_cache \
	  .mypy_cache .pytest_cache .ruff_cache
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt tools/make_venv.py
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or newer, or name one: make PYTHON=..."; exit 1; }
	@echo "Installing YggDrasil and its tools into $(VENV) (some minutes, only when the requirements change)"
	@$(PYTHON) tools/make_venv.py $(VENV)
	@$(PIP_INSTALL) -e ".[dev,train]"
	@touch $@

$(DOCS_READY): $(READY)
	@echo "Installing the documentation tools into $(VENV)"
	@$(PIP_INSTALL) -e ".[docs]"
	@touch $@
