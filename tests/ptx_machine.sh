#!/usr/bin/env bash
# Every kernel's PTX, executed: results must be the simulated GPU's; small networks must train as on the CPU; `thorax kernel`
# makes its page of a kernel. Then a load of shared memory by ld.global is put into a copy of a kernel, as nvcc makes it of
# __ldg: the machine must refuse it and name the source line.
#
#   tests/ptx_machine.sh PTX BUILD    PTX: the folder that the target kernel_ptx filled; BUILD: a build with tests
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
ptx=$(realpath "$1") build=$(realpath "$2")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export THORAX_TEST_DEVICE=ptx OMP_WAIT_POLICY=passive

THORAX_PTX=$ptx "$build/tests/test_engine" --source-file='*/ptx/library_test.cpp' --no-intro
THORAX_PTX=$ptx "$build/tests/test_simulated" --no-intro
# Counters of a program's launches: as many products of matrices counted as lanes in full warps.
THORAX_PTX=$ptx THORAX_PTX_COUNTERS=$work/counts.csv "$build/tests/test_simulated" --no-intro \
  --test-case='every linear provider' >"$work/report"
grep ',mma\.sync[^,]*,matrix,' "$work/counts.csv" | sed 's/.*",//' | awk -F, '
  { executed += $1; wrong += $2 != 32 * $1 }
  END { printf "counters: %d products of matrices in %d lines\n", executed, NR; exit !(executed > 0 && wrong == 0) }'
# Rows of `thorax bench kernels`: checked, counted, with a time predicted and none measured; a sample of the blocks counts alike.
bench=("$build/apps/thorax" bench kernels conv2d --shape 8x28x28x32 --filter 32x3x3x32 --padding 1 --pass forward --dtype f16 --device ptx:2)
for sample in "" "--sample-blocks 1"; do
  # shellcheck disable=SC2086
  THORAX_PTX=$ptx "${bench[@]}" $sample --json
done | python3 -c '
import json, sys
text, at, lists = sys.stdin.read(), 0, []
while at < len(text.rstrip()):
    rows, at = json.JSONDecoder().raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
    lists.append(rows)
whole, part = lists
assert len(whole) >= 2 and len(whole) == len(part), text
for a, b in zip(whole, part):
    assert a["check"] == "ok" and b["check"] == "sampled" and a["median_ms"] is None, (a, b)
    assert a["predicted_ms"] > 0.0025 and a["predicted_bound"] and a["dram_over_least_simulated"] > 0.9, a
    assert abs(b["instructions_counted"] / a["instructions_counted"] - 1) < 0.05, (a, b)
print("bench kernels: %d rows counted and predicted" % len(whole))'
# The time model ranks a published ladder of matrix products as it was measured.
"${NVCC:-nvcc}" -ptx -arch=compute_80 -O3 -lineinfo -o "$work/ladder.ptx" tests/engine/runtime/ptx/sgemm_ladder.cu
THORAX_PTX=$ptx THORAX_LADDER_PTX=$work/ladder.ptx "$build/tests/test_engine" --source-file='*/ptx/ladder_test.cpp' --no-intro | tee "$work/report"
grep -q 'rung_6_vectors: predicted' "$work/report" || { echo "ptx_machine.sh: the ladder was left out" >&2; exit 1; }

# Small networks of all four kinds train as on the CPU, in float32 and in 16 bits.
for file in gpu_training gpu_half_training; do
  THORAX_PTX=$ptx "$build/tests/test_models" --source-file="*/${file}_test.cpp" --no-intro
done

# A kernel as a page: every step of its block, at lines of its source.
THORAX_PTX=$ptx "$build/apps/thorax" kernel conv2d --shape 1x14x14x32 --filter 32x3x3x32 --padding 1 --pass forward \
  --provider cuda/tiled --html "$work/tiled.html"
grep -q 'kernels/common/gemm_tile.cuh' "$work/tiled.html" && grep -q '"class":"ld.shared"' "$work/tiled.html"

source=kernels/conv2d/conv2d_cuda_narrow.cu
mkdir -p "$work/ptx" "$work/$(dirname $source)"
sed -E 's/\*(reinterpret_cast<const float4\*>\(patches \+ [^;]*\));/__ldg(\1);/' $source >"$work/$source"
! cmp -s $source "$work/$source" || { echo "ptx_machine.sh: the load to break is gone from $source" >&2; exit 1; }
while read -r file; do
  grep -q conv2d_cuda_narrow_cu "$file" || ln -s "$file" "$work/ptx/$(tr / . <<<"${file#"$ptx"/}")"
done < <(find "$ptx" -name '*.ptx')
"${NVCC:-nvcc}" -ptx -arch=compute_75 -std=c++20 -O3 -DNDEBUG --extended-lambda --expt-relaxed-constexpr -lineinfo \
  -DFMT_USE_CONSTEXPR=1 -DFMT_CONSTEVAL= -I. -o "$work/ptx/broken.ptx" "$work/$source"
if THORAX_PTX=$work/ptx "$build/tests/test_simulated" --no-intro --test-case='every conv2d provider' >"$work/report" 2>&1; then
  echo "ptx_machine.sh: a load of shared memory by ld.global was not found" >&2
  exit 1
fi
if ! grep -m 1 'ld.global.*conv2d_cuda_narrow.cu:' "$work/report" | grep 'an address of shared memory' >"$work/found"; then
  echo "ptx_machine.sh: the test failed for another reason:" >&2
  grep -m 3 ERROR "$work/report" >&2
  exit 1
fi
echo "ptx_machine.sh: the load put into a copy was found:"
cut -c 1-400 "$work/found"
tests/ptx_networks.sh --age
