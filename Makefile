# `make demo` and `make test` set themselves up in .venv from the package registry; what is there is not done again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEED ?= 0

.PHONY: demo test lint clean

demo: $(VENV)/.ready
	$(BIN)/python -W ignore tools/demo.py --seed $(SEED)

test: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/mypy

# mmcv-lite and mmcv own the same folder: mmcv-lite comes only where no mmcv is there
$(VENV)/.ready: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14) and "Python %d.%d found, 3.11 to 3.13 needed: make PYTHON=python3.12 ..." % v)'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --upgrade "pip>=24" "setuptools>=77.0.3,<82"
	if $(BIN)/python -m pip show mmcv >/dev/null 2>&1; then extras=test; else extras=lite,test; fi; \
	$(BIN)/python -m pip install -e ".[$$extras]"
	@$(BIN)/python -c 'import cv2' || { echo "OpenCV misses system libraries: apt-get install libgl1 libglib2.0-0"; exit 1; }
	touch $@

clean:
	rm -rf work_dirs/demo data/motion build *.egg-info .pytest_cache .hypothesis .ruff_cache
