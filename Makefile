# `make demo` and `make test` do everything on a fresh machine, set-up included (python3 >= 3.11).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench bench-scale bench-scale-small fuzz clean

demo: $(VENV)/.ready
	$(BIN)/sparsegen-classic demo --force

test: $(VENV)/.ready
	$(BIN)/python -m pytest

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(VENV)/.ready
	$(BIN)/python examples/benchmarks/run.py

bench-scale: $(VENV)/.ready
	$(BIN)/python examples/benchmarks/bench_scale.py

bench-scale-small: $(VENV)/.ready
	$(BIN)/python examples/benchmarks/bench_scale.py --small --output bench_scale_output/small

fuzz: $(VENV)/.ready
	$(BIN)/python examples/benchmarks/fuzz_files.py

$(VENV)/.ready: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info demo_output
