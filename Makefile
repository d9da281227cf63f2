# The commands of whoever works on the library; they run in the active environment.

.PHONY: check format lint types test docs weights bench faults

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
	python docs/_fetch_runtime.py
	python docs/_build_pages.py
	python benchmarks/tables.py
	python -m sphinx -W --keep-going -q -b html docs site
	python docs/_check_site.py site

weights: ## train the weights that come with the library, and write their cards
	python benchmarks/build_weights.py

bench: ## measure everything but folders of pictures; DATA is a folder that has MNIST/raw; hours
	python benchmarks/peers.py --root $(DATA)
	python benchmarks/throughput.py
	python benchmarks/fast.py --data $(DATA)
	python benchmarks/growth.py
	python benchmarks/import_time.py
	if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
	  python benchmarks/gpu.py --root $(DATA); fi
	python benchmarks/tables.py

faults: ## the full tier of the fault harness: about half an hour, one table
	python -m tests.faults

