# `make demo` and `make test` each work alone on a fresh clone: they create .venv, install the pinned dependencies
# and the package, and run. They install again only after a change to what the installation is made from.

BIN := .venv/bin
INSTALLED := .venv/.installed
CSRC := src/proxconnect/csrc
MADE_FROM := tools/install pyproject.toml constraints.txt $(CSRC)/CMakeLists.txt \
	$(wildcard $(foreach folder,*/ */*/,$(CSRC)/$(folder)*.h $(CSRC)/$(folder)*.cpp))

# Small networks gain nothing from a second thread, and wait for each other's where the cores are busy.
ONE_THREAD := OMP_NUM_THREADS=1
# The processes that tests start read compiled modules, also where the environment asks Python to write none.
KEEP_COMPILED := PYTHONDONTWRITEBYTECODE=
# What the tests of a file share is made once: a file runs in one process. Files start in order of their names, so that
# the C++ tests, which compile on all cores, are not the last.
# One process more than cores: some tests wait for processes of their own.
CORES := $(shell getconf _NPROCESSORS_ONLN)
PROCESSES := --numprocesses $(shell expr $(CORES) + 1) --maxprocesses 8 --dist loadfile --no-loadscope-reorder
PYTEST := $(ONE_THREAD) $(KEEP_COMPILED) $(BIN)/pytest --quiet $(PROCESSES)

.DEFAULT_GOAL := help
.PHONY: help demo test test-full run-tests lint style types format clean

help: ## show these lines
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1 - \2/p' Makefile

demo: $(INSTALLED) ## train, pack, reload and run a 1-bit network on handwritten digits
	@$(ONE_THREAD) $(BIN)/python examples/digits.py

# Checking types keeps one core busy; tests start on the others meanwhile.
test: style ## spelling, style, types, import directions and tests
	@$(MAKE) --no-print-directory --jobs 2 types run-tests

run-tests: $(INSTALLED)
	@$(PYTEST)

test-full: lint ## the same, with the large matrices, then as other machines would, with new random examples
	@$(PYTEST) -m "full or not full" --hypothesis-profile=new
	@tools/test_machines
	@tools/test_versions

lint: style types ## spelling, style, types and import directions

style: $(INSTALLED)
	@$(BIN)/codespell
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet

types: $(INSTALLED)
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo

format: $(INSTALLED) ## rewrite the Python code in the project's style
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

clean: ## remove everything that was made
	@rm -rf .venv .compilers .versions .benchmarks build dist demo_out .*_cache .hypothesis src/proxconnect/*.so
	@cd $(CSRC) && rm -rf .cmake .ninja_* .skbuild-info.json *.a build.ninja CMakeCache.txt CMakeFiles CMakeInit.txt \
		cmake_install.cmake Makefile
	@find src tests -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): $(MADE_FROM)
	@tools/install
	@touch $@
