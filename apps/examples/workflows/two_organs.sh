#!/usr/bin/env bash
# Two organs in one segmentation, lungs and heart: from label maps to masks, areas and pictures of new images. On phantoms.
#
#   two_organs.sh [FOLDER] [THORAX]
set -euo pipefail
folder=${1:-two-organs-run} thorax=${2:-thorax}
[[ $thorax != */* ]] || thorax=$(realpath "$thorax")
mkdir "$folder"
cd "$folder"

# Radiographs with label maps (1 lungs, 2 heart); the manifest says so in its column `organs`. For masks of your own write it in
# --data: folder:DIR,organs=lungs:1,heart:2, or lay one mask file for each organ into masks/lungs/ and masks/heart/.
"$thorax" data phantoms --masks labels --patients 12 --max-images 1 --size 64 --out data
data=manifest:data/manifest.csv

# What is there: images with each organ, its share of the pixels
"$thorax" data describe --data $data --out seen

# Label maps are told apart by softmax; Dice and cross entropy together, as nnU-Net has it
"$thorax" train segmenter --data $data --loss dice+ce --size 32 --width 8 --epochs 40 --batch 4 --lr 5e-3 --augment none \
  --validation-share 0.25 --out run

# Label maps, pictures with a legend, areas in segmentation.csv and segmentation.json
"$thorax" segment data/CXR_png --model run/last.safetensors --out cut
head -n 3 cut/segmentation.csv

# Where only lungs are wanted the same network gives its organ `lungs`; a ResNet-18 of an eighth of the width, to be quick
echo '{"model": {"model": "resnet18", "in_channels": 1, "head": "study", "hidden": [16], "outputs": 1, "stem": 8, "width": 8}}' > small.json
"$thorax" train classifier --data $data --segmenter run/last.safetensors --min-area 0 --config small.json --size 32 --epochs 1 \
  --batch 4 --out classifier
