# Each target sets up all that it needs in a virtual environment of its own making; nothing else is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= runs/parameter_randomization

.PHONY: demo test checks lint types docs unit slow clean

demo: $(VENV)/experiments.ready
	$(BIN)/python experiments/parameter_randomization.py --out $(OUT)

test: checks unit slow

# None of the three takes both cores.
checks: $(VENV)/dev.ready
	$(MAKE) --jobs=2 --output-sync lint types docs

lint: $(VENV)/dev.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.ready
	$(BIN)/mypy

# The pages in site/, from docs/ and the docstrings; a link that leads nowhere is an error (but not with --quiet).
docs: $(VENV)/dev.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The quick tests compile much and compute little. Without the compiler's optimization they take three quarters of the
# time, and with its older code for loops, which halves what a small program takes to compile, three fifths. A release
# that no longer knows that flag ends at it, so it is tried first. The slow tests run what users run.
QUICK := --xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1
OLDER := --xla_cpu_use_fusion_emitters=false
unit: $(VENV)/dev.ready
	if XLA_FLAGS="$(OLDER)" $(BIN)/python -c 'import jax; jax.devices("cpu")' 2>/dev/null; then older="$(OLDER)"; fi; \
	  XLA_FLAGS="$(XLA_FLAGS) $(QUICK) $$older" $(BIN)/python -m pytest -n 2 --dist worksteal --durations=15 -m "not slow"

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
