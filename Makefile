# Deskledger. `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup run test lint types bench soak soak-sla fuzz kafka demo docs folds clean

PYTHON ?= python3
DATA ?= .desk
PORT ?= 8080
MINUTES ?= 30
EXAMPLES ?= 300
BIN := .venv/bin

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 10

setup: .venv/installed ## make the environment with .venv/bin/desk from the locked requirements

.venv/installed: requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it with PYTHON=…")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup ## start the whole desk on http://127.0.0.1:$(PORT), data in $(DATA)
	@exec $(BIN)/desk run --data $(DATA) --port $(PORT)

test: setup ## run everything: lint, types, unit to end-to-end; real PostgreSQL, real Kafka if it can be had
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(MAKE) --no-print-directory types
	$(BIN)/pytest -n 2 --dist loadgroup

lint: setup ## check style and the arrows between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: setup ## check types, strictly (needs Node.js, which pyright runs on)
	@if command -v node >/dev/null || [ "$(CI)" = true ]; then $(BIN)/pyright; \
	else echo "types not checked: pyright needs Node.js"; fi

bench: setup ## measure the budgets and print them with what was measured
	$(BIN)/python -m bench $(BENCH)

soak: setup ## break a desk on three brokers at random for MINUTES (30), under load, and check it
	PYTHONPATH=tests $(BIN)/python tests/fault/soak.py --minutes $(MINUTES) $(SOAK)

soak-sla: setup ## take three years of 2,000 tickets a day through sla by an injected clock, and check each
	PYTHONPATH=tests $(BIN)/python tests/fault/sla_soak.py --years 3 --per-day 2000 --seed 1 $(SOAK)

fuzz: setup ## ask a desk EXAMPLES (300) random things of each operation, others at each time
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -q tests/e2e/test_any_request.py

kafka: setup ## start a one-node Kafka broker on 127.0.0.1:9092 (Java 17 and Maven)
	@exec $(BIN)/python -m shared.testing.kafka --port 9092 --data .desk-kafka

demo: setup ## take a made-up working day over into the running desk
	@exec $(BIN)/desk demo --data $(DATA)

docs: setup ## write the generated documents again: event schemas, catalogue, access, settings, examples of answers
	$(BIN)/python -m shared.contracts.catalogue
	$(BIN)/python -m services.access_page
	$(BIN)/python -m services.settings_page
	PYTHONPATH=tests $(BIN)/python -m support.examples >/dev/null

folds: setup ## write the digests of folds whose version was raised
	PYTHONPATH=tests $(BIN)/python -m support.fold_digests

clean: ## remove the environment and what tools left; data folders stay
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache deploy/kafka/target
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
