# `make` alone prints help. Every target makes the environment first, from the lock file.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SEED ?= 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: bench-anomaly help setup demo test test-unit sim format lint typecheck check up down bench schemas schemas-check clean

help: ## print this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## create .venv from the lock file

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: setup ## servers, rate cards, traffic, live table, proof; ends by itself
	bash examples/demo.sh

test: setup ## the whole suite: units, properties, schemas, simulation, and the real servers
	pytest -q

test-unit: setup ## only what needs no server
	pytest -q -m "not stack"

sim: setup ## one simulation, told step by step: make sim SEED=7
	CHARGELINE_SIM_SEED=$(SEED) pytest -q -s tests/simulation -k one_seed

format: setup ## format the code
	ruff format . && ruff check --fix .

lint: setup ## format, lint rules, import directions
	ruff format --check . && ruff check . && lint-imports

typecheck: setup ## mypy, strict
	mypy

check: lint typecheck schemas-check test ## all that CI runs

up: setup ## start the local stack and return
	chargeline up --detach

down: setup ## stop it
	chargeline down

bench: setup ## measure; writes bench/results/latest.json
	python bench/run.py

bench-anomaly: setup ## anomaly detector: NAB score and synthetic spend; writes bench/results/anomaly.json
	PYTHONPATH=. python -m bench.anomaly.run
	PYTHONPATH=. python -m bench.anomaly.live

schemas: setup ## make the code that follows from schemas/
	python schemas/generate.py

schemas-check: setup ## fail if that code is stale
	python schemas/generate.py --check

clean: ## remove the environment and what was made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
