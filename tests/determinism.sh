#!/usr/bin/env bash
# Trains the same small segmenter and classifier under everything that may differ between two machines or
# two starts, and prints a table of the checksums of their checkpoints. Ends with exit status 1
# when a row differs that must not.
#
#   tests/determinism.sh [--build FOLDER] [--quick] [--only REGEX] [--table FILE]
#     --build  where apps/thorax lies (default: build)
#     --quick  a sample of the rows: what ctest runs
#     --only   only the rows whose network and group match, as "classifier onednn"
#     --table  also writes the rows to this file, as CSV (reliability/results/determinism.csv holds the last full run)
# The first row of a network and a group is what the others of the group are held against. The groups: the CPU's own
# kernels, convolutions by oneDNN, the simulated GPU. From group to group bits differ: sums are taken in another order.
# oneDNN promises no equal bits from one number of threads to another; everything else must be equal.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build
quick=false
only=.
table=/dev/null
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?determinism.sh: --build needs a value}; shift 2 ;;
    --quick) quick=true; shift ;;
    --only) only=${2:?determinism.sh: --only needs a value}; shift 2 ;;
    --table) table=${2:?determinism.sh: --table needs a value}; shift 2 ;;
    -h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "determinism.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
  esac
done
thorax=$(realpath "${THORAX_COMMAND:-$build/apps/thorax}")
[ -x "$thorax" ] || { echo "determinism.sh: there is no $thorax; build first" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_WAIT_POLICY=passive

"$thorax" data phantoms --out "$folder/data" --patients 6 --max-images 1 --size 64 --seed 4 >/dev/null
segmenter=(train segmenter --data "shenzhen:$folder/data" --size 32 --width 16 --epochs 2 --batch 4 --augment study)
classifier=(train classifier --data "manifest:$folder/data/manifest.csv" --model hrnet_w18_small_v2 --size 64
  --epochs 2 --batch 4 --validation-share 0.34)
# The simulated GPU runs every thread of every block: the smallest networks.
"$thorax" data phantoms --out "$folder/few" --patients 4 --max-images 1 --size 32 --seed 4 >/dev/null
segmenter_sim=(train segmenter --data "shenzhen:$folder/few" --size 16 --width 2 --epochs 2 --batch 2 --augment study
  --validation-share 0.3 --device sim)
cat >"$folder/resnet.json" <<'END'
{"model": {"model": "resnet18", "in_channels": 1, "head": "study", "hidden": [4], "outputs": 1, "stem": 2, "width": 2,
 "layers": [1, 1, 1, 1]}, "size": 32, "batch": 2, "epochs": 1}
END
classifier_sim=(train classifier --data "manifest:$folder/few/manifest.csv" --config "$folder/resnet.json" --device sim
  --validation-share 0.5)

sum_of() { sha256sum <"$1/last.safetensors" | cut -c1-16; }
seconds_since() { awk -v n=$(($(date +%s%N) - $1)) 'BEGIN { printf "%.2f", n / 1e9 }'; }

wanted() { [[ "${1%_sim} $2" =~ $only ]]; }

failed=0
declare -A expected
# row TASK GROUP LABEL ENVIRONMENT... -- ARGUMENT...
row() {
  local task=$1 group=$2 label=$3 out begin
  wanted "$task" "$group" || return 0
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
  judge "$task" "$group" "$label" "$(sum_of "$out")" "$(seconds_since "$begin")"
}
judge() {  # TASK GROUP LABEL SUM SECONDS
  local key="$1 $2" verdict
  if [ -z "${expected[$key]:-}" ]; then
    expected[$key]=$4
    verdict=reference
  elif [ "${expected[$key]}" = "$4" ]; then
    verdict=equal
  elif [ "$2" = onednn ]; then
    verdict="differs, as stated"
  else
    verdict=DIFFERS
    failed=1
  fi
  printf '| %s | %s | %s | %s | %s | %s |\n' "${1%_sim}" "$2" "$3" "$4" "$5" "$verdict"
  printf '%s,%s,"%s",%s,%s,%s\n' "${1%_sim}" "$2" "$3" "$4" "$5" "$verdict" >>"$table"
}
# resumed TASK GROUP LABEL FIRST... -- SECOND...: a run that is killed under one set of environment and arguments
# (NAME=VALUE is environment) and goes on under another.
resumed() {
  local task=$1 group=$2 label=$3 out begin status=0
  wanted "$task" "$group" || return 0
  shift 3
  local -n command=$task
  local one=() one_environment=() two=() two_environment=() word
  while [ "$1" != -- ]; do
    word=$1
    case "$word" in [A-Z]*=*) one_environment+=("$word") ;; *) one+=("$word") ;; esac
    shift
  done
  shift
  for word in "$@"; do
    case "$word" in [A-Z]*=*) two_environment+=("$word") ;; *) two+=("$word") ;; esac
  done
  out=$(mktemp -d -p "$folder" "$task.XXXX")/run
  begin=$(date +%s%N)
  # To the first checkpoint, then on until it is killed: the second start has something to repeat.
  env "${one_environment[@]}" "$thorax" "${command[@]}" --out "$out" "${one[@]}" --checkpoint-seconds 1 >"$folder/log" 2>&1 &
  local process=$!
  until [ -e "$out/last.safetensors" ] || ! kill -0 $process 2>/dev/null; do sleep 0.05; done
  kill -KILL $process 2>/dev/null || true
  wait $process 2>/dev/null || status=$?
  env "${two_environment[@]}" "$thorax" "${command[@]}" --out "$out" "${two[@]}" --resume >"$folder/log" 2>&1 ||
    { cat "$folder/log" >&2; echo "determinism.sh: $task, $label: failed" >&2; exit 1; }
  judge "$task" "$group" "$label (first start ended with status $status)" "$(sum_of "$out")" "$(seconds_since "$begin")"
}

processor=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
wide="no AVX-512"
if grep -qw avx512vl /proc/cpuinfo; then wide="AVX-512"; fi
echo "$processor, $(nproc) cores, $wide; $("$thorax" --version 2>/dev/null | head -n 1)"
echo
echo "| network | group | how | checkpoint | seconds | |"
echo "|---|---|---|---|---|---|"
echo "network,group,how,checkpoint,seconds,verdict" >"$table"
threads=(1 2 3 4 5 6 7 8)
if $quick; then threads=(1 3); fi
for task in segmenter classifier; do
  for n in "${threads[@]}"; do row $task cpu "$n threads" -- --threads "$n"; done
  row $task cpu "AVX2 (THORAX_ISA=avx2)" THORAX_ISA=avx2 -- --threads 1
  resumed $task cpu "AVX-512 and 3 threads, killed, resumed with AVX2 and 1 thread" \
    THORAX_ISA=avx512 --threads 3 -- THORAX_ISA=avx2 --threads 1
  if ! $quick; then
    row $task cpu "AVX2, 8 threads" THORAX_ISA=avx2 -- --threads 8
    for n in 1 2 3 8; do row $task onednn "conv2d by oneDNN, $n threads" -- --threads "$n" --provider conv2d=onednn; done
    resumed $task onednn "oneDNN, 3 threads, killed, resumed with 1 thread" \
      --threads 3 --provider conv2d=onednn -- --threads 1 --provider conv2d=onednn
    row $task "onednn avx2" "conv2d by oneDNN held to AVX2 (ONEDNN_MAX_CPU_ISA=AVX2)" ONEDNN_MAX_CPU_ISA=AVX2 -- \
      --threads 1 --provider conv2d=onednn
  fi
done
orders=(forward reverse random:1)
if $quick; then orders=(forward random:1); fi
for task in segmenter_sim classifier_sim; do
  for order in "${orders[@]}"; do row $task sim "simulated GPU, $order order" THORAX_SIM_ORDER="$order" -- --threads 2; done
  if ! $quick; then
    for order in random:2 random:3; do row $task sim "simulated GPU, $order order" THORAX_SIM_ORDER="$order" -- --threads 2; done
    row $task sim "simulated GPU, 1 thread of the machine" -- --threads 1
    resumed $task sim "simulated GPU, forward, killed, resumed in reverse order" \
      THORAX_SIM_ORDER=forward -- THORAX_SIM_ORDER=reverse
  fi
done
[ "$failed" -eq 0 ] || { echo "determinism.sh: FAILED: bits differ that must be equal" >&2; exit 1; }
echo
echo "determinism.sh: all rows of a group are equal"
