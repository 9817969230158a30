# One door to everything: `make run` shows the exchange, `make test` tests it. Both set up what they need first,
# on a fresh Debian 12 or 13 with Python, gcc and make; `make help` lists the rest.

# The first of these that is there; where none is, the messages below name the first.
PYTHONS := python3.11 python3.12 python3.13
PYTHON ?= $(or $(shell for each in $(PYTHONS); do command -v $$each >/dev/null && echo $$each && break; done),python3.11)
VENV   := .venv
BIN    := $(VENV)/bin
RUNS   := $(VENV)/.runs
READY  := $(VENV)/.ready
EXTRAS := $(VENV)/.extras
PARTS  := engine journal checkpoints reports tape wire notation lobster replay sequencer directory exports attestation incidents marketdata gateway replication node load client cli
PYTEST := $(BIN)/python -m pytest
# More workers than the two cores of the smallest machine: with three nearly half of the processor time was idle, since
# many tests wait, for a disk, a process or a time. Idle workers take work from the others, since a few tests are much
# longer than the rest.
SPREAD := -n 5 --dist worksteal
# Of the slow tests more wait, and longer: for kills, takeovers and programs of others.
SPREAD_OF_DAY := -n 4 --dist worksteal

# Python keeps what it compiles of modules, whatever the environment says: a run of the suite starts hundreds of processes,
# and each would compile them again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup run readme test test-day test-long test-modes check format lint types layers doctest simulation bench lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY)  ## create .venv from requirements.lock (other targets do what they need of this by themselves)

# Debian ships venv without its pip installer in the package of Python: name the missing package, or fetch it as root.
$(VENV)/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: apt-get install $(PYTHON), or name one of $(PYTHONS) with make PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q && apt-get install -q -y $(PYTHON)-venv; } \
	  || { echo "$(PYTHON) cannot create an environment here: apt-get install $(PYTHON)-venv, then make again" >&2; exit 2; }
	@$(PYTHON) -m venv --clear $(VENV)

# --no-compile: Python compiles a module on its first import; most of them are never imported.
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# What lockstep runs with comes first and is enough for `make run`; what tests need takes as long again.
$(RUNS): $(VENV)/pyvenv.cfg requirements-run.lock pyproject.toml
	@echo "setting up $(VENV) (once; up to a minute)"
	@$(PIP) --require-hashes -r requirements-run.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(READY): $(RUNS) requirements.lock
	@echo "adding what the tests need to $(VENV) (once; up to a minute)"
	@$(PIP) --require-hashes -r requirements.lock
	@touch $@

# Packages of optional commands. Where they cannot be had, their tests skip, and say so.
$(EXTRAS): $(READY)
	@echo "adding the packages of optional commands to $(VENV) (once; up to a minute)"
	@$(PIP) --no-build-isolation --editable '.[attest,parquet,ask,inspect,incident,nats,web,calendar]' pandas==3.1.1 2>/dev/null \
	  || echo "notice: packages of optional commands are not installed and could not be; their tests are skipped"
	@$(PIP) itchfeed==1.6.4 itchcpp==1.6.4 itch-book==0.2.1 meatpy==0.5.0 2>/dev/null \
	  || echo "notice: readers of ITCH that judge the feed are not installed and could not be; their tests are skipped"
	@$(PIP) schemathesis==4.32.5 2>/dev/null \
	  || echo "notice: schemathesis, which makes hostile requests for the web, is not installed and could not be; its tests are skipped"
	@$(PIP) --pre quickfix-tls==1.16.0.1rc1 fixcore-engine==0.15.0 asyncfix==1.0.1 simplefix==1.0.17 2>/dev/null \
	  || echo "notice: clients of FIX that judge a session are not installed and could not be; their tests are skipped"
	@$(PIP) --no-deps ccxt==4.5.90 certifi==2026.10.19.post1 charset-normalizer==3.4.7 idna==3.18 orjson==3.13.0 requests==2.34.2 urllib3==2.8.0 aiohttp==3.14.5 aiohappyeyeballs==2.7.1 aiosignal==1.4.0 attrs==26.1.0 frozenlist==1.8.0 multidict==7.2.1 propcache==0.5.4 yarl==1.25.1 2>/dev/null \
	  || echo "notice: ccxt, which judges the web, is not installed and could not be; its tests are skipped"
	@$(PIP) playwright==1.65.2 greenlet==3.5.6 2>/dev/null \
	  || echo "notice: playwright, which drives the browser that looks at the page, is not installed and could not be; its tests are skipped"
	@touch $@

run: $(RUNS)  ## the exchange in a minute: two nodes, traders over TCP, an auction, a halt, a kill, a takeover, a flipped bit, the proof (lockstep demo)
	@$(BIN)/lockstep demo

test: $(READY) $(EXTRAS)  ## the fast suite, with one in 32 of the slow tests; LOCKSTEP_SEED selects which (default: the day)
	@$(BIN)/lockstep warmup
	@$(PYTEST) $(SPREAD) -m "not long" --part slow=32

readme: $(READY) $(EXTRAS)  ## README.md from top to bottom: each command as printed, its output compared
	@$(PYTEST) tests/test_readme.py

OF_DAY ?= --rest slow=32 --part long=6
test-day: $(READY) $(EXTRAS)  ## the slow tests that make test leaves out today, and a sixth of the long ones, by the same seed
	@$(BIN)/lockstep warmup
	@$(PYTEST) $(SPREAD_OF_DAY) -m "slow or long" $(OF_DAY)

test-long: $(READY) $(EXTRAS)  ## everything, with more kills, more commands, more bit flips
	@$(BIN)/lockstep warmup
	@LOCKSTEP_KILLS=1000 LOCKSTEP_PAIR_KILLS=200 LOCKSTEP_PAIR_STOPS=100 LOCKSTEP_PAIR_PARTITIONS=60 LOCKSTEP_COMMANDS=2000000 LOCKSTEP_FLIPS=20000 $(PYTEST) $(SPREAD)

test-modes: $(READY)  ## the engine and the turn compiled, compiled with bounds checks, and interpreted
	@$(PYTEST) tests/test_engine_modes.py
	@NUMBA_BOUNDSCHECK=1 $(PYTEST) tests/test_engine_modes.py tests/test_ids.py tests/test_crowded_ids.py tests/test_price_window.py tests/test_calls_and_limits.py tests/test_ahead.py
	@NUMBA_DISABLE_JIT=1 $(PYTEST) tests/test_engine_modes.py
	@NUMBA_BOUNDSCHECK=1 $(PYTEST) tests/test_rows_ahead.py tests/test_export_kernels.py
	@NUMBA_DISABLE_JIT=1 $(PYTEST) tests/test_rows_ahead.py tests/test_export_kernels.py
	@NUMBA_DISABLE_JIT=1 $(PYTEST) tests/test_direct.py -k 'not lost'
	@NUMBA_DISABLE_JIT=1 $(PYTEST) tests/test_compiled_feed.py -k 'silent or reign'
	@NUMBA_DISABLE_JIT=1 $(PYTEST) tests/test_pair_controls.py -k ahead
	@NUMBA_DISABLE_JIT=1 $(PYTEST) tests/test_line_protocol.py -k 'two_protocols or turns_by_message'
	@NUMBA_DISABLE_JIT=1 $(PYTEST) tests/test_rings_in_turns.py

check: lint types layers doctest test test-modes readme  ## everything that must hold before a change goes in

format: $(READY)  ## rewrite the sources in the one format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: $(READY)
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: $(READY)
	@$(BIN)/mypy

layers: $(READY)
	@$(PYTEST) tests/test_layers.py tests/test_registry.py

# Modules of optional commands are left out where their packages could not be had.
doctest: $(READY) $(EXTRAS)
	@$(PYTEST) --doctest-modules --doctest-ignore-import-errors $(PARTS) tests/parts.py tests/readme.py tests/model

SEEDS ?= 300

simulation: $(READY)  ## a pair of nodes under virtual faults: 300 seeds, or SEEDS=10000
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

bench: $(READY)  ## measure engine, journal and replay against their targets
	@$(BIN)/python -m benchmarks

lock: $(RUNS)  ## write requirements.lock and requirements-run.lock again from pyproject.toml
	@$(BIN)/python .ci/lock.py

clean:  ## remove the environment and everything that was built or cached here
	@rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
