#!/usr/bin/env bash
# The PTX that nvcc made of every kernel, out of the objects of a CUDA build: one file for each .cu file
# and architecture. For the device ptx:N (engine/runtime/ptx/README.md).
#
#   collect_ptx.sh BUILD FOLDER CUOBJDUMP
set -euo pipefail
build=$(realpath "$1") folder=$2 cuobjdump=$3
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
while read -r object; do
  "$cuobjdump" --extract-ptx all "$object" >/dev/null
done < <(find "$build/CMakeFiles/thorax_cuda.dir" -name '*.cu.o' | LC_ALL=C sort)
count=$(find . -name '*.ptx' | wc -l)
[ "$count" -gt 0 ] || { echo "collect_ptx.sh: no PTX in the objects of $build" >&2; exit 1; }
echo "collect_ptx.sh: $count PTX files in $folder"
