# Everything below sets itself up: a machine with Python 3.11 and git is enough.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup vendor demo test thorough check bench lock clean

setup: $(VENV)/.ready vendor

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: .locks/dev.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .locks/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

vendor: $(VENV)/.ready  ## what the pages need from npm; quick when nothing changed
	$(BIN)/python -m dashboards.vendor

demo: setup  ## a simulated region: three rooms, about 60 devices, the next course in minutes
	$(BIN)/fleet demo

PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test: setup  ## what this machine has the parts for; many tests wait for real programs
	$(PYTEST) -m "not thorough"

thorough: setup  ## the tests that take long: roles applied to whole machines, laptops that boot
	$(PYTEST) -m thorough

check: setup  ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## what it costs: polls, readings, scrapes, pages, and a region of 1,000 devices
	$(BIN)/python -m tests.bench

lock: | $(BIN)/python  ## pin every dependency anew, with hashes and without addresses
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra nats --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet -o .locks/run.txt
	$(BIN)/uv pip compile pyproject.toml --extra nats --group dev --group build --universal \
	  --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate \
	  --quiet -c .locks/run.txt -o .locks/dev.txt

clean:
	rm -rf $(VENV) var build dashboards/static/vendor dashboards/node_modules
