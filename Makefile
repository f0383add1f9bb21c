# Everything here is one line over a command that can also be run by hand.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: up demo test fuzz bench lint audit lock clean
.DEFAULT_GOAL := up

# Each list is a superset of the one before it, so that a later one's stamp serves the earlier targets.
RUNTIME := .venv/.runtime
DEMO := .venv/.demo
DEV := .venv/.dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Keyreeve needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Name another: make PYTHON=python3.11" % sys.version_info[:2])'
	@$(PYTHON) -m venv .venv

$(RUNTIME): requirements/runtime.txt | $(BIN)/python
	@cmp -s requirements/runtime.txt $(RUNTIME) || { echo "Installing what requirements/runtime.txt lists…"; $(BIN)/python -m pip install --quiet --quiet --require-hashes -r requirements/runtime.txt; }
	@cp requirements/runtime.txt $(RUNTIME)

$(DEMO): requirements/demo.txt | $(BIN)/python
	@cmp -s requirements/demo.txt $(DEMO) || { echo "Installing what requirements/demo.txt lists…"; $(BIN)/python -m pip install --quiet --quiet --require-hashes -r requirements/demo.txt; }
	@cp requirements/demo.txt $(DEMO) && cp requirements/runtime.txt $(RUNTIME)

$(DEV): requirements/dev.txt | $(BIN)/python
	@cmp -s requirements/dev.txt $(DEV) || { echo "Installing what requirements/dev.txt lists…"; $(BIN)/python -m pip install --quiet --quiet --require-hashes -r requirements/dev.txt; }
	@cp requirements/dev.txt $(DEV) && cp requirements/demo.txt $(DEMO) && cp requirements/runtime.txt $(RUNTIME)

up: $(RUNTIME)
	@exec $(BIN)/python manage.py up

demo: $(DEMO)
	@exec $(BIN)/python -m demo

test: $(DEV)
	$(BIN)/python -m pytest -n 3 --dist worksteal

fuzz: $(DEV)
	KEYREEVE_FUZZ=20000 $(BIN)/python -m pytest tests/api/test_fuzz.py -o log_cli=true

bench: $(DEV)
	$(BIN)/python manage.py bench

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING

audit:
	@$(PYTHON) .ci/audit

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements/runtime.in -o requirements/runtime.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements/demo.in -c requirements/runtime.txt -o requirements/demo.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements/dev.in -c requirements/demo.txt -o requirements/dev.txt

clean:
	rm -rf .venv .static .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
