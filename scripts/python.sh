#!/usr/bin/env bash
# Prints the path of a Python interpreter with PyTorch and scikit-learn; makes the environment if needed.
# PYTHON=/path/to/python is used as it is if it imports torch, else as the base of the environment.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

requirements=$ROOT/scripts/python-requirements.txt

if [ -n "${PYTHON:-}" ]; then
  chosen=$("$PYTHON" -c 'import sys; print(sys.executable)') ||
    die "PYTHON=$PYTHON does not run."
  if "$chosen" -c 'import torch.distributed' 2>/dev/null; then
    "$chosen" -c 'import sklearn.datasets' 2>/dev/null ||
      die "PYTHON=$PYTHON has torch, but not scikit-learn, whose digits the example learns." \
        "Install it there: $chosen -m pip install scikit-learn"
    printf '%s\n' "$chosen"
    exit 0
  fi
  say "PYTHON=$PYTHON does not import torch; an environment is made with it instead"
fi

need_packages ca-certificates python3 python3-venv
base=$(base_python) || die "no Python 3.11 or newer with the module venv was found." "Name one: make PYTHON=/path/to/python3"
version=$("$base" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3], sys.executable)')
key=$(printf '%s\n' "$version" | cat - "$requirements" | sha256sum | cut -c1-12)
environment=$CACHE/python-$key

# Wheels are fetched one by one and stay until all are installed, so an interrupted run is taken up where it was.
wheels=$CACHE/wheels-$key
install_requirements() {
  local pip=("$environment/bin/python" -m pip --disable-pip-version-check --no-input --no-cache-dir -q)
  local names name number=0
  mapfile -t names < <(grep -E '^[A-Za-z]' "$requirements")
  for name in "${names[@]}"; do
    number=$((number + 1))
    detail "[$number/${#names[@]}] $name"
    "${pip[@]}" download --no-deps --only-binary :all: --progress-bar off --dest "$wheels" "$name" >&2 9>&- ||
      die "pip could not download $name." "Mend what it names and run this again: what was downloaded is kept."
  done
  detail "installing"
  "${pip[@]}" install --no-deps --no-index --find-links "$wheels" --requirement "$requirements" >&2 9>&- ||
    die "pip could not install the packages in $wheels."
}

# The last thing that is made; without it the directory is the rest of an interrupted run. (Not built
# elsewhere and renamed: the scripts of a virtual environment carry its path.)
complete=$environment/.complete
if [ ! -e "$complete" ]; then
  take_lock python
fi
if [ ! -e "$complete" ]; then
  heading "Python environment in $environment"
  sed -n 's/^#> /   /p' "$requirements" >&2
  if [ "${PYTHON:-}" = "" ] && python3 -c 'import torch.distributed, sklearn.datasets' 2>/dev/null; then
    detail "python3 on your PATH has both already: stop this and add PYTHON=python3 to use that one"
  fi
  rm -rf "$environment"
  "$base" -m venv "$environment" >&2
  install_requirements
  "$environment/bin/python" -c 'import torch.distributed, sklearn.datasets' >&2 ||
    die "the packages are installed, but do not import in $environment."
  rm -rf "$wheels"
  touch "$complete"
  detail "ready after $SECONDS s"
fi
printf '%s\n' "$environment/bin/python"
