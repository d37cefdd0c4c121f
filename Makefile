# Two commands on a fresh machine: `make demo` and `make test`. Each makes .venv if it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install -q -c constraints.txt
# Torch, OpenCV and ONNX run one thread each: on a busy machine two are far slower than one.
export OMP_NUM_THREADS ?= 1
QUESTION ?= What is shown?
# By way of the environment, so that no character of theirs is the shell's.
export VIDEO QUESTION

.PHONY: demo demo-env test test-all lint format bench clean

ifdef VIDEO
demo: demo-env
else
demo: $(VENV)/.agent
	$(BIN)/python -m pixelis_env.demo
	$(BIN)/pixelis demo
endif

# The environment alone, without torch.
demo-env: $(VENV)/.base
	$(BIN)/python -m pixelis_env.demo $(if $(VIDEO),--video "$$VIDEO" --question "$$QUESTION")

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2

test-all: $(VENV)/.dev $(VENV)/.bench $(VENV)/.browser lint
	$(BIN)/python -m pytest -n 2 -m "slow or not slow" --timeout=3600

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/env_throughput.py
	$(BIN)/python benchmarks/tool_quality.py
	$(BIN)/python benchmarks/tables.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

# torch first and alone: pip then keeps the CPU build that it found.
$(VENV)/.agent: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) "torch>=2.4"
	$(PIP) -e ".[agent]"
	touch $@ $(VENV)/.base

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) "torch>=2.4"
	$(PIP) -e ".[dev]"
	touch $@ $(VENV)/.base $(VENV)/.agent

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[bench]"
	touch $@ $(VENV)/.base

$(VENV)/.browser: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[browser]"
	touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) build dist *.egg-info
