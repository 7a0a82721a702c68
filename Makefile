# The two commands a newcomer needs: `make demo` and `make test`. Both first make .venv.

PYTHON ?= $(shell for python in python3.12 python3.13 python3 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.12*/bin/python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo "$$python" && break; done)
BIN := .venv/bin

.PHONY: demo test lint format clean

demo: .venv/installed  ## Train ZeroDiff on the embedded digits: scores, figures, one to two and a half minutes on two cores.
	$(BIN)/zsl-jax train zerodiff_digits --workdir runs/digits

test: .venv/dev  ## Run all tests.
	$(BIN)/python -m pytest

lint: .venv/dev  ## Check style and types.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

format: .venv/dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv runs build *.egg-info

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.12 or newer is needed: install it, or run make PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable .
	touch $@

.venv/dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
