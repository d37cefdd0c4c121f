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
SLOW := -m "slow or not slow" --timeout=3600

.PHONY: demo demo-env test test-readme test-all test-adapters test-matrix newcomer lint format bench \
    docs notebook env-mmocr clean

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

# The README's shell blocks and its ten lines of the SDK, as they are written.
test-readme: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow tests/agent/test_documents.py -k "readme or sdk"

test-all: $(VENV)/.dev $(VENV)/.bench $(VENV)/.browser $(VENV)/.ray \
    $(VENV)/.deepspeed $(VENV)/.docs lint
	$(BIN)/python -m pytest -n 2 $(SLOW)

# OpenEnv and verifiers want different releases of mcp: an environment for each. The server of MCP is
# tested in verifiers', which brings what it needs.
test-adapters: .venv-openenv/.done .venv-verifiers/.done
	.venv-openenv/bin/python -m pytest $(SLOW) tests/env/test_serve_openenv.py
	.venv-verifiers/bin/python -m pytest $(SLOW) tests/env/test_serve_mcp.py \
	    tests/env/test_serve_verifiers.py

TESTING := "pytest>=8" "pytest-timeout>=2.3" "hypothesis>=6.100"

.venv-openenv/.done: pyproject.toml
	$(PYTHON) -m venv .venv-openenv
	.venv-openenv/bin/pip install -q -e ".[openenv]" $(TESTING)
	touch $@

# uv: verifiers sets up the program of its harness with it.
.venv-verifiers/.done: pyproject.toml
	$(PYTHON) -m venv .venv-verifiers
	.venv-verifiers/bin/pip install -q -e ".[verifiers,mcp]" $(TESTING) uv
	touch $@

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
	$(BIN)/python benchmarks/backends.py
	$(BIN)/python benchmarks/tables.py

# Every extra in an environment of its own for each Python that is here: hours, and a lot of disk.
# MATRIX="--python 3.12 --extra base sb3" chooses (docs/packaging.md).
test-matrix:
	$(PYTHON) scripts/test_matrix.py $(MATRIX)

# docs/quickstart.md in a fresh clone, with the minutes of each step.
newcomer: $(VENV)/.dev
	$(BIN)/python benchmarks/newcomer.py
	$(BIN)/python benchmarks/tables.py

# The site, into site/; its generated pages are written anew.
docs: $(VENV)/.dev $(VENV)/.docs
	$(BIN)/python benchmarks/tables.py
	$(BIN)/python docs/make_docs.py --pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

notebook: $(VENV)/.dev $(VENV)/.docs
	cd examples && ../$(BIN)/jupytext --to ipynb --execute tour.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e .
	touch $@

# MMOCR's own environment (environments/mmocr.txt), 1.6 GB. torchvision alone: from the registry it
# would pull in a CUDA build of torch.
env-mmocr: .venv-mmocr/.done

.venv-mmocr/.done: environments/mmocr.txt
	$(PYTHON) -m venv .venv-mmocr
	.venv-mmocr/bin/pip install -q torch==2.13.0
	.venv-mmocr/bin/pip install -q -r environments/mmocr.txt
	.venv-mmocr/bin/pip install -q --no-deps torchvision==0.28.0
	touch $@

# torch first and alone: pip then keeps the CPU build that it found. torchvision lies beside the
# environment: only its Python part is used, and there is no build of it for every torch.
$(VENV)/.agent: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) "torch>=2.4"
	# The report's packages as well: what the demo saves is looked at with `pixelis report`.
	$(PIP) -e ".[report]"
	touch $@ $(VENV)/.base

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) "torch>=2.4"
	$(PIP) -e ".[dev]"
	# Alone: it asks for an OpenCV that cannot be installed beside ours, and needs none for this.
	$(PIP) --no-deps "trackeval>=1.3"
	$(PIP) --no-deps --upgrade --target $(VENV)/torchvision torchvision
	touch $@ $(VENV)/.base $(VENV)/.agent

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[bench]"
	touch $@ $(VENV)/.base

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[docs]"
	touch $@ $(VENV)/.base

$(VENV)/.browser: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[browser]"
	touch $@ $(VENV)/.base

$(VENV)/.ray: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[ray]"
	touch $@ $(VENV)/.base

$(VENV)/.deepspeed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[deepspeed]"
	touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) .venv-mmocr .venv-openenv .venv-verifiers build dist site *.egg-info
