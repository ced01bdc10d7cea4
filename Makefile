# Needs make and Python 3.11 or newer. All paths are relative, so the checkout may live under any name.
PYTHON ?= python3
VENV_PYTHON = .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo demo-once screenshots test bench chaos messages lint types clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: .venv/.demo ## Run the demo shop with worker and sandbox, in your browser
	@$(VENV_PYTHON) manage.py demo

demo-once: .venv/.demo ## Play the demo without a browser: one order, from click to parcel
	@$(VENV_PYTHON) manage.py demo --once

screenshots: .venv/.demo .venv/.browser ## Take the pictures of the documentation anew; needs chromium
	@$(VENV_PYTHON) manage.py screenshots

test: .venv/.test ## Run every test that needs no server
	@$(VENV_PYTHON) -m pytest -n logical --dist worksteal -m "not services and not browser and not fuzz and not chaos"

bench: .venv/.test .venv/.services ## Measure delivery and print each figure beside its target; the sandbox after it
	@$(VENV_PYTHON) -m benchmarks
	@$(VENV_PYTHON) -m benchmarks.sandbox

chaos: .venv/.test .venv/.services ## Break real services under load: make chaos N=2000 SEED=7 ON=redis-postgresql
	@$(VENV_PYTHON) -m tests.chaos $(if $(N),--orders $(N)) $(if $(SEED),--seed $(SEED)) $(ON)

messages: .venv/.test ## Gather all texts into the German and Turkish catalogues, and compile them; needs GNU gettext
	@cd bronto_orders && ../$(VENV_PYTHON) -m django makemessages --locale de --locale tr --ignore sandbox \
		--no-wrap --add-location file --no-obsolete
	@cd bronto_orders && ../$(VENV_PYTHON) -m django compilemessages

lint: .venv/.lint ## Check style and the direction of imports
	@$(VENV_PYTHON) -m ruff check
	@$(VENV_PYTHON) -m ruff format --check
	@.venv/bin/lint-imports

types: .venv/.types ## Check types
	@$(VENV_PYTHON) -m mypy

clean: ## Remove the virtual environment, the demo's state and all caches
	@rm -rf .venv .demo build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@rm -rf .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each dependency group, renewed when pyproject.toml changes.
.venv/.%: pyproject.toml $(VENV_PYTHON)
	@echo "Installing what '$*' needs into .venv …"
	@$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --editable . --group $*
	@touch $@

$(VENV_PYTHON):
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is not. Name another: make PYTHON=/path/to/python3.13 …" >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear .venv || { rm -rf .venv; \
		echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
