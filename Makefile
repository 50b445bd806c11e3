# Every target does its own set-up: a virtual environment in .venv with exactly what requirements.lock names.
# Needs Python 3.11 or newer and a network on first use. What Debian must add is installed where we may, else named.

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.doorchime-ready
ARGS ?=

# Whether the environment can be used: what an interrupted start, or a Debian without python3-venv, leaves cannot.
SOUND = $(BIN)/python -c "import pip, sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null

# Tests on Debian's mosquitto and dbus-daemon are left out, loudly, where these cannot be had; with CI set they run and
# fail instead.
SBIN := /usr/sbin:/usr/local/sbin
MOSQUITTO = PATH="$$PATH:$(SBIN)" command -v mosquitto >/dev/null
DBUS = command -v dbus-daemon >/dev/null
FIND_OUT = $(MOSQUITTO) || [ -n "$(CI)" ] || { marks="$${marks}not mosquitto and "; lack="$$lack mosquitto"; }; \
	$(DBUS) || [ -n "$(CI)" ] || { marks="$${marks}not dbus and "; lack="$$lack dbus"; };
LEFT_OUT = echo "=== LEFT OUT: tests on what Debian has and is not installed: sudo apt-get install$$lack ==="

.PHONY: demo bench oracles test test-fast test-long check lock debian clean

demo: $(READY)
	@$(BIN)/doorchime demo $(ARGS)

# make bench NAME=ingest ARGS="--quick"
bench: $(READY) debian
	@$(BIN)/doorchime bench $(NAME) $(ARGS)

.oracles/bench/.ready: bench/peers.txt
	$(PYTHON) -m venv .oracles/bench
	.oracles/bench/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers.txt
	@touch $@

test: check debian
	@marks= lack=; $(FIND_OUT) [ -z "$$lack" ] || $(LEFT_OUT); \
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "$${marks}not long" $(ARGS); code=$$?; \
	[ -z "$$lack" ] || $(LEFT_OUT); \
	exit $$code

test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not e2e and not mosquitto and not dbus and not long" $(ARGS)

# Tests of minutes each.
test-long: $(READY) debian
	@marks= lack=; $(FIND_OUT) [ -z "$$lack" ] || $(LEFT_OUT); \
	$(BIN)/python -m pytest -n 0 -m "$${marks}long" $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Other people's programs that ours are held against, each in an environment of its own. Tests without theirs are left
# out with a line that says so; with CI set they run, and fail instead. Benchmarks leave theirs out loudly too.
oracles: .oracles/theengs/.ready .oracles/bench/.ready
test: $(if $(CI),.oracles/theengs/.ready)

.oracles/%/.ready: tests/oracles/%.txt | $(READY)
	@command -v c++ >/dev/null || .ci/debian g++
	rm -rf .oracles/$*
	$(BIN)/python -m venv .oracles/$*
	.oracles/$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Never fails: what cannot be had here is left out by whoever needs it.
debian:
	@lack=; $(MOSQUITTO) || lack="$$lack mosquitto"; $(DBUS) || lack="$$lack dbus"; \
	[ -z "$$lack" ] || .ci/debian $$lack || :

$(READY): requirements.lock pyproject.toml
	@$(SOUND) || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV) && $(SOUND); } \
	  || { rm -rf $(VENV); .ci/debian python3-venv && $(PYTHON) -m venv $(VENV) && $(SOUND); } \
	  || { rm -rf $(VENV); echo "cannot make $(VENV) with $(PYTHON): it must be Python 3.11 or newer, with Debian's" \
	  "python3-venv. Name another with make PYTHON=/path/to/python3" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Newest versions within the ranges of pyproject.toml, with hashes and without addresses.
lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-header \
	  --no-annotate --no-emit-index-url --extra dev -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .oracles build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
