# Two commands: `make train` trains a network in the simulated FPGA, `make test` runs the checks.
# Both make their own virtual environment in .venv first; nothing is installed outside it.

PYTHON ?= python3
TASK ?= digits
ARGS ?=
# pytest-xdist workers; two fit a small machine.
WORKERS ?= 2

BIN := .venv/bin
# Tests that share an expensive fixture, or a simulation, are a group, which one worker runs.
SPREAD = -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

.PHONY: train test test-all test-host lint area clean

train: .venv/.run
	$(BIN)/mgd train $(TASK) $(ARGS)

# Of the tests marked slow, a third; which one, the commit decides, or MGD_SLOW_SEED.
test: .venv/.dev lint area
	$(BIN)/pytest $(SPREAD) --slow third

test-all: .venv/.dev lint area
	$(BIN)/pytest $(SPREAD) --slow all

# All but the tests of gateware, for another version of Python.
test-host: .venv/.dev
	$(BIN)/pytest $(SPREAD) $(addprefix tests/,golden_model protocol host api scripts docs)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# The cells of each part against the recorded table; fails where one has grown.
area: .venv/.dev
	$(BIN)/mgd bench area --family ice40 --quick --check benchmarks/area.json

# What pip cannot install is looked for first, and named with its remedy.
.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or later is needed, this is $$($(PYTHON) --version); name another one with 'make PYTHON=python3.12 $(MAKECMDGOALS)'"; exit 2; }
	@for tool in $${CXX:-g++} perl; do command -v $$tool >/dev/null || \
	  { echo "error: $$tool is missing, and Verilator needs it; on Debian or Ubuntu: sudo apt-get install g++ perl"; exit 2; }; done
	@$(PYTHON) -m venv .venv || \
	  { rm -rf .venv; echo "error: no virtual environment could be made; on Debian or Ubuntu: sudo apt-get install python3-venv"; exit 2; }

.venv/.run: .venv/bin/pip pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/.dev: .venv/.run
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv build
