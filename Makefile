# `make` alone lists the targets. What a target needs, it makes itself: Python 3.10 or newer with pip, and Java 17 or newer, are all
# that a machine must have. Works with GNU Make from 3.81 on, which macOS still has.

PYTHON ?= python3
SPARK_VERSIONS ?= 3.5 4.0 4.1 4.3
SPARK_VERSIONS_PYTHON ?= 3.11
CASES ?= 500
RUNS ?= 20
SEED ?= 1
WORKERS ?= 3

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/ready
# uv from PATH where it is there and knows dependency groups, else one that is put into .venv
UV = $(if $(shell uv pip install --help 2>/dev/null | grep -e --group),uv,$(VENV)/bin/uv)

# Spark starts its Python workers with this; another Spark, or its Python, must not come between
export PYSPARK_PYTHON := $(CURDIR)/$(PY)
export PYSPARK_DRIVER_PYTHON := $(CURDIR)/$(PY)
unexport SPARK_HOME PYTHONPATH PYTHONHOME
# every Spark worker is a new Python: without bytecode each would compile pandas and all else again
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-unit test-spark-versions fuzz chaos bench lint docs docs-options venv java clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-28s%s\n", $$1, $$2 }'

demo: java $(READY) ## Write Python's own documentation as vectors and ask it three questions (QDRANT_URL=http://… for a server)
	@$(PY) examples/quickstart.py

test: java lint ## Check the style and the types, and run every test; the reasons of skipped ones are printed
	HF_HUB_OFFLINE=1 $(PY) -m pytest --durations=25 --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder

test-unit: $(READY) ## Run the tests that need neither Spark nor a network
	HF_HUB_OFFLINE=1 $(PY) -m pytest tests/unit

test-spark-versions: java $(READY) ## Run the Spark tests on each supported Spark, each in an environment of its own
	@failed=; \
	for version in $(SPARK_VERSIONS); do $(MAKE) --no-print-directory test-spark-$$version || failed="$$failed $$version"; done; \
	echo; \
	for version in $(SPARK_VERSIONS); do printf 'Spark %s: ' $$version; tail -n 1 .venvs/spark-$$version.log 2>/dev/null || echo 'not run'; done; \
	if [ -n "$$failed" ]; then echo "failed on Spark$$failed" >&2; exit 1; fi

fuzz: $(READY) ## Run random jobs on each store and judge what comes of them; CASES=500, SEED=1, ARGS="--store fake --shrink"
	HF_HUB_OFFLINE=1 $(PY) -m tests.fuzz --cases $(CASES) --seed $(SEED) $(ARGS)

chaos: java $(READY) ## Run jobs while workers, executors, drivers, servers and connections are killed; RUNS=200 SEED=7, ARGS="--only 3" one run again
	@$(PY) -m tests.chaos --runs $(RUNS) --seed $(SEED) $(ARGS)

bench: java $(READY) ## Measure, and write benchmarks/RESULTS.md; PARTS="patterns memory" some of it, ARGS="--corpus texts.parquet" its options
	$(PY) -m benchmarks $(PARTS) $(ARGS)

lint: $(READY) ## Check style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: $(READY) ## Build the documents as a site in site/; a link or an anchor that leads nowhere is an error
	$(PY) -m zensical build --strict
	@echo "Open site/index.html"

docs-options: $(READY) ## Write the tables of options in docs/options.md again
	$(PY) -m spark_vector_sink.options docs/options.md

venv: $(READY) ## Make .venv, or make it again after pyproject.toml has changed (the others do this by themselves)

clean: ## Remove all that was made here: environments, the demo's store, caches
	rm -rf .venv .venvs demo dist site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis spark-warehouse metastore_db derby.log
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is whole when its file `ready`, written last, says what it was made from: place, Python and all of pyproject.toml.
# Content and not dates: a checkout of another branch and back costs nothing, and a copied or half-made environment is not trusted.
made_from = { echo '$(CURDIR) $(1)'; cat pyproject.toml; }

ifneq ($(shell $(call made_from,$(PYTHON)) | cmp -s - $(READY) && $(PY) -c '' 2>/dev/null && echo whole),whole)
.PHONY: $(READY)
endif

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
	  { echo "Python 3.10 or newer is needed, and $(PYTHON) is: $$($(PYTHON) --version 2>&1 | tail -n 1). Name another one: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) and what pyproject.toml names; with torch and Spark this takes some minutes the first time …"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@[ $(UV) = uv ] || $(PY) -m pip install --quiet --disable-pip-version-check uv
	@$(UV) pip install --quiet --compile-bytecode --python $(PY) --editable '.[all]' --group dev
	@$(call made_from,$(PYTHON)) > $@
	@echo "… $(VENV) is ready."

test-spark-%: java $(READY)
	@set -e; env=.venvs/spark-$*; python=$$env/bin/python; rm -f $$env.log; \
	if ! { $(call made_from,$(SPARK_VERSIONS_PYTHON)) | cmp -s - $$env/ready && $$python -c ''; } 2>/dev/null; then \
	  echo "Making $$env with Python $(SPARK_VERSIONS_PYTHON) and pyspark $* …"; \
	  rm -rf $$env; \
	  $(UV) venv --quiet --python $(SPARK_VERSIONS_PYTHON) $$env; \
	  $(UV) pip install --quiet --compile-bytecode --python $$python --editable '.[encode,edge]' --group dev 'pyspark==$*.*'; \
	  $(call made_from,$(SPARK_VERSIONS_PYTHON)) > $$env/ready; \
	fi; \
	echo "Spark $*:"; \
	{ HF_HUB_OFFLINE=1 PYSPARK_PYTHON=$(CURDIR)/$$python PYSPARK_DRIVER_PYTHON=$(CURDIR)/$$python $$python -m pytest tests/spark 2>&1 || echo failed > $$env.failed; } | tee $$env.log; \
	if [ -e $$env.failed ]; then rm $$env.failed; exit 1; fi

# Spark takes JAVA_HOME before PATH, so this does too
JAVA := $(if $(JAVA_HOME),$(JAVA_HOME)/bin/java,java)
java_version = $(shell "$(JAVA)" -version 2>&1 | sed -n 's/.*version "\([^"]*\)".*/\1/p' | head -n 1)
java_fits = $(shell major=$$(echo '$(1)' | sed 's/[^0-9].*//'); [ "$${major:-0}" -ge 17 ] && echo yes)
java_wanted = Java 17 or newer is needed (Debian, Ubuntu: apt install openjdk-17-jre-headless, or 21; macOS: brew install openjdk@17; \
conda: conda install -c conda-forge openjdk=17); found: $(or $(1),none)$(if $(JAVA_HOME), in JAVA_HOME=$(JAVA_HOME))

java:
	@$(if $(call java_fits,$(java_version)),:,$(error $(call java_wanted,$(java_version))))
