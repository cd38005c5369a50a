# `make demo` on a fresh machine with Python 3.11+ and make; `make` lists the rest.
SHELL := /bin/sh
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.PHONY: help setup page demo test lint wheel peers vitest chromium clean
unexport PYTHONDONTWRITEBYTECODE  # what one process compiles is compiled for the hundreds that tests start

PYTHON ?= $(shell scripts/find-python.sh)
TESTERS ?= 3# processes that test side by side, one more than cores since tests wait; each starts servers of its own
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEVELOPING := $(VENV)/.developing
PEERS := $(VENV)/.peers
# which build of torch: cpu, cuda, or what suits the machine; and where CPU builds are
TORCH ?= auto
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
BUILD := $(VENV)/.torch-$(TORCH)
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-compile -c requirements.lock
COMPILE := $(BIN)/python -m compileall -q -j 0 -x '/(tests?|testing|models)/' $(VENV)/lib >/dev/null || true  # the rest at import
PAGE := service/dashboard
PACKAGES := $(PAGE)/node_modules/.installed
BUILT := $(PAGE)/dist/index.html
# each check's output in one piece, where make can do that (4.0 and newer)
GROUPED := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
# npm and node are the machine's, or those that scripts/install-node.sh put into the environment
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" PYTHON="$(CURDIR)/$(BIN)/python" npm --prefix $(PAGE)
PAGE_SOURCES := $(shell find $(PAGE) \( -name node_modules -o -name dist \) -prune -o -type f \
	! -name openapi.json ! -name schema.d.ts -print)
API_SOURCES := $(wildcard hone/documents/*.py service/api/*.py service/domain/*.py) service/app.py service/openapi.py

help:  ## say what can be made
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16
	@echo "  TORCH=cpu or TORCH=cuda says which build of torch is installed; without it the machine decides"

setup: $(DEVELOPING)  ## create .venv and install what requirements.lock pins

page: $(BUILT)  ## build the web page

demo: $(INSTALLED)  ## train a tiny model on this machine: SFT, then GRPO and PPO from it
	$(BIN)/hone demo --page-builder "nice make --no-print-directory page"

test: peers  ## run everything there is
	$(MAKE) --no-print-directory --jobs=2 $(GROUPED) lint vitest chromium
	$(BIN)/pytest --numprocesses $(TESTERS) --dist loadscope --no-loadscope-reorder

lint: setup  ## check style, types, import rules and the tables of docs/
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m service.reference --check

wheel: setup page  ## build dist/hone-VERSION-py3-none-any.whl, with the page and the migrations in it
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

peers: $(PEERS)

vitest: page
	$(NPM) test

chromium:
	scripts/install-chromium.sh

clean:  ## remove what was built; .venv and data stay
	rm -rf $(PAGE)/dist $(PAGE)/node_modules dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find hone service worker tests migrations benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(BUILD): scripts/install-torch.sh requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with make PYTHON=..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "Making $(VENV)/ with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@scripts/install-torch.sh $(BIN)/python "$(TORCH)" "$(TORCH_CPU_INDEX)"
	@rm -f $(VENV)/.torch-*
	@touch $@

$(INSTALLED): pyproject.toml requirements.lock $(BUILD)
	@echo "Installing what Hone needs into $(VENV)/: about 100 packages, 0.5 GB beside torch, in a minute or more"
	$(PIP_INSTALL) -e '.[all]'
	@echo "Compiling them on all cores, so that Hone starts quickly"
	@$(COMPILE)
	@touch $@

$(DEVELOPING): $(INSTALLED)
	@echo "Installing what developing Hone needs"
	$(PIP_INSTALL) -e '.[all,gguf,dev]'
	@$(COMPILE)
	@touch $@

$(PEERS): $(DEVELOPING)
	$(PIP_INSTALL) -e '.[all,gguf,dev,peers]'
	@touch $@

$(PACKAGES): $(INSTALLED) $(PAGE)/package.json $(PAGE)/package-lock.json scripts/install-node.sh
	scripts/install-node.sh $(BIN)/python
	$(NPM) ci --no-audit --no-fund
	touch $@

$(BUILT): $(PACKAGES) $(PAGE_SOURCES) $(API_SOURCES)
	$(NPM) run build
	touch $@
