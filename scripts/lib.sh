# Shared by the scripts in this directory; sourced, not run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${PHALANX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/phalanx}
# A missing toolchain is for the user to install: rustup must not fetch one on the way.
export RUSTUP_AUTO_INSTALL=0

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
  BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
  BOLD='' DIM='' RED='' PLAIN=''
fi

# Everything meant for people goes to stderr, so that `make -s python` prints a path and nothing else.
heading() { printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; }
say() { printf '%s\n' "$*" >&2; }
detail() { printf '%s   %s%s\n' "$DIM" "$*" "$PLAIN" >&2; }
die() {
  printf '%serror:%s %s\n' "$RED" "$PLAIN" "$1" >&2
  shift
  [ $# -eq 0 ] || printf '       %s\n' "$@" >&2
  exit 1
}

# Runs the rest of the script under the lock NAME of the cache; the lock ends with the script.
take_lock() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/$1.lock"
  if ! flock -n 9; then
    say "another run is preparing '$1' in $CACHE; waiting for it"
    flock 9
  fi
}

# --- system packages -------------------------------------------------------------------------------------

# Succeeds if the capability that a Debian package stands for is there, whoever installed it.
have_package() {
  case $1 in
    gcc) command -v cc >/dev/null && command -v gcc >/dev/null ;;
    libc6-dev) printf '#include <stdlib.h>\nint main(void){return 0;}\n' | cc -x c -o /dev/null - 2>/dev/null ;;
    python3) command -v python3 >/dev/null ;;
    python3-venv) base_python >/dev/null 2>&1 ;;
    ca-certificates) [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] ;;
    openmpi-bin) command -v mpirun >/dev/null ;;
    shellcheck) command -v shellcheck >/dev/null ;;
    *) dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed' ;;
  esac
}

# Prints an interpreter that can make the environment: 3.11 or newer, with venv.
base_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 /usr/bin/python3; do
    [ -n "$candidate" ] || continue
    "$candidate" -c '
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
import ensurepip, venv
print(sys.executable)' 2>/dev/null && return 0
  done
  return 1
}

# Installs what is missing of the packages named; without the right to do so names them and ends.
need_packages() {
  local missing=() package
  for package in "$@"; do
    have_package "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      as_root=(sudo)
    else
      die "these system packages are missing: ${missing[*]}" \
        "install them as root, then run this again: apt-get install ${missing[*]}"
    fi
  fi
  command -v apt-get >/dev/null ||
    die "these Debian packages, or what your system calls them, are missing: ${missing[*]}"

  heading "System packages: ${missing[*]}"
  detail "package lists first (about 10 MB)"
  local apt=(${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
  "${apt[@]}" update >&2
  local plan
  plan=$("${apt[@]}" -q=0 install --no-install-recommends --assume-no "${missing[@]}" 2>/dev/null |
    grep -E '^Need to get|^After this operation' || true)
  while read -r line; do [ -z "$line" ] || detail "$line"; done <<<"$plan"
  # A daemon that comes with a package (lldpd) is for the tests alone, which start it where they need it: Debian's
  # packages ask this file before they start one.
  local policy=/usr/sbin/policy-rc.d own_policy=
  if [ ! -e "$policy" ]; then
    own_policy=$policy
    printf '#!/bin/sh\nexit 101\n' | ${as_root[@]+"${as_root[@]}"} install -m 755 /dev/stdin "$policy"
  fi
  local log
  log=$(mktemp)
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null || {
    [ -z "$own_policy" ] || ${as_root[@]+"${as_root[@]}"} rm -f "$own_policy"
    tail -n 20 "$log" >&2
    die "apt-get could not install: ${missing[*]} (all of its output: $log)"
  }
  [ -z "$own_policy" ] || ${as_root[@]+"${as_root[@]}"} rm -f "$own_policy"
  rm -f "$log"
  detail "installed"
}

# --- Rust ------------------------------------------------------------------------------------------------

# Ends with advice unless rustc and cargo are at least `rust-version` of Cargo.toml.
need_rust() {
  local wanted found
  wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$ROOT/Cargo.toml")
  local advice=(
    "Install it with rustup (rust-lang.org/tools/install), then: rustup toolchain install $wanted"
    "and make it the default: rustup default $wanted"
  )
  found=$(cd "$ROOT" && rustc --version 2>/dev/null | cut -d' ' -f2) || true
  if [ -z "$found" ] || ! cargo --version >/dev/null 2>&1; then
    die "Phalanx is built with Rust $wanted or newer, and rustc and cargo do not run here." "${advice[@]}"
  fi
  [ "$(printf '%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1)" = "$wanted" ] ||
    die "Phalanx is built with Rust $wanted or newer; rustc here is $found." "${advice[@]}"
}

need_rust_component() {
  cargo "$1" --version >/dev/null 2>&1 ||
    die "the Rust toolchain has no '$1', which the tests need." "Install it: rustup component add clippy rustfmt"
}
