# Every target does its own set-up: a virtual environment in .venv with exactly what requirements.lock names.
# Needs Python 3.11 or newer and a network on first use; nothing else.

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.doorchime-ready
ARGS ?=

# Tests that need Debian's mosquitto are left out, loudly, where it is missing; with CI set they fail instead.
MOSQUITTO := $(shell command -v mosquitto 2>/dev/null || ls /usr/sbin/mosquitto 2>/dev/null)
ifeq ($(MOSQUITTO)$(CI),)
MARKS := -m "not mosquitto"
endif

.PHONY: demo test test-fast check lock debian clean

demo: $(READY)
	@$(BIN)/doorchime demo $(ARGS)

test: check debian
ifneq ($(MARKS),)
	@echo "=== LEFT OUT: tests on Debian's mosquitto, which is not installed (apt-get install mosquitto) ==="
endif
	$(BIN)/python -m pytest -n 2 --dist loadscope $(MARKS) $(ARGS)
ifneq ($(MARKS),)
	@echo "=== LEFT OUT: tests on Debian's mosquitto, which is not installed (apt-get install mosquitto) ==="
endif

test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not e2e and not mosquitto" $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What comes from Debian: installed where we may, named where not.
debian:
	@if [ -n "$(MOSQUITTO)" ]; then :; \
	elif [ -n "$(CI)" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get install -y --no-install-recommends mosquitto; \
	else echo "note: Debian's mosquitto is not installed: apt-get install mosquitto"; fi

$(READY): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "python3-venv is missing: trying to install it"; \
	  apt-get install -y --no-install-recommends python3-venv && rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); } || { \
	  echo "cannot make $(VENV): install Debian's package python3-venv, then run make again"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Newest versions within the ranges of pyproject.toml, with hashes and without addresses.
lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes --no-header \
	  --no-annotate --no-emit-index-url --extra dev -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
