# Every verb of the project. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOCK ?= requirements.lock
TEST_PROCESSES ?= 2
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
# threads that wait by spinning cost a busy machine several times the work
export OMP_WAIT_POLICY ?= PASSIVE
export OPENBLAS_THREAD_TIMEOUT ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup data demo demo-drift test test-fast test-containers lint format lock sbom starter clean

help:  ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed  ## make .venv with every pinned dependency (about 1 minute)

$(VENV)/.installed: $(LOCK) pyproject.toml
	@echo "[setup] creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: Python 3.11 to 3.13 is needed, got $$($(PYTHON) --version); use make PYTHON=python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	@echo "[setup] installing the pinned packages (several GB, a minute on a fast line)"
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes --compile-bytecode -r $(LOCK)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@
	@echo "[setup] done: $(BIN)/regraft --help"

setup-cpu:  ## the same where your package index carries CPU builds of torch and torchvision
	$(MAKE) setup LOCK=$(VENV)-cpu.lock VENV=$(VENV)

$(VENV)-cpu.lock: requirements.lock
	$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet 'uv>=0.5'
	$(BIN)/uv pip compile pyproject.toml --extra all --extra dev --torch-backend cpu \
	  --generate-hashes --no-header -o $@

data: setup  ## generate the example data sets (data/, tracked by data.dvc)
	@$(BIN)/python -m regraft.data.examples

demo: data  ## run the main job on the embedded example and print the result
	$(BIN)/regraft run recipes/plant_disease.yaml

demo-drift: data  ## the live loop: serve, drift, labels, retraining, rollback (DATA=FOLDER OPTIONS="key=value ...")
	$(BIN)/python -m pipelines.demo_drift $(or $(DATA),data/leaves) $(OPTIONS)

test: data lint  ## style, types, fast, real-data and end-to-end tests
	$(BIN)/python -m pytest -m 'not containers' --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-fast: setup  ## the tests that take seconds
	$(BIN)/python -m pytest

test-containers: data  ## build the images and run the pipeline and the server in them
	docker/with_engine.sh $(BIN)/python -m pytest -m containers tests/containers

lint: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup  ## resolve requirements.lock anew for Python 3.11 to 3.13
	$(BIN)/uv pip compile pyproject.toml --extra all --extra server --extra dev --universal \
	  --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links --upgrade -o requirements.lock
	$(BIN)/uv pip compile docker/installer.in --python-version 3.11 --generate-hashes --no-annotate \
	  --no-header --no-emit-index-url --no-emit-find-links --upgrade -o docker/installer.lock

sbom: setup  ## write what is installed and under which licences to build/
	@mkdir -p build
	$(BIN)/python -I docker/sbom.py > build/sbom.json
	$(BIN)/python -I docker/sbom.py --licences > build/licences.txt
	@echo "build/sbom.json (CycloneDX) and build/licences.txt"

starter: setup  ## train the embedded starter backbones again (see their cards)
	$(BIN)/regraft pretrain --out regraft/starters/texture_resnet/model.safetensors
	$(BIN)/regraft pretrain --of speech --out regraft/starters/speech/speech_cnn/model.safetensors

clean:  ## remove runs and caches, keep .venv and data
	rm -rf runs .regraft build dist .pytest_cache .mypy_cache .ruff_cache
