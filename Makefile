# `make train` and `make test` need Python 3.11 or newer and nothing else. In an environment of your own:
# `pip install -e .` and `python train.py`.
PYTHON ?= python3
# Tests use one thread each.
AT_A_TIME ?= --numprocesses logical --maxprocesses 8 --dist worksteal
BIN := .venv/bin

.PHONY: train test test-slow lint audit

train: .venv/installed
	$(BIN)/python train.py

test: .venv/installed-test
	$(BIN)/python -m pytest $(AT_A_TIME)

test-slow: .venv/installed-test
	$(BIN)/python -m pytest -m slow $(AT_A_TIME)

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Asks PyPI about known holes in the versions of constraints.txt.
audit: .venv/installed-test
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,lint]"
	touch $@
