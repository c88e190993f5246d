# Everything that one does with this tree. `make help` lists it. Needs Python 3.11 or newer with venv and pip.
PYTHON ?= python3
PORT ?= 8010
SEEDS ?= 200
SEED ?=
TRACE ?=
JOBS ?= auto
ONLY ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help run test check fmt page bench mutants simulate lock clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  Variables: PORT=8010 (run), ARGS='-k name' JOBS=2 (test), ONLY=row (bench), SEEDS=200 (simulate)"

run: page ## a master on 127.0.0.1:PORT with a worker and a sample project; Ctrl-C ends it
	exec $(BIN)/python examples/demo/run.py --port $(PORT)

test: page ## the whole test suite, PostgreSQL included; ARGS='-k name' for a part
	tools/debian_packages.sh test
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

check: $(STAMP) ## formatting, lint, types, layers, and what must not be in the tree
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/web.py check
	$(BIN)/python tools/check_tree.py

fmt: $(STAMP) ## format the code and apply the linter's safe fixes
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .
	$(BIN)/python tools/web.py format

page: $(STAMP) ## build the page from web/, if that has changed
	@$(BIN)/python tools/web.py build

bench: page ## our numbers beside stock Buildbot's; ONLY=row for one of them
	tools/debian_packages.sh test
	$(BIN)/python -m bench.run $(if $(ONLY),--only $(ONLY)) $(ARGS)

mutants: $(STAMP) ## break one promise's guard at a time; each must turn its test red
	tools/debian_packages.sh test
	$(BIN)/python tests/mutants/run.py $(ARGS)

simulate: $(STAMP) ## masters and workers under faults on virtual time; SEEDS=n, or SEED=n TRACE=1 for one
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED) $(if $(TRACE),--trace),--seeds $(SEEDS)) $(ARGS)

lock: ## resolve the dependencies anew and write requirements/*.txt (needs uv)
	PATH="$(CURDIR)/$(BIN):$$PATH" tools/lock.sh

clean: ## remove the environment and everything that was made here
	rm -rf $(VENV) .venv-peer .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov build dist
	rm -rf bench/results/.peer-cache.json demo-run .coverage .coverage.* screenshots
	rm -rf web/node_modules src/buildwright/web/static
	find src worker tests tools bench examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The environment: exactly what the lock file names, then the two distributions of this tree, editable.
$(STAMP): requirements/dev.txt pyproject.toml hatch_build.py worker/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	    || { echo "Python's venv module is needed: apt-get install -y python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e ./worker -e .
	@touch $@
