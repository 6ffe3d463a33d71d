# Everything a developer runs. Each target sets up what it needs; nothing outside .venv and .venv-infra is changed.
.DEFAULT_GOAL := help
.PHONY: help setup dev demo test check infra bench bench-check lock

PYTHON ?= python3
BIN := .venv/bin
# More than there are cores: whole calls take as long as calls take, and mostly wait.
WORKERS ?= 8
# Calls run in real time and six at once: what failed is asked once more by itself, and counts if it fails again.
ALONE = echo "== once more, by themselves" && $(BIN)/python -m pytest --last-failed --last-failed-no-failures none
READY := .venv/.ready
CODEC := stream_service/wire/_codec.abi3.so
# The tools that look at infra/, apart from the product's: their requirements would hold each other back.
INFRA := .venv-infra/bin
INFRA_READY := .venv-infra/.ready
# What draws the plot of `make bench`.
PLOT_READY := .venv/.plot-ready

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) $(CODEC) ## install into .venv what pyproject.toml and requirements-dev.txt say (only when they have changed)

dev: setup ## serve everything on one port, with an emulator for each vendor without a key
	@$(BIN)/callbot dev --reload

demo: setup ## four emulated calls with real speech, each shown as it happens; about a minute
	@$(BIN)/python -m emulator.demo

# A process that may not keep what it compiled compiles all tests anew, in each worker.
test: export PYTHONDONTWRITEBYTECODE :=
test: setup | tests/__pycache__ ## run every test but those of `make infra`; those of Firestore need its emulator
	@$(BIN)/python -m pytest -m "not terraform" -n $(WORKERS) --dist worksteal || { test $$? -eq 1 && $(ALONE); }

check: setup ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# TFSIM is the path of the simulated Google Cloud (tests/infra/simulation.py).
infra: setup $(INFRA_READY) ## check infra/ and cloudbuild.yaml without a cloud; needs terraform and TFSIM
	$(BIN)/python -m tests.infra.simulation
	$(BIN)/python -m pytest -m terraform -n 2 tests/infra
	$(INFRA)/checkov --config-file .checkov.yaml
	$(INFRA)/check-jsonschema --builtin-schema vendor.cloudbuild cloudbuild.yaml

bench: setup $(PLOT_READY) ## measure calls per core, turns, starts and webhooks; two minutes; BENCH=--long, --readme, …
	@$(BIN)/python -m tests.bench $(BENCH)

bench-check: setup ## measure the little that does not depend on the machine, and judge it
	@$(BIN)/python -m tests.bench --check

# A universal file serves every platform; addresses of indexes are the installer's business and stay out of it.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

lock: ## pin the requirement files, with hashes; `make lock UPGRADE=--upgrade` takes new versions
	@test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv; }
	$(COMPILE) $(UPGRADE) pyproject.toml --extra functions --output-file functions/requirements.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --extra stream --output-file stream_service/requirements.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --extra dev --output-file requirements-dev.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --extra bench --constraint requirements-dev.txt --output-file requirements-bench.txt
	$(COMPILE) $(UPGRADE) requirements-infra.in --output-file requirements-infra.txt

$(READY): pyproject.toml requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 setup")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (about a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(READY)

# Without a C compiler everything works in Python, only with more CPU for each call.
$(CODEC): $(READY) $(wildcard stream_service/wire/_codec*.[ch])
	@$(BIN)/python -m stream_service.wire.build_codec >/dev/null 2>&1 || echo "no C compiler: the frame codec runs in Python"

# In a fresh clone one process compiles the tests, before eight would. What is wrong with them, the tests' own run says.
tests/__pycache__: | setup
	@$(BIN)/python -m pytest --collect-only -qq >/dev/null 2>&1 || true

$(PLOT_READY): requirements-bench.txt
	@echo "installing matplotlib into .venv ..."
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-bench.txt
	@touch $(PLOT_READY)

$(INFRA_READY): requirements-infra.txt
	@test -x $(INFRA)/python || $(PYTHON) -m venv .venv-infra
	@echo "installing into .venv-infra (about a minute the first time) ..."
	@$(INFRA)/python -m pip install --quiet --require-hashes --requirement requirements-infra.txt
	@touch $(INFRA_READY)
