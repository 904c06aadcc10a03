#!/usr/bin/env bash
# Fine-tuning with a frozen stem: what the first layers learned of many images is kept, the rest learns the new ones.
#
#   finetune_frozen_stem.sh [FOLDER] [THORAX]
set -euo pipefail
out=${1:-finetune-frozen-stem}
thorax=${2:-thorax}
mkdir "$out"

# Many images of one hospital, few of another.
"$thorax" data phantoms --out "$out/many" --patients 16 --max-images 1 --size 64 --seed 1 --severity 3
"$thorax" data phantoms --out "$out/few" --patients 8 --max-images 1 --size 64 --seed 2 --severity 3
cat >"$out/narrow.json" <<'JSON'
{"model": {"model": "resnet18", "in_channels": 1, "head": "study", "hidden": [16], "outputs": 1, "stem": 8, "width": 8},
 "size": 64, "batch": 4}
JSON
many=(--config "$out/narrow.json" --data "manifest:$out/many/manifest.csv")
few=(--config "$out/narrow.json" --data "manifest:$out/few/manifest.csv")

# 1. What would be done, before anything is: data, parameters, work, memory, time, disk
"$thorax" train classifier "${many[@]}" --epochs 2 --out "$out/first" --dry-run
# 2. The network to start from: steps of 8 images, the average of its weights kept
"$thorax" train classifier "${many[@]}" --epochs 2 --accumulate 2 --ema 0.99 --out "$out/first"
# 3. Names of its parameters, for --freeze
"$thorax" weights show "$out/first/last.safetensors"
# 4. A learning rate for what is left to train
"$thorax" lr-find classifier "${few[@]}" --weights "$out/first/last.safetensors" --freeze 'conv1.*,bn1.*,layer1.*' \
  --from 1e-5 --to 1 --steps 50 --out "$out/lr" || echo "no rate stands out on so few images"
# 5. Fine-tuning; ends when the validation loss has not fallen for two epochs
"$thorax" train classifier "${few[@]}" --weights "$out/first/last.safetensors" --freeze 'conv1.*,bn1.*,layer1.*' \
  --lr 1e-4 --epochs 4 --early-stop 2 --out "$out/second"
# 6. The stem is what it was; new images
"$thorax" data phantoms --out "$out/new" --patients 4 --max-images 1 --size 64 --seed 3 --severity 3
"$thorax" predict "$out/new/CXR_png" --classifier "$out/second/last.safetensors" --out "$out/seen"
