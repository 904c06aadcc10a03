#!/usr/bin/env bash
# Everything that needs a GPU, in one call: tests, compute-sanitizer, the kernel table against cuDNN, the
# training step against PyTorch, real training. Results go to OUT; copy them to bench/results/ and commit.
#
#   bench/gpu_check.sh OUT [--build DIR] [--data DIR] [--python PYTHON] [--minutes N]
#     --build    a finished CUDA build to use (default: builds preset "cuda" for this GPU alone)
#     --data     real images as in the README's walk-through; without it training runs on phantoms
#     --python   an interpreter with PyTorch and CUDA; without it the comparison is left out and said so
#     --minutes  stop starting new parts after so many (default 25)
# Each part's output is OUT/<part>.log; OUT/summary.txt has one line per part. A failed part does not stop
# the others. Exit code 1 when one failed.
set -uo pipefail
cd "$(dirname "$0")/.."
out= build= data= python= minutes=25
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=$2; shift 2 ;;
    --data) data=$2; shift 2 ;;
    --python) python=$2; shift 2 ;;
    --minutes) minutes=$2; shift 2 ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "gpu_check.sh: unknown argument '$1'" >&2; exit 2 ;;
    *) out=$1; shift ;;
  esac
done
[ -n "$out" ] || { echo "gpu_check.sh: where to write? See --help" >&2; exit 2; }
mkdir -p "$out"
out=$(realpath "$out")
: >"$out/summary.txt"
failed=0
say() { echo "$*" | tee -a "$out/summary.txt"; }
part() {  # NAME COMMAND...
  local name=$1 begin=$SECONDS
  shift
  if [ "$begin" -ge $((minutes * 60)) ]; then
    say "$name: not started, $minutes minutes are over"
    return
  fi
  if "$@" >"$out/$name.log" 2>&1 </dev/null; then
    say "$name: ok, $((SECONDS - begin)) s"
  else
    say "$name: FAILED ($?), $((SECONDS - begin)) s: $(tail -n 1 "$out/$name.log")"
    failed=1
  fi
}

command -v nvidia-smi >/dev/null || { echo "gpu_check.sh: no nvidia-smi: is there a GPU?" >&2; exit 2; }
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
say "gpu: $gpu (sm_$capability), driver $driver"
say "cuda: $(nvcc --version 2>/dev/null | sed -n 's/.*release \([^,]*\).*/\1/p'), cudnn: $(
  grep -hoE 'CUDNN_(MAJOR|MINOR|PATCHLEVEL) [0-9]+' /usr/include/cudnn_version*.h \
    /usr/local/cuda/include/cudnn_version*.h 2>/dev/null | sort -u | awk '{ printf "%s.", $2 }')"
say "commit: $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"

if [ -z "$build" ]; then
  build=build-cuda
  third_party/install.sh >"$out/install.log" 2>&1
  part configure cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES="$capability"
  part build cmake --build --preset cuda --parallel "$(nproc)"
fi
cp "$build/kernels.csv" "$out/kernels.csv" 2>/dev/null
part devices "$build/apps/thorax" info
# Tests run every provider that this machine can run: on the CPU, the simulator and the GPU.
part tests_engine "$build/tests/test_engine"
part tests_kernels "$build/tests/test_kernels"
part tests_models "$build/tests/test_models"
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    part "$tool" compute-sanitizer --tool "$tool" --error-exitcode 9 "$build/tests/test_kernels" \
      "--test-case=*awkward*,*gpu*" --no-skip=0
  done
else
  say "compute-sanitizer: not installed, left out"
fi
part table "$build/bench/gpu_table" --csv "$out/kernel_table.csv"
# The training step, the study's batch for the UNet, beside PyTorch's: eager and compiled, with and without
# mixed precision, channels last (its fastest layout on these GPUs) and for float32 NCHW, too.
ours() { "$build/bench/bench_step" --device cuda --mode train --warmup 5 --repeat 20 --json "$@"; }
theirs() {
  "$python" bench/peers/torch_step.py --device cuda --mode train --warmup 10 --repeat 20 --json "$@"
}
for work in "unet 512 8" "hrnet_w18 224 32"; do
  read -r model size batch <<<"$work"
  shape=(--model "$model" --size "$size" --batch "$batch")
  for precision in float32 float16 bfloat16; do
    part "step_${model}_$precision" ours "${shape[@]}" --precision "$precision"
  done
  [ -n "$python" ] || continue
  part "torch_${model}_f32_nchw" theirs "${shape[@]}" --layout nchw
  part "torch_${model}_f32" theirs "${shape[@]}" --layout nhwc
  part "torch_${model}_f32_compiled" theirs "${shape[@]}" --layout nhwc --compile
  for amp in f16 bf16; do
    part "torch_${model}_$amp" theirs "${shape[@]}" --layout nhwc --amp "$amp"
    part "torch_${model}_${amp}_compiled" theirs "${shape[@]}" --layout nhwc --amp "$amp" --compile
  done
done
[ -n "$python" ] || say "PyTorch: no --python given, left out"
if [ -n "$data" ]; then
  part train "$build/apps/thorax" train segmenter --device cuda --size 512 --epochs 5 --batch 8 \
    --augment light --out "$out/segmenter" \
    --data "covid:$data/covid-chestxray-dataset,masks=$data/covid-lung-masks" --data "shenzhen:$data/shenzhen"
else
  part phantoms "$build/apps/thorax" data phantoms --out "$out/phantoms" --patients 24 --size 512 --seed 1
  part train "$build/apps/thorax" train segmenter --device cuda --size 512 --epochs 5 --batch 8 \
    --augment light --out "$out/segmenter" --data "manifest:$out/phantoms/manifest.csv"
  rm -rf "$out/phantoms"
fi
find "$out/segmenter" -name '*.safetensors' -delete 2>/dev/null
exit $failed
