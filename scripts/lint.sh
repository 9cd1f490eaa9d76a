#!/usr/bin/env bash
# Licences, bans, sources and advisories (cargo-deny), unused dependencies (cargo-machete), shell scripts (shellcheck).
# The two cargo tools are compiled once into the cache. A tool that cannot be had is a printed skip, a finding is not.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

deny_version=0.20.2
machete_version=0.9.2
skip() { say "SKIPPED $1"; }

# Prints the directory with TOOL of VERSION; compiles it on first use.
cargo_tool() {
  local tool=$1 version=$2 cost=$3
  local place=$CACHE/tools/$tool-$version
  if [ ! -x "$place/bin/$tool" ]; then
    heading "Compiling $tool $version into the cache ($cost)"
    # A file of the checkout must not change how it is built, nor must the target directory be shared.
    (cd "$CACHE" && env -u CARGO_TARGET_DIR cargo install --quiet --locked --root "$place" "$tool@$version") >&2 9>&- ||
      return 1
  fi
  printf '%s\n' "$place/bin"
}

need_rust
need_packages ca-certificates gcc libc6-dev
take_lock tools
deny=$(cargo_tool cargo-deny "$deny_version" "60 MB of sources, two to four minutes") || skip "cargo-deny: not installed"
machete=$(cargo_tool cargo-machete "$machete_version" "10 MB of sources, one minute") || skip "cargo-machete: not installed"
exec 9>&-
[ "${1:-}" != --install-only ] || exit 0

if [ -n "$deny" ]; then
  heading "cargo deny: bans, licences, sources"
  "$deny/cargo-deny" --all-features check --hide-inclusion-graph bans licenses sources
  heading "cargo deny: advisories"
  if timeout 120 "$deny/cargo-deny" fetch db >/dev/null 2>&1; then
    "$deny/cargo-deny" --all-features check --disable-fetch advisories
  else
    skip "advisories: the database could not be fetched"
  fi
fi
if [ -n "$machete" ]; then
  heading "cargo machete: unused dependencies"
  "$machete/cargo-machete" --with-metadata "$ROOT"
fi
if (need_packages shellcheck); then
  heading "shellcheck"
  shellcheck -x scripts/*.sh .ci/run
  say "the scripts are clean"
else
  skip "shellcheck: not installed"
fi

heading "systemd-analyze verify"
if command -v systemd-analyze >/dev/null; then
  units=$(mktemp -d)
  trap 'rm -rf "$units"' EXIT
  for unit in "$ROOT"/deploy/systemd/*.service; do
    # Where the programs will be there is nothing yet.
    sed 's#^ExecStart=/usr/local/bin/[^ ]*#ExecStart=/bin/true#' "$unit" >"$units/$(basename "$unit")"
  done
  systemd-analyze verify "$units"/*.service
  say "the units are clean"
else
  say "SKIPPED: systemd-analyze is not installed"
fi
