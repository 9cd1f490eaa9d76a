# The commands of the project; each says what it does when it runs, and all are safe to repeat.
# Variables: FILE=/path/to/replay.json, PYTHON=/path/to/python (used as it is if it imports torch), PHALANX_CACHE=/path/to/cache.

.DEFAULT_GOAL := help
.PHONY: help build demo test test-long replay bench bench-scale bench-restart python lint fmt setup clean

help: ## list the commands
	@echo "make demo and make test do all the set-up they need. All commands:"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

build: ## target/release/phalanx and target/release/phalanx-worker
	@scripts/build.sh

demo: ## a real PyTorch training job on 4 ranks, with a failure and a restart
	@scripts/demo.sh

test: ## every test and lint
	@scripts/test.sh

test-long: ## the same with full repetition counts
	@scripts/test.sh --long

replay: ## step through a seed of the virtual cluster that broke an invariant (make replay FILE=...)
	@cargo run --quiet -p phalanx-tests --bin vcluster -- replay "$(FILE)"

bench: ## start time and memory beside mpirun, torchrun and a shell loop
	@scripts/bench.sh

bench-restart: build ## what a failure costs, beside torchrun: time to the next attempt, and whether it completes
	@"$$(scripts/python.sh)" scripts/restart.py --phalanx $(CURDIR)/target/release/phalanx --worker $(CURDIR)/target/release/phalanx-worker

python: ## print the interpreter with PyTorch that demo and test use (make -s python)
	@scripts/python.sh

bench-scale: build ## a coordinator with 1,000 workers in one process, over real QUIC
	@PHALANX_BIN=$(CURDIR)/target/release/phalanx cargo bench -p phalanx-tests --bench scale

lint: ## licences, banned and unused dependencies, shell scripts
	@scripts/lint.sh

fmt: ## format the Rust code
	@cargo fmt --all

setup: ## only the set-up: system packages, Python environment, lint tools
	@scripts/setup.sh

clean: ## remove target/ (the cache outside the checkout stays)
	@cargo clean
