# The commands of this repository, the same by hand and in CI. All of them work in .venv alone.

PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check -q

.PHONY: install lint check test test-arm64 bench study demo evaluate clean

install: .venv/.dev

lint: .venv/.dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports
	! test -x .venv/bin/hadolint || .venv/bin/hadolint devices/docker/Dockerfile devices/docker/Dockerfile.jetson

check: .venv/.dev
	.venv/bin/mypy

test: .venv/.dev
	.venv/bin/python -m pytest

# The runtime on emulated ARM cores, about 20 minutes; as root where mmdebstrap and qemu-user are missing.
test-arm64: .venv/.dev
	sh tests/arm64/root.sh
	.venv/bin/python tests/arm64/run.py

bench: .venv/.dev
	.venv/bin/python tests/bench/footprint.py

# Hours on two cores; it goes on where it was stopped. Weights and recordings: tests/recipes/pip-data.sh.
study: .venv/.dev
	OMP_NUM_THREADS=1 .venv/bin/python -m tests.bench.nhl_study

demo: .venv/.runtime
	.venv/bin/tta demo

# Every method under every protocol on the demo's data; what is done is kept, so it may be stopped and begun again.
JOBS ?= 2
evaluate: .venv/.dev
	OMP_NUM_THREADS=1 .venv/bin/python -m tta evaluate tta/demo/fashion.tta fashion --adapter all --protocol all \
		--skip-unfit --jobs $(JOBS) --out build/evaluation

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

# What a device has: no torch.
.venv/.runtime: pyproject.toml | .venv/bin/python
	$(PIP) install -e '.[terminal]'
	touch $@

# What a developer has. PyPI's torch for x86-64 brings gigabytes of CUDA, so its CPU build comes first:
# from pip's own sources if they have it, else from PyTorch's.
TORCH = torch==2.13.0
TORCH_INDEX = https://download.pytorch.org/whl/cpu

.venv/.dev: pyproject.toml Makefile | .venv/bin/python
	$(PIP) install $(TORCH)+cpu 2> /dev/null || $(PIP) install $(TORCH) --extra-index-url $(TORCH_INDEX)
	$(PIP) install -e '.[dev]'
	touch .venv/.runtime $@
