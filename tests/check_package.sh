#!/usr/bin/env bash
# Installs thorax from build/ into a temporary folder, runs the installed command, and builds and runs
# a program (tests/package) that finds it with find_package(thorax) and with pkg-config.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -e build/CMakeCache.txt ] || { echo "check_package.sh: build first (tests/run.sh)" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cmake --build build
cmake --install build --prefix "$folder/prefix" >"$folder/install.log"
# Moved, so that nothing that still points to where it was installed first goes unnoticed.
mv "$folder/prefix" "$folder/thorax"
"$folder/thorax/bin/thorax" info
cmake -S tests/package -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$folder/thorax"
cmake --build "$folder/build"
"$folder/build/consumer"
# The same program by pkg-config.
PKG_CONFIG_PATH=$(dirname "$(find "$folder/thorax" -name thorax.pc)")
export PKG_CONFIG_PATH
read -ra flags <<<"$(pkg-config --cflags --libs thorax)"
g++ -O1 tests/package/main.cpp "${flags[@]}" -o "$folder/consumer"
LD_LIBRARY_PATH=$(pkg-config --variable=libdir thorax) "$folder/consumer"
[ "$(pkg-config --modversion thorax)" = "$("$folder/thorax/bin/thorax" --version)" ] ||
  { echo "check_package.sh: pkg-config and the program name different versions" >&2; exit 1; }
for file in man/man1/thorax.1.gz bash-completion/completions/thorax zsh/vendor-completions/_thorax fish/vendor_completions.d/thorax.fish; do
  [ -s "$folder/thorax/share/$file" ] || { echo "check_package.sh: share/$file is not installed" >&2; exit 1; }
done
if readelf -d "$folder/thorax/bin/thorax" | grep -F "$PWD"; then
  echo "check_package.sh: the installed command still points into the build tree" >&2
  exit 1
fi
echo "check_package.sh: the installed package works"
