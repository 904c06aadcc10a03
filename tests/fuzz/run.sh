#!/usr/bin/env bash
# Builds the fuzz harnesses (preset fuzz: clang with libFuzzer and sanitizers), runs the corpus through
# them, then fuzzes each. Ends with exit status 1 when anything crashed, hung or broke a promise.
#
#   tests/fuzz/run.sh [--runs N | --seconds N] [--only REGEX] [--seed N] [--grow]
#     --runs     executions of each harness, the corpus among them (default 4000: with the seed, the same
#                inputs on a fast machine and on a slow one). One process per core at a time.
#     --seconds  so long for each harness instead, to look for more (0: the corpus only)
#     --only     only the harnesses whose name matches
#     --seed     of the inputs that are tried (default 1; 0: by chance)
#     --grow     afterwards adds to tests/fuzz/corpus what reaches code that the corpus did not
#
# What a run with --seconds finds new is kept in build-fuzz/found/HARNESS, where the next one begins; what crashes lies
# in build-fuzz/crashes/HARNESS: mend the parser, and copy the file to tests/fuzz/corpus/HARNESS.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=4000
seconds=
only=.
seed=1
grow=false
while [ $# -gt 0 ]; do
  case "$1" in
    --runs | --seconds | --only | --seed)
      [ $# -ge 2 ] || { echo "run.sh: $1 needs a value" >&2; exit 2; }
      case "$1" in
        --runs) runs=$2 ;;
        --seconds) seconds=$2 ;;
        --only) only=$2 ;;
        --seed) seed=$2 ;;
      esac
      shift 2
      ;;
    --grow) grow=true; shift ;;
    -h | --help) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
done
for number in "$runs" "${seconds:-0}" "$seed"; do
  [[ "$number" =~ ^[0-9]+$ ]] || { echo "run.sh: '$number' is no whole number" >&2; exit 2; }
done

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --parallel "$(nproc)"

export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
# Inputs are small: what they can do in 4 KB shows sooner than what they can do in 1 MB. 10 s for one
# of them, or 1 GB, is a fault.
options=(-max_len=4096 -timeout=10 -rss_limit_mb=1500 -malloc_limit_mb=1000 -print_final_stats=1)
if [ -n "$seconds" ]; then
  amount="$seconds s" limit="-max_total_time=$seconds"
  [ "$seconds" -gt 0 ] || limit=
else
  amount="$runs executions" limit="-runs=$runs"
fi
export limit seconds seed grow options_text="${options[*]}"

fuzz_one() {
  local name=$1 corpus=tests/fuzz/corpus/$1 found=build-fuzz/found/$1 crashes=build-fuzz/crashes/$1
  local log=build-fuzz/$1.log program=build-fuzz/tests/fuzz/$1
  local inputs=("$found" "$corpus")
  local run=("$program")
  if [ -z "$seconds" ]; then
    # The seed gives the same inputs only from the same beginning in the same order, when neither
    # times (entropic schedule) nor addresses (values compared) count.
    run=(setarch -R "$program" -entropic=0)
    setarch -R true 2>/dev/null || run=("$program" -entropic=0)
    found=build-fuzz/first/$name inputs=("build-fuzz/first/$name" "-seed_inputs=@build-fuzz/$name.inputs")
    rm -rf "$found"
    find "$corpus" -type f | LC_ALL=C sort | paste -sd, >"build-fuzz/$name.inputs"
  fi
  mkdir -p "$found" "$crashes"
  # shellcheck disable=SC2086
  if ! "$program" $options_text -runs=0 "$corpus" >"$log" 2>&1; then
    echo "$name: FAILED on a file of its corpus:"
    tail -n 40 "$log"
    return 1
  fi
  if [ -n "$limit" ]; then
    # shellcheck disable=SC2086
    if ! "${run[@]}" $options_text "$limit" -seed="$seed" -artifact_prefix="$crashes/" "${inputs[@]}" \
      >"$log" 2>&1; then
      echo "$name: FAILED:"
      grep -vE '^#|^INFO|NEW_FUNC' "$log" | tail -n 60
      return 1
    fi
    if $grow; then
      # shellcheck disable=SC2086
      "$program" $options_text -merge=1 "$corpus" "$found" >>"$log" 2>&1
    fi
  fi
  awk -v name="$name" '/number_of_executed_units/ { runs = $2 } / cov: / { for (i = 1; i < NF; ++i) if ($i == "cov:") cov = $(i + 1) }
    END { printf "%-12s no crash; %9d executions, %5d edges\n", name, runs, cov }' "$log"
}
export -f fuzz_one

mapfile -t harnesses < <(find build-fuzz/tests/fuzz -maxdepth 1 -type l -printf '%f\n' | grep -E "$only" | sort)
[ ${#harnesses[@]} -gt 0 ] || { echo "run.sh: no harness matches '$only'" >&2; exit 2; }
printf '%s\n' "${harnesses[@]}" | xargs -P "$(nproc)" -I{} bash -c 'fuzz_one {}' ||
  { echo "run.sh: FAILED" >&2; exit 1; }
echo "run.sh: ${#harnesses[@]} harnesses, $amount each, no crash"
