# The two commands a newcomer needs are `make demo` and `make test`.
# Every target sets up what it needs in .venv from the exact lock.
VENV := .venv
STAMP := $(VENV)/.synced
# Spark is 480 MB, and its test makes an environment of its own.
EXTRAS := --all-extras --no-extra spark
UV := $(VENV)/bin/uv
PYTHON ?= python3
RUN := $(UV) run --no-sync
# Compiled once: without .pyc files, as images of containers set it, each process that a test starts
# compiles all it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo patterns demo-smoke demo-loop demo-kafka test check bench scaling chaos fuzz sbom licences audit clean setup

setup: $(STAMP)

$(STAMP): pyproject.toml uv.lock
	@test -x $(UV) || { $(PYTHON) -m venv --clear $(VENV) && $(VENV)/bin/python -m pip install -q uv==0.13.9; }
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) sync --quiet --locked --inexact $(EXTRAS)
	@touch $@

demo: $(STAMP)
	@$(VENV)/bin/workers demo

demo-smoke: $(STAMP)
	@$(VENV)/bin/workers demo --events 5000 --plain

# A year of flights through the feedback loop; pages in .feedback-demo.
demo-loop: $(STAMP)
	@$(VENV)/bin/python -m examples.flights.loop .feedback-demo

demo-kafka: $(STAMP)
	@$(VENV)/bin/workers demo --broker kafka

# Worker, sidecar, gateway and proxy with one model, on an embedded broker.
patterns: $(STAMP)
	@$(VENV)/bin/python -m examples.patterns

test: $(STAMP)
	$(VENV)/bin/python -m pytest -n $(or $(JOBS),2) --dist loadfile --cov --cov-report=term:skip-covered

check: $(STAMP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# make bench PARTS=lifecycle: those parts alone.
bench: $(STAMP)
	$(VENV)/bin/python -m benchmarks $(if $(PARTS),--parts $(PARTS))

# docs/scaling.md: alone on the machine, ten minutes and more.
scaling: $(STAMP)
	$(VENV)/bin/python -m benchmarks --scaling

# What a worker runs with: exact versions with their hashes, and a CycloneDX bill of materials.
RUNTIME := --frozen --no-default-groups --extra compiled --extra contracts --extra encryption
sbom: $(STAMP)
	@mkdir -p dist build
	@$(UV) export --quiet $(RUNTIME) --no-emit-project --output-file dist/requirements.txt >/dev/null
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/build/runtime $(UV) sync --quiet $(RUNTIME) --no-install-project
	@$(UV) tool run --quiet --from cyclonedx-bom==7.2.1 cyclonedx-py environment build/runtime/bin/python \
		--pyproject pyproject.toml --output-reproducible --output-file dist/sbom.cdx.json
	@echo "wrote dist/requirements.txt and dist/sbom.cdx.json"

licences: $(STAMP)
	$(VENV)/bin/python -m tests.supply.licences > docs/licences.md

# Asks PyPI's advisories: needs a network that reaches them. Strict, because what it cannot look up
# it leaves out, and calls the rest well.
audit: sbom
	$(UV) tool run --from pip-audit==2.10.1 pip-audit --strict --disable-pip --require-hashes -r dist/requirements.txt

# Faults at random on three brokers: make chaos SECONDS=60 SEED=7
chaos: $(STAMP)
	$(VENV)/bin/python -m tests.faults.chaos --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

# SECONDS=600 make fuzz: so long, from the kept corpus; what it finds is written to .fuzz.
fuzz: $(STAMP)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) sync --quiet --locked --inexact $(EXTRAS) --group fuzz
	@mkdir -p .fuzz/corpus
	$(VENV)/bin/python -m tests.fuzz .fuzz/corpus tests/fuzz/corpus -max_total_time=$(or $(SECONDS),60) \
		-max_len=1024 -timeout=20 -rss_limit_mb=3000 -artifact_prefix=.fuzz/

clean:
	rm -rf $(VENV) .fuzz .feedback-demo .mypy_cache .ruff_cache .pytest_cache
