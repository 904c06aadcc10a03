#!/usr/bin/env bash
# collect_resources.sh BUILD OUTPUT: the table of all kernels of a CUDA build, from the .ptxas files
# that nvcc_resources.sh left beside the objects. Columns: kernel, arch, registers, stack (bytes),
# spill_stores, spill_loads (bytes), static_shared (bytes).
set -euo pipefail
build=$1
output=$2
temporary=$(mktemp)
trap 'rm -f "$temporary"' EXIT
find "$build" -name '*.ptxas' -print0 | xargs -0 cat |
  awk '/Compiling entry function/ { name = $0; sub(/.*function ./, "", name); sub(/. for .*/, "", name)
                                    arch = $0; sub(/.* for ./, "", arch); sub(/.$/, "", arch) }
       /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
       /Used [0-9]+ registers/ {
         registers = $0; sub(/.*Used /, "", registers); sub(/ .*/, "", registers)
         shared = 0
         if (match($0, /[0-9]+ bytes smem/)) { shared = substr($0, RSTART, RLENGTH); sub(/ .*/, "", shared) }
         print name "\t" arch "," registers "," stack "," stores "," loads "," shared }' |
  c++filt | sed -E 's/^void //; s/thorax::cuda_build::\(anonymous namespace\):://g; s/\(anonymous namespace\):://g
                    s/thorax::cuda_build:://g; s/thorax:://g' |
  awk -F '\t' '{ name = $1; depth = 0; cut = 0   # the parameter list starts at the last top-level "("
                 for (i = 1; i <= length(name); ++i) { c = substr(name, i, 1)
                   if (c == "<") ++depth; if (c == ">") --depth
                   if (c == "(" && depth == 0) { cut = i; break } }
                 if (cut > 0) name = substr(name, 1, cut - 1)
                 gsub(/"/, "", name); print "\"" name "\"," $2 }' |
  LC_ALL=C sort -u >"$temporary"
{ echo "kernel,arch,registers,stack,spill_stores,spill_loads,static_shared"; cat "$temporary"; } >"$output.new"
mv "$output.new" "$output"
