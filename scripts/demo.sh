#!/usr/bin/env bash
# The example under `phalanx run` on 4 ranks: one rank kills itself half-way, the gang restarts, training resumes.
# Ends with 1 if the restart, the resumption or the accuracy is not seen.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
need_packages ca-certificates gcc libc6-dev python3 python3-venv
python=$("$ROOT/scripts/python.sh")
[ -x "$ROOT/target/release/phalanx" ] || heading "Building Phalanx (once; some minutes)"
"$ROOT/scripts/build.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/phalanx-demo.XXXXXX")
# The logs stay if something went wrong; they are small.
trap '[ "${finished:-}" != yes ] || rm -rf "$work"' EXIT
cd "$ROOT/deploy/examples/digits"

heading "Four ranks of PyTorch DistributedDataParallel learn handwritten digits"
say "   In the middle of epoch 4, rank 2 kills itself with SIGKILL. Phalanx names the culprit and starts the gang"
say "   again, and the ranks resume from the checkpoint of epoch 3."
command=("$ROOT/target/release/phalanx" run -n 4 --name digits --max-restarts 1 --output label --log-dir "$work/logs"
  --timings -- "$python" train.py --epochs 8 --checkpoints "$work/checkpoints" --crash-rank 2 --crash-epoch 4)
printf '\n%s   $ phalanx run -n 4 --max-restarts 1 --timings -- python train.py --crash-rank 2 --crash-epoch 4%s\n\n' \
  "$BOLD" "$PLAIN" >&2
status=0
"${command[@]}" 2>&1 | tee "$work/output" || status=$?

seen() { sed 's/\x1b\[[0-9;]*m//g' "$work/output" | grep -oE "$1" | tail -n 1; }
[ "$status" -eq 0 ] || die "the job ended with $status; its logs are in $work/logs"
resumed=$(seen 'resumed from epoch [0-9]+') || die "no rank resumed from a checkpoint; logs: $work/logs"
result=$(seen 'accuracy [0-9.]+') || die "no accuracy was printed; logs: $work/logs"
awk -v value="${result#accuracy }" 'BEGIN { exit !(value > 0.9) }' || die "$result is below 0.9; logs: $work/logs"

heading "Done: one rank lost, one restart, $resumed, $result"
say "   Next: phalanx run --help, README.md, deploy/examples/digits"
finished=yes
