# The whole developer workflow. `make demo` and `make test` need only Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
REQUIRED := pyproject.toml tools/build-requirements.in

.PHONY: setup demo demo-full test test-full test-long chaos soak lint bench lock clean

setup: $(STAMP)

# One virtual environment, every package pinned by version and hash.
$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: setup
	$(BIN)/tallystick demo

# The same on a real Kafka and MinIO: needs Java 17, Maven and Go, and says what is missing.
demo-full: setup
	$(BIN)/python -m tools.demo_full

test: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not full"

# Against a real Kafka and MinIO: needs Java 17, Maven and Go, and says what is missing. FULL: which folders.
FULL ?= tests
test-full: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "full and not slow" $(FULL)

# Full mode under load while its parts die 66 times, sleep and are cut off: about half an hour. TALLYSTICK_SEED repeats it.
chaos: setup
	$(BIN)/python -m pytest -q -s -p no:xdist -m "full and slow" tests/scenarios/test_chaos.py

# 5,000 values of every type, each on three surfaces, in full mode; then detect-secrets, secretlint and Presidio look for
# them (npm and a virtual environment of their own; what is missing is said). Half an hour on two cores.
soak: setup
	$(BIN)/python -m pytest -q -s -p no:xdist -m "full and slow" tests/scenarios/test_soak.py

test-long: setup
	$(BIN)/python -m pytest -q

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	for b in bench/*.py; do echo "== $$b"; $(BIN)/python -m "bench.$$(basename $$b .py)" || exit 1; done

# For developers, after a change of dependencies in pyproject.toml (needs the registry).
lock: setup
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) --extra demo --extra full --extra dev --output-file requirements.lock $(REQUIRED)
	$(COMPILE) --extra full --constraint requirements.lock --output-file requirements.image.lock $(REQUIRED)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
