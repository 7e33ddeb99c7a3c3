# `make demo` starts the consortium, `make test` checks everything. Both make .venv on first use.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# What needs nothing of each other is made beside each other: most of it waits for the network, on a fresh clone.
MAKEFLAGS += --no-print-directory --jobs=4
# A node has seven processes: where bytecode may not be written, each compiles all its modules at each start.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --require-hashes --only-binary :all:
# As many tests beside each other: WORKERS=0 for one after the other, in this process. A worker that dies fails the run.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --max-worker-restart 0
# For the demo: a folder of FHIR bundles instead of the sample data, and further options, such as ARGS=--once.
DATA ?=
ARGS ?=

.PHONY: help demo test check soak clean lint venv interop clients browser styles verify-page requirements

help:
	@echo "make demo         start the sample consortium: five nodes, sample data (DATA=folder, ARGS=--once)"
	@echo "make test         everything: style, types, imports, all tests (what CI runs)"
	@echo "make check        the same without browsers and engines, for the inner loop"
	@echo "make soak         long seeds, races, and new examples each time: takes some hours"
	@echo "make clean        remove what make and the tools have made, the demo's data included"
	@echo "make styles       compile the look of the pages anew (needs npm)"
	@echo "make verify-page  build the page that verifies evidence offline anew (needs npm)"
	@echo "make requirements compile requirements/*.in anew"

demo: $(VENV)/base.stamp
	@exec $(BIN)/medchain demo $(if $(DATA),--data "$(DATA)") $(ARGS)

# pytest comes last in each: its closing line is the last line. It enforces the coverage floors itself.
test: lint interop browser clients
	@$(PYTEST) -m "not slow" --cov --cov-report= --floors core,rest

check: lint
	@$(PYTEST) -m "not slow and not e2e and not engine" --cov --cov-report= --floors core

soak: $(VENV)/dev.stamp
	@$(PYTEST) -m "not e2e and not engine" --hypothesis-profile soak

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

venv: $(VENV)/dev.stamp

# Independent tools, in Go, that tests point at what we export. Go itself too, where there is none of the version needed.
interop: $(VENV)/dev.stamp
	@tests/interop/build.sh

# A browser for the tests of pages, and npm for SMART's client. Debian's, where this may install them; without them those tests
# are left out, and say so.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || tests/debian.sh chromium chromium-driver fonts-noto-cjk \
		|| echo "no browser: tests of pages are left out" >&2
	@command -v npm >/dev/null || tests/debian.sh npm || echo "no npm: tests with SMART's JavaScript client are left out" >&2

# The look of the pages anew, after a change of its source: with sass, from npm. A test compares the two.
styles:
	@tests/styles/build.sh && cp var/styles/pages.css medchain/web/static/pages.css

# The page that verifies evidence offline, and the script of the patient's page that checks proofs, anew, after a change of
# their source or of the words of verdicts: with esbuild and noble's curves, from npm. A test compares the two.
verify-page: $(VENV)/base.stamp
	@tests/verify/build.sh && cp var/verify/verify.html medchain/web/static/verify.html \
		&& cp var/verify/proof.js consent/web/static/proof.js

# FHIR clients of others, in Python, JavaScript and Java, that tests point at a running node. Debian's Java and Maven, where this
# may install them; without them HAPI's client is left out, and its test says so.
clients: $(VENV)/dev.stamp browser
	@command -v javac >/dev/null && command -v mvn >/dev/null || tests/debian.sh default-jdk-headless maven \
		|| echo "no JDK or no Maven: tests with HAPI's client are left out" >&2
	@command -v curl >/dev/null && command -v jq >/dev/null || tests/debian.sh curl jq \
		|| echo "no curl or no jq: the page for integrators is not tried" >&2
	@tests/clients/build.sh

# The first half is all that running needs. Wheels only, checked against their hashes; ours is installed in place.
$(VENV)/base.stamp: requirements/base.txt setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "MedChain needs Python 3.11 or later; name one with PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -r requirements/base.txt
	$(PIP) install --quiet --no-deps --no-index --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp requirements/dev.txt
	$(INSTALL) -r requirements/dev.txt
	@touch $@

COMPILE := CUSTOM_COMPILE_COMMAND="make requirements" var/pip-tools/bin/pip-compile --quiet --generate-hashes \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --allow-unsafe

# An extra that is asked for must stand beside its pin, or pip takes a newer version, which has no hash here; a file of
# constraints (base.txt) may name none.
requirements:
	$(PYTHON) -m venv var/pip-tools
	var/pip-tools/bin/python -m pip --disable-pip-version-check install --quiet pip-tools
	$(COMPILE) --strip-extras --output-file requirements/base.txt requirements/base.in
	$(COMPILE) --no-strip-extras --output-file requirements/dev.txt requirements/dev.in
	$(COMPILE) --no-strip-extras --output-file requirements/interop.txt requirements/interop.in
	$(COMPILE) --no-strip-extras --output-file requirements/clients.txt requirements/clients.in

clean:
	rm -rf $(VENV) var build dist htmlcov .coverage .coverage.* \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
