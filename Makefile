# Two commands do everything on a machine with Python >= 3.11, make and g++: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
# `make test` runs so many files of tests at once.
JOBS   ?= auto
BIN    := $(VENV)/bin

.PHONY: demo test test-all reliability check tables clean

demo: $(VENV)/installed
	$(BIN)/allmlp demo

test: $(VENV)/installed-dev check
	$(BIN)/pytest -m "not slow" -n $(JOBS) --dist loadfile

test-all: $(VENV)/installed-dev check
	$(BIN)/pytest

# What has passed with these sources on this machine is not run again; delete tests/reliability/results to run all.
reliability: $(VENV)/installed-dev
	$(BIN)/pytest tests/reliability -m slow
	$(BIN)/python experiments/tables.py

check: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "allmlp needs Python >= 3.11; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/installed

tables: $(VENV)/installed-dev
	$(BIN)/python experiments/tables.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
