#!/usr/bin/env bash
# Every test: formatting, clippy, the release binaries, unit and integration tests, the example, lints.
# --long runs the virtual cluster with its full number of seeds, the fuzzers for longer, and kills 50 ranks of a real training.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

export PHALANX_TEST_SEEDS=${PHALANX_TEST_SEEDS:-2000}
[ "${1:-}" != --long ] || { PHALANX_TEST_SEEDS=10000; export PHALANX_FUZZ_ROUNDS=300000 PHALANX_TEST_KILLS=50; }

need_rust
need_rust_component fmt
need_rust_component clippy
need_packages ca-certificates gcc libc6-dev libhwloc-dev pkg-config bzip2 xz-utils hwloc-nox python3 python3-venv
# Network namespaces, switches that speak LLDP and clocks that are off for the cluster's tests, which say SKIPPED without root.
[ "$(id -u)" -ne 0 ] || need_packages iproute2 passwd faketime lldpd infiniband-diags ibsim-utils
PHALANX_TEST_PYTHON=$("$ROOT/scripts/python.sh")
export PHALANX_TEST_PYTHON
export PHALANX_BIN=$ROOT/target/release/phalanx PHALANX_WORKER_BIN=$ROOT/target/release/phalanx-worker

# The wall time of each part is printed at the end: a slow set-up and a slow test are different problems.
times=()
part() {
  heading "$1"
  local started=$SECONDS
  shift
  "$@"
  times+=("$(printf '%5d s  %s' $((SECONDS - started)) "$*")")
}

with_less() {
  grep -q '^\[features\]' launcher/Cargo.toml || return 0
  cargo clippy -p phalanx --no-default-features --all-targets --locked -- -D warnings
  cargo clippy -p phalanx-worker --no-default-features --all-targets --locked -- -D warnings
}

output=$(mktemp)
# Tests that cannot run here return early, and count as passed: they say so in this file.
PHALANX_TEST_SKIPS=$(mktemp)
export PHALANX_TEST_SKIPS
trap 'rm -f "$output" "$PHALANX_TEST_SKIPS"' EXIT
run_tests() {
  cargo test --workspace --locked --doc 2>&1 | tee -a "$output"
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked --no-fail-fast 2>&1 | tee -a "$output"
  else
    cargo test --workspace --locked --no-fail-fast --lib --bins --tests 2>&1 | tee -a "$output"
  fi
}

# The sum of one kind of result over all test programs, of cargo test and of nextest.
count() {
  sed 's/\x1b\[[0-9;]*m//g' "$output" |
    awk -v kind="$1" '/^test result:|^ *Summary \[/ { for (i = 2; i <= NF; i++) if ($i ~ "^" kind "[,;]?$") sum += $(i - 1) }
      END { print sum + 0 }'
}

part "Formatting" cargo fmt --all --check
part "Clippy, warnings are errors" cargo clippy --workspace --all-targets --locked -- -D warnings
part "Clippy of the builds with less: a client alone, a worker without libhwloc" with_less
part "Release binaries" "$ROOT/scripts/build.sh"
part "Tests ($PHALANX_TEST_SEEDS seeds of the virtual cluster)" run_tests
part "The example, with a failure and a restart" "$ROOT/scripts/demo.sh"
part "Lints" "$ROOT/scripts/lint.sh"

heading "All parts passed in $SECONDS s, with $PHALANX_TEST_SEEDS seeds of the virtual cluster"
for line in "${times[@]}"; do say "$line"; done
passed=$(count passed)
[ "$passed" -gt 0 ] || die "no test was run"
sort -u "$PHALANX_TEST_SKIPS"
skipped=$(sort -u "$PHALANX_TEST_SKIPS" | wc -l)
# The demo and the lints count as one test each.
printf '%s passed, %s failed, %s skipped\n' $((passed + 2 - skipped)) "$(count failed)" "$skipped"
