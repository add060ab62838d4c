# Everything starts here: `make demo`, `make test`. Needs Python >= 3.11 and a package index, nothing else.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# One worker more than processors: many a test waits for processes that it has started.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')
# Empty, which is off: the suite starts hundreds of processes, and where this is set in the environment (as in many
# images) each compiles all modules again: a second apiece, a quarter of the suite's time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: compose-test demo test lint types setup soak explore planted fuzz audit bench golden lab clean help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; set PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev,lab]'
	@touch $@

setup: $(VENV)/.installed  ## make the virtual environment

demo: setup  ## one tracker, one sharer, four getters on this machine: make demo [SHARE=path]
	$(BIN)/python -m lab.demo $(if $(SHARE),"$(SHARE)")

test: lint types  ## everything: lint, types, the whole suite (five to eight minutes on two cores, by the machine)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

fuzz: setup  ## a million hostile frames (minutes), new ones each time: FRAMES=1000000 SEED=
	$(BIN)/python -m tests.fuzz --frames $(or $(FRAMES),1000000) $(if $(SEED),--seed $(SEED))

soak: setup  ## ten thousand swarms under faults, power loss, kill -9, hostile crowds, a full disk (an hour)
	$(BIN)/python -m tests.chaos --seeds 0:$(or $(CHAOS),10000) --mark .chaos-mark
	EXHAUSTIVE_SEEDS=$(or $(SEEDS),20) $(BIN)/python -m pytest -q tests/chaos/test_exhaustive.py
	CRASH_SEEDS=$(or $(SEEDS),20) $(BIN)/python -m pytest -q tests/sim/test_store_faults.py
	NUISANCE_SEEDS=$(or $(SEEDS),20) SEASON_SEEDS=$(or $(SEEDS),20) $(BIN)/python -m pytest -q \
		tests/sim/test_nuisance.py tests/sim/test_mirror.py -k 'tenth_at_most or season_of_troubles'
	$(BIN)/python -m tests.soak --kills $(or $(KILLS),200) --hostile $(or $(HOSTILE),10000) \
		--memory $(or $(MEMORY),100) --mutations $(or $(MUTATIONS),100) --symlinks $(or $(SYMLINKS),60) --full $(or $(FULL),20)

explore: setup  ## the property tests on random examples, many more of them (minutes); `make test` tries the same ones each time
	$(BIN)/python -m pytest -q -n $(WORKERS) --hypothesis-profile=explore tests/pure tests/glue

planted: setup  ## the chaos harness is tested itself: planted bugs, each must be found
	$(BIN)/python -m tests.chaos.planted

audit: setup  ## known advisories against our dependencies, installed and oldest allowed (needs a network)
	.ci/audit

compose-test:  ## the composed network end to end, with a real Docker engine (BASE=image where none can be pulled)
	$(or $(PYTHON),python3) -m tests.compose

bench: setup  ## all benchmarks, beside libtorrent, nginx and b3sum (many minutes)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks.hashing
	$(BIN)/python -m benchmarks.wire
	$(BIN)/python -m benchmarks.picker
	$(BIN)/python -m benchmarks.simulation
	$(BIN)/python -m benchmarks.catalogue
	$(BIN)/python -m benchmarks.handshake
	$(BIN)/python -m benchmarks.transfer
	$(BIN)/python -m benchmarks.transfer --plain
	$(BIN)/python -m benchmarks.folder
	$(BIN)/python -m benchmarks.daemon
	$(BIN)/python -m benchmarks.fanout
	$(BIN)/python -m benchmarks.swarm --mode loopback
	$(BIN)/python -m benchmarks.swarm
	$(BIN)/python -m benchmarks.swarm_life
	$(BIN)/python -m benchmarks.worlds
	$(BIN)/python -m benchmarks.large

golden: setup  ## known results of the literature beside the large world's (ten minutes)
	GOLDEN_SEEDS=3 $(BIN)/python -m pytest -q tests/pure/test_large_golden.py
	GOLDEN_SEEDS=6 $(BIN)/python -m pytest -q tests/sim/test_policies.py -k alike_in_both
	$(BIN)/python -m benchmarks.golden

lab: setup  ## every experiment of the lab (seven minutes), reports in lab-out/index.html; QUICK=1 for half of it
	$(BIN)/python -m lab.everything lab-out $(if $(QUICK),--quick)

clean:  ## remove what make made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache demo-out
