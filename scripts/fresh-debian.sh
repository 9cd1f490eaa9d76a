#!/usr/bin/env bash
# Usage: scripts/fresh-debian.sh REPO [DIRECTORY]
#
# By hand, as root: makes a bare Debian 12 (git, make, ca-certificates and this host's Rust toolchain) in DIRECTORY,
# clones REPO into it and runs `make demo` and `make test` there with cold caches, timing both. Needs debootstrap and
# 15 GB. Package clients are configured as on this host. The chroot stays for a look; remove it with
# `rm -rf --one-file-system DIRECTORY`.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -ge 1 ] || die "usage: scripts/fresh-debian.sh REPO [DIRECTORY]"
[ "$(id -u)" -eq 0 ] || die "a chroot needs root"
repo=$1
# TMPDIR may be mounted nodev; debootstrap needs device files.
chroot=${2:-/var/tmp/phalanx-fresh-debian}
command -v debootstrap >/dev/null || need_packages debootstrap
need_rust
sysroot=$(rustc --print sysroot)

mounted=()
# Last mounted, first unmounted.
trap 'for ((i = ${#mounted[@]} - 1; i >= 0; i--)); do umount -R "${mounted[i]}" 2>/dev/null || umount -R --lazy "${mounted[i]}"; done' EXIT
mount_in() {
  local target=$chroot$1
  shift
  mkdir -p "$target"
  mount "$@" "$target"
  mounted+=("$target")
}

[ ! -e "$chroot" ] || die "$chroot exists; remove it first, or name another directory"

heading "Debian 12 in $chroot"
# The host's sources name the mirror, whichever of apt's two formats they are in.
# shellcheck disable=SC2016  # $(SITE) is apt's
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null | head -n 1)
debootstrap --variant=minbase --include=git,make,ca-certificates bookworm "$chroot" ${mirror:+"$mirror"} >"$chroot.log" 2>&1 ||
  die "debootstrap failed; its output is in $chroot.log"

# How this host reaches its package registries: apt's, pip's and cargo's settings, names, certificates.
rm -f "$chroot/etc/apt/sources.list"
for path in /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d /etc/apt/auth.conf.d /etc/apt/keyrings \
  /etc/apt/trusted.gpg.d /etc/pip.conf /etc/hosts /etc/resolv.conf /etc/ssl/certs /usr/local/share/ca-certificates \
  "$HOME/.config/pip" "$HOME/.cargo/config.toml"; do
  [ -e "$path" ] || continue
  mkdir -p "$chroot$(dirname "$path")"
  cp -aLT "$path" "$chroot$path" 2>/dev/null || cp -a "$path" "$chroot$(dirname "$path")/"
done

# A root that is a mount point, as on a real machine: mount namespaces made inside need one.
mount_in / --bind "$chroot"
mount_in /proc -t proc proc
mount_in /sys -t sysfs -o ro sysfs
mount_in /dev --rbind /dev
mount --make-rslave "$chroot/dev"
mount_in /opt/rust --bind "$sysroot"
mount -o remount,bind,ro "$chroot/opt/rust"

keep=()
while IFS= read -r name; do
  case $name in
    PIP_FIND_LINKS) ;; # a directory of this host
    PIP_* | CARGO_HTTP_* | CARGO_REGISTRIES_* | SSL_CERT_* | *_CA_BUNDLE | *_proxy | *_PROXY | RUSTUP_AUTO_INSTALL) keep+=("$name=${!name}") ;;
  esac
done < <(compgen -e)
inside() {
  chroot "$chroot" /usr/bin/env -i HOME=/root USER=root TERM=dumb LANG=C.UTF-8 \
    PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ${keep[@]+"${keep[@]}"} bash -c "$1" </dev/null
}

heading "Clone of $repo"
git clone --quiet --bare "$repo" "$chroot/root/phalanx.git"
inside 'git clone --quiet /root/phalanx.git /root/phalanx && git -C /root/phalanx log --oneline -1'
inside 'rustc --version; python3 --version || true; gcc --version | head -n 1 || true' 2>&1 || true

results=()
failed=0
for target in demo test; do
  heading "make $target"
  started=$SECONDS
  if inside "cd /root/phalanx && make $target"; then
    results+=("make $target passed in $((SECONDS - started)) s")
  else
    results+=("make $target FAILED after $((SECONDS - started)) s")
    failed=1
  fi
done
heading "Result"
printf '%s\n' "${results[@]}"
exit "$failed"
