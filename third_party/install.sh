#!/usr/bin/env bash
# Installs the Debian packages thorax is built with. Does nothing, without touching the network or
# asking for rights, when all of them are there.
#
#   third_party/install.sh [--dev] [--aarch64] [--check]
#     --dev     also what only developers need: the formatter that CI checks with, the compiler of
#               the fuzz harnesses, a browser and an XML checker that judge the reports, MPI, shells,
#               what makes Debian packages and a bare machine to install them on
#     --aarch64 also what tests/aarch64.sh compiles and runs programs for ARM with
#     --check   install nothing; name what is missing and exit with 1 if anything is
#
# third_party/README.md says why each one.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache
  libdnnl-dev libstb-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev libfmt-dev libxxhash-dev libboost-dev libboost-context-dev
  libtiff-dev libjpeg62-turbo-dev libpng-dev libdcmtk-dev libgdcm-dev
  libcpp-httplib-dev
  doctest-dev libbenchmark-dev gnuplot-nox
)
dev_packages=(git ca-certificates clang libclang-rt-14-dev clang-format dcmtk chromium curl libxml2-utils
  libopenmpi-dev openmpi-bin zsh fish mandoc pkg-config dpkg-dev file mmdebstrap qemu-user clang-tidy)
aarch64_packages=(g++-aarch64-linux-gnu qemu-user mmdebstrap)

check_only=false
for argument in "$@"; do
  case "$argument" in
    --dev) packages+=("${dev_packages[@]}") ;;
    --aarch64) packages+=("${aarch64_packages[@]}") ;;
    --check) check_only=true ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "install.sh: unknown argument '$argument' (see --help)" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install.sh: this system has no apt. Install the equivalents of: ${packages[*]}" >&2
  exit 1
fi

find_missing() {
  missing=()
  local package
  for package in "${packages[@]}"; do
    # A package that was removed but not purged is still listed, so ask for its state.
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      missing+=("$package")
  done
}

find_missing
if [ ${#missing[@]} -eq 0 ]; then
  echo "install.sh: all ${#packages[@]} packages are installed"
  exit 0
fi
echo "install.sh: missing: ${missing[*]}"
if $check_only; then exit 1; fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install.sh: needs root and there is no sudo. As root, run:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {  # waits for another apt instead of failing, never asks, speaks only when it fails
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1 || { tail -n 20 "$log" >&2; return 1; }
}
# One broken extra source must not stop us when the lists for Debian itself are there.
apt update || echo "install.sh: 'apt-get update' failed; trying with the package lists at hand" >&2
if ! apt install -y --no-install-recommends "${missing[@]}"; then
  echo "install.sh: apt could not install: ${missing[*]}" >&2
  echo "  thorax is built on Debian 12 (this is $(. /etc/os-release && echo "$PRETTY_NAME"));" >&2
  echo "  check the network and that 'main' of the release is in /etc/apt/sources.list*" >&2
  exit 1
fi
find_missing
if [ ${#missing[@]} -ne 0 ]; then
  echo "install.sh: apt reported success, still missing: ${missing[*]}" >&2
  exit 1
fi
echo "install.sh: done"
