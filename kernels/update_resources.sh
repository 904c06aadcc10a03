#!/usr/bin/env bash
# Writes kernels/resources.csv, what `thorax info --kernels` shows: registers, spills and static shared
# memory as ptxas reports them, threads and dynamic shared memory of a block as the kernels are launched.
#
#   kernels/update_resources.sh KERNELS.csv LAUNCHES.csv
#     KERNELS.csv    from a CUDA build (target kernel_resources)
#     LAUNCHES.csv   from the tests, run under THORAX_SIM_LAUNCHES; of several launch shapes of a kernel the
#                    one with the most threads counts
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
kernels=$(realpath "$1") launches=$(realpath "$2")
cd "$(dirname "$0")"
trap 'rm -f resources.csv.new' EXIT
awk -F, -v OFS=, '
  function base(name) { gsub(/"/, "", name); sub(/[<(].*/, "", name); sub(/^.*::/, "", name); return name }
  NR == FNR {
    name = base($1)
    if ($(NF - 1) + 0 >= threads[name] + 0) { threads[name] = $(NF - 1); dynamic[name] = $NF }
    next
  }
  FNR == 1 { print $0, "threads", "dynamic_shared"; next }
  {
    kernel = $0; sub(/,sm_.*/, "", kernel); name = base(kernel)
    if (!(name in threads)) { print "update_resources.sh: no launch of " name > "/dev/stderr"; missing = 1; next }
    print $0, threads[name], dynamic[name]
  }
  END { exit missing }' "$launches" "$kernels" >resources.csv.new
mv resources.csv.new resources.csv
