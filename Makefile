# What a person does here, by name. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEPS := pyproject.toml constraints.txt
PIP := $(BIN)/python -m pip --disable-pip-version-check
export SEMTB_DATA ?= $(abspath ../shared/data)

.PHONY: help demo test test-bare test-lowest lint bench fuzz soak clean deps-system
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 16

demo: $(VENV)/.installed ## install what the demo needs (no torch) and run `semtb run two-users`
	$(BIN)/semtb run two-users

test: $(VENV)/.installed-test ## all quick tests; installs what they need, and says what it leaves out
	$(BIN)/python -m pytest $(ARGS)

test-bare: $(VENV)/.installed-test ## the same as on a machine with Python alone: all else is hidden
	SEMTB_TEST_WITHOUT=all $(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.installed-test $(VENV)/.installed-lint ## ruff, mypy, import-linter, wheels for Python 3.10 on x86-64 and aarch64
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/wheels_resolve.py

test-lowest: $(VENV)/.installed-lint ## the demo and the quickest tests on the lowest versions that pyproject.toml declares
	$(BIN)/python tests/lowest_versions.py

bench: $(VENV)/.installed-test ## speed against peers, in build/bench.json
	$(BIN)/python -m tests.benchmarks

fuzz: $(VENV)/.installed-test ## what comes from outside, 20,000 times each
	$(BIN)/python -m pytest tests/fuzz --timeout 1800 $(ARGS)

soak: $(VENV)/.installed-test ## ten minutes on the air, 400 s of noise: nothing drifts or grows, false alarms as they should be
	$(BIN)/python -m pytest tests/soak -s $(ARGS)

deps-system: ## Debian packages that the interop tests want
	sh tests/interop/deps-system.sh

clean: ## remove what make made; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { echo "The venv module is missing: sudo apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.installed: $(DEPS) | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(DEPS) | $(BIN)/python
	$(PIP) install -q 'pip>=25.1'
	$(PIP) install -q -c constraints.txt -e '.[train,pluto]' --group test
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-lint: $(DEPS) | $(BIN)/python
	$(PIP) install -q 'pip>=25.1'
	$(PIP) install -q --group lint
	@touch $@
