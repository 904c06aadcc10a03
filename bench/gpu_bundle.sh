#!/usr/bin/env bash
# Packs a CUDA build for a machine that has a GPU but no tools to build with, in one archive: the programs that
# bench/gpu_check.sh runs, stripped, the libraries that such a machine may lack, the tests' golden files, the
# kernels' PTX, PyTorch's side of the comparisons and gpu_check.sh itself.
#
#   bench/gpu_bundle.sh ARCHIVE.tar.xz [--build DIR] [--rehearsal]
#     --build      a finished build of preset "cuda" for one architecture (default build-cuda), which keeps the
#                  archive small: cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES=90
#     --rehearsal  any build will do, one without CUDA, too: for gpu_check.sh --rehearse
# There: tar xf ARCHIVE.tar.xz, then thorax-gpu/bench/gpu_check.sh A OUT, B and C. The driver, the C library, cuDNN
# and cuBLAS stay out: gpu_check.sh finds the last two where pip has put them, and where there are none,
# stand-ins let the programs start without their kernels.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
build=build-cuda archive= rehearsal=false
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?gpu_bundle.sh: --build needs a value}; shift 2 ;;
    --rehearsal) rehearsal=true; shift ;;
    -h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "gpu_bundle.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
    *) archive=$1; shift ;;
  esac
done
[ -n "$archive" ] || { echo "gpu_bundle.sh: pack where? (see --help)" >&2; exit 2; }
[[ $archive == /* ]] || archive=$here/$archive
most=$((64 << 20))  # bytes of what travels to such a machine
programs=(apps/thorax tests/test_engine tests/test_kernels tests/test_models tests/test_simulated
  bench/gpu_table bench/bench_step)
for program in "${programs[@]}"; do
  [ -x "$build/$program" ] || { echo "gpu_bundle.sh: $build/$program is not built" >&2; exit 1; }
done
architectures=$(sed -n 's/^CMAKE_CUDA_ARCHITECTURES:[^=]*=//p' "$build/CMakeCache.txt" | head -n 1)
if ! $rehearsal && ! [[ $architectures =~ ^[0-9]+$ ]]; then
  echo "gpu_bundle.sh: $build has kernels for '${architectures:-the default architectures}'; one is wanted, the GPU's:" \
    "cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES=90" >&2
  exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/thorax-gpu
mkdir -p "$folder"/{apps,tests,bench,lib}
for program in "${programs[@]}"; do strip -o "$folder/$program" "$build/$program"; done
ldd "${programs[@]/#/$build/}" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
  grep -vE '/(ld-linux|libc|libm|libdl|librt|libpthread|libcuda|libcudart|libcudnn|libcublas|libcublasLt)[.0-9]*so' |
  while read -r library; do strip -o "$folder/lib/$(basename "$library")" "$library"; done
# In place of the vendor's libraries where a machine lacks them: every function fails (kernels/common/cudnn.h).
library=$folder/lib/libthorax.so.0
objdump -p "$library" | awk '$1 == "NEEDED" && $2 ~ /^lib(cudnn|cublas)\./ { print $2 }' | while read -r name; do
  mkdir -p "$folder/lib/absent"
  prefix=${name#lib}
  nm -D --undefined-only "$library" | sed -nE "s/^ *U (${prefix%%.*}[A-Z][A-Za-z0-9_]+).*/\\1/p" | sort -u |
    sed -E 's/.*(GetErrorString|GetStatusString)$/const char* &(int status) { (void)status; return "this machine has no such library"; }/; t; s/.*/int &(void) { return 1; }/' |
    gcc -shared -fPIC -x c -Wl,-soname,"$name" -o "$folder/lib/absent/$name" -
done
if [ -d "$build/ptx" ]; then
  mkdir -p "$folder/lib/ptx"
  newest=$(find "$build/ptx" -name '*.ptx' | sed -E 's/.*\.sm_([0-9]+)\.ptx$/\1/' | sort -n | tail -n 1)
  cp "$build"/ptx/*".sm_${architectures//[^0-9]*/}.ptx" "$folder/lib/ptx/" 2>/dev/null ||
    cp "$build"/ptx/*".sm_$newest.ptx" "$folder/lib/ptx/"
fi
# Test programs look for the nearest folder above them that holds tests/golden.
git ls-files -z -- tests/golden tests/data/golden bench/gpu_check.sh bench/counter_kernels.txt bench/peers |
  xargs -0 cp --parents -t "$folder"
# timm's networks for a machine without timm.
if ! python3 bench/peers/plain_models.py "$folder/bench/peers" >"$work/plain.log" 2>&1; then
  echo "gpu_bundle.sh: no HRNet, ResNet and DenseNet of PyTorch for a machine without timm: $(tail -n 1 "$work/plain.log")" >&2
fi
git describe --always --dirty >"$folder/bundle"
XZ_OPT=${XZ_OPT:--9 -T0} tar -C "$work" -cJf "$archive.new" thorax-gpu
bytes=$(stat -c %s "$archive.new")
if [ "$bytes" -gt $most ]; then
  rm -f "$archive.new"
  echo "gpu_bundle.sh: the archive has $bytes bytes, $most may travel" >&2
  exit 1
fi
mv "$archive.new" "$archive"
echo "gpu_bundle.sh: $archive, $((bytes >> 10)) KiB, kernels for ${architectures:-the simulated device}"
