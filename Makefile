# robot_rl: everything a newcomer, a developer and CI start with. `make help` lists the targets.
SHELL := bash
.DEFAULT_GOAL := help

TASK ?= peg_insertion
PY := .venv/bin/python
CODE := controllers hardware robot_rl demos examples tests benchmarks launch scripts setup.py
DEMO_FLAGS = --task $(TASK) $(if $(SEED),--seed $(SEED)) $(if $(filter-out 0,$(FAST)),--fast)

# Set by the ROS 2 wheels in the processes of another environment; with it, those in .venv would not find their libraries.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE
# Set on some machines; without bytecode, each of the processes of a job, and of the hundreds that tests start, would compile everything.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-slow lint bench docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## install everything into .venv (quick when nothing changed)
	@bash scripts/setup.sh

demo: setup ## learn TASK=peg_insertion on the simulated arm, in real time; FAST=1 in process, SEED=n
	@.venv/bin/robot-rl demo $(DEMO_FLAGS)

test: setup ## lint, type check and every test but the slow ones
	@bash scripts/test.sh

test-slow: setup ## the tests that take minutes, and one that takes hours
	@$(PY) -m pytest -q -m 'slow and not hardware'

lint: setup ## ruff and mypy
	@$(PY) -m ruff check --quiet $(wildcard $(CODE))
	@$(PY) -m ruff format --check --quiet $(wildcard $(CODE)) || { echo "lint: run '$(PY) -m ruff format'" >&2; exit 1; }
	@$(PY) -m mypy --no-error-summary

bench: setup ## run every benchmark; they print JSON lines
	@for file in $(filter-out $(addprefix benchmarks/,graph.py loop_comparison.py peers.py stopped_browser.py),$(wildcard benchmarks/*.py)); do $(PY) "$$file" || exit; done

docs: setup ## build the documentation and the reference into site/
	@$(PY) -c 'import material, mkdocstrings_handlers.python' 2>/dev/null || \
		$(PY) -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build

clean: ## remove .venv and everything that was built (runs/ stays)
	@rm -rf .venv build dist install log site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
