# make demo   train, publish, prove, serve and query a network on this machine
# make test   run the tests
# Both set up their own environment in .venv first; the second time that takes no time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow lint format catalog protos constraints clean

demo: $(READY)
	@$(BIN)/zoo demo

test: $(READY)
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow"

test-slow: $(READY)
	$(BIN)/pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The environment: uv where it is installed, else the standard library's venv and pip.
$(READY): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version + ". Try: make PYTHON=python3.12 ...")'
	@echo "Setting up $(VENV) (once, some minutes, about 2.5 GB) ..."
	@if command -v uv >/dev/null 2>&1; then \
	    test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) $(VENV); \
	    uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[test]'; \
	else \
	    test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV); \
	    $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'; \
	fi
	@touch $@

# Generated files, kept in the repository.
catalog: $(READY)
	$(BIN)/python -m zoo.catalog

protos:
	uvx --from grpcio-tools==1.73.1 --with setuptools python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. serving/protos/serving.proto

constraints: $(READY)
	$(BIN)/python -m pip freeze --exclude-editable 2>/dev/null > constraints.txt || uv pip freeze --python $(BIN)/python --exclude-editable > constraints.txt

clean:
	rm -rf $(VENV) build *.egg-info demo .pytest_cache .ruff_cache
