# `make help` lists the targets. Each builds .venv when it is missing or when its lock has changed.
# TORCH=cuda chooses PyTorch's CUDA build, TORCH=cpu its CPU build; .venv/.ready remembers which.
ifneq ($(filter 3.%,$(MAKE_VERSION)),)
$(error GNU make 4 or newer is needed and this is $(MAKE_VERSION): install it (macOS: brew install make) and run gmake)
endif
SHELL := /bin/bash
MODALITY ?= text
BIN := .venv/bin
BUILT := $(shell cat .venv/.ready 2>/dev/null)
TORCH ?= $(or $(BUILT),cpu)
CUDA := ^(cuda|nvidia|triton)
export OMP_WAIT_POLICY ?= PASSIVE
export PYTHON

.PHONY: help run test test-all test-services test-faults services check docs format bench headline methods ablation attribution information soak large dump lock
.DEFAULT_GOAL := help

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.ready: requirements.lock requirements-cuda.txt pyproject.toml $(wildcard scripts/*)
	@scripts/build_environment $(TORCH)
ifneq ($(TORCH),$(BUILT))
.PHONY: .venv/.ready
endif

.venv: .venv/.ready

run: .venv/.ready  ## Run the pipeline in a workspace: data to report (QUICK=1: small; MODALITY=all: each in turn)
	@$(BIN)/polydistill run $(MODALITY) $(if $(QUICK),--quick,--workspace run)

test: .venv/.ready  ## Run the tests on two cores, without the slow ones (under ten minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not gpu and not network and not services" $(ARGS)

test-all: .venv/.ready  ## Run all tests except those that need a GPU or services, with coverage (an hour)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not gpu and not services" --cov=polydistill --cov-report=term:skip-covered $(ARGS)

services: .venv/.ready  ## Start PostgreSQL, S3, MLflow with users and Prefect on loopback, until Ctrl-C
	@$(BIN)/python -m services

test-services: .venv/.ready  ## Test retraining, promotion and rollback with these services
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m services $(ARGS)

test-faults: .venv/.ready  ## Kill, starve and damage the tiny pipeline at a thousand points: docs/reliability.md (40 minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults $(ARGS)

check: .venv/.ready  ## Check format, lint, types, import contracts, params.resolved.yaml and README's table; build the documentation strictly
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive src flows services
	@$(BIN)/python scripts/audit.py
	@$(BIN)/polydistill params --check
	@$(BIN)/python -m experiments readme --check
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

docs: .venv/.ready  ## Build the documentation site: site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: .venv/.ready  ## Format the code
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

bench: .venv/.ready  ## Measure speed and memory against peers: bench/results/
	@$(BIN)/python -m bench

headline: MODALITY := all
headline: .venv/.ready  ## Compare the default with single teachers, rivals and teachers, three seeds (hours): README's table (MODALITY=text: one)
	@$(BIN)/python -m experiments headline $(MODALITY)
	@$(BIN)/python -m experiments readme

methods: .venv/.ready  ## Compare the default with baselines and single teachers, three seeds (hours): docs/results/text/methods.md
	@$(BIN)/python -m experiments methods $(MODALITY)

ablation: .venv/.ready  ## Change one factor of the default at a time, as DVC experiments (an hour): docs/results/text/ablation.md
	@$(BIN)/python -m experiments ablation $(MODALITY)

attribution: .venv/.ready  ## Estimate what each teacher adds to the others (minutes): docs/results/text/attribution.md
	@$(BIN)/polydistill attribution $(MODALITY)

information: .venv/.ready  ## Estimate the mutual information with each teacher, in nats (minutes): docs/results/text/information.md
	@$(BIN)/polydistill information $(MODALITY)

soak: .venv/.ready  ## Retrain a small project twenty times; measure disk, memory, time (half an hour): docs/results/soak.md
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.life.soak $(ARGS)

large: .venv/.ready  ## Run each stage on three million rows, whole and killed; measure memory (an hour): docs/results/large.json
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.life.large 3000000

dump: .venv/.ready  ## Write the registry and the champion's run as sorted JSON: mlruns/exports/
	@$(BIN)/polydistill dump $(MODALITY)

lock: .venv/.ready  ## Resolve pyproject.toml for every Python and platform, from PyPI alone (ARGS=--upgrade: newest releases)
	@cat requirements.lock requirements-cuda.txt > .venv/resolved
	@env -u UV_FIND_LINKS $(or $(shell command -v uv),$(BIN)/uv) pip compile --quiet --no-header --no-annotate --universal --fork-strategy fewest \
	  --python-version 3.11 --all-extras $(ARGS) pyproject.toml -o .venv/resolved
	@grep -E '$(CUDA)' .venv/resolved > requirements-cuda.txt
	@grep -vE '$(CUDA)' .venv/resolved > requirements.lock
