# Two commands do everything on a fresh machine with Python 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Other projects' clients of our protocols bring other versions of what we use: the tests run them on their own.
CLIENTS := .venv-clients
CLIENTS_READY := $(CLIENTS)/.ready
# What checks the deployment, for the same reason.
DEPLOY := .venv-deploy
DEPLOY_READY := $(DEPLOY)/.ready
# So does the S3 server that the tests of the store start.
SWIFT := .venv-swift
SWIFT_READY := $(SWIFT)/.ready
# The fuzzer, which only fuzzing needs.
FUZZ_READY := $(VENV)/.fuzz-ready
# How long each target is fuzzed; which one, by default all; and one input of it, to see what it does.
FUZZ_SECONDS ?= 300
FUZZ_TARGET ?=
FUZZ_INPUT ?=
# A file of tests runs in one process, long ones first. On two cores, tests of the system do well in three: one waits for containers.
TEST_PROCESSES ?= 2
SYSTEM_PROCESSES ?= 3
IMAGE ?= slimbayes:latest
TRAIN_IMAGE ?= slimbayes-train:latest
BASE_IMAGE ?= docker.io/library/python:3.11-slim-bookworm
# docker, podman or buildah, whichever is there (docker only where its engine answers).
BUILDER ?= $(shell docker info >/dev/null 2>&1 && echo docker || command -v buildah || command -v podman)
BUILD_FLAGS ?=
# The OCI format, which podman and buildah write unless told otherwise, has no HEALTHCHECK.
FORMAT = $(if $(filter docker,$(notdir $(BUILDER))),,--format docker)
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# One commit, one image: its time is the commit's. Builders that can say so in the image are told.
REVISION ?= $(shell git describe --match= --always --abbrev=40 --dirty 2>/dev/null || echo unknown)
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 315532800)
CREATED = $(shell $(PYTHON) -c 'import datetime as d; print(d.datetime.fromtimestamp($(SOURCE_DATE_EPOCH), d.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))')
EPOCH = $(if $(shell $(BUILDER) build --help 2>/dev/null | grep -e --source-date-epoch),--source-date-epoch $(SOURCE_DATE_EPOCH))
label = --label org.opencontainers.image.$(1)=$(2)
LABELS = $(call label,version,$(VERSION)) $(call label,revision,$(REVISION)) $(call label,created,$(CREATED)) \
	$(call label,base.name,$(BASE_IMAGE))
build = $(BUILDER) build $(FORMAT) $(EPOCH) $(1) --build-arg BASE_IMAGE=$(BASE_IMAGE) --file Dockerfile
# An image, and beside it, in dist/bills, what is in it. The second build has all it needs from the first.
define image
	$(call build,$(BUILD_FLAGS)) $(LABELS) --target $(1) --tag $(2) .
	$(call build,$(filter-out --no-cache,$(BUILD_FLAGS))) --target $(1)-bills --output type=local,dest=dist/bills/$(1) .
endef

# What is imported is compiled then, where that may be written down; to compile all takes more than a minute.
NO_COMPILE = $(if $(PYTHONDONTWRITEBYTECODE),,--no-compile)

.PHONY: install demo environments test test-system interleavings fuzz check docs audit lock manifests image image-train builder clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Slimbayes needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(NO_COMPILE) --constraint constraints.txt --editable '.[train,pretrained,tracing,score,ray]' --group dev
	@touch $@

$(CLIENTS_READY): pyproject.toml constraints-clients.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-clients.txt pip
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check $(NO_COMPILE) --constraint constraints-clients.txt --group clients
	@touch $@

$(DEPLOY_READY): pyproject.toml constraints-deploy.txt
	$(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-deploy.txt pip
	$(DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check $(NO_COMPILE) --constraint constraints-deploy.txt --group deploy
	@touch $@

$(SWIFT_READY): pyproject.toml constraints-swift.txt
	$(PYTHON) -m venv $(SWIFT)
	$(SWIFT)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-swift.txt pip
	$(SWIFT)/bin/python -m pip install --quiet --disable-pip-version-check $(NO_COMPILE) --constraint constraints-swift.txt --group swift
	@touch $@

$(FUZZ_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(NO_COMPILE) --constraint constraints.txt --group fuzz
	@touch $@

demo: $(READY)
	$(BIN)/slimbayes demo $(DEMO_FLAGS)

# All that tests of the system need, which `make --jobs` installs side by side.
environments: $(READY) $(CLIENTS_READY) $(DEPLOY_READY) $(SWIFT_READY)

pytest = $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder

# Every test that needs only Python and one virtual environment.
test: $(READY)
	$(pytest) --numprocesses $(TEST_PROCESSES) -m "not system" $(TEST_FLAGS)

# Tests that need Debian packages (.ci/containers, .ci/browser, .ci/clients), other environments, root, or minutes.
test-system: environments
	$(pytest) --numprocesses $(SYSTEM_PROCESSES) -m system $(TEST_FLAGS)

# Commands on a store that cross and die at any step, far more often than `make test` tries.
INTERLEAVINGS ?= 2000
interleavings: environments
	STORE_INTERLEAVINGS=$(INTERLEAVINGS) $(pytest) --numprocesses $(TEST_PROCESSES) --dist load tests/contract/store/test_interleavings.py

# What reads strangers' bytes is given ever other ones. An input that is not borne becomes a file of tests/fuzz/corpus.
fuzz: $(FUZZ_READY) $(SWIFT_READY)
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(if $(FUZZ_INPUT),--input $(FUZZ_INPUT)) $(FUZZ_TARGET)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy service model_store training pruning slimbayes benchmarks tools docker/requirements
	$(BIN)/lint-imports
	$(BIN)/python -m tools.check_prose

# The generated references, after a change of settings, commands, metrics, exports or the HTTP API.
docs: $(READY)
	$(BIN)/python -m tools.gendocs

# The plain manifests, from the chart.
manifests: $(DEPLOY_READY)
	$(DEPLOY)/bin/python docker/helm/render.py

image: builder
	$(call image,serve,$(IMAGE))

image-train: builder
	$(call image,train,$(TRAIN_IMAGE))

builder:
	@test -n "$(BUILDER)" || { echo "make image needs docker, podman or buildah"; exit 1; }

# Writes docker/requirements anew, after a change of pyproject.toml or constraints.txt.
lock: $(READY)
	UV=$(BIN)/uv docker/requirements/lock

# Known vulnerabilities of what the images install.
audit: $(READY)
	$(BIN)/python docker/requirements/audit.py

clean:
	rm -rf $(VENV) $(CLIENTS) $(DEPLOY) $(SWIFT) build dist .fuzz .hypothesis .mypy_cache .ruff_cache .pytest_cache
