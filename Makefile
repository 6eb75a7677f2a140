# Two commands do everything on a fresh Debian machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The real parts of the tests: command and Debian package.
REAL := docker-registry:docker-registry skopeo:skopeo pigz:pigz zstd:zstd bsdtar:libarchive-tools busybox:busybox \
    faketime:faketime bindfs:bindfs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs mkfs.exfat:exfatprogs mkfs.vfat:dosfstools \
    mount.exfat-fuse:exfat-fuse fusefat:fusefat

# Programs whose files are read by the tests: as above.
CLIENTS := podman:podman buildah:buildah umoci:umoci ctr:containerd
# Its daemon changes the networks of the machine: `make test` does without.
DOCKER := dockerd:docker.io

.PHONY: demo test test-clients test-pythons test-python lint house clients real-parts extra cluster packages pages wheelhouse lock site bench fuzz crash model clean

demo: $(VENV)/.run
	$(BIN)/python -m hangar_async demo

# Rooms whose tests make the same runs again and again, to fail at many moments, or in processes: their coverage is not
# measured, which would double their time.
UNMEASURED := tests/environments tests/faults tests/fuzz tests/model

test: $(VENV)/.dev clients lint
	$(BIN)/python -m pytest -n 2 $(UNMEASURED) $(PYTEST)
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term $(addprefix --ignore=,$(UNMEASURED)) $(PYTEST)

# What other programs write, made by themselves; Docker too, which `make test` reads where it is installed.
test-clients: $(VENV)/.dev
	@$(MAKE) --no-print-directory real-parts REAL="$(REAL) $(CLIENTS) $(DOCKER)"
	$(BIN)/python -m pytest -m clients tests/real $(PYTEST)

# The tests under each of these versions of Python that the machine has, on its path or in pyenv, each in an environment
# of its own; those that it has not are named at the end.
PYTHONS ?= 3.11 3.12 3.13
test-pythons: real-parts
	@missing=""; failed=""; for version in $(PYTHONS); do \
	    python="python$$version"; \
	    "$$python" -c "" 2>/dev/null || python="$$(ls -d "$$(pyenv root 2>/dev/null)/versions/$$version".*/bin/python 2>/dev/null | tail -n 1)"; \
	    if [ -z "$$python" ]; then missing="$$missing $$version"; continue; fi; \
	    echo "$$("$$python" --version)"; \
	    $(MAKE) --no-print-directory test-python VENV=".venvs/$$version" PYTHON="$$python" || failed="$$failed $$version"; \
	done; \
	[ -z "$$missing" ] || echo "not here, and not tested: Python$$missing"; \
	[ -z "$$failed" ] || { echo "failed: Python$$failed"; exit 1; }

test-python: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2 $(PYTEST)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The size of the package in numbers; tests/test_house.py has their limits.
house: $(VENV)/.dev
	$(BIN)/python -m tests.house

# The tests with what `make test` does not install: chromium, podman, containerd, zsh, fish, qemu-user. Missing ones are skipped.
extra: $(VENV)/.dev real-parts
	$(BIN)/python -m pytest -q -m extra -rs $(PYTEST)

# Kills the workers and the coordinator of a cluster at ten moments; skopeo looks for every digest.
cluster: $(VENV)/.dev real-parts
	CLUSTER=1 $(BIN)/python -m pytest -q -m cluster tests/engine/cluster $(PYTEST)

# Builds the wheel and the source archive, installs them into empty environments without an index, and runs them.
packages: $(VENV)/.dev
	PACKAGES=1 $(BIN)/python -m pytest -q -m packages -o faulthandler_timeout=1800 tests/real/test_packages.py $(PYTEST)

# Writes into the pages of docs/ what the program itself says; a test fails where they differ.
pages: $(VENV)/.dev
	$(BIN)/python -m tests.pages

# The pages of docs/ as a site in dist/site; a link that leads nowhere ends it.
site: $(VENV)/.site
	NO_MKDOCS_2_WARNING=1 $(VENV)/.site/bin/mkdocs build --quiet

# This package and all that it needs, as requirements.lock has it, for a machine without a network; see docs/install.md.
wheelhouse: $(VENV)/.build
	rm -rf dist/wheelhouse
	$</bin/pip download --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
	    --dest dist/wheelhouse --requirement requirements.lock
	$</bin/python -m hatchling build --target wheel --directory dist/wheelhouse
	cp requirements.lock dist/wheelhouse/

# The newest versions that pyproject.toml allows, for all systems and versions of Python, with the digest of each file.
lock: $(VENV)/.lock
	$</bin/uv pip compile $(LOCK) --extra speed --extra metrics --output-file requirements.lock pyproject.toml
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	    | $</bin/uv pip compile $(LOCK) --output-file requirements-build.lock -
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade

bench: $(VENV)/.dev real-parts
	$(BIN)/python -m benchmarks $(BENCH)

# Many states of the disk after a loss of power, and a death, at each operation; `make test` tries fewer. Each operation
# is followed by so many losses of power; the numbers of states stand at the end.
CRASHES ?= 8
crash: $(VENV)/.dev
	CRASHES=$(CRASHES) $(BIN)/python -m pytest -q -rP -n 2 --timeout 36000 -o faulthandler_timeout=36000 \
	    tests/faults/test_power.py tests/faults/test_crash.py tests/faults/test_filesystems.py

# Many random runs beside a plain model, with everything that goes wrong; `make test` tries 500. MODEL=5000 for fewer.
MODEL ?= 50000
model: $(VENV)/.dev
	MODEL=$(MODEL) $(BIN)/python -m pytest -q -n 2 --timeout 86400 -o faulthandler_timeout=86400 tests/model

# FUZZ="manifest --seconds 600" fuzzes one parser for ten minutes; without it, each for one.
fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz $(FUZZ)

clients:
	@$(MAKE) --no-print-directory real-parts REAL="$(REAL) $(CLIENTS)"

# Installs what is missing, as root; anybody else is told the command.
real-parts:
	@missing=""; PATH="$$PATH:/usr/sbin"; for pair in $(REAL); do \
	    command -v "$${pair%%:*}" >/dev/null 2>&1 || missing="$$missing $${pair#*:}"; done; \
	if [ -n "$$missing" ]; then \
	    if [ "$$(id -u)" = 0 ]; then \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	    else \
	        echo "missing:$$missing; as root: apt-get install$$missing"; exit 1; \
	    fi; \
	fi

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,speed]'
	@touch $@ $(VENV)/.run

$(VENV)/.fuzz: pyproject.toml $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,fuzz]'
	@touch $@ $(VENV)/.run

# Environments of their own: nothing else needs what is in them.
$(VENV)/.build: requirements-build.lock $(VENV)/bin/python
	rm -rf $@
	$(BIN)/python -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-build.lock
	@touch $@

$(VENV)/.lock: $(VENV)/bin/python
	rm -rf $@
	$(BIN)/python -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9'
	@touch $@

$(VENV)/.site: pyproject.toml $(VENV)/bin/python
	rm -rf $@
	$(BIN)/python -m venv --without-pip $@
	$(BIN)/python -m pip --python $@/bin/python install --no-compile --quiet --disable-pip-version-check 'mkdocs-material>=9.5'
	@touch $@

clean:
	rm -rf $(VENV) .venvs demo .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* dist
