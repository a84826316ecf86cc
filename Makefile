# make demo        install, then train and evaluate RetinaNet with MicroNet-M3 on generated pictures
# make demo-cls    install, then train MicroNet-M0 on handwritten digits
# make demo-micro install, then train and evaluate a detector of Micro-Blocks on generated pictures
# make demo-path   install, then train the six networks of Table 2 on handwritten digits, three seeds each
# make demo-pose   install, then train and evaluate keypoints with MicroNet-M0 on generated pictures
# make demo-web    install, then serve a page in the browser that runs the demos' models on pictures and the camera
# make tables      count the paper's tables anew into docs/paper_tables.md, detectors into docs/detector_costs.md, and all
#                  configs into model-index.yml and configs/metafiles
# make ablation    install, then train the detector of demo-micro with one part exchanged, three seeds each
# make figures     draw the paper's figures anew into docs/figures
# make docs        build the pages of docs/, README and the API into site/
# make test        install, then lint and test
# make proofs      the slow tests: what the demos promise
# make demo-web-test  the page's tests, in Chromium (Debian: apt install chromium chromium-driver)
# make sanitize    the tests of operators and plans under the address and undefined-behaviour sanitizers
# make arm         plans on ARM, by an emulator (Debian: apt install g++-aarch64-linux-gnu qemu-user)
# make test-onedl  the tests on the maintained line of MMLab, in .venv-onedl
# make env         only install: wheels, no compiler (MMCV=compiled compiles mmcv, MMCV=onedl takes the maintained line)
#
# VENV=path uses (or creates) another environment; PYTHON=path picks the interpreter to create it with.
VENV ?= .venv
export MMCV ?= lite
PY := $(VENV)/bin/python
READY := $(VENV)/.ready-$(MMCV)
WEB_READY := $(VENV)/.ready-web-$(MMCV)
FIGURES := data/figures
DIGITS := data/digits
DEMO := work_dirs/demo
POSE := work_dirs/demo-pose
MICRO := work_dirs/demo-micro

.PHONY: env demo demo-cls demo-micro demo-path demo-pose demo-web demo-web-test ablation tables figures docs test test-onedl
.PHONY: lint proofs sanitize arm

env: $(READY)

$(READY): setup.py tools/install.sh $(wildcard requirements/*.txt)
	@tools/install.sh $(VENV)
	@touch $@

tables: $(READY)
	$(PY) -W ignore tools/paper_tables.py --markdown docs/paper_tables.md
	$(PY) -W ignore tools/detector_costs.py --markdown docs/detector_costs.md
	$(PY) -W ignore tools/model_index.py

figures: $(READY)
	$(PY) -W ignore tools/paper_figures.py --out-dir docs/figures

docs: $(READY)
	$(PY) -W ignore -m sphinx -W --keep-going -q docs site

lint: $(READY)
	$(PY) -m ruff check .

test: lint
	$(PY) -m pytest -n 2 --dist loadfile -m 'not slow'

test-onedl:
	$(MAKE) test VENV=.venv-onedl MMCV=onedl

# The library is another one then: its cache is named after the compiler.
sanitize: $(READY)
	CXX='g++ -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -g' ASAN_OPTIONS=detect_leaks=0 \
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
		$(PY) -m pytest tests/test_ops.py tests/test_deferred.py tests/test_cpp_function.py tests/test_plan.py \
		tests/test_plan_weights.py tests/test_plan_convolutions.py

arm: $(READY)
	MICRONET_NEED_ARM=1 $(PY) -m pytest tests/test_plan_arm.py

proofs: $(READY)
	$(PY) -m pytest -m slow

$(FIGURES)/annotations/train.json: $(wildcard micronet_mm/datasets/*.py) | $(READY)
	$(PY) tools/make_figures.py $(FIGURES)

$(DIGITS)/train: | $(READY)
	$(PY) tools/make_digits.py $(DIGITS)

demo-cls: $(READY) $(DIGITS)/train
	$(PY) tools/train.py configs/demo/imagenet_micronet_m0_digits.py --work-dir work_dirs/demo-cls

demo-micro: $(READY) $(FIGURES)/annotations/train.json
	$(PY) tools/train.py configs/demo/micro_det_m3_demo.py --work-dir $(MICRO)
	$(PY) tools/demo_report.py $(MICRO)

ablation: $(READY) $(FIGURES)/annotations/train.json
	$(PY) -W ignore tools/ablate_detector.py blocks
	$(PY) -W ignore tools/ablate_detector.py heads
	$(PY) -W ignore tools/ablate_detector.py statistics

demo-path: $(READY) $(DIGITS)/train
	$(PY) -W ignore tools/demo_path.py

demo-pose: $(READY) $(FIGURES)/annotations/train.json
	$(PY) tools/train.py configs/demo/keypoint_micronet_m0_demo.py --work-dir $(POSE)
	$(PY) tools/draw_poses.py configs/demo/keypoint_micronet_m0_demo.py $$(cat $(POSE)/last_checkpoint) \
		--out-dir $(POSE)/pictures
	$(PY) tools/demo_report.py $(POSE) --pictures $(POSE)/pictures

$(WEB_READY): requirements/web.txt $(READY)
	$(PY) -m pip install --quiet --constraint requirements/constraints-$(MMCV).txt --requirement $<
	@touch $@

# ARGS='--models FOLDER' serves other files; see docs/demo_web.md.
demo-web: $(WEB_READY)
	$(PY) -W ignore tools/demo_web.py $(ARGS)

demo-web-test: $(WEB_READY)
	$(PY) -m pip install --quiet --constraint requirements/constraints-$(MMCV).txt --requirement requirements/web-tests.txt
	MICRONET_WEB_REQUIRED=1 $(PY) -m pytest tests/test_demo_web.py

demo: $(READY) $(FIGURES)/annotations/train.json
	$(PY) tools/train.py configs/demo/retinanet_micronet_m3_demo.py --work-dir $(DEMO)
	$(PY) tools/demo_report.py $(DEMO)
