# Two commands do everything on a fresh machine: `make report` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
READY := $(VENV)/.ready

.PHONY: help report full test test-slow faults lab bench bench-check lock lint clean
.DEFAULT_GOAL := help

help:            ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

report: $(READY) ## run the main job on the embedded simulated data; reports/quick/quick.html
	$(BIN)/python -m temlib run parameters/quick.yaml

full: $(READY)   ## the protocol of 2016 at full size; hours on a CPU
	$(BIN)/python -m temlib run parameters/full.yaml

# A file's tests share what is costly, so they stay together.
test: $(READY)   ## all tests but the slow ones, some files at a time
	$(BIN)/python -m pytest -m "not slow" -n logical --maxprocesses 4 --dist loadfile

test-slow: $(READY) ## the tests that take minutes each
	$(BIN)/python -m pytest -m slow

faults: $(READY) ## kill runs at random moments, and feed hostile files; hours
	$(BIN)/python -m tests.faults.campaign --kills 100
	$(BIN)/python -m tests.faults.fuzz --count 10000 --run 200

lab: $(READY)    ## JupyterLab on the notebooks, opened on a page that says what each is for
	$(BIN)/python -m jupyterlab --notebook-dir=notebooks --LabApp.app_settings_dir=notebooks/.lab --LabApp.default_url=/lab/tree/README.md

bench: $(READY)  ## side by side with what people would use instead
	$(BIN)/python -m benchmarks

bench-check: $(READY) ## a few ratios, for regressions
	$(BIN)/python -m benchmarks --quick

lint: $(READY)   ## style
	$(BIN)/ruff check . && $(BIN)/ruff format --check temlib tests benchmarks

lock:            ## make requirements.txt anew from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	  --extra dev --quiet pyproject.toml -o requirements.txt

clean:           ## remove the environment and the reports
	rm -rf $(VENV) && find reports -mindepth 1 ! -name README.md -delete

# The environment is stale when the lock or the project file is newer than it.
$(READY): requirements.txt pyproject.toml setup_environment.py
	@$(PYTHON) setup_environment.py $(VENV)
