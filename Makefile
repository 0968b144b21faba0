# `make` lists the targets. `make demo` and `make test` each work alone, in any order.
#
#   TORCH     a requirement for torch, such as TORCH='torch>=2.6'; empty means the CPU build
#             that constraints-cpu.txt names. The choice is remembered in .venv.
#   PIP_ARGS  passed to pip as it stands.
#   PYTHON    the interpreter that .venv is made with.
#   WORKERS   processes that run the tests, a file each: a number; auto is one a core.

TORCH ?=
PIP_ARGS ?=
PYTHON ?= python3
WORKERS ?= auto

# Threads that wait for each other sleep soon: see lorarec/cli/cores.py.
export GOMP_SPINCOUNT ?= 1000

VENV := .venv
BIN := $(VENV)/bin
CHOICE := $(VENV)/.lorarec-torch
CHOSEN := $(if $(TORCH),$(TORCH),$(shell cat $(CHOICE) 2>/dev/null))
WHICH := $(if $(CHOSEN),'$(CHOSEN)',-c constraints-cpu.txt)
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) $(WHICH)
INPUTS := pyproject.toml constraints-cpu.txt $(CHOICE)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install install-bench demo year test lint clean FORCE

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.lorarec-install ## lorarec into .venv, lean: what the demo needs

install-bench: $(VENV)/.lorarec-bench ## the peers that benchmarks/ compares with, too

demo: $(VENV)/.lorarec-install ## a small sample: pretrain, adapt, evaluate, recommend
	@sh scripts/demo.sh

year: $(VENV)/.lorarec-install ## 60 simulated days of 20 domains: when is a base due?
	@$(BIN)/python benchmarks/year.py

test: $(VENV)/.lorarec-dev ## the whole test suite
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.lorarec-dev ## style, types and the walls between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## remove the demo, builds and caches; .venv, data and mlruns stay
	rm -rf .demo build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find lorarec tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "lorarec needs Python 3.11 or newer. Found: $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name one that is: make install PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(CHOICE): FORCE | $(BIN)/python
	@printf '%s\n' '$(CHOSEN)' | cmp -s - $@ || printf '%s\n' '$(CHOSEN)' > $@

$(VENV)/.lorarec-install: $(INPUTS) | $(BIN)/python
	@echo "Installing lorarec into $(VENV) ... (the first time takes minutes: torch is large)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.lorarec-dev: $(INPUTS) | $(BIN)/python
	@echo "Installing lorarec and what its tests need into $(VENV) ..."
	@$(PIP) -e '.[dev]'
	@touch $(VENV)/.lorarec-install $@

$(VENV)/.lorarec-bench: $(INPUTS) | $(BIN)/python
	@echo "Installing lorarec and the peers of its benchmarks into $(VENV) ..."
	@$(PIP) -e '.[bench]'
	@touch $(VENV)/.lorarec-install $@
