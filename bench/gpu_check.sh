#!/usr/bin/env bash
# Everything that needs a GPU, in one call: tests, compute-sanitizer, the simulator held against the GPU, the
# kernel table against cuDNN, training steps against PyTorch, real training.
#
#   bench/gpu_check.sh OUT [--build DIR] [--data DIR] [--python PYTHON] [--minutes N] [--only REGEX]
#     --build    a finished CUDA build, or what bench/gpu_bundle.sh made of one (default: the bundle that this
#                script lies in, else builds preset "cuda" for this GPU alone)
#     --data     real images as in the README's walk-through; without it training runs on phantoms
#     --python   an interpreter with PyTorch and CUDA; without it the comparison is left out and said so
#     --minutes  end after so many (default 25): what runs then is stopped, the rest is not started
#     --only     only parts whose name matches: tests_*, memcheck, racecheck, table, step_*, torch_*, train
# Each part's output is OUT/<part>.log; OUT/summary.txt has one line per part. A failed part does not stop
# the others. Exit code 1 when one failed, 2 at once when thorax finds no cuda:0 (the simulated GPU does not
# stand in for it). A test file that fails runs again as <part>_sync with THORAX_CUDA_SYNC=1, which names the
# kernel of an error. The rows to commit to bench/results/ are
# OUT/<gpu>-<date>-kernels.csv and OUT/<gpu>-<date>-steps.csv: each names GPU, driver, CUDA, cuDNN, commit.
set -uo pipefail
here=$PWD  # paths among the arguments are the caller's
cd "$(dirname "$0")/.."
out= build= data= python= minutes=25 only=.
while [ $# -gt 0 ]; do
  case "$1" in
    --build | --data | --python | --minutes | --only)
      [ $# -ge 2 ] || { echo "gpu_check.sh: $1 needs a value" >&2; exit 2; }
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    -h | --help) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "gpu_check.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
    *) out=$1; shift ;;
  esac
done
[ -n "$out" ] || { echo "gpu_check.sh: where to write? (see --help)" >&2; exit 2; }
command -v nvidia-smi >/dev/null || { echo "gpu_check.sh: no nvidia-smi: is there a GPU?" >&2; exit 2; }
absolute() { [[ $1 == /* || -z $1 ]] && echo "$1" || echo "$here/$1"; }
out=$(absolute "$out") build=$(absolute "$build") data=$(absolute "$data")
[ -n "$build" ] || [ ! -e bundle ] || build=$PWD
mkdir -p "$out"
: >"$out/summary.txt"
say() { echo "$*" | tee -a "$out/summary.txt"; }
part() {  # NAME COMMAND...
  local name=$1 begin=$SECONDS left=$((minutes * 60 - SECONDS)) status=0
  shift
  [[ $name =~ $only ]] || return 0
  if [ $left -le 0 ]; then
    say "$name: not started, $minutes minutes are over"
    return 0
  fi
  timeout "$left" "$@" >"$out/$name.log" 2>&1 </dev/null || status=$?
  case $status in
    0) say "$name: ok, $((SECONDS - begin)) s" ;;
    124) say "$name: stopped, $minutes minutes are over" ;;
    *) say "$name: FAILED ($status), $((SECONDS - begin)) s: $(tail -n 1 "$out/$name.log")" ;;
  esac
}

query() { nvidia-smi --query-gpu="$1" --format=csv,noheader | head -n 1; }
gpu=$(query name) driver=$(query driver_version) capability=$(query compute_cap | tr -d .)
cuda=$(nvcc --version 2>/dev/null | sed -n 's/.*release \([^,]*\).*/\1/p')
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)

if [ -z "$build" ]; then
  build=$PWD/build-cuda
  third_party/install.sh >"$out/install.log" 2>&1
  part build_configure cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES="$capability"
  part build cmake --build --preset cuda --parallel "$(nproc)"
fi
if [ -e "$build/bundle" ]; then
  export LD_LIBRARY_PATH=$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  commit=$(cat "$build/bundle")
fi
cudnn=$("$build/apps/thorax" info 2>/dev/null | sed -n 's/.*cuDNN \([0-9.]*\).*/\1/p' | head -n 1)
say "gpu: $gpu (sm_$capability), driver $driver, CUDA ${cuda:-unknown}, cuDNN ${cudnn:-none}, commit $commit"
"$build/apps/thorax" info >"$out/devices.log" 2>&1 || true
if ! grep -q '^cuda:0 ' "$out/devices.log"; then
  why=$(sed -n 's/^cuda  *none: //p' "$out/devices.log")
  say "devices: FAILED: thorax finds no cuda:0: ${why:-$(tail -n 1 "$out/devices.log")}"
  exit 2
fi
say "devices: $(grep '^cuda:0 ' "$out/devices.log")"

# The tests run on the GPU or not at all: every provider against the reference, graphs, uploads, training of
# all networks. test_simulated runs every kernel on both and compares. One process a file: an error of the GPU
# takes all later tests of its process with it.
export THORAX_TEST_DEVICE=cuda
tests() {  # PROGRAM
  local file name
  "$build/tests/test_$1" --list-test-cases --reporters=xml 2>/dev/null | sed -n 's/.* filename="\([^"]*\)".*/\1/p' |
    LC_ALL=C sort -u >"$out/tests_$1.files"
  [ -s "$out/tests_$1.files" ] || say "tests_$1: FAILED: no test files are known"
  while read -r file; do
    name=${file##*/tests/} name=tests_${name//\//_} name=${name%.cpp} name=${name%_test}
    part "$name" "$build/tests/test_$1" --source-file="*/${file##*/tests/}" --no-intro
    if grep -q "^$name: FAILED" "$out/summary.txt"; then
      THORAX_CUDA_SYNC=1 part "${name}_sync" "$build/tests/test_$1" --source-file="*/${file##*/tests/}" --no-intro
    fi
  done <"$out/tests_$1.files"
  rm -f "$out/tests_$1.files"
}
for program in engine kernels models simulated; do tests $program & done
wait
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    part $tool compute-sanitizer --tool $tool --error-exitcode 9 "$build/tests/test_simulated"
  done
else
  say "memcheck, racecheck: compute-sanitizer is not installed, left out"
fi

part table "$build/bench/gpu_table" --csv "$out/kernel_table.csv"
# The training step, the study's batch for the UNet, beside PyTorch's: eager and compiled, with and without
# mixed precision, channels last (its fastest layout on these GPUs) and for float32 NCHW, too.
ours=("$build/bench/bench_step" --device cuda --mode train --warmup 5 --repeat 20 --json)
theirs=("$python" bench/peers/torch_step.py --device cuda --mode train --warmup 10 --repeat 20 --json)
for work in "unet 512 8" "hrnet_w18 224 32"; do
  read -r model size batch <<<"$work"
  shape=(--model "$model" --size "$size" --batch "$batch")
  for precision in float32 float16 bfloat16; do
    part "step_${model}_$precision" "${ours[@]}" "${shape[@]}" --precision "$precision"
  done
  [ -n "$python" ] || continue
  part "torch_${model}_f32_nchw" "${theirs[@]}" "${shape[@]}" --layout nchw
  part "torch_${model}_f32" "${theirs[@]}" "${shape[@]}" --layout nhwc
  part "torch_${model}_f32_compiled" "${theirs[@]}" "${shape[@]}" --layout nhwc --compile
  for amp in f16 bf16; do
    part "torch_${model}_$amp" "${theirs[@]}" "${shape[@]}" --layout nhwc --amp "$amp"
    part "torch_${model}_${amp}_compiled" "${theirs[@]}" "${shape[@]}" --layout nhwc --amp "$amp" --compile
  done
done
[ -n "$python" ] || say "PyTorch: no --python given, left out"

train=("$build/apps/thorax" train segmenter --device cuda --size 512 --epochs 5 --batch 8 --augment light
  --out "$out/segmenter")
if [ -n "$data" ]; then
  part train "${train[@]}" --data "covid:$data/covid-chestxray-dataset,masks=$data/covid-lung-masks" \
    --data "shenzhen:$data/shenzhen"
else
  part train_phantoms "$build/apps/thorax" data phantoms --out "$out/phantoms" --patients 24 --size 512 --seed 1
  part train "${train[@]}" --data "manifest:$out/phantoms/manifest.csv"
  rm -rf "$out/phantoms"
fi
find "$out/segmenter" -name '*.safetensors' -delete 2>/dev/null

# The rows to commit, each with the machine it comes from.
name=$(tr 'A-Z ' 'a-z-' <<<"$gpu")-$(date +%F)
machine="\"$gpu\",$driver,${cuda:-},${cudnn:-},$commit"
if [ -s "$out/kernel_table.csv" ]; then
  awk -v machine="$machine" '{ print $0 "," (NR == 1 ? "gpu,driver,cuda,cudnn,commit" : machine) }' \
    "$out/kernel_table.csv" >"$out/$name-kernels.csv"
fi
cat "$out"/step_*.log "$out"/torch_*.log 2>/dev/null | awk -v machine="$machine" '
  function value(key, text) {  # of a flat JSON object
    if (!match($0, "\"" key "\": ?(\"[^\"]*\"|[^,}]*)")) return ""
    text = substr($0, RSTART, RLENGTH)
    sub(/^"[^"]*": ?/, "", text)
    gsub(/"|^null$/, "", text)
    return text
  }
  BEGIN { print "program,model,mode,size,batch,layout,precision,compiled,min_s,median_s,peak_gpu_mb,gpu,driver,cuda,cudnn,commit" }
  /"program"/ {
    ours = value("program") == "thorax"
    precision = ours ? value("precision") : value("amp") == "" ? "float32" : value("amp")
    print value("program") "," value("model") "," value("mode") "," value("size") "," value("batch") "," value("layout") "," \
      precision "," value("compile") "," value("min_s") "," value("median_s") "," \
      value(ours ? "peak_tensors_mb" : "peak_gpu_mb") "," machine
  }' >"$out/steps.csv"
[ "$(wc -l <"$out/steps.csv")" -lt 2 ] || mv "$out/steps.csv" "$out/$name-steps.csv"
rm -f "$out/steps.csv"
! grep -q ': FAILED' "$out/summary.txt"
