PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DOCS = $(VENV)-docs
STORAGE ?= raylab-results
export HF_HUB_OFFLINE ?= 1
export RAY_USAGE_STATS_ENABLED = 0
export MLFLOW_DISABLE_TELEMETRY = true

.PHONY: demo test test-all test-cluster faults test-browser lint format docs clean

demo: $(VENV)/ready
	$(BIN)/raylab demo --storage $(STORAGE)

test: $(VENV)/ready
	$(BIN)/python -m pytest

# Everything, also what takes minutes; tests skip where data, a GPU or a browser is missing.
test-all: $(VENV)/ready
	$(BIN)/python -m pytest -m ""

# Every fault that docs/reliability.md names, on real processes and files; its table is written from what is seen.
faults: $(VENV)/ready
	RAYLAB_FLIPS=100 $(BIN)/python -m pytest -m fault -p tests.faults.table

# Heads and workers of Ray on this machine, each with an address and a folder of its own.
test-cluster: $(VENV)/ready
	$(BIN)/python -m pytest -m cluster

test-browser: $(VENV)/ready
	$(BIN)/python -m pytest tests/browser

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "raylab needs Python 3.11 or newer; set PYTHON=..."; exit 2; }
	@echo "Installing into $(VENV): about 7 GB, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The site needs a dozen small packages and none of raylab's own, so it has an environment of its own.
docs: $(DOCS)/ready
	$(DOCS)/bin/python docs/check_links.py
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet
	@echo "The site: site/index.html; its search needs a server, such as python3 -m http.server --directory site"

$(DOCS)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "raylab needs Python 3.11 or newer; set PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' > $(DOCS)/requirements.txt
	$(DOCS)/bin/python -m pip install --quiet --constraint constraints.txt --requirement $(DOCS)/requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) $(DOCS) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
