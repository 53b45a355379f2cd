# Everything runs in .venv, which the first target that needs it creates, and the benchmarks in .venv-bench, which holds
# the other codes, too. Python 3.11 and make are all it takes.

PORT ?= 8000
JOBS ?= 2
# The executable pages: those with a jupytext header. One alone: make reference PAGES=book/tangent.md
PAGES ?= $(shell grep -l '^jupytext:' book/*.md)

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
BENCH := .venv-bench
BENCH_READY := $(BENCH)/.installed
HTML := _build/html
BUILT := $(HTML)/.built
RAN := _build/.jupyter_cache

# The first of these that runs and is new enough; looked up only when .venv has to be made.
PYTHON = $(shell for p in python3.11 python3; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# Notebooks run in the kernel of .venv even where the home folder holds another, draw no progress bars into pages, and
# show figures in the page whatever backend the reader's shell has chosen.
NOTEBOOK := JUPYTER_PREFER_ENV_PATH=1 TQDM_DISABLE=1 MPLBACKEND=module://matplotlib_inline.backend_inline

# Pages are run one after another and compile much the same functions: keep what XLA compiled. Log level 3, because on
# some processors the loader reports, harmlessly, on stderr a tuning flag it does not know, and a page must not write there.
CACHE := JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.cache/jax JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
    JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1 TF_CPP_MIN_LOG_LEVEL=3

.PHONY: help book pdf serve test unit narrow alone portable reference bench bench-training map learn race fuzz scale million tune clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Installed anew only when the requirements change.
$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found" >&2; exit 1; }
	@echo "Installing into $(VENV): about a minute, about 1 GB, once."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

# Built anew when anything changed that a page reads, or a file of the book was taken away. Then every page runs, also one
# that is unchanged itself: --all, and no cache. -W -n: a warning or a dead reference fails.
$(BUILT): $(READY) _config.yml _toc.yml $(shell find book mepmeta benchmarks -type f -not -name '*.pyc') \
    $(shell find book -type d)
	rm -rf $(RAN) $(HTML) && mkdir -p _build && touch _build/.begun
	$(NOTEBOOK) $(CACHE) $(BIN)/jupyter-book build . --all -W -n --keep-going
	cp _build/jupyter_execute/book/*.ipynb $(HTML)/_sources/book/  # what the pages offer to download
	@mv _build/.begun $@  # what is edited during the build is newer

book: $(BUILT) ## build the book: every page executed, warnings are errors
	@echo "The book: $(CURDIR)/$(HTML)/index.html   (or: make serve)"

# Every page in one, printed by the Chromium that the tests use; no TeX, no download.
pdf: $(BUILT) ## the book as one file, _build/mepmeta.pdf; needs Chromium
	$(NOTEBOOK) $(CACHE) $(BIN)/jupyter-book build . --builder singlehtml --keep-going
	cp _build/singlehtml/book/index.html _build/singlehtml/  # its links count from there
	$(BIN)/python tests/browser.py --pdf _build/mepmeta.pdf _build/singlehtml

serve: $(READY) ## show the built book on this machine, http://127.0.0.1:PORT
	@test -f $(HTML)/index.html || { echo "make: no book yet; run: make book" >&2; exit 1; }
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory $(HTML)

# The book is built beside the unit tests, and then what its pages printed is held to the references: each runs once.
test: $(READY) ## lint, unit tests and doctests, every page against its reference outputs and in a browser
	$(BIN)/ruff check .
	$(MAKE) -j 2 unit book
	$(BIN)/pytest --nbval tests/notebooks --built=$(RAN)
	$(BIN)/python tests/browser.py $(HTML)

unit: $(READY) ## unit tests and doctests alone
	$(BIN)/pytest -n $(JOBS) --dist loadscope

# What a test may hang on without saying so: the instructions that XLA compiles for, which decide how sums and products
# round, the number of cores, which splits the sums of BLAS, and the examples of random tests. Narrow, middle and, with no
# flag, all that the processor has. All of it on two cores is `make test`.
define other_processor
@echo "== $(or $(1),widest instructions), cores $(2)"
XLA_FLAGS=$(addprefix --xla_cpu_max_isa=,$(1)) taskset -c $(2) $(BIN)/pytest -n $(3) --dist loadscope \
    --hypothesis-profile=random
$(NOTEBOOK) XLA_FLAGS=$(addprefix --xla_cpu_max_isa=,$(1)) taskset -c $(2) $(BIN)/pytest --nbval --nbval-current-env \
    tests/notebooks -n $(3) --dist loadscope
endef

narrow: $(READY)
	$(call other_processor,SSE4_2,0,1)

alone: $(READY)
	$(call other_processor,,1,1)

portable: $(READY) ## the tests as other processors run them, on one core and on two; then a wheel in an empty environment
	$(MAKE) -j 2 narrow alone
	$(call other_processor,AVX2,0-1,2)
	@echo "== wheel"
	$(BIN)/python tests/wheel.py

reference: $(READY) ## run the pages and store their outputs as the new references
	$(NOTEBOOK) $(CACHE) $(BIN)/python tests/reference.py $(PAGES)

# In an environment of its own, so that the book and the tests do not depend on other codes.
$(BENCH_READY): benchmarks/requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found" >&2; exit 1; }
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

bench: $(BENCH_READY) ## measure mepmeta, Spirit and ASE side by side; print ratios and targets
	$(CACHE) $(BENCH)/bin/python -m benchmarks.peers.run

tune: $(BENCH_READY) ## choose the settings of Spirit and ASE anew, on the development problems
	$(CACHE) $(BENCH)/bin/python -m benchmarks.peers.tune

bench-training: $(READY) ## measure training: from every start, its time, its gradients; forty random skyrmions
	@set -e; for script in all_starts escape_rates gradient_cost random_skyrmions training_time; do \
	    echo "== $$script"; $(BIN)/python benchmarks/$$script.py; done

map: $(READY) ## a map of 400 skyrmions in one call, killed twice, beside searches one by one
	$(CACHE) $(BIN)/python benchmarks/map.py

learn: $(READY) ## train the learned method, within three hours on 2 cores, and compare it on unseen problems
	$(CACHE) $(BIN)/python -m benchmarks.learn

race: $(READY) ## whole searches with one thing changed at a time, on problems that no training has seen; RACE="--problems LEPS"
	$(CACHE) $(BIN)/python -m benchmarks.race $(RACE)

fuzz: $(READY) ## ten thousand bad inputs to all public calls: each is refused in words, or its result is flagged
	$(CACHE) $(BIN)/python -m benchmarks.fuzz

scale: $(READY) ## training and a band on 1, 2, 4, 8 simulated devices and in two processes, beside one device
	$(CACHE) $(BIN)/python -m benchmarks.scale

million: $(READY) ## the collapse of a skyrmion in films of ten thousand to a million spins: memory, time, barrier
	$(CACHE) $(BIN)/python -m benchmarks.million

clean: ## remove what was built and cached, keep the environments
	rm -rf _build .cache .pytest_cache .ruff_cache .hypothesis
	find . -name '.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +
