#!/usr/bin/env bash
# What the convolutions of the study's four networks do on an RTX 2070 Super and an H100, counted on the PTX machine, with the
# time predicted from it; float16, batch 8, UNet at 512 x 512 pixels, the others at 224 x 224:
#
#   bench/layer_counts.sh OUT.csv [THORAX]
#
# Each distinct shape once. Of each launch a block for each multiprocessor runs, its counts are scaled to all blocks (column
# check: sampled). Stop it and call it again: what OUT.csv has is not counted again. NETWORKS, PASSES and DEVICES name fewer.
# Needs a build with PTX or THORAX_PTX (engine/runtime/ptx/README.md).
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
out=$1 thorax=${2:-build/apps/thorax}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for pass in ${PASSES:-forward dgrad wgrad}; do
  for network in ${NETWORKS:-hrnet_w18 unet resnet152 densenet121}; do
    for device in ${DEVICES:-ptx:0 ptx:2}; do
      # Names of passes and devices stand in the rows; the network is put before them.
      if [ -e "$out" ] && grep -q "^$network,conv2d,$pass,.*,$device," "$out"; then continue; fi
      size=224 provider=cuda/mma
      [ "$network" != unet ] || size=512
      [ "$device" != ptx:2 ] || provider=cuda/mma_async
      "$thorax" bench kernels conv2d --cases "$network" --size $size --batch 8 --dtype f16 --provider $provider --pass "$pass" \
        --device "$device" --sample-blocks 1 --csv "$work/rows.csv" >"$work/report" || { tail -n 3 "$work/report" >&2; exit 1; }
      [ -e "$out" ] || sed -n '1s/^/network,/p' "$work/rows.csv" >"$out"
      sed "1d;s/^/$network,/" "$work/rows.csv" >>"$out"
      echo "$network $pass $device: $(($(wc -l <"$work/rows.csv") - 1)) rows, $SECONDS s" >&2
    done
  done
done
