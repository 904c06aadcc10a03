#!/usr/bin/env bash
# Cross-compiles thorax for 64-bit ARM (preset aarch64) and runs the tests of every kernel there, and of the engine where
# processors differ, under qemu-user.
#
#   tests/aarch64.sh [--tests REGEX] [--train]
#     --tests   the ctest names to run
#     --train   also train a segmenter on both processors and say how far their losses are apart
#
# Needs the network once: the cross-compiler (third_party/install.sh --aarch64) and ARM's Debian packages, which are
# unpacked into build-aarch64/debian. Without DICOM. Too long for a step of .ci/run: third_party/README.md has the time.
set -euo pipefail
cd "$(dirname "$0")/.."

tests='^(kernels/|engine/(io/(crc32|safetensors)|tensor/|optim/))'
train=false
while [ $# -gt 0 ]; do
  case "$1" in
    --tests) tests=${2:?aarch64.sh: --tests needs a value}; shift 2 ;;
    --train) train=true; shift ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "aarch64.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
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
ctest --test-dir build-aarch64 --output-on-failure --no-tests=error --timeout 3600 -R "$tests"

$train || exit 0
[ -x build/apps/thorax ] || { echo "aarch64.sh: --train needs this processor's program, too: tests/run.sh" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
build/apps/thorax data phantoms --out "$folder/data" --patients 6 --max-images 1 --size 64 --seed 4 >/dev/null
for program in "build/apps/thorax" "qemu-aarch64 -L $debian build-aarch64/apps/thorax"; do
  name=$([[ $program == qemu* ]] && echo aarch64 || echo x86-64)
  # shellcheck disable=SC2086
  $program train segmenter --data "shenzhen:$folder/data" --size 32 --width 16 --epochs 3 --batch 4 --augment study \
    --out "$folder/$name" --quiet >/dev/null
  sed "s/^/$name /" "$folder/$name/metrics.jsonl"
done
cmp "$folder"/{x86-64,aarch64}/last.safetensors || true
