# `make help` says what there is. Needs make and Python 3.11, 3.12 or 3.13; tools/set_up.sh puts
# everything else into $(VENV), once.

VENV ?= .venv
OUT ?= out

# What people type reaches the shell through the environment, exactly as typed: paths may hold
# spaces, quotes, dollars and any letter.
override VENV := $(value VENV)
override FILM := $(value FILM)
override OUT := $(value OUT)
override HOLDOUT := $(value HOLDOUT)
override HOLDOUT_SECONDS := $(value HOLDOUT_SECONDS)
override PRESET := $(value PRESET)
override STEPS := $(value STEPS)
override EPOCHS := $(value EPOCHS)
override MINUTES := $(value MINUTES)
override MEMORY := $(value MEMORY)
override OVERWRITE := $(value OVERWRITE)
override MAX_HEIGHT := $(value MAX_HEIGHT)
override PYTHON := $(value PYTHON)
override TENSORFLOW := $(value TENSORFLOW)
export VENV FILM OUT HOLDOUT HOLDOUT_SECONDS PRESET STEPS EPOCHS MINUTES MEMORY OVERWRITE MAX_HEIGHT PYTHON TENSORFLOW

python = "$$VENV/bin/python"
# Two at a time: each has TensorFlow loaded and some gigabytes of graphs.
pytest = $(python) -m pytest --numprocesses=2 --dist=loadfile

.PHONY: help set_up film test slow oldest_test io_test beam_test browser_test lint format wheel clean distclean
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

help:  ## this text
	@echo 'make film [FILM=any.mp4] [OUT=out] [HOLDOUT=0.1] [PRESET=preview] [MINUTES=60]'
	@echo '    Without FILM: an open demo film. Results: OUT/<film>/autoencoded.mp4 and more.'
	@echo '    HOLDOUT keeps that part back, in whole shots, or in runs of HOLDOUT_SECONDS=2.'
	@echo '    MINUTES, EPOCHS (passes over the film) or STEPS say how long it learns;'
	@echo '    MEMORY=0..1 what it knows before that: hazy to exact.'
	@echo '    OVERWRITE=1 starts the film over; MAX_HEIGHT=0 writes films as high as the original.'
	@echo 'make test [ARGS="-k geometry"]'
	@echo
	@awk -F ':.*  ## ' '/^[a-z_]+:.*  ## / { printf "%-14s%s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'The first call makes the virtual environment .venv (VENV=folder for another place,'
	@echo 'PYTHON=interpreter for another Python, TENSORFLOW=cpu or gpu to choose by hand).'

set_up:  ## make the virtual environment, if it is not up to date
	@sh tools/set_up.sh "$$VENV"

film: set_up  ## turn a film into its autoencoded self
	@case $$FILM in "~/"*) FILM=$$HOME/$${FILM#"~/"} ;; esac; \
	if [ -z "$$FILM" ]; then FILM=$$($(python) tools/fetch_demo_film.py) || exit; fi; \
	exec $(python) tools/make_film.py --film="$$FILM" --output_dir="$$OUT" \
	    $${HOLDOUT:+--holdout="$$HOLDOUT"} \
	    $${HOLDOUT_SECONDS:+--holdout_seconds="$$HOLDOUT_SECONDS"} $${PRESET:+--preset="$$PRESET"} \
	    $${STEPS:+--steps="$$STEPS"} $${EPOCHS:+--epochs="$$EPOCHS"} \
	    $${MINUTES:+--minutes="$$MINUTES"} $${MEMORY:+--memory="$$MEMORY"} $${OVERWRITE:+--overwrite} \
	    $${MAX_HEIGHT:+--max_height="$$MAX_HEIGHT"}

test: set_up  ## the quick tests, some minutes
	@$(pytest) -m "not slow and not gpu and not remote and not beam and not browser" $(ARGS)

slow: set_up  ## the long tests; some need the network
	@$(pytest) -m "slow and not gpu and not remote and not beam and not browser" $(ARGS)

# What the oldest versions of all dependencies would break first: PyAV's and Keras' interfaces.
oldest = evaluation/test_perceptual evaluation/test_pretrained_weights \
    film/reading/test_probe film/reading/test_streams film/writing/test_sound \
    film/headers/test_metadata film/picture/test_tone_map conversion/test_convert \
    tfrecords/test_writer exports/test_image_files exports/test_saved_models \
    exports/test_signatures exports/test_serving_contract server/test_rest \
    server/test_process training/monitoring/test_run_pages training/test_options \
    training/test_replicas test_pipeline
oldest_test: set_up  ## a short film and part of the tests with the oldest of all dependencies, in build/oldest/venv; needs Python 3.11
	@test -x build/oldest/venv/bin/python || $(python) -m venv build/oldest/venv
	@build/oldest/venv/bin/python -m pip install --quiet -e ".[cpu,perceptual,serve,dev]" \
	    --constraint requirements/oldest.txt
	@build/oldest/venv/bin/python -m pytest --numprocesses=2 --dist=loadfile \
	    -m "not slow and not gpu" $(oldest:%=tests/%.py) $(ARGS)

# tensorflow-io loads with TensorFlow 2.16 only, so it cannot live beside a newer one.
io_test: set_up  ## TensorFlow's own reading of s3://, in build/io/venv; needs Python 3.11 or 3.12
	@test -x build/io/venv/bin/python || $(python) -m venv build/io/venv
	@build/io/venv/bin/python -m pip install --quiet --upgrade "pip>=24.3"  # older ones find no solution
	@build/io/venv/bin/python -m pip install --quiet -e ".[io]" "moto[server]>=5" "pytest>=8"
	@build/io/venv/bin/python -m pytest -m remote tests/remote $(ARGS)

beam_test: set_up  ## the tests of make_tfrecords --runner=beam, in build/beam/venv
	@test -x build/beam/venv/bin/python || $(python) -m venv build/beam/venv
	@build/beam/venv/bin/python -m pip install --quiet -r requirements/beam.txt imageio-ffmpeg \
	    "moto[server]>=5.0.10" "pytest>=8"
	@build/beam/venv/bin/python -m pytest -m beam tests/beam $(ARGS)

browser_test: set_up  ## the explorer, TensorBoard and the report in Chromium
	@sh tools/set_up_browser.sh
	@$(python) -c 'import selenium' 2>/dev/null || \
	    $(python) -m pip install --quiet "selenium>=4.20"
	@$(python) -m pytest -m browser tests/browser $(ARGS)

lint: set_up  ## style and types
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy

format: set_up  ## format the code, fix what ruff can fix
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

wheel: set_up  ## source distribution and wheel in dist/
	@rm -rf build/lib dist && $(python) -m build

clean:  ## remove what tests and builds left; films, records and results stay
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	@find . -path ./.venv -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean  ## remove the virtual environment and the cached demo film too
	@rm -rf "$$VENV" .cache
