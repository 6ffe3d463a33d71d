# Everything a developer runs. Each target sets up what it needs; nothing outside .venv is changed.
.DEFAULT_GOAL := help
.PHONY: help setup dev demo test check lock

PYTHON ?= python3
BIN := .venv/bin
# More than there are cores: whole calls take as long as calls take, and mostly wait.
WORKERS ?= 6
# Calls run in real time and six at once: what failed is asked once more by itself, and counts if it fails again.
ALONE = echo "== once more, by themselves" && $(BIN)/python -m pytest --last-failed --last-failed-no-failures none
READY := .venv/.ready

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## install into .venv what pyproject.toml and requirements-dev.txt say (only when they have changed)

dev: setup ## serve everything on one port, with an emulator for each vendor without a key
	@$(BIN)/callbot dev --reload

demo: setup ## four emulated calls with real speech, each shown as it happens; about a minute
	@$(BIN)/python -m emulator.demo

test: setup ## run every test; those of Firestore need its emulator
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal || { test $$? -eq 1 && $(ALONE); }

check: setup ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A universal file serves every platform; addresses of indexes are the installer's business and stay out of it.
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

lock: ## pin the requirement files, with hashes, from pyproject.toml; `make lock UPGRADE=--upgrade` takes new versions
	@test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv; }
	$(COMPILE) $(UPGRADE) --extra functions --output-file functions/requirements.txt
	$(COMPILE) $(UPGRADE) --extra stream --output-file stream_service/requirements.txt
	$(COMPILE) $(UPGRADE) --extra dev --output-file requirements-dev.txt

$(READY): pyproject.toml requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 setup")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (about a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(READY)
