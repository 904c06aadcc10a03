#!/usr/bin/env bash
# Installs what is missing, builds everything and runs every test; ends with ctest's summary.
#
#   tests/run.sh [--preset NAME] [-R REGEX] [--target NAME]...
#     --preset   cpu (default), debug, asan, tsan, ci: see CMakePresets.json
#     -R         only the tests whose name matches (names are paths: engine/tensor, data/readers, ...)
#     --target   build only this target, e.g. test_engine (the default is everything)
set -euo pipefail
cd "$(dirname "$0")/.."

preset=cpu
select=()
targets=()
while [ $# -gt 0 ]; do
  case "$1" in
    --preset | -R | --target)
      [ $# -ge 2 ] || { echo "run.sh: $1 needs a value" >&2; exit 2; }
      case "$1" in
        --preset) preset=$2 ;;
        -R) select=(-R "$2") ;;
        --target) targets+=(--target "$2") ;;
      esac
      shift 2
      ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
done

third_party/install.sh
jobs=$(nproc)
cmake --preset "$preset"
cmake --build --preset "$preset" --parallel "$jobs" "${targets[@]}"
ctest --preset "$preset" --parallel "$jobs" "${select[@]}"
