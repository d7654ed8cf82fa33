# `make demo` and `make test` set themselves up; `make help` lists the rest.

SIZE ?= demo
PYTHON_IN_VENV := .venv/bin/python

# A machine without a locale would read and write ASCII; foreign Python paths would shadow ours.
export PYTHONUTF8 := 1
unexport PYTHONPATH PYTHONHOME
# Threads of torch that wait for each other spin for a moment (1000 turns), then sleep: with the long spin that is the default,
# steps on a busy machine took 2 to 4 times as long; with none at all they take 1.3 times as long on an idle one.
export GOMP_SPINCOUNT ?= 1000

ifeq ($(filter $(SIZE),demo ci),)
$(error SIZE is demo or ci, not '$(SIZE)')
endif

# The small demo shows that everything runs, in a fraction of the time; it trains too briefly to learn.
CI_SAMPLE := --size ci --out data/sample_ci
CI_TRAIN := DATA.ROOT=data/sample_ci DATA.VAL_CROP_SIZE=64 TRAIN.TOTAL_STEPS=30 \
	LOG.VAL_EVERY_STEPS=30 LOG.CHECKPOINT_EVERY_STEPS=30

.DEFAULT_GOAL := help
.PHONY: help demo test lint stress setup clean

help:
	@echo 'make demo     real video -> blurry frames and spikes -> training -> diagnosis (minutes, no GPU needed)'
	@echo 'make test     style, types, import layers and the quick tests'
	@echo 'make lint     the same without the tests'
	@echo 'make stress   the long tests; VRTSPIKE_STRESS_CASES=n: how many runs under faults (200);'
	@echo '              VRTSPIKE_FUZZ_CASES=n: how many damaged inputs (20000)'
	@echo 'make setup    only make or update .venv (the others do so themselves)'
	@echo 'make clean    remove .venv and caches; data, outputs and profiles stay'
	@echo 'Variables: SIZE=ci (small demo), PYTHON=<interpreter>, TORCH_INDEX=<package index or folder torch comes from>'

setup:
	@sh scripts/bootstrap.sh

demo: setup
	$(PYTHON_IN_VENV) -m vrtspike.data.sample_video $(if $(filter ci,$(SIZE)),$(CI_SAMPLE))
	$(PYTHON_IN_VENV) -m vrtspike.train --config configs/demo.yaml --profile $(if $(filter ci,$(SIZE)),$(CI_TRAIN))
	$(PYTHON_IN_VENV) analyze_performance.py
	$(PYTHON_IN_VENV) diagnose_memory.py

lint: setup
	$(PYTHON_IN_VENV) -m ruff check
	$(PYTHON_IN_VENV) -m ruff format --check
	$(PYTHON_IN_VENV) -m mypy
	$(PYTHON_IN_VENV) -c 'from importlinter.cli import lint_imports_command as run; run()' --no-cache --no-logo

test: lint
	$(PYTHON_IN_VENV) -m pytest -m 'not slow and not gpu'
	@echo 'make test: style, format, types, import layers and the tests above are all right'

stress: setup
	$(PYTHON_IN_VENV) -m pytest -m slow

clean:
	rm -rf .venv build vrt_spike.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
