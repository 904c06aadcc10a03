#!/usr/bin/env bash
# Several findings an image from a CSV: describe, cross-validate, predict, explain.
#
#   apps/examples/workflows/multilabel_csv.sh [FOLDER] [THORAX]
#
# FOLDER (default multilabel-run) is made; THORAX is the program (default: thorax). Phantoms stand for radiographs: "opacity" is drawn into
# them, "effusion" is made up by the patient's number, so that its AUC must come out near one half.
set -euo pipefail
folder=${1:-multilabel-run} thorax=${2:-thorax}
mkdir "$folder"
"$thorax" data phantoms --patients 24 --max-images 2 --size 64 --seed 1 --out "$folder/images"
# A ResNet-18 of an eighth of the width: this is to be quick, not good. Without --config it is the whole network.
echo '{"model": {"model": "resnet18", "in_channels": 1, "head": "study", "hidden": [16], "outputs": 1, "stem": 8, "width": 8}}' > "$folder/small.json"

# One row an image, a column label:NAME for each finding: 1 there, 0 not there, -1 uncertain, empty not known.
awk -F, 'NR == 1 { print "path,patient,label:opacity,label:effusion"; next }
  { split($3, id, "/P"); n = id[2] + 0
    opacity = n % 10 == 9 ? "" : ($2 == "COVID-19")
    effusion = n % 7 == 3 ? "-1" : (n % 3 == 0)
    print $1 "," $3 "," opacity "," effusion }' "$folder/images/manifest.csv" > "$folder/images/findings.csv"
data=manifest:$folder/images/findings.csv

# How often each finding is there, not there and unknown, and what the -1 count as (uncertain=zeros|ones|ignore).
"$thorax" data describe --data "$data"

# Folds with whole patients and as even shares of every finding as possible; figures of each finding, macro and micro.
"$thorax" kfold classifier --task multilabel --data "$data" --config "$folder/small.json" --size 64 --batch 8 --epochs 3 --augment none \
  --folds 2 --heatmaps 2 --out "$folder/kfold"

# Every finding from its own threshold on, as validation found it.
model=$folder/kfold/fold_0/last.safetensors
"$thorax" predict "$folder/images/CXR_png/PHANTOM_0001_0_1.png" --classifier "$model"
"$thorax" predict "$folder/images/CXR_png" --classifier "$model" --json > "$folder/findings.json"

# Where the network looks for one of them.
"$thorax" explain --data "$data" --classifier "$model" --class opacity --out "$folder/opacity"
