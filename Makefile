# The front door. `make` lists what it can do; the work is done by CMake and by the scripts in tools/.
.DEFAULT_GOAL := help
.PHONY: help deps build quickstart test faults faults/full faults/delivery bench lint format schema clean

JOBS ?= $(shell nproc)
# Of `make faults` and `make faults/full`.
SEED ?= 1
FAULTS ?= 30
SEEDS ?= 1-100
OUT ?= /var/tmp/finetuned-campaign
programs := finetuned finetuned-worker finetuned-shim finetune

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z\/]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## Install the Debian packages and the trainer's Python environment
	@tools/install_deps.sh

build: deps ## Build the programs into build/release/bin
	@tools/build.sh release $(JOBS) $(programs)

quickstart: build ## Fine-tune a small model on this machine's documentation, twice, end to end (KEEP=1 leaves the daemon running)
	@tools/quickstart.sh $(if $(KEEP),--keep)

test: ## Build what is missing and run every test, with sanitizers, against a real Postgres
	@tools/install_deps.sh --test
	@tools/build.sh dev $(JOBS) all
	@tools/run_tests.sh

faults: ## Try to break the promises: models, orders of transactions, mutants, storms, and a campaign of faults (SEED=n FAULTS=m)
	@tools/install_deps.sh --test
	@tools/build.sh dev $(JOBS) model_test interleavings_test mutants_test storm_test $(programs)
	@for test in model_test interleavings_test mutants_test storm_test; do build/dev/bin/$$test || exit 1; done
	@FINETUNED_BIN=$(CURDIR)/build/dev/bin /usr/bin/python3 -B tests/faults/nemesis/campaign.py --seed $(SEED) --faults $(FAULTS)

faults/full: ## Campaigns of 100 faults for each of SEEDS=a-b, hours long; goes on where it was ended (OUT=folder)
	@tools/install_deps.sh --test
	@tools/build.sh dev $(JOBS) $(programs)
	@FINETUNED_BIN=$(CURDIR)/build/dev/bin /usr/bin/python3 -B tests/faults/nemesis/campaign.py --seeds $(SEEDS) --faults 100 --out $(OUT)

faults/delivery: ## Deliver 10,000,000 events to 50 subscribers while daemons, Postgres and the subscribers are killed (SEED=n)
	@tools/install_deps.sh --test
	@tools/build.sh release $(JOBS) $(programs)
	@FINETUNED_BIN=$(CURDIR)/build/release/bin /usr/bin/python3 -B tests/faults/nemesis/delivery.py --deliveries 10000000 --subscribers 50 --seed $(SEED)

bench: ## Measure speed and cost against their limits, and write docs/benchmarks.md; bench/NAME for one
	@tools/install_deps.sh --test
	@tools/build.sh release $(JOBS) bench finetuned
	@tools/bench.sh build/release/bin/bench

bench/%:
	@tools/install_deps.sh --test
	@tools/build.sh release $(JOBS) bench finetuned
	@tools/bench.sh build/release/bin/bench $*

lint: ## Check layering, format and the repository's own rules
	@tools/lint.sh

format: ## Format the C++ sources
	@git ls-files '*.cc' '*.h' | xargs clang-format -i

schema: ## Write db/schema.sql anew from the migrations
	@tools/build.sh dev $(JOBS) schema_test
	@UPDATE_GOLDEN=1 build/dev/bin/schema_test

clean: ## Remove what was built
	@rm -rf build/dev build/release
