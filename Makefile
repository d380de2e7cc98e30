# make help: what there is. STACK=onedl chooses the maintained forks of OpenMMLab.
STACK ?= openmmlab
BASE_PYTHON ?= python3
VENV := $(if $(filter onedl,$(STACK)),.venv-onedl,.venv)
PYTHON := $(CURDIR)/$(VENV)/bin/python
INSTALLED := $(VENV)/.installed
export MMCV_WITH_OPS := 0  # the forks' mmcv is built without its CUDA operators: distillation needs none

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint size clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(INSTALLED)  ## install the tested versions into .venv (STACK=onedl: the forks, into .venv-onedl)

$(INSTALLED): setup.py constraints.txt
	@case '$(STACK)' in openmmlab|onedl) ;; *) echo "STACK=$(STACK): expected openmmlab or onedl"; exit 2;; esac
	@echo 'Installing into $(VENV): about 5 GB, a minute or two where the network is fast.'
	@$(BASE_PYTHON) -m venv $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(STACK),dev]'
	@touch $@

demo: setup  ## distil handwritten digits: a table and a picture; about 7 minutes, installation included
	$(PYTHON) tools/reproduce.py configs/reproduce/digits.py --rows 'small student' \
		--methods teacher 'student alone' KD WSLD

test: setup  ## the test suite
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m 'not slow' -n 2 --dist loadfile --no-loadscope-reorder

test-slow: setup  ## the tests that take longer
	$(PYTHON) -m pytest -m slow

lint: setup  ## style, types and layers
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports

size: setup  ## lines and files of each room, test cases, words of documentation
	@for room in wsld_plugin $(patsubst %/,%,$(filter-out %__pycache__/,$(wildcard wsld_plugin/*/))) tools tests configs; do \
		git ls-files $$room | grep -E '\.(py|sh)$$' | xargs wc -l | awk -v room=$$room \
			'$$2 != "total" {lines += $$1; files++} END {printf "%-24s %6d lines %4d files\n", room, lines, files}'; done
	@printf '%-24s %6d words\n' 'README.md, docs/' $$(cat README.md docs/*.md | wc -w)
	@$(PYTHON) -m pytest --collect-only -q -m 'slow or not slow' | tail -1

clean:  ## remove the environments and caches; never what was trained
	rm -rf .venv .venv-onedl .pytest_cache .ruff_cache .mypy_cache build *.egg-info
