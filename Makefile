# One command for each thing; `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DEV_STAMP := .venv/.installed-dev
# What runs on the data scientist's own machine, which may be Windows.
CLIENT = $(shell find main.py app -name '*.py' -not -path 'app/scoring/*' -not -path 'app/deployer/agent/*')

.PHONY: setup demo test check lint types bench faults screens dist clean

setup: $(STAMP)

$(STAMP): requirements.txt
	@test -x $(BIN)/pip || { rm -rf .venv; $(PYTHON) -m venv .venv; }
	@echo "Installing what RhythmicML needs into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(DEV_STAMP): requirements.txt requirements-dev.txt
	@test -x $(BIN)/pip || { rm -rf .venv; $(PYTHON) -m venv .venv; }
	@echo "Installing what RhythmicML and its tests need into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(STAMP) $@

demo: $(STAMP)
	@$(BIN)/rhythmicml demo

test: $(DEV_STAMP)
	$(BIN)/python -m pytest

check: lint types test

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_STAMP)
	$(BIN)/mypy
	@$(BIN)/mypy --platform win32 --no-warn-unreachable --follow-imports silent \
		--cache-dir .mypy_cache/win32 $(CLIENT)

bench: $(DEV_STAMP)
	$(BIN)/python -m bench

faults: $(DEV_STAMP)
	$(BIN)/python -m pytest -m "host or faults" tests
	RHYTHMICML_CASES=60 RHYTHMICML_SLOWEST=1 $(BIN)/python -m pytest -rP tests/scoring/test_schemathesis.py

screens: $(DEV_STAMP)
	$(BIN)/python packaging/screens.py

dist: $(DEV_STAMP)
	$(BIN)/python packaging/dist.py
	RHYTHMICML_DIST=dist $(BIN)/python -m pytest -m "" tests/packaging

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
