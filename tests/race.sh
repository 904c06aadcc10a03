#!/usr/bin/env bash
# The kernels under the race detector: builds the preset race, runs every kernel of kernels/resources.csv
# on small cases on the simulated device (tests/simulated), and fails on any report; then checks that
# races put into copies of kernels are reported (tests/mutations_race.txt).
#
#   tests/race.sh [--kernels] [--mutations]    only this part; both without arguments
# RACE_ARGS: more arguments for the test program, e.g. '-tc=*conv2d*'; then not every kernel need run.
# See engine/runtime/sim/README.md for what it finds.
set -euo pipefail
cd "$(dirname "$0")/.."
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(--kernels --mutations)
build=build-race
third_party/install.sh
cmake --preset race >/dev/null
cmake --build --preset race --parallel "$(nproc)" --target test_simulated
# One thread: OpenMP's own barriers are unknown to the detector. exitcode: any report fails the run.
export OMP_NUM_THREADS=1 TSAN_OPTIONS="exitcode=66 history_size=4 ${TSAN_OPTIONS:-}"
# More than 30 random bits in an address leave the detector no room for its shadow memory.
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0)" -gt 30 ]; then
  exec_plain() { setarch "$(uname -m)" -R "$@"; }
else
  exec_plain() { "$@"; }
fi

kernels() {
  local work=$build/launches.csv begin=$SECONDS
  rm -f "$work"
  read -ra more <<<"${RACE_ARGS:-}"
  THORAX_SIM_LAUNCHES=$PWD/$work exec_plain "$build/tests/test_simulated" --no-intro "${more[@]}"
  echo "race.sh: no race, $((SECONDS - begin)) s"
  if [ ${#more[@]} -eq 0 ]; then
    # The table without its last two columns is what nvcc reported.
    sed -E 's/(,[^,]*){2}$//' kernels/resources.csv >"$build/kernels.csv"
    tests/check_kernels.sh "$build/kernels.csv" "$work"
  fi
}
for part in "${parts[@]}"; do
  case $part in
    --kernels) kernels ;;
    --mutations) exec_plain tests/mutation.sh "$build" ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "race.sh: unknown argument '$part' (see --help)" >&2; exit 2 ;;
  esac
done
