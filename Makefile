# `make help` lists what there is. Everything runs from .venv, which is made when it is needed.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_PACKAGES := qemu-system-x86 python3-venv
TEST_PACKAGES := $(RUN_PACKAGES) gcc libc6-dev musl-tools golang-go rustc binutils make bc flex bison libelf-dev xz-utils cpio erofs-utils squashfs-tools gnupg zstd patch zsh fish docker-registry apache2-utils skopeo umoci fdisk gdisk qemu-utils ovmf dosfstools mtools
FUZZ_PACKAGES := gcc libc6-dev python3-venv clang-14 libclang-rt-14-dev
FUZZ_SECONDS ?= 3600
RECIPES := $(notdir $(patsubst %/recipe.toml,%,$(wildcard recipes/*/recipe.toml)))

.DEFAULT_GOAL := help
.PHONY: help demo locks test test-fast test-all wheel docs docs-figures figures-report check images clean system system-test

help: ## show this list
	@awk -F ':.*## ' '/^[a-zA-Z0-9_%-]+:.*## / { sub("%", "NAME", $$1); printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: system $(VENV)/installed ## set up what is needed, build nginx's image, boot it, ask it, measure it
	$(BIN)/imagebuilder test nginx --show-answer

locks: $(VENV)/installed-dev ## choose again what the archives no longer have of the shipped recipes' lockfiles
	$(BIN)/python -m tests.locks

test: system-test $(VENV)/installed-dev locks ## run what a change must not break (boots QEMU), by two workers
	$(BIN)/pytest -m "not slow" -n 2 --dist loadgroup $(TEST_OPTIONS)

test-fast: $(VENV)/installed-dev ## run what neither boots a machine nor starts another program, in under a minute
	$(BIN)/pytest -q -n auto -m "not vm and not slow and not tools"

test-all: system-test $(VENV)/installed-dev locks ## run every test, those that take minutes too
	THOROUGH=1 $(BIN)/pytest

wheel: system $(VENV)/installed-dev ## build the wheel into dist, and try it: installed elsewhere it builds and boots hello
	rm -rf dist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	elsewhere=$$(mktemp -d) && trap 'rm -rf "$$elsewhere"' EXIT && cp dist/*.whl "$$elsewhere" && cd "$$elsewhere" && \
	$(PYTHON) -m venv venv && venv/bin/pip install --quiet --disable-pip-version-check ./*.whl && \
	venv/bin/imagebuilder test hello

docs: docs-figures ## make again what is generated in the docs: verbs and options, kinds of source, figures
	$(BIN)/python -m tests.docs.commands
	$(BIN)/python -m tests.docs.sources
	$(BIN)/python -m tests.docs.formats

docs-figures: $(VENV)/installed-dev ## write the figures of the reports in docs/figures into the docs
	$(BIN)/python -m tests.docs.figures

figures-report: $(VENV)/installed-dev ## measure what the docs tell (some minutes, on a quiet machine), and write it into them
	mkdir -p out/figures
	$(BIN)/imagebuilder test $(RECIPES) --accel tcg --min-memory --json out/figures/least.json
	$(BIN)/imagebuilder bench $(RECIPES) --accel tcg --runs 16 --instructions --json out/figures/starts.json
	$(BIN)/imagebuilder bench nginx --accel tcg --runs 16 --template --json out/figures/clones.json
	$(BIN)/imagebuilder bench nginx --accel tcg --runs 8 --kernel micro --kernel debian-cloud --memory 256 --json out/figures/kernels.json; test $$? -le 1 # that kernel keeps no promise
	$(BIN)/python -m tests.docs.figures keep out/figures/*.json
	$(BIN)/python -m tests.docs.figures

check: $(VENV)/installed-dev ## ruff, mypy strict, the layout of the house
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_layout.py

fuzz: system-fuzz $(VENV)/installed-dev ## feed the parsers of foreign input at random, for an hour (FUZZ_SECONDS)
	$(BIN)/python -m tests.fuzz $(if $(FUZZ_INPUTS),--inputs $(FUZZ_INPUTS),--seconds $(FUZZ_SECONDS))

mutate: system-test $(VENV)/installed-dev ## change guarding code in small ways: do its tests notice? (MUTANTS='imagebuilder.store*': of one module)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[mutate]'
	rm -rf mutants
	$(BIN)/mutmut run $(MUTANTS)
	$(BIN)/mutmut results # those that no test noticed

images: $(addprefix image-,$(RECIPES)) ## build the images of all recipes

image-%: system $(VENV)/installed ## build one image into out/NAME
	$(BIN)/imagebuilder build $*

test-%: system $(VENV)/installed ## build, boot and measure one image
	$(BIN)/imagebuilder test $*

kernel-%: system-test $(VENV)/installed ## compile one kernel (minutes)
	$(BIN)/imagebuilder kernel build $*

clean: ## remove what was made here (the cache in your home stays)
	rm -rf out $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The package, from its own description; made again when that changes.
$(VENV)/installed: pyproject.toml | system
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	$(BIN)/python -m compileall -q imagebuilder
	touch $@

$(VENV)/installed-dev: pyproject.toml | system
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m compileall -q imagebuilder
	touch $@ $(VENV)/installed

# Debian's packages, when they are missing and we may install them.
define install
	@missing=$$(dpkg-query -W -f '$${db:Status-Abbrev} $${Package}\n' $(1) 2>/dev/null | awk '$$1 == "ii" { print $$2 }' > .have.$$$$; \
	  for name in $(1); do grep -qx "$$name" .have.$$$$ || echo "$$name"; done; rm -f .have.$$$$); \
	test -z "$$missing" && exit 0; \
	if [ "$$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo=sudo; \
	else echo "please install these first: sudo apt-get install" $$missing >&2; exit 2; fi; \
	echo "installing" $$missing; \
	$$sudo apt-get -qq update && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y $$missing > /dev/null
endef

system:
	$(call install,$(RUN_PACKAGES))

system-test:
	$(call install,$(TEST_PACKAGES))

system-fuzz:
	$(call install,$(FUZZ_PACKAGES))
