#!/usr/bin/env bash
# Trains the same small segmenter and classifier under everything that may differ between two machines or
# two starts, and prints a table of the checksums of their checkpoints. Ends with exit status 1
# when a row differs that must not.
#
#   tests/determinism.sh [--build FOLDER] [--quick]
#     --build  where apps/thorax lies (default: build)
#     --quick  a sample of the rows: what ctest runs
# The simulated GPU in forward, reverse and random order of its threads: tests/kernels, tests/mutation.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build
quick=false
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?determinism.sh: --build needs a value}; shift 2 ;;
    --quick) quick=true; shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "determinism.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
done
thorax=$(realpath "${THORAX_COMMAND:-$build/apps/thorax}")
[ -x "$thorax" ] || { echo "determinism.sh: there is no $thorax; build first" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_WAIT_POLICY=passive

"$thorax" data phantoms --out "$folder/data" --patients 8 --max-images 2 --size 64 --seed 4 >/dev/null
segmenter=(train segmenter --data "shenzhen:$folder/data" --size 32 --width 16 --epochs 2 --batch 2 --augment study)
classifier=(train classifier --data "manifest:$folder/data/manifest.csv" --model hrnet_w18_small_v2 --size 64
  --epochs 1 --batch 4)

sum_of() { cat "$1/last.safetensors" | sha256sum | cut -c1-16; }

failed=0
declare -A expected
# row LABEL must|may TASK ENVIRONMENT... -- ARGUMENT...
row() {
  local label=$1 rule=$2 task=$3 out begin verdict sum
  shift 3
  local environment=()
  while [ "$1" != -- ]; do environment+=("$1"); shift; done
  shift
  local -n command=$task
  out=$(mktemp -d -p "$folder" "$task.XXXX")/run
  begin=$(date +%s%N)
  if ! env "${environment[@]}" "$thorax" "${command[@]}" --out "$out" "$@" >"$folder/log" 2>&1; then
    cat "$folder/log" >&2
    echo "determinism.sh: $task, $label: failed" >&2
    exit 1
  fi
  sum=$(sum_of "$out")
  judge "$task" "$label" "$rule" "$sum" "$(awk -v n=$(($(date +%s%N) - begin)) 'BEGIN { printf "%.2f", n / 1e9 }')"
}
judge() {  # TASK LABEL must|may SUM SECONDS: the first row of a task and a rule's group is what the others are held against
  local key=$1 verdict
  if [ -z "${expected[$key]:-}" ]; then
    expected[$key]=$4
    verdict=reference
  elif [ "${expected[$key]}" = "$4" ]; then
    verdict=equal
  elif [ "$3" = may ]; then
    verdict="differs, as stated"
  else
    verdict=DIFFERS
    failed=1
  fi
  printf '| %s | %s | %s | %s | %s |\n' "$1" "$2" "$4" "$5" "$verdict"
}
# A run that is interrupted under one machine and goes on under another.
resumed() {
  local task=$1 label=$2 out begin status=0
  local -n command=$task
  out=$(mktemp -d -p "$folder" "$task.XXXX")/run
  begin=$(date +%s%N)
  # To the first checkpoint, then on until it is killed: the second start has something to repeat.
  env THORAX_ISA=avx512 "$thorax" "${command[@]}" --out "$out" --threads 3 --checkpoint-seconds 1 >"$folder/log" 2>&1 &
  local process=$!
  until [ -e "$out/last.safetensors" ] || ! kill -0 $process 2>/dev/null; do sleep 0.05; done
  kill -KILL $process 2>/dev/null || true
  wait $process 2>/dev/null || status=$?
  env THORAX_ISA=avx2 "$thorax" "${command[@]}" --out "$out" --threads 1 --resume >"$folder/log" 2>&1 ||
    { cat "$folder/log" >&2; echo "determinism.sh: $task, $label: failed" >&2; exit 1; }
  judge "$task" "$label (first start ended with status $status)" must "$(sum_of "$out")" \
    "$(awk -v n=$(($(date +%s%N) - begin)) 'BEGIN { printf "%.2f", n / 1e9 }')"
}

processor=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
wide="no AVX-512"
if grep -qw avx512vl /proc/cpuinfo; then wide="AVX-512"; fi
echo "$processor, $(nproc) cores, $wide; $("$thorax" --version 2>/dev/null | head -n 1)"
echo
echo "| network | how | checkpoint | seconds | |"
echo "|---|---|---|---|---|"
threads=(1 2 3 4 5 6 7 8)
if $quick; then threads=(1 3); fi
for task in segmenter classifier; do
  for n in "${threads[@]}"; do row "$n threads" must $task -- --threads "$n"; done
  row "AVX2 (THORAX_ISA=avx2)" must $task THORAX_ISA=avx2 -- --threads 1
  resumed $task "AVX-512 and 3 threads, killed, resumed with AVX2 and 1 thread"
  if ! $quick; then
    row "conv2d by oneDNN" may $task -- --threads 1 --provider conv2d=onednn
    row "conv2d by oneDNN, 3 threads" may $task -- --threads 3 --provider conv2d=onednn
    row "conv2d by oneDNN held to AVX2" may $task ONEDNN_MAX_CPU_ISA=AVX2 -- --threads 1 --provider conv2d=onednn
  fi
done
[ "$failed" -eq 0 ] || { echo "determinism.sh: FAILED: bits differ that must be equal" >&2; exit 1; }
echo
echo "determinism.sh: every row that must be equal is"
