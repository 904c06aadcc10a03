#!/usr/bin/env bash
# The kernels that nvcc compiled and those that the tests ran on the simulator are the same, and none
# of them spills registers.
#
#   tests/check_kernels.sh KERNELS.csv LAUNCHES.csv
#     KERNELS.csv    made by a build with THORAX_CUDA (target kernel_resources)
#     LAUNCHES.csv   written by the test programs under THORAX_SIM_LAUNCHES
# Instantiations of a template count as one kernel here: the simulator's list has the names that the
# source has, "gemm_kernel<T, 64>", where nvcc's has "gemm_kernel<float, 64>".
set -euo pipefail
kernels=$1
launches=$2
export LC_ALL=C
names() { sed -E 's/^"?//; s/[<",(].*//; s/^.*:://' | sort -u; }
compiled=$(tail -n +2 "$kernels" | names)
# Kernels of the simulator's own tests exist on the simulator only.
test_kernels=$(grep -hoE '__global__ void (__launch_bounds__\([^)]*\) )?[a-z_0-9]+' \
  $(git ls-files -- 'tests/*.cpp') /dev/null | awk '{ print $NF }' | sort -u)
simulated=$(cut -d, -f1 "$launches" | names | grep -vxF "$test_kernels" || true)
failed=0
never_run=$(comm -23 <(echo "$compiled") <(echo "$simulated"))
unknown=$(comm -13 <(echo "$compiled") <(echo "$simulated"))
if [ -n "$never_run" ]; then
  echo "check_kernels.sh: compiled for GPUs, never run on the simulator:" $never_run >&2
  failed=1
fi
if [ -n "$unknown" ]; then
  echo "check_kernels.sh: run on the simulator, not compiled for GPUs:" $unknown >&2
  failed=1
fi
spills=$(awk -F, 'NR > 1 && ($(NF - 2) > 0 || $(NF - 1) > 0)' "$kernels")
if [ -n "$spills" ]; then
  echo "check_kernels.sh: kernels that spill registers (kernel,arch,registers,stack,spill stores,spill loads,shared):" >&2
  echo "$spills" >&2
  failed=1
fi
[ $failed -eq 0 ] || exit 1
echo "check_kernels.sh: $(wc -l <<<"$compiled") kernels, all compiled and all simulated; none spills"
