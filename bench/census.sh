#!/usr/bin/env bash
# Launches and tensor memory of a training step of the study's networks on three cards, as CSV:
#
#   bench/census.sh [THORAX] >bench/results/launches-DAY.csv
#
# Counted on simulated devices, nothing runs (thorax bench census).
set -euo pipefail
thorax=${1:-build/apps/thorax}
echo "model,size,batch,precision,device,launches,fewer_blocks_than_multiprocessors,under_one_wave,peak_tensor_mib"
while read -r model size batch; do
  for precision in float32 float16; do
    for device in sim:0 sim:1 sim:2; do
      "$thorax" bench census --model "$model" --size "$size" --batch "$batch" --precision "$precision" \
        --device "$device" --json |
        awk -v row="$model,$size,$batch,$precision" -F'": ' '
          /^  "/ { value = $2; gsub(/[",]/, "", value); key = $1; gsub(/[ "]/, "", key); of[key] = value }
          END { printf "%s,%s,%d,%d,%d,%.0f\n", row, of["device"], of["launches"],
            of["fewer_blocks_than_multiprocessors"], of["under_one_wave"], of["peak_tensor_bytes"] / 1048576 }'
    done
  done
done <<'END'
unet 512 8
hrnet_w18 224 8
hrnet_w18 512 8
hrnet_w48 224 8
hrnet_w48 512 8
resnet152 224 8
densenet121 224 8
END
