# Copyright (c) 2026, selfhost.appwrite contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

.DEFAULT_GOAL := help
WORKERS ?= $(shell echo $$(($$(nproc) + 1)))
PYTEST := .venv/bin/pytest
PARALLEL := --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder
export PYTHONPYCACHEPREFIX := $(CURDIR)/.work/pycache
unexport PYTHONDONTWRITEBYTECODE

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

check: setup engine ## Run what takes minutes: unit tests, lint, and the playbook on one project
	$(PYTEST) $(PARALLEL) tests/unit tests/testbed tests/sanity/test_lint.py 'tests/integration/test_core_flow.py::test_secure[2.4.0-postgresql]'

test: setup tools ## Run every test but those that `make nightly` adds; T=... selects some
	$(PYTEST) $(PARALLEL) $(T)

nightly: setup nightly-tools ## Run every test there is, for hours; T=... selects some
	NIGHTLY=true KILL_POINTS=all DOTENV_FILES=$(or $(DOTENV_FILES),100000) $(PYTEST) $(PARALLEL) $(T)
	$(if $(T),,$(MAKE) matrix)

coverage: setup ## Run what test does, and write into .work/coverage which lines and branches of plugins each test covers
	@rm -rf .work/coverage
	@failed=0; SELFHOST_COVERAGE=$(CURDIR)/tests $(MAKE) --no-print-directory test || failed=$$?; \
	PYTHONPATH=tests .venv/bin/python -m covered report; exit $$failed

unit: setup ## Run the unit tests; T=path selects some
	@$(PYTEST) $(or $(T),tests/unit tests/testbed)

integration: setup engine ## Run the integration tests on the testbed; T=... selects some
	$(PYTEST) $(or $(T),tests/integration)

fuzz: setup ## Compare 100,000 generated .env files with compose (an hour); DOTENV_FILES=... sets another number
	DOTENV_FILES=$(or $(DOTENV_FILES),100000) $(PYTEST) --numprocesses $(WORKERS) -rP -k generated_files tests/integration/test_dotenv_vs_compose.py

sanity: setup ## Run ansible-test sanity on the newest ansible-core, and its imports on Python 3.8
	$(PYTEST) tests/sanity/test_sanity.py

matrix: setup engine ## Run sanity and unit tests and the playbook on every ansible-core and Python found, and on every Appwrite release
	$(PYTEST) tests/sanity/matrix.py tests/integration/matrix.py

nox: setup ## Run the sessions of antsibull-nox; T=session selects one
	$(PYTEST) tests/sanity/nox.py $(if $(T),-k $(T))

lint: setup ## Run ansible-lint, mypy on the pure rooms, and the schema of the workflows
	$(PYTEST) tests/sanity/test_lint.py

docs: setup ## Build the documentation in .work/docs/html, and check its links
	$(PYTEST) tests/sanity/test_docs.py

release-rows: setup ## Print the catalogue's rows that a checkout of Appwrite changes; FROM=checkout; RELEASE=... sets its number
	@PYTHONPATH=tests .venv/bin/python -m testbed.release_rows "$(FROM)" $(RELEASE)

demo: setup engine ## Secure a fresh Appwrite-shaped stack and show before and after
	tests/demo.sh

bench: setup engine ## Measure the collection against hand-written tasks
	tests/benchmark/run.sh

bench-ssh: setup engine ## Measure the same over SSH on 1, 10 and 50 hosts (root)
	tests/benchmark/ssh.sh

bench-fleet: setup engine ## Measure the audit on 1 to 50 hosts (root)
	tests/benchmark/fleet.sh

bench-rotation: setup engine ## Measure the rotation of the encryption key; ROTATION_VALUES=1000000 also rotates so many, T=files only for how long the API is away by the number of files
	tests/benchmark/rotation.sh $(T)

setup: .venv/stamp ## Make the virtual environment (.venv)

.venv/stamp: tests/requirements.txt tests/setup.sh tests/covered/start.pth
	@tests/setup.sh

engine: ## See that a Docker Engine and compose answer; install and start them where that is allowed
	@tests/testbed/engine.sh

tools: engine ## See that the programs that only tests need are here: faults, PHP
	@tests/faults/tools.sh

nightly-tools: engine ## See that those are here, and the auditors and a browser
	@tests/faults/tools.sh --nightly
	@tests/browser/tools.sh

pictures: setup engine nightly-tools ## Draw the pictures in docs/images anew
	PYTHONPATH=tests:.work/import .venv/bin/python -m browser.screenshots
	PYTHONPATH=tests .venv/bin/python -m browser.terminal

clean: ## Remove all that these targets made
	@if [ -x .venv/bin/python ] && docker info >/dev/null 2>&1; then PYTHONPATH=tests .venv/bin/python -m testbed clean; fi
	@tests/testbed/engine.sh stop
	rm -rf .venv .work .ansible tests/output
	@find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help test coverage unit integration check nightly fuzz sanity matrix nox lint docs demo bench bench-ssh bench-fleet bench-rotation pictures setup engine tools nightly-tools clean
