#!/usr/bin/env bash
# What nvcc made of the kernels: no instruction on global memory takes the address of shared or local memory.
# The simulator refuses such an access where a test makes it; this looks at every path of every kernel.
#
#   tests/check_ptx.sh BUILD    BUILD: a CUDA build (target kernel_resources), compiled with
#                               -DCMAKE_CUDA_FLAGS=--no-compress, which leaves the PTX readable in the objects
# In each function of the PTX the registers that hold a generic address of shared or local memory
# (cvta.shared, cvta.local), and what is computed from them, are followed; one of them as the address of
# ld.global, st.global, atom.global, red.global, prefetch.global or the source of cp.async is an error. Then
# a load of shared memory by __ldg is put into a copy of a kernel: it must be found.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/.."
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# scan OBJECT...: prints what is wrong, then "N instructions in M functions".
scan() {
  cat "$@" | LC_ALL=C tr '\0' '\n' | LC_ALL=C awk '
    function finish_function(   head, tail, i, n, next_ones, u) {
      for (head = 1; head <= seeds; ++head) { queue[head] = seed[head]; reached[seed[head]] = 1 }
      tail = seeds
      for (head = 1; head <= tail; ++head) {
        n = split(flows[queue[head]], next_ones, " ")
        for (i = 1; i <= n; ++i)
          if (!(next_ones[i] in reached)) { reached[next_ones[i]] = 1; queue[++tail] = next_ones[i] }
      }
      for (u = 1; u <= uses; ++u)
        if (use_register[u] in reached)
          wrong[++wrongs] = kernel "\t" use_file[u] "\t" use_line[u] "\t" use_text[u]
      split("", reached); split("", flows); seeds = uses = 0
    }
    function finish_module(   i, part, place) {
      finish_function()
      for (i = 1; i <= wrongs; ++i) {
        split(wrong[i], part, "\t")
        place = part[1] " (" target "), " (part[2] in files ? files[part[2]] : "?") ":" part[3]
        if (!(place in told)) print place ": " part[4]
        told[place] = 1
      }
      split("", files); wrongs = 0; kernel = ""
    }
    /^\.version / { finish_module(); next }
    /^\.target / { target = $2; sub(/,.*/, "", target); next }
    /^[ \t]*\.file[ \t]/ { path = $0; sub(/^[^"]*"/, "", path); sub(/".*/, "", path); files[$2] = path; next }
    /^[ \t]*\.loc[ \t]/ {  # of a function that was inlined: where it was called
      file = $2; line = $3
      for (i = 5; i < NF; ++i) if ($i == "inlined_at") { file = $(i + 1); line = $(i + 2) }
      next
    }
    /\.(entry|func) / {
      finish_function()
      kernel = $0; sub(/.*\.(entry|func) +(\([^)]*\) *)?/, "", kernel); sub(/[ (].*/, "", kernel); ++functions
      next
    }
    kernel == "" { next }
    /(ld|st|atom|red|prefetch)[a-z0-9.:]*\.global|cp\.async\.c[ag]\.shared\.global/ {
      text = $0; sub(/^[ \t]+/, "", text)
      address = text
      if (text ~ /cp\.async/) sub(/^[^\]]*\]/, "", address)
      sub(/^[^\[]*\[/, "", address); sub(/\].*/, "", address); sub(/[ +].*/, "", address)
      ++instructions
      use_register[++uses] = address; use_text[uses] = text; use_file[uses] = file; use_line[uses] = line
      next
    }
    /cvta\.(shared|local)\.u64/ {
      text = $0; sub(/.*cvta\.(shared|local)\.u64 +/, "", text); sub(/,.*/, "", text)
      seed[++seeds] = text
      next
    }
    # Arithmetic on 64-bit registers; the difference of two addresses is none.
    /^[ \t]*(@!?%p[0-9]+ +)?(mov|add|sub|and|or|mad|selp|cvta|cvt|max|min|shfl|prmt)\.[a-z0-9.]+ +%rd/ {
      text = $0; sub(/^[ \t]*(@!?%p[0-9]+ +)?/, "", text)
      operation = text; sub(/[ \t].*/, "", operation); sub(/^[^ \t]+[ \t]+/, "", text)
      gsub(/[,;|{}]/, " ", text)
      count = split(text, part, " ")
      for (i = 2; i <= count; ++i) {
        if (substr(part[i], 1, 3) != "%rd" && part[i] != "%tmp") continue
        if (operation ~ /^sub/ && i > 2) continue
        flows[part[i]] = flows[part[i]] " " part[1]
      }
    }
    END { finish_module(); print instructions + 0 " instructions in " functions + 0 " functions" }' |
    c++filt | sed -E 's/thorax::cuda_build::(\(anonymous namespace\)::)?//g; s/\([^()]*\) \((sm_[0-9]+)/ (\1/'
}

mapfile -t objects < <(find "$build/CMakeFiles/thorax_cuda.dir" -name '*.cu.o' | LC_ALL=C sort)
[ ${#objects[@]} -gt 0 ] || { echo "check_ptx.sh: no kernels are compiled in $build" >&2; exit 1; }
scan "${objects[@]}" >"$work/report"
summary=$(tail -n 1 "$work/report")
if [ "$(wc -l <"$work/report")" -gt 1 ]; then
  echo "check_ptx.sh: instructions on global memory with an address of shared or local memory:" >&2
  head -n -1 "$work/report" >&2
  exit 1
fi
[[ $summary != 0\ * ]] || {
  echo "check_ptx.sh: no PTX in the objects of $build: configure with -DCMAKE_CUDA_FLAGS=--no-compress" >&2
  exit 1
}

# The fault that every float32 UNet would have met in its first layer.
source=kernels/conv2d/conv2d_cuda_narrow.cu
mkdir -p "$work/$(dirname $source)"
sed -E 's/\*(reinterpret_cast<const float4\*>\(patches \+ [^;]*\));/__ldg(\1);/' $source >"$work/$source"
! cmp -s $source "$work/$source" || { echo "check_ptx.sh: the load to break is gone from $source" >&2; exit 1; }
command=$(ninja -C "$build" -t commands "CMakeFiles/thorax_cuda.dir/$source.o" | tail -n 1)
command=${command//"$PWD/$source"/"$work/$source"}
command=$(sed -E "s# -o [^ ]+# -o $work/broken.o#; s# -M[TF] [^ ]+##g; s# -MD # #" <<<"$command")
(cd "$build" && eval "$command")
scan "$work/broken.o" >"$work/report"
if [ "$(wc -l <"$work/report")" -lt 2 ]; then
  echo "check_ptx.sh: a load of shared memory by __ldg in $source was not found" >&2
  exit 1
fi
echo "check_ptx.sh: $summary, none on shared or local memory; the one put into a copy was found:"
head -n 1 "$work/report"
