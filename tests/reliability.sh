#!/usr/bin/env bash
# Puts every command through crashes, power loss and failing system calls (RELIABILITY.md), and prints
# and writes the table of figures. Ends with 1 when a point was lost.
#
#   tests/reliability.sh [--minutes N] [--build FOLDER] [--table FILE] [OPTION VALUE]...
#     --minutes  how long (default 10, of the points); 0 = until every point was tried
#     --build    build folder (default build); its `thorax` and `reliability` must be there
#     --table    where the table goes (default build/reliability.csv; tests/reliability/results holds the last long runs)
#     Other options are those of the program: build/tests/reliability --help
# The order of the points comes from the commit, so that another commit tries others.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build
minutes=10
table=
seed=$(git rev-parse HEAD 2>/dev/null | cut -c1-8 || true)
seed=$((16#${seed:-0}))
rest=()
while [ $# -gt 0 ]; do
  [ "$1" != -h ] && [ "$1" != --help ] || { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0; }
  [ $# -ge 2 ] || { echo "reliability.sh: $1 needs a value" >&2; exit 2; }
  case "$1" in
    --build) build=$2 ;;
    --minutes) minutes=$2 ;;
    --table) table=$2 ;;
    --seed) seed=$2 ;;
    *) rest+=("$1" "$2") ;;
  esac
  shift 2
done
[ -x "$build/tests/reliability" ] || {
  echo "reliability.sh: there is no $build/tests/reliability; build it: cmake --build --preset cpu --target reliability" >&2
  exit 1
}
table=${table:-$build/reliability.csv}
mkdir -p "$(dirname "$table")"
exec "$build/tests/reliability" --thorax "$build/apps/thorax" --shim "$build/tests/libfault_shim.so" \
  --minutes "$minutes" --seed "$seed" --jobs "$(nproc)" --table "$table" "${rest[@]}"
