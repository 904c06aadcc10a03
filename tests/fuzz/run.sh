#!/usr/bin/env bash
# Builds the fuzz harnesses (preset fuzz: clang with libFuzzer and sanitizers), runs the corpus through
# them, then fuzzes each. Ends with exit status 1 when anything crashed, hung or broke a promise.
#
#   tests/fuzz/run.sh [--seconds N] [--only REGEX] [--seed N] [--grow]
#     --seconds  so long for each harness (default 4; 0: the corpus only). One process per core at a time.
#     --only     only the harnesses whose name matches
#     --seed     of the inputs that are tried (default 1, so that CI tries the same ones again; 0: by chance)
#     --grow     afterwards adds to tests/fuzz/corpus what reaches code that the corpus did not
#
# What a run finds new is kept in build-fuzz/found/HARNESS, where the next run begins; what crashes lies
# in build-fuzz/crashes/HARNESS: mend the parser, and copy the file to tests/fuzz/corpus/HARNESS.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=4
only=.
seed=1
grow=false
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds | --only | --seed)
      [ $# -ge 2 ] || { echo "run.sh: $1 needs a value" >&2; exit 2; }
      case "$1" in
        --seconds) seconds=$2 ;;
        --only) only=$2 ;;
        --seed) seed=$2 ;;
      esac
      shift 2
      ;;
    --grow) grow=true; shift ;;
    -h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
done
for number in "$seconds" "$seed"; do
  [[ "$number" =~ ^[0-9]+$ ]] || { echo "run.sh: '$number' is no whole number" >&2; exit 2; }
done

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --parallel "$(nproc)"

export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
# Inputs are small: what they can do in 4 KB shows sooner than what they can do in 1 MB. 10 s for one
# of them, or 1 GB, is a fault.
options=(-max_len=4096 -timeout=10 -rss_limit_mb=1500 -malloc_limit_mb=1000 -print_final_stats=1)
export seconds seed grow options_text="${options[*]}"

fuzz_one() {
  local name=$1 corpus=tests/fuzz/corpus/$1 found=build-fuzz/found/$1 crashes=build-fuzz/crashes/$1
  local log=build-fuzz/$1.log
  local program=build-fuzz/tests/fuzz/$1
  mkdir -p "$found" "$crashes"
  # shellcheck disable=SC2086
  if ! "$program" $options_text -runs=0 "$corpus" >"$log" 2>&1; then
    echo "$name: FAILED on a file of its corpus:"
    tail -n 40 "$log"
    return 1
  fi
  if [ "$seconds" -gt 0 ]; then
    # shellcheck disable=SC2086
    if ! "$program" $options_text -max_total_time="$seconds" -seed="$seed" -artifact_prefix="$crashes/" "$found" "$corpus" \
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
echo "run.sh: ${#harnesses[@]} harnesses, $seconds s each, no crash"
