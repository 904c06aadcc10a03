#!/usr/bin/env bash
# Packs a CUDA build for a machine with a GPU but without the tools to build: the programs that
# bench/gpu_check.sh runs, stripped, the libraries that such a machine may lack, the tests' golden files and
# gpu_check.sh itself. The folder needs no source tree and may lie anywhere.
#
#   bench/gpu_bundle.sh FOLDER [--build DIR]
#     --build    a finished build of preset "cuda" (default build-cuda)
# There: FOLDER/bench/gpu_check.sh OUT. The driver, CUDA's libraries (cuDNN, cuBLAS) and the C
# library stay out: name the folder of the former in LD_LIBRARY_PATH where the linker does not find them.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
build=build-cuda folder=
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?gpu_bundle.sh: --build needs a value}; shift 2 ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "gpu_bundle.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
    *) folder=$1; shift ;;
  esac
done
[ -n "$folder" ] || { echo "gpu_bundle.sh: pack where? (see --help)" >&2; exit 2; }
[[ $folder == /* ]] || folder=$here/$folder
programs=(apps/thorax tests/test_engine tests/test_kernels tests/test_models tests/test_simulated
  bench/gpu_table bench/bench_step)
for program in "${programs[@]}"; do
  [ -x "$build/$program" ] || { echo "gpu_bundle.sh: $build/$program is not built" >&2; exit 1; }
done
rm -rf "$folder.new"
mkdir -p "$folder.new"/{apps,tests,bench,lib}
for program in "${programs[@]}"; do strip -o "$folder.new/$program" "$build/$program"; done
ldd "${programs[@]/#/$build/}" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
  grep -vE '/(ld-linux|libc|libm|libdl|librt|libpthread|libcuda|libcudart|libcudnn|libcublas)[.a-zA-Z_0-9-]*\.so' |
  while read -r library; do strip -o "$folder.new/lib/$(basename "$library")" "$library"; done
# Test programs look for the nearest folder above them that holds tests/golden.
git ls-files -z -- tests/golden tests/data/golden bench/gpu_check.sh bench/peers |
  xargs -0 cp --parents -t "$folder.new"
git describe --always --dirty >"$folder.new/bundle"
rm -rf "$folder"
mv "$folder.new" "$folder"
du -sh "$folder" | awk '{ print "gpu_bundle.sh: " $2 ", " $1 }'
