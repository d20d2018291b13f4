# `make demo` and `make test` set everything up themselves; they need only Python >= 3.11, make and g++.
PYTHON ?= python3
VENV   ?= .venv
# Number of test files that `make test` runs at once.
JOBS   ?= auto
BIN    := $(VENV)/bin

.PHONY: demo test test-all reliability check tables clean

demo: $(VENV)/installed
	$(BIN)/allmlp demo

test: $(VENV)/installed-dev check
	$(BIN)/pytest -m "not slow" -n $(JOBS) --dist loadfile

test-all: $(VENV)/installed-dev check
	$(BIN)/pytest

# Tests that passed with these sources on this machine are skipped; delete tests/reliability/results to run all of them.
reliability: $(VENV)/installed-dev
	$(BIN)/pytest tests/reliability -m slow
	$(BIN)/python -m experiments.tables

check: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "allmlp needs Python >= 3.11; choose one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing allmlp and its dependencies into $(VENV): downloads PyTorch (several gigabytes if it is built for CUDA) and"
	@echo "others, which takes minutes. Without a GPU, the CPU build of PyTorch is much smaller: CONTRIBUTING.md says how."
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[serve]"
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing allmlp with all that its tests need into $(VENV): a download of gigabytes, which takes minutes."
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/installed

tables: $(VENV)/installed-dev
	$(BIN)/python -m experiments.studies
	$(BIN)/python -m experiments.tables

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
