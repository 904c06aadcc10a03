#!/usr/bin/env bash
# The PTX that nvcc made of every kernel, out of the objects of a CUDA build: one file for each .cu file
# and architecture. For the device ptx:N (engine/runtime/ptx/README.md).
#
#   collect_ptx.sh BUILD FOLDER    BUILD: compiled with -DCMAKE_CUDA_FLAGS=--no-compress, which leaves PTX readable
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
objects=$(realpath "$1")/CMakeFiles/thorax_cuda.dir folder=$2
rm -rf "$folder"
mkdir -p "$folder"
while read -r object; do
  name=${object#"$objects"/}
  # A module of PTX ends with a zero byte.
  PTX_BASE=$folder/$(tr / . <<<"${name%.o}") LC_ALL=C perl -0777 -ne '
    while (/(\.version \d+\.\d+\n\.target sm_(\d+)[^\0]*)\0/g) {
      my ($path, $text) = ("$ENV{PTX_BASE}.sm_$2.ptx", $1);
      open(my $out, ">", $path) or die "$path: $!\n";
      print $out $text or die "$path: $!\n";
      close($out) or die "$path: $!\n";
    }' "$object"
done < <(find "$objects" -name '*.cu.o' | LC_ALL=C sort)
count=$(find "$folder" -name '*.ptx' | wc -l)
if [ "$count" -eq 0 ]; then
  echo "collect_ptx.sh: no PTX in the objects of $1: configure with -DCMAKE_CUDA_FLAGS=--no-compress" >&2
  exit 1
fi
echo "collect_ptx.sh: $count PTX files in $folder"
