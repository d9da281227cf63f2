# The commands of whoever works on the library; they run in the active environment.

.PHONY: check format lint types test docs weights faults

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

docs: ## the site, into site/, given the extra docs; a warning or a dead link ends it
	rm -rf site
	python docs/_build_pages.py
	python -m sphinx -W --keep-going -q -b html docs site
	python docs/_check_site.py site

weights: ## train the weights that come with the library, and write their cards
	python benchmarks/build_weights.py

faults: ## the full tier of the fault harness: about half an hour, one table
	python -m tests.faults

