# Each target sets up all that it needs in a virtual environment of its own making; nothing else is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= runs/parameter_randomization

.PHONY: demo test lint types docs unit slow clean

demo: $(VENV)/experiments.ready
	$(BIN)/python experiments/parameter_randomization.py --out $(OUT)

test: lint types docs unit slow

lint: $(VENV)/dev.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.ready
	$(BIN)/mypy

# The pages in site/, from docs/ and the docstrings; a link that leads nowhere is an error (but not with --quiet).
docs: $(VENV)/dev.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The quick tests compile much and compute little: the compiler's optimization would cost a quarter of their time. The
# slow ones run what users run.
unit: $(VENV)/dev.ready
	XLA_FLAGS="$(XLA_FLAGS) --xla_backend_optimization_level=0" $(BIN)/python -m pytest -n 2 --dist worksteal --durations=15 -m "not slow"

slow: $(VENV)/dev.ready
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=30 -m slow

# uv installs in seconds what takes pip half a minute; where it cannot be had, pip does the same.
$(VENV)/%.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "saliency_jax needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv || true
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --editable '.[$*]' \
	  || $(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) .venv-newest runs site .jax_cache .pytest_cache .mypy_cache .ruff_cache
