PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STORAGE ?= raylab-results
export HF_HUB_OFFLINE ?= 1
export RAY_USAGE_STATS_ENABLED = 0
export MLFLOW_DISABLE_TELEMETRY = true

.PHONY: demo test lint format clean

demo: $(VENV)/ready
	$(BIN)/raylab study --config experiments/demo.yaml --run.storage $(STORAGE)

test: $(VENV)/ready
	$(BIN)/python -m pytest

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

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
