# Needs make and Python 3.11 or newer; everything else goes into .venv.
# `make test PYTHON=python3.12` chooses another interpreter for it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INSTANCE := instances/placed/resnet50-64-placed.json

.PHONY: solve test fuzz bench figures docs dist clean

# A schedule, then the same instance with the baselines beside it.
solve: $(STAMP)
	$(BIN)/scope-opt solve $(INSTANCE)
	$(BIN)/scope-opt compare $(INSTANCE)

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

# Every figure again: the README's picture and those of notebooks (need an installed Chromium), the rest from the
# measurements and records that are there; nothing is measured again.
figures: $(STAMP)
	$(BIN)/python docs/figures/report.py
	$(BIN)/python docs/figures/house.py
	$(BIN)/python docs/figures/schedule.py
	$(BIN)/python docs/notebooks/run.py
	$(BIN)/python docs/figures/exact_growth.py --draw
	$(BIN)/python -m scope_opt.report.results

# Files, command lines and instances that nobody would write, until the time is over.
SECONDS := 3600
SEED := 0
fuzz: $(STAMP)
	$(BIN)/python tests/fuzz.py --seconds $(SECONDS) --seed $(SEED)

# The documentation site, in site/; fails where a link leads nowhere. Needs no network.
docs: $(STAMP)
	$(BIN)/python docs/build_site.py

# The sdist, and the wheel as it is built from the sdist.
dist: $(STAMP)
	rm -rf dist
	$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')"
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz

bench: $(STAMP)
	$(BIN)/python -m pytest tests/bench --benchmark-only

$(STAMP): requirements.lock pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Scope-Opt needs Python 3.11 or newer; '$(PYTHON)' is `$(PYTHON) --version 2>&1`." >&2; \
	  echo "Name another one, for example: make PYTHON=python3.12" >&2; \
	  exit 1; }
	@echo "Installing into $(VENV); this takes a minute or two, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	find scope_opt formulations tests instances -type d -name __pycache__ -prune -exec rm -rf {} +
