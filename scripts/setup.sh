#!/usr/bin/env bash
# All that demo, test and lint install, and nothing else.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_rust
need_packages ca-certificates gcc libc6-dev libhwloc-dev pkg-config python3 python3-venv shellcheck
"$ROOT/scripts/python.sh" >/dev/null
"$ROOT/scripts/lint.sh" --install-only
