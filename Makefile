# Everything a person or a pipeline does here. Each target makes the .venv it needs and says what it does.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Processes of tests: one more than a small machine has cores, for a third of the time they wait.
WORKERS ?= 3

UV_LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help demo test interop lint format docs bench soak dist lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/demo.done  ## Split real programs, publish them, move the CAR file to an empty store and run one there
	@$(BIN)/python examples/demo.py

test: $(VENV)/dev.done  ## Run all tests
	@echo "running the tests with $(WORKERS) processes; this takes some minutes"
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

interop: $(VENV)/dev.done  ## Run the tests against a real Kubo, where `ipfs` is on the PATH
	@command -v ipfs >/dev/null || { \
	  echo "there is no \`ipfs\` on the PATH, so there is nothing to test against. To get Kubo, either" >&2; \
	  echo "  - take a binary from https://dist.ipfs.tech/#kubo and put \`ipfs\` on the PATH, or" >&2; \
	  echo "  - with Go: git clone https://github.com/ipfs/kubo && make -C kubo build, which makes kubo/cmd/ipfs/ipfs" >&2; \
	  exit 1; }
	@echo "testing against $$(ipfs version), in repositories of its own: offline, on loopback, without peers"
	@BACPACK_INTEROP=1 $(BIN)/python -m pytest -n 0 tests/publish/test_interop.py tests/node/test_fetch_interop.py $(PYTEST_ARGS)

lint: $(VENV)/dev.done  ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/dev.done  ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/dev.done  ## Build the documentation into docs/_build
	@$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

bench: $(VENV)/bench.done  ## Measure all, or PARTS, and write docs/benchmarks.md with its plots
	@$(BIN)/python benchmarks/run.py $(PARTS)

soak: $(VENV)/dev.done  ## Run the tests that take long: more random modules, more kills
	@BACPACK_SOAK=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

dist: $(VENV)/dist.done  ## Make a wheel and a source distribution in dist: the same bytes wherever and whenever
	@rm -rf dist
	@SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 1577836800)} \
	  $(BIN)/python -m hatchling build -d dist

lock: $(VENV)/lock.done  ## Pin anew, by hash, what pipelines install: templates/requirements.txt and ci/build.txt
	@$(UV_LOCK) --upgrade pyproject.toml --extra sign -o templates/requirements.txt
	@$(UV_LOCK) --upgrade --group build -o ci/build.txt

clean:  ## Remove what the other targets made
	@rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/pip.done:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "bacpack needs Python 3.11 or later; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/demo.done: $(VENV)/pip.done pyproject.toml
	@echo "installing bacpack and the programs of the demo into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable . --group corpus
	@touch $@

$(VENV)/bench.done: $(VENV)/demo.done
	@echo "installing what benchmarks compare with into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable '.[node,dask]' --group bench
	@touch $@

$(VENV)/dev.done: $(VENV)/demo.done
	@echo "installing what tests, checks and documentation need into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $@

$(VENV)/dist.done: $(VENV)/pip.done ci/build.txt
	@echo "installing what builds bacpack into $(VENV)"
	@$(BIN)/python -m pip install --quiet --require-hashes -r ci/build.txt
	@touch $@

$(VENV)/lock.done: $(VENV)/pip.done
	@echo "installing what pins packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --group lock
	@touch $@
