#!/usr/bin/env bash
# Makes target/release/phalanx and target/release/phalanx-worker. Two invocations: in one, cargo would unify the
# features of the two, and `phalanx` would carry what only the agent needs.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
need_packages ca-certificates gcc libc6-dev libhwloc-dev pkg-config
cd "$ROOT"
cargo build --release --locked -p phalanx >&2
cargo build --release --locked -p phalanx-worker >&2
