#!/usr/bin/env bash
# Three class folders: describe, train, cross-validate, compare, predict, explain.
#
#   apps/examples/workflows/three_classes.sh [FOLDER] [THORAX]
#
# FOLDER (default three-classes-run) is made; THORAX is the program (default: thorax). Phantoms stand for radiographs: ill ones of two draws
# and healthy ones, so that the figures mean nothing; the third class is small, as rare findings are.
set -euo pipefail
folder=${1:-three-classes-run} thorax=${2:-thorax}
mkdir "$folder"
# Each class is a folder of images. The file names of phantoms end in 1 where an opacity was drawn.
for class in normal pneumonia edema; do
  mkdir -p "$folder/images/$class"
  seed=$([ "$class" = edema ] && echo 2 || echo 1)
  [ -d "$folder/seed$seed" ] ||
    "$thorax" data phantoms --patients 24 --max-images 1 --size 48 --seed "$seed" --out "$folder/seed$seed"
done
mv "$folder"/seed1/CXR_png/*_0.png "$folder/images/normal"
mv "$folder"/seed1/CXR_png/*_1.png "$folder/images/pneumonia"
for file in $(ls "$folder"/seed2/CXR_png/*_1.png | head -6); do mv "$file" "$folder/images/edema/edema_${file##*/}"; done
# A ResNet-18 of an eighth of the width: this is to be quick, not good. Without --config it is the whole network.
echo '{"model": {"model": "resnet18", "in_channels": 1, "head": "study", "hidden": [16], "outputs": 1, "stem": 8, "width": 8}}' > "$folder/small.json"
data=folder:$folder/images
common=(--data "$data" --config "$folder/small.json" --size 48 --batch 8 --augment none)

# How many images each class has. Of three classes none is the positive one.
"$thorax" data describe --data "$data"

# One network: balanced batches draw the small class as often as the others.
"$thorax" train classifier "${common[@]}" --epochs 2 --sampling balanced --label-smoothing 0.1 --validation-share 0.3 --out "$folder/train"

# Folds with whole patients; the loss weighs each class by its images. report.html has the confusion matrix, each class against the rest,
# calibration and the checklist CLAIM.
"$thorax" kfold classifier "${common[@]}" --epochs 2 --class-weights balanced --folds 2 --heatmaps 3 --out "$folder/kfold"

# Two networks on the same folds: tables, tests between them, ROC of each class.
"$thorax" compare "${common[@]}" --models resnet18,resnet34 --views whole --epochs 1 --folds 2 --heatmaps 0 --out "$folder/compare"

# The class of the largest probability, and the probabilities of all.
model=$folder/kfold/fold_0/last.safetensors
"$thorax" predict "$folder/images/pneumonia" --classifier "$model"
"$thorax" predict "$folder/images/normal" --classifier "$model" --json > "$folder/normal.json"

# Where the network looks for one of them.
"$thorax" explain --data "$data" --classifier "$model" --class pneumonia --out "$folder/pneumonia"
