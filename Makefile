# make demo        install, then train and evaluate RetinaNet with MicroNet-M3 on generated pictures
# make test        install, then lint and test
# make env         only install
#
# VENV=path uses (or creates) another environment; PYTHON=path picks the interpreter to create it with.
VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
FIGURES := data/figures
DEMO := work_dirs/demo

.PHONY: env demo test lint proofs

env: $(READY)

$(READY): setup.py tools/install.sh $(wildcard requirements/*.txt)
	@tools/install.sh $(VENV)
	@touch $@

lint: $(READY)
	$(PY) -m ruff check .

test: lint
	$(PY) -m pytest -m 'not slow'

proofs: $(READY)
	$(PY) -m pytest -m slow

$(FIGURES)/annotations/train.json: $(wildcard micronet_mm/datasets/*.py) | $(READY)
	$(PY) tools/make_figures.py $(FIGURES)

demo: $(READY) $(FIGURES)/annotations/train.json
	$(PY) tools/train.py configs/demo/retinanet_micronet_m3_demo.py --work-dir $(DEMO)
	$(PY) tools/demo_report.py $(DEMO)
