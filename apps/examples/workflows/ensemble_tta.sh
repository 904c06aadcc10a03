#!/usr/bin/env bash
# The networks of a cross-validation as an ensemble: mirror images, calibrated probabilities, one threshold.
#
#   apps/examples/workflows/ensemble_tta.sh [FOLDER] [THORAX]
#
# FOLDER (default ensemble-run) is made; THORAX is the program (default: thorax). Phantoms stand for radiographs.
set -euo pipefail
folder=${1:-ensemble-run} thorax=${2:-thorax}
mkdir "$folder"
"$thorax" data phantoms --patients 36 --max-images 1 --size 64 --seed 1 --out "$folder/images"
"$thorax" data phantoms --patients 6 --max-images 1 --size 64 --seed 9 --out "$folder/new"
# A ResNet-18 of an eighth of the width: this is to be quick, not good. Without --config it is the whole network.
echo '{"model": {"model": "resnet18", "in_channels": 1, "head": "study", "hidden": [16], "outputs": 1, "stem": 8, "width": 8}}' > "$folder/small.json"

# Every fold learns a threshold (Youden's) and a temperature on its held-out images (none where its network does no better than chance);
# crossval/temperature.csv says what it does.
"$thorax" kfold classifier --data "manifest:$folder/images/manifest.csv" --config "$folder/small.json" --size 64 --batch 6 --epochs 2 \
  --augment none --folds 3 --heatmaps 0 --out "$folder/kfold"

# One network, and all three: the mean of their calibrated probabilities, each over an image and its mirror image. The first lines
# say which temperature and threshold each member brings, and the ensemble's own.
"$thorax" predict "$folder/new/CXR_png" --classifier "$folder/kfold/fold_0/last.safetensors"
"$thorax" predict "$folder/new/CXR_png" --classifier "$folder/kfold" --tta flip

# For programs: each member's probability, and their spread.
"$thorax" predict "$folder/new/CXR_png" --classifier "$folder/kfold" --tta flip --json > "$folder/predictions.json"

# The same networks as they are, with a threshold of one's own; and where all three look.
"$thorax" predict "$folder/new/CXR_png" --classifier "$folder/kfold" --temperature off --threshold 0.3
"$thorax" explain "$folder/new/CXR_png" --classifier "$folder/kfold" --tta flip --class positive --out "$folder/heatmaps"
