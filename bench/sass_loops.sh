#!/usr/bin/env bash
# The innermost loops of all compiled kernels, from 32 instructions on, and what those are, as CSV:
#
#   bench/sass_loops.sh BUILD [THORAX] >bench/results/sass-loops-DAY.csv
#
# BUILD: a CUDA build (target kernel_resources). Needs cuobjdump, of the CUDA toolkit (CUOBJDUMP names another one).
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
build=$1 thorax=${2:-build/apps/thorax} cuobjdump=${CUOBJDUMP:-cuobjdump}
"$cuobjdump" --version >/dev/null || { echo "sass_loops.sh: no cuobjdump; it comes with the CUDA toolkit (cuda-cuobjdump)" >&2; exit 1; }
mapfile -t objects < <(find "$build/CMakeFiles/thorax_cuda.dir" -name '*.cu.o' | LC_ALL=C sort)
[ ${#objects[@]} -gt 0 ] || { echo "sass_loops.sh: no kernels are compiled in $build" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
first=1
for object in "${objects[@]}"; do
  { "$cuobjdump" -res-usage "$object"; "$cuobjdump" -sass "$object"; } >"$work/listing" 2>/dev/null
  grep -q 'Function :' "$work/listing" || continue  # a file of host code
  name=${object#"$build/CMakeFiles/thorax_cuda.dir/"}
  "$thorax" bench sass "$work/listing" >"$work/rows"
  # Counted from the end, since names of kernels have commas: 23 classes behind the number of instructions.
  awk -F, -v name="${name%.o}" -v first=$first 'NR == 1 { if (first) print "file," $0; next }
    $(NF - 25) == 1 && $(NF - 23) >= 32 { print name "," $0 }' "$work/rows"
  first=0
done
