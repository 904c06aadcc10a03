#!/usr/bin/env bash
# Cross-compiles thorax for 64-bit ARM (preset aarch64) and runs there, under qemu-user, the tests of the CPU's kernels
# and of the engine's tensors, 16-bit numbers and weight files.
#
#   tests/aarch64.sh [--layers] [--train]
#     --layers  also the cases of networks' layers, which take an hour
#     --train   also trains a segmenter and a classifier on both processors and compares their checkpoints
#
# Needs the network once: the cross-compiler (third_party/install.sh --aarch64) and ARM's Debian packages, which are
# unpacked into build-aarch64/debian. Without DICOM, and without kernels of the simulated GPU, which would take
# hours. Too long for a step of .ci/run: tests/README.md says when it last ran.
set -euo pipefail
cd "$(dirname "$0")/.."

layers=false
train=false
for argument in "$@"; do
  case "$argument" in
    --layers) layers=true ;;
    --train) train=true ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "aarch64.sh: unknown argument '$argument' (see --help)" >&2; exit 2 ;;
  esac
done

third_party/install.sh --aarch64
debian=build-aarch64/debian
if [ ! -e "$debian" ]; then
  rm -rf "$debian.new"
  mkdir -p build-aarch64
  mmdebstrap --quiet --variant=extract --architectures=arm64 --include="libc6-dev libstdc++-12-dev libgomp1 libdnnl-dev
    libstb-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev libfmt-dev libxxhash-dev libboost-dev
    libboost-context-dev libtiff-dev libjpeg62-turbo-dev libpng-dev doctest-dev" \
    bookworm "$debian.new" "${THORAX_MIRROR:-http://deb.debian.org/debian}"
  mv "$debian.new" "$debian"
fi
cmake --preset aarch64
cmake --build --preset aarch64 --parallel "$(nproc)" --target test_kernels --target test_engine --target thorax_cli
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive

# What asks for a GPU, by the names of the cases.
without='*GPU*,*cuda*,*tensor core*,losses: a NaN*,conv2d with statistics*,*every device*,*on a device*,*devices*,*16 bit*,*16-bit*,cast:*,ptx*'
$layers || without+=',*layers of*'
qemu-aarch64 -L "$debian" build-aarch64/tests/test_kernels --no-intro -tce="$without"
qemu-aarch64 -L "$debian" build-aarch64/tests/test_engine --no-intro -tce="$without" \
  --source-file='*/engine/tensor/*,*/engine/io/crc32_test.cpp,*/engine/io/safetensors_test.cpp,*/engine/io/config_test.cpp'
echo "aarch64.sh: the CPU's kernels compute on ARM what their references say"

$train || exit 0
[ -x build/apps/thorax ] || { echo "aarch64.sh: --train needs this processor's program, too: tests/run.sh" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
build/apps/thorax data phantoms --out "$folder/data" --patients 8 --max-images 1 --size 64 --seed 4 >/dev/null
segmenter=(train segmenter --data "shenzhen:$folder/data" --size 32 --width 8 --epochs 3 --batch 4 --augment study)
classifier=(train classifier --data "manifest:$folder/data/manifest.csv" --model hrnet_w18_small_v2 --size 64 --epochs 1
  --batch 4 --validation-share 0.34)
for network in segmenter classifier; do
  declare -n command=$network
  build/apps/thorax "${command[@]}" --out "$folder/$network-x86" --quiet >/dev/null
  qemu-aarch64 -L "$debian" build-aarch64/apps/thorax "${command[@]}" --out "$folder/$network-arm" --quiet >/dev/null
  if cmp -s "$folder/$network"-{x86,arm}/last.safetensors; then
    echo "aarch64.sh: $network: the same bytes on both processors"
  else
    echo "aarch64.sh: $network: other bytes on the two processors; the losses:"
    tail -n 1 "$folder/$network"-{x86,arm}/metrics.jsonl
  fi
done
