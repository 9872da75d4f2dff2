# Everything a developer and CI run. `make` alone prints this list.
# Python 3.11 or newer and make are all that must be there; `.venv` is made and kept up to date by the first rule.

PORT    = 8000
DATA    = .local
WORKERS = 2
ARGS    =

PY = .venv/bin/python
STAMP = .venv/.requirements-dev
SHELL = /bin/sh
PACKAGES = config tenants accounts activity
UV_COMPILE = $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" pyproject.toml

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore
# The tests start hundreds of processes: without it each of them compiles the whole project.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL = help
.PHONY: help venv up test bench scenarios check lock screenshots clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

up: $(STAMP) ## Set everything up and run it in the foreground (PORT=8000 DATA=.local)
	@exec $(PY) manage.py up --port "$(PORT)" --data "$(DATA)"

test: $(STAMP) ## Run all tests (WORKERS=2, ARGS="tests/tenants -k pool")
	@$(PY) -m pytest -n "$(WORKERS)" --dist loadgroup $(ARGS)

bench: $(STAMP) ## Measure: the benchmarks, one after the other
	@$(PY) -m pytest -m bench -s $(ARGS)

scenarios: $(STAMP) ## Run the fault scenarios at full size (long)
	@$(PY) -m pytest -m scenario -s $(ARGS)

check: $(STAMP) ## Lint, format, types, layers, migrations, `check --deploy`
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@.ci/production $(PY) -m mypy
	@$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-logo
	@.ci/production $(PY) -W error manage.py check --deploy --fail-level WARNING
	@.ci/production $(PY) -W 'ignore:Got an error checking' manage.py makemigrations --check --dry-run

lock: $(STAMP) ## Resolve requirements.txt and requirements-dev.txt again (ARGS=--upgrade for newer releases)
	@$(UV_COMPILE) -o requirements.txt $(ARGS)
	@$(UV_COMPILE) --extra parquet --extra dev -o requirements-dev.txt $(ARGS)

screenshots: $(STAMP) ## Take the pictures in docs/screenshots again (needs Chromium)
	@$(PY) -m pytest tests/browser -m screenshots $(ARGS)

venv: $(STAMP) ## Make .venv, or bring it up to date

clean: ## Remove .venv and all caches; the data in .local stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A name on PATH may be a shim that only says that the version isn't active, so each candidate is asked for its version.
$(STAMP): requirements-dev.txt
	@set -e; \
	if ! $(PY) -m pip --version >/dev/null 2>&1; then \
		for python in python3.13 python3.12 python3.11 python3; do \
			if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
				found=$$python; break; \
			fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "Tenantry needs Python 3.11, 3.12 or 3.13, and none is on PATH." >&2; exit 1; \
		fi; \
		if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
			echo "$$found can't make virtual environments; on Debian and Ubuntu install its package python3-venv." >&2; exit 1; \
		fi; \
		echo "Making .venv with $$($$found --version)"; \
		$$found -m venv --clear .venv; \
	fi; \
	echo "Installing requirements-dev.txt into .venv"; \
	$(PY) -m pip install --quiet --require-hashes --requirement requirements-dev.txt; \
	touch $@
