# Sourced by scripts/run, scripts/check and scripts/bench: what they need, and what they say where it is missing.
# Everything made lies in the repository (.venv, rust/target, out, data); cargo and pip use their caches.
# shellcheck shell=bash

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$repository/.venv
out=$repository/out

# Print to people.
say() {
  printf '%s\n' "$*" >&2
}

# Say what is missing and how to get it, and end.
missing() {
  local what=$1
  shift
  say "missing: $what"
  printf '  %s\n' "$@" >&2
  exit 2
}

# Print a command as it could be typed, then run it.
show() {
  say ''
  say "\$ $(printf '%q ' "$@")"
  "$@"
}

# Find cargo, new enough for this repository, and a linker.
need_cargo() {
  if ! command -v cargo > /dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
    # Installed, but this shell was not told.
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  fi
  local wanted
  wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$repository/rust/Cargo.toml")
  command -v cargo > /dev/null || missing "cargo, the build tool of Rust" \
    "Install Rust $wanted or newer: the Rust project's own installer is called rustup;" \
    "many package managers have it under the names rustup or cargo." \
    "Then open a new shell and run this script again."
  local found
  found=$(cd "$repository/rust" && cargo --version | awk '{ print $2 }')
  [[ $(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1) == "$wanted" ]] ||
    missing "Rust $wanted or newer (found: $found)" "With rustup: rustup update stable"
  command -v cc > /dev/null || missing "cc, a C compiler and linker, which Rust links with" \
    "Install gcc or clang with your package manager (Debian and Ubuntu: the package build-essential)."
}

# Find the tools of cargo that are named.
need_cargo_tools() {
  local tool
  for tool in "$@"; do
    (cd "$repository/rust" && cargo "$tool" --version) > /dev/null 2>&1 ||
      missing "cargo $tool" "With rustup: rustup component add rustfmt clippy"
  done
}

# Find a Python that is new enough and can make virtual environments; print it.
find_python() {
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  missing "Python 3.11 or newer, with its modules venv and ensurepip" \
    "Install it with your package manager or with the installer of the Python project" \
    "(Debian and Ubuntu: the packages python3 and python3-venv)." \
    "Then run this script again."
}

# Make the virtual environment, and bring it to the state of a lock file.
need_venv() {
  local lock=$repository/py/locks/$1.txt
  if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
    local python
    python=$(find_python)
    say "making the virtual environment ${venv#"$repository/"}"
    "$python" -m venv --clear "$venv"
  fi
  PATH=$venv/bin:$PATH
  # A copy of the lock file says what was installed from it.
  if ! cmp -s "$lock" "$venv/$1.lock"; then
    say "installing the Python packages of py/locks/$1.txt"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    cp "$lock" "$venv/$1.lock"
  fi
}

# Find a Chromium, with which the tests open the coverage page; install Debian's where that can be done.
need_chromium() {
  local browser
  for browser in chromium chromium-browser google-chrome; do
    if command -v "$browser" > /dev/null; then
      return
    fi
  done
  local as_root=()
  if [[ $(id -u) != 0 ]]; then
    as_root=(sudo -n)
  fi
  if command -v apt-get > /dev/null && "${as_root[@]}" true 2> /dev/null; then
    say "installing chromium"
    # A list of packages that is out of date is no reason to stop: the installation says what is.
    "${as_root[@]}" apt-get -qq update > /dev/null 2>&1 || true
    if "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get -qq install --yes --no-install-recommends chromium > /dev/null; then
      return
    fi
  fi
  missing "chromium, a browser, with which the tests open the coverage page" \
    "Install it with your package manager (Debian: the package chromium), or install Google Chrome."
}

# Build the executable and install it with the package into the virtual environment.
install_package() {
  say "building and installing the package with its executable (the first time takes minutes)"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-deps --no-build-isolation --force-reinstall "$repository/py"
}

mkdir -p "$out/tmp"
export TMPDIR=$out/tmp
# Neither another executable nor another copy of the package than the one installed here.
unset OMEGA_SLICES_BINARY OMEGA_USE_RUST_MULTI_SYMBOL OMEGA_DATA_PARQUET_ROOT PYTHONPATH PYTHONHOME
