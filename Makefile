# Thin on purpose: the pipeline is dvc.yaml, the constants are params.yaml. `make help` lists targets.
SHELL := /bin/bash
.DEFAULT_GOAL := repro
.DELETE_ON_ERROR:
.PHONY: repro full quick all-models summary report gate benchmark-pipeline verify classify segment bundle check locate mend workaround \
	reproducer coverage operators opencv-cpp test test-fast lint format \
	readme clean distclean help venv install

PYTHON ?= python3
VENV := .venv
WEIGHTS ?= probe
# A user's value reaches a command as it is: make expands no $ in it, and the shell takes it from the
# environment, so it reads no command there. Recipes write "$$NAME", never $(NAME).
FROM_USER := AGAINST APPLY CLUSTER ENGINES EXPORTERS FORCE IMAGE IMAGES INPUT JOBS MEND MODEL MODELS ONNX OPENCV OPERATORS PYTHON QUICK ROUNDS SHOW VENV \
	VERBOSE WEIGHTS ZOO
as_it_is = $(eval override $(1) := $$(value $(1)))
$(foreach name,$(FROM_USER),$(call as_it_is,$(name)))
# Says what is installed where. It is written last, so an interrupted install leaves none, and it
# differs when the requirements, the Python or the folder changed.
INSTALLED := $(VENV)/installed
$(call as_it_is,INSTALLED)
export $(FROM_USER) INSTALLED
export PATH := $(CURDIR)/$(VENV)/bin:$(value PATH)
DEMO_FLAGS = --model="$$MODEL" --image="$$IMAGE" $(if $(filter-out 0,$(VERBOSE)),--verbose) \
	$(if $(filter-out 0,$(SHOW)),--show)

CAN_CLEAN = python -c 'import ruamel.yaml' 2>/dev/null || { echo \
	"error: $$VENV: not installed, so what is yours cannot be told; nothing is removed; see \`make venv\`" >&2; exit 2; }

repro: $(if $(filter-out 0,$(QUICK)),quick,full)  ## The main job: convert, run, compare, report (also: `make`); QUICK=1: few images, no times

full: venv
	@python -m tools.repro
	@python -m tools.prune
	@python -m stages.summary --print
	@python -m stages.report --print
	@echo; python -m stages.gate --check

quick: venv
	@python -m tools.quick -- "$$MODEL"

all-models: venv  ## Add the other models of docs/models.md to params.yaml, then `make`
	@python -m tools.add_models --weights="$$WEIGHTS"
	@$(MAKE) --no-print-directory repro

summary: venv  ## Print the table of the last run and the paths of its pictures
	@python -m stages.summary --print

report: venv  ## Open plots/report.html, the run as a page to send on; AGAINST=REV: what changed
	@python -m tools.repro report
	@python -m stages.report --open --against="$$AGAINST"

gate: venv  ## Print the last verdict: which models pass, and who broke those that do not
	@python -m stages.gate --check

classify: venv  ## Try a model on an image: MODEL=resnet50 IMAGE=photo.jpg, VERBOSE=1, SHOW=1
	@python -m tools.demo classification $(DEMO_FLAGS)

segment: venv  ## The same for segmentation: MODEL=fcn_resnet50 IMAGE=photo.jpg, VERBOSE=1, SHOW=1
	@python -m tools.demo segmentation $(DEMO_FLAGS)

bundle: venv  ## Pack a model with what proves it on the device: MODEL=resnet50 IMAGES=4 FORCE=1; see docs/bundle.md
	@python -m tools.bundle --model="$$MODEL" --images="$${IMAGES:-4}" --input="$$INPUT" \
		$(if $(filter-out 0,$(FORCE)),--force)

check: venv  ## Is OpenCV right with any ONNX file? ONNX=any.onnx INPUT=blob.npy; see docs/check.md
	@python -m tools.check --input="$$INPUT" -- "$$ONNX"

locate: venv  ## Find the first node whose output is wrong, and its owner: MODEL=resnet50
	@python -m tools.locate -- "$$MODEL" || [ $$? -eq 1 ]  # 1: a fault was found, which is what the user asked for

mend: venv  ## Write a file that OpenCV gets right, and prove it the same function: MODEL=resnet50
	@python -m tools.mend -- "$$MODEL"

workaround: venv  ## What makes OpenCV give the model's own answers: MODEL=resnet50, APPLY=1 sets it
	@python -m tools.workaround $(if $(filter-out 0,$(APPLY)),--apply) -- "$$MODEL"

reproducer: venv  ## Write the smallest graph that OpenCV does wrong, with a report: MODEL=resnet50
	@python -m tools.reproducer -- "$$MODEL"

benchmark-pipeline: venv  ## Time the stages against a plain loop: MODEL=resnet50 IMAGES=400 ROUNDS=5
	@python -m tools.benchmark_pipeline --model="$$MODEL" --images="$${IMAGES:-400}" \
		--rounds="$${ROUNDS:-5}"

verify: venv  ## Compare all results with dvc.lock, byte for byte
	@python -m tools.verify

coverage: venv  ## Try all of torchvision (hours), or ZOO=timm: MODELS= EXPORTERS= ENGINES= JOBS= OPENCV= MEND=1
	@python -m tools.coverage --zoo="$$ZOO" --models="$$MODELS" --exporters="$$EXPORTERS" \
		--engines="$$ENGINES" --jobs="$$JOBS" --opencv="$$OPENCV" \
		$(if $(filter-out 0,$(MEND)),--mend)

operators: venv  ## Try ONNX's tests of every operator (minutes): OPENCV= OPERATORS= JOBS=
	@python -m tools.operators --operators="$$OPERATORS" --opencv="$$OPENCV" --jobs="$$JOBS"

opencv-cpp: venv  ## Build OpenCV for C++, and the C++ runner with it (an hour or more): JOBS=; see docs/cpp.md
	@python -m tools.opencv_cpp --jobs="$$JOBS"

test: venv  ## Run the tests
	@python -m pytest

test-fast: venv  ## Run the tests that take no process of their own: the inner loop
	@python -m pytest -m "not pipeline and not process and not window and not browser"

lint: venv  ## Check style and formatting
	@ruff check .
	@ruff format --check .

format: venv  ## Format the code
	@ruff check --fix .
	@ruff format .

readme: venv  ## Renew the README's tables, and the pictures of README and docs
	@python -m tools.demo classification --model resnet50
	@python -m tools.demo segmentation --model fcn_resnet50
	@python -m tools.readme summary plots/inference_time.png plots/models/fcn_resnet50/gallery.png \
		plots/demo/resnet50-sample_val_00000001.png plots/demo/fcn_resnet50-sample_val_000001.png
	@python -m tools.coverage_report --readme

clean:  ## Remove what the pipeline made; DVC's cache stays, so the next `make` restores it
	@$(CAN_CLEAN)
	@python -B -m tools.clean

distclean:  ## Remove downloads, DVC's cache and the virtual environment as well
	@$(CAN_CLEAN)
	@python -B -m tools.clean --all
	@[ "$$(sed -n 2p "$$VENV"/installed 2>/dev/null)" != "$$PWD" ] || rm -rf "$$VENV"

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

venv:
	@{ "$$VENV"/bin/python --version && pwd && cat requirements.txt; } 2>/dev/null | \
		cmp --silent - "$$INSTALLED" || $(MAKE) --no-print-directory install

install:
	@[ ! -e "$$VENV" ] || rmdir "$$VENV" 2>/dev/null || [ -e "$$VENV"/installed ] || { echo \
		"error: $$VENV: not made by this Makefile; remove it, or name another folder by VENV=" >&2; exit 2; }
	@rm -rf "$$VENV"
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo \
		"error: $$PYTHON: found $$("$$PYTHON" --version 2>&1); expected Python 3.10 or later" >&2; exit 2; }
	@echo "Installing requirements.txt into $$VENV (about 6 GB, a few minutes)" >&2
	@mkdir -p "$$VENV" && { echo installing; pwd; } > "$$VENV"/installed
	@"$$PYTHON" -m venv "$$VENV"
	@"$$VENV"/bin/python -m pip install --disable-pip-version-check -r requirements.txt
	@{ "$$VENV"/bin/python --version && pwd && cat requirements.txt; } > "$$INSTALLED"
