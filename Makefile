# Thin on purpose: the pipeline is dvc.yaml, the constants are params.yaml. `make help` lists targets.
SHELL := /bin/bash
.DEFAULT_GOAL := repro
.DELETE_ON_ERROR:
.PHONY: repro all-models summary test lint format readme clean distclean help

PYTHON ?= python3
VENV := .venv
WEIGHTS ?= probe
# A copy of the requirements that were installed, written last: an install that was interrupted
# leaves none, and one of other requirements is told by its content.
INSTALLED := $(VENV)/installed-requirements.txt
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
DVC := python -m dvc

repro: $(INSTALLED)  ## The main job: convert, run, compare, report (also: `make`)
	@changed=$$(python -m stages.fetch --changed) || exit; for dataset in $$changed; do \
		$(DVC) repro --quiet --single-item --force fetch@$$dataset || exit; done
	@[ -d data ] || [ ! -d .dvc/cache ] || $(DVC) checkout --quiet 2> /dev/null || true
	@$(DVC) repro
	@python -m stages.summary --print

all-models: $(INSTALLED)  ## Add the other models of the README's table to params.yaml, then `make`
	@python -m stages.add_models --weights $(WEIGHTS)
	@$(MAKE) --no-print-directory repro

summary: $(INSTALLED)  ## Print the table of the last run and the paths of its pictures
	@python -m stages.summary --print

test: $(INSTALLED)  ## Run the tests
	@python -m pytest

lint: $(INSTALLED)  ## Check style and formatting
	@ruff check .
	@ruff format --check .

format: $(INSTALLED)  ## Format the code
	@ruff check --fix .
	@ruff format .

readme: $(INSTALLED)  ## Renew the README's table and pictures from the last run
	@python -m stages.readme summary plots/inference_time.png plots/models/fcn_resnet50/gallery.png

clean:  ## Remove what the pipeline made; DVC's cache stays, so the next `make` restores it
	rm -rf data models plots/models plots/*.png .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## Remove DVC's cache and the virtual environment as well
	rm -rf .dvc/cache .dvc/tmp $(VENV)

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(INSTALLED): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); expected Python 3.10 or later" >&2; exit 2; }
	@if cmp --silent requirements.txt $@ && $(VENV)/bin/python -c '';  then touch $@; else \
		echo "Installing requirements.txt into $(VENV) (about 6 GB, a few minutes)" >&2; \
		rm -f $@; \
		$(PYTHON) -m venv --clear $(VENV) && \
		$(VENV)/bin/python -m pip install --disable-pip-version-check -r requirements.txt && \
		cp requirements.txt $@; fi
