# make demo   a real song to stems, scores, a picture and a TFLite file, in demo/
# make test   the test suite;  make test-all   with the slow ones
# make docs   guides, presets and reference as a site, in site/
# All set up .venv first, from nothing, and are quick when it is there.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
DOCS_READY = $(VENV)/.ready-docs

.PHONY: demo test test-all lint docs clean

demo: $(READY)
	$(BIN)/kzoo demo -o demo

# Each worker takes one processor and some 2 GB, and whole files in the order of tests/conftest.py.
PYTEST = $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	--no-loadscope-reorder

test: $(READY)
	$(PYTEST)

test-all: $(READY)
	$(PYTEST) -m "slow or not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Zensical wants its output beside its sources; --strict makes errors of its warnings.
docs: $(DOCS_READY)
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python docs/generate.py build/docs
	$(BIN)/zensical build --clean --strict --config-file build/docs/mkdocs.yml
	rm -rf site
	mv build/docs/site site

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $(DOCS_READY)

$(READY): setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,demo]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pesq \
		|| echo 'PESQ needs a C compiler: its tests will be skipped'
	$(BIN)/python -c "from kzoo.web import litert_js; litert_js.install('$(VENV)/litert-js')" \
		|| echo 'LiteRT.js comes by npm: the tests of the web page will be skipped'
	touch $(READY)

clean:
	rm -rf $(VENV) build site *.egg-info .pytest_cache .ruff_cache
