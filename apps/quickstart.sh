#!/usr/bin/env bash
# From a bare Debian 12 to the whole study in small, on built-in phantoms: installs, builds the command,
# draws chest X-rays, trains a lung segmenter, cuts the lungs, cross-validates a COVID-19
# classifier in three folds and looks at new images. Under 10 minutes on 2 cores, most of it compiling;
# nothing is downloaded but Debian packages.
#
#   apps/quickstart.sh [FOLDER]     FOLDER for what it makes, default quickstart-run; replaced
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
  -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
  -*) echo "quickstart.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
esac
run=${1:-quickstart-run}
if [ -e "$run" ] && [ ! -e "$run/.quickstart" ]; then
  echo "quickstart.sh: $run exists and was not made by this script; name another folder" >&2
  exit 1
fi
started=$SECONDS

third_party/install.sh
# A first build leaves out what this run does not use: the simulated GPU, tests, benchmarks. `cmake --preset cpu`
# (tests/run.sh does it) brings them in.
only=()
[ -e build/CMakeCache.txt ] || only=(-DTHORAX_SIM=OFF -DTHORAX_TESTS=OFF -DTHORAX_BENCH=OFF)
cmake --preset cpu "${only[@]}"
cmake --build --preset cpu --parallel "$(nproc)" --target thorax_cli
built=$((SECONDS - started))

rm -rf "$run"
mkdir -p "$run"
touch "$run/.quickstart"
thorax() {
  echo
  echo "\$ thorax $*"
  build/apps/thorax "$@"
}

# Opacities three times as strong as the generator's default: so few images must be enough to learn from.
thorax data phantoms --out "$run/phantoms" --patients 40 --size 256 --seed 1 --severity 3
thorax data describe --data "manifest:$run/phantoms/manifest.csv" --out "$run/phantoms"
thorax train segmenter --data "manifest:$run/phantoms/manifest.csv" --out "$run/segmenter" \
  --width 8 --size 128 --epochs 6 --batch 4 --augment light
thorax segment "$run/phantoms/CXR_png" --model "$run/segmenter/last.safetensors" --out "$run/cut"
thorax kfold classifier --data "manifest:$run/phantoms/manifest.csv" --out "$run/kfold" \
  --segmenter "$run/segmenter/last.safetensors" \
  --folds 3 --model hrnet_w18_small_v2 --size 96 --epochs 7 --batch 4 --augment light
# Patients whom neither network has seen.
thorax data phantoms --out "$run/new" --patients 4 --max-images 1 --size 256 --seed 2 --severity 3
thorax predict "$run/new/CXR_png" --segmenter "$run/segmenter/last.safetensors" \
  --classifier "$run/kfold/fold_0/last.safetensors" --out "$run/predictions"

echo
echo "quickstart.sh: built in $built s, ran in $((SECONDS - started - built)) s. Look at:"
find "$run" \( -name '*.png' -o -name '*.svg' -o -name '*.html' -o -name summary.json \) \
  -not -path '*/CXR_png/*' -not -path '*/mask/*' -not -path '*/masks/*' -not -path '*/lungs/*' | sort |
  awk '{ folder = $0; sub("/[^/]*$", "", folder); n = ++seen[folder] }
       n <= 3 { print "  " $0 } n == 4 { print "  " folder "/..." }'
