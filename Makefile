# The commands of whoever works on the library; they run in the active environment.

.PHONY: check format lint types test faults

check: lint types test ## everything that must hold before a commit

format: ## rewrite the code in its one form
	ruff check --fix-only .
	ruff format .

lint: ## form and habits of the code
	ruff format --check .
	ruff check .

types:
	mypy

test: ## all of it: papers, properties, layering, README, documentation
	pytest

faults: ## the full tier of the fault harness: about half an hour, one table
	python -m tests.faults

