# The verbs of a day. `make` alone lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.8
DURATION ?= 0
DIALECT ?= options
SPEED ?= 1
BIN := .venv/bin
UV := $(BIN)/uv
SERVICES := common deriv connection gateway probe bot metrics simulator cli
PROCESSES := bot gateway metrics probe simulator
STUBS := services/common/src/derivfleet/v1
PROTOS := $(wildcard proto/derivfleet/v1/*.proto)

# Tests start some hundred processes; without kept bytecode each of them compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run test browser lint format typecheck proto dashboards bench bench-quota bench-gateway bench-orders bench-speedup bench-ingest oracle lock clean

help: ## list the verbs
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: .venv/ready ## make .venv with everything in it (needs only python3 >= 3.11)

.venv/uv-$(UV_VERSION):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "derivfleet needs python3 >= 3.11, this is $$($(PYTHON) --version 2>&1): set PYTHON=/path/to/a/newer/python3" >&2; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "python3 cannot make a virtual environment: install its venv module" >&2; exit 2; }
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.venv/ready: .venv/uv-$(UV_VERSION) locks/dev.txt $(wildcard services/*/pyproject.toml) $(PROTOS)
	@$(UV) pip sync --quiet --require-hashes locks/dev.txt
	@$(MAKE) --no-print-directory proto
	@$(UV) pip install --quiet --no-deps $(SERVICES:%=-e services/%)
# Bytecode is kept of what each process imports. Else the first command of each kind would compile it.
	@$(BIN)/python -c "import $(PROCESSES:%=derivfleet.%.__main__,) derivfleet.cli.run.loop"
	@$(BIN)/derivfleet up --help > /dev/null
	@touch $@

proto: ## generate the gRPC stubs from proto/
	@rm -rf $(STUBS) && mkdir -p $(STUBS)
	@$(BIN)/python -m grpc_tools.protoc -Iproto --plugin=$(BIN)/protoc-gen-mypy --plugin=$(BIN)/protoc-gen-mypy_grpc \
	  --python_out=services/common/src --grpc_python_out=services/common/src \
	  --mypy_out=quiet:services/common/src --mypy_grpc_out=quiet:services/common/src $(PROTOS)
	@touch $(STUBS)/__init__.py $(STUBS)/py.typed

dashboards: setup ## render the Grafana dashboards into the chart
	@$(BIN)/python -m helm.dashboards

run: setup ## run ten bots against the built-in simulator (DURATION=60 stops by itself; DIALECT=legacy; SPEED=10)
	@$(BIN)/derivfleet up fleet.yaml --simulator --dialect $(DIALECT) --duration $(DURATION) --speed $(SPEED)

# Tests of real services wait more than they compute, so two processors are kept busy by four workers.
PYTEST := pytest -q -n 4 --dist loadfile --no-loadscope-reorder
test: setup ## run the tests and print the coverage (SERVICE=gateway runs that service's unit tests alone)
	$(if $(filter-out $(SERVICES),$(SERVICE)),$(error there is no service $(SERVICE): there are $(SERVICES)))
ifdef SERVICE
	@$(BIN)/python -m $(PYTEST) -m "not long" $(SERVICE:%=services/%/tests)
else
	@mkdir -p build/coverage && rm -f build/coverage/*
	@$(BIN)/coverage run -m $(PYTEST) -m "not long" --ignore tests/browser
	@echo "not run: the long tests (make test-long), and the web page in a browser (make browser)"
	@$(BIN)/coverage combine -q && $(BIN)/coverage report
endif

.PHONY: test-long
test-long: setup ## run the tests that take minutes
	@$(BIN)/python -m $(PYTEST) -n 2 -m long --ignore tests/browser

browser: setup ## see the web page work in chromium; pictures go to build/screens/
	@DERIVFLEET_BROWSER=required $(BIN)/python -m pytest -q tests/browser

# The parts run side by side and all to their end, each one's output in one piece where make can do that (4.0 and newer).
LINT := typecheck lint-ruff lint-buf lint-prose check-locks
.PHONY: $(LINT)
lint: setup ## ruff, pyright, buf, the length of sentences, and whether the locks are current
	@$(MAKE) --no-print-directory --keep-going --jobs $(words $(LINT)) $(if $(filter output-sync,$(.FEATURES)),--output-sync) $(LINT)

lint-ruff: setup
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .

lint-buf: setup
	@cd proto && ../$(BIN)/buf lint

lint-prose: setup
	@$(BIN)/python -m tests.prose

format: setup ## let ruff rewrite the code
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --fix --quiet .

typecheck: setup ## pyright alone
	@$(BIN)/pyright --warnings

bench: bench-gateway bench-quota ## measure what takes minutes; figures go to build/bench/

each = $(foreach value,$(2),--$(1) $(value))
.PHONY: sim mutants
sim: setup ## play orders under faults and crashes, on virtual time (SEEDS=1-1000 ORDERS=100000 JOBS=2; SEED=7 STORY=1)
	@$(BIN)/python -m tests.sim $(call each,seeds,$(SEEDS)) $(call each,orders,$(ORDERS)) $(call each,jobs,$(JOBS)) \
	  $(call each,seed,$(SEED)) $(call each,each,$(EACH)) $(call each,only,$(ONLY)) $(if $(STORY),--story)

mutants: setup ## put mistakes into the gateway, one by one, and see that the simulation of orders catches each (RULE="4 21" narrows it)
	@$(BIN)/python -m tests.sim.mutants $(call each,rule,$(RULE)) $(call each,jobs,$(JOBS)) $(if $(RULE),--target build/mutants.part.json)

bench-quota: setup ## play virtual days against the limits (HOURS=24 BOTS="10 1000" DEMAND=burst CLASS=trade DESIGN=fleet narrow it)
	@$(BIN)/python -m bench.quota $(call each,hours,$(HOURS)) $(call each,bots,$(BOTS)) $(call each,demand,$(DEMAND)) \
	  $(call each,class,$(CLASS)) $(call each,design,$(DESIGN)) $(call each,jobs,$(JOBS))

bench-gateway: setup ## measure the gateway beside a bare gRPC echo and a direct client (PART="cheap full many bad" narrows it)
	@$(BIN)/python -m bench.gateway $(PART)

bench-orders: setup ## measure what the order journal costs, in SQLite and in PostgreSQL (FLAGS=--help)
	@$(BIN)/python -m bench.orders $(FLAGS)

bench-speedup: setup ## trade one hour under a global lock, over four sockets, and with the fleet (20 minutes; FLAGS=--help)
	@$(BIN)/python -m bench.speedup $(FLAGS)

# make chaos KILLS=200 CUTS=2000, make soak HOURS=24 SPEED=40, make fuzz N=1000000 JOBS=2: half an hour each.
.PHONY: chaos soak fuzz
KILLS ?= 20
CUTS ?= 200
N ?= 20000
JOBS_OR_ALL = $(if $(JOBS),--jobs $(JOBS))
chaos: setup ## kill and cut off a trading fleet, then compare every order (KILLS=20 CUTS=200 SEED=1; FLAGS=--help)
	@$(BIN)/python -m tests.chaos --kills $(KILLS) --cuts $(CUTS) --seed $(or $(SEED),1) $(FLAGS)

soak: setup ## trade for hours and see that nothing piles up (HOURS=1 SPEED=1; FLAGS=--help)
	@$(BIN)/python -m tests.soak $(if $(HOURS),--hours $(HOURS)) --speed $(SPEED) $(FLAGS)

fuzz: setup ## throw broken frames, calls and fleet files at the gateway (N=20000 SEED=1 JOBS=2; FLAGS=--help)
	@$(BIN)/python -m tests.fuzz -n $(N) --seed $(or $(SEED),1) $(JOBS_OR_ALL) $(FLAGS)

.PHONY: bench-start
bench-start: setup ## measure the processor time that the command takes before it does anything
	@$(BIN)/python -m bench.command_start

bench-ingest: setup ## measure how many spans a second are taken, beside a Collector (FLAGS=--help)
	@$(BIN)/python -m bench.ingest $(FLAGS)

oracle: setup ## compare every report of a virtual week with an independent oracle (FLAGS=--help)
	@$(BIN)/python -m tests.oracle $(FLAGS)

IMAGES := gateway bot metrics simulator cli
COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
  $(SERVICES:%=--no-emit-package derivfleet-%)

lock: .venv/uv-$(UV_VERSION) ## bring the requirement locks up to date (UPGRADE=--upgrade for newer versions)
	@mkdir -p locks
	@$(COMPILE) $(UPGRADE) pyproject.toml --group dev -o locks/dev.txt
	@for image in $(IMAGES); do $(COMPILE) $(UPGRADE) services/$$image/pyproject.toml -c locks/dev.txt -o locks/$$image.txt || exit 1; done

.PHONY: check-locks
check-locks: setup
	@rm -rf build/locks && mkdir -p build && cp -r locks build/locks
	@$(COMPILE) pyproject.toml --group dev -o build/locks/dev.txt
	@for image in $(IMAGES); do $(COMPILE) services/$$image/pyproject.toml -c build/locks/dev.txt -o build/locks/$$image.txt || exit 1; done
	@diff -r locks build/locks > /dev/null || { echo "locks/ is out of date: run make lock" >&2; exit 1; }

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
TAG ?= $(VERSION)
REGISTRY ?=
BUILD_FLAGS ?=
IMAGE_PREFIX := $(if $(REGISTRY),$(REGISTRY)/)derivfleet

.PHONY: images chart supabase-check e2e
images: ## build the container images (TAG=…, REGISTRY=…, BUILD_FLAGS=… for docker build) and print their sizes
	@revision=$$(git describe --always --dirty --abbrev=40 --exclude '*' 2> /dev/null || echo unknown); \
	for image in $(IMAGES); do \
	  docker build --quiet $(BUILD_FLAGS) -f docker/Dockerfile --target $$image --build-arg VERSION=$(VERSION) \
	    --build-arg REVISION=$$revision -t $(IMAGE_PREFIX)/$$image:$(TAG) . > /dev/null || exit 1; \
	  docker image inspect --format '{{.Size}}' $(IMAGE_PREFIX)/$$image:$(TAG) | \
	    awk -v name=$(IMAGE_PREFIX)/$$image:$(TAG) '{ printf "%-40s %4.0f MB\n", name, $$1 / 1e6 }'; \
	done

chart: setup ## check the chart (needs helm; kubeconform and a cluster make it check more)
	@$(BIN)/python tests/chart/check.py

supabase-check: setup ## see Supabase's own command apply the migrations to a PostgreSQL (needs npm; Linux on x86-64)
	@PYTHONPATH=. $(BIN)/python services/metrics/tests/supabase_check.py

e2e: setup ## see the chart work on the cluster of KUBECONFIG (kubectl and helm on the PATH, images loaded)
	@$(BIN)/python tests/cluster/e2e.py

clean: ## remove what was built
	@rm -rf build .venv $(STUBS) .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
