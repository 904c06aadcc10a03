#!/usr/bin/env bash
# The kernels under the race detector: builds the preset race, runs every kernel of kernels/resources.csv
# on small cases on the simulated device (tests/simulated) and fails on any report; then checks that races
# put into copies of kernels are reported (tests/mutations_race.txt).
#
#   tests/race.sh [--kernels] [--mutations]    only these parts; all without arguments
#
# engine/runtime/sim/README.md says what is found and what is not.
set -euo pipefail
cd "$(dirname "$0")/.."
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(--kernels --mutations)
for part in "${parts[@]}"; do
  case $part in
    --kernels | --mutations) ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "race.sh: unknown argument '$part' (see --help)" >&2; exit 2 ;;
  esac
done
build=build-race
third_party/install.sh
cmake --preset race
cmake --build --preset race --parallel "$(nproc)" --target test_simulated

# More than 30 random bits in an address leave the detector no room for its shadow memory.
plain=()
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0)" -gt 30 ]; then
  plain=(setarch "$(uname -m)" -R)
fi
# OpenMP's own barriers are unknown to the detector, so there is one thread. A program with a report ends
# with status 66.
export OMP_NUM_THREADS=1 TSAN_OPTIONS=exitcode=66
for part in "${parts[@]}"; do
  if [ "$part" = --mutations ]; then
    "${plain[@]}" tests/mutation.sh "$build"
    continue
  fi
  rm -f "$build/launches.csv"
  THORAX_SIM_LAUNCHES=$PWD/$build/launches.csv "${plain[@]}" \
    ctest --preset race --parallel "$(nproc)" -R '^simulated/'
  # Every kernel was watched. The table without its last two columns is what nvcc reported.
  sed -E 's/(,[^,]*){2}$//' kernels/resources.csv >"$build/kernels.csv"
  tests/check_kernels.sh "$build/kernels.csv" "$build/launches.csv"
done
