#!/usr/bin/env bash
# Start time and memory of `phalanx run` beside mpirun, torchrun and a shell loop, in one run on one machine.
# Arguments go to bench.py: --repetitions N, --ranks 2 8 32, --skip-torchrun.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
need_packages ca-certificates gcc libc6-dev python3 python3-venv openmpi-bin
python=$("$ROOT/scripts/python.sh")
"$ROOT/scripts/build.sh"
"$python" "$ROOT/scripts/bench.py" --phalanx "$ROOT/target/release/phalanx" "$@"
