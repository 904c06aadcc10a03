#!/usr/bin/env bash
# Usage: tests/check_onnx.sh [BUILD]
# Exports networks of every kind as ONNX files and compares what onnxruntime (PyPI) computes from them with
# what thorax computes (tests/onnx/compare.py), the other way round for files with every operator that thorax
# reads (tests/onnx/foreign.py), then a checkpoint by the command `thorax export`. Takes onnx and
# onnxruntime of the system's Python if they are there, else installs them into a virtual environment in BUILD; says so and
# ends well where neither is possible.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
[ -e "$build/CMakeCache.txt" ] || { echo "check_onnx.sh: build first (tests/run.sh)" >&2; exit 1; }
cmake --build "$build" --target onnx_cases thorax_cli

. tests/support/pypi_python.sh
python_with "$build" "numpy, onnx, onnxruntime" onnx onnxruntime numpy
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$build/tests/onnx_cases" "$folder/cases"
"$python" tests/onnx/compare.py "$folder/cases"

# Files of another program, read.
mkdir "$folder/foreign"
"$python" tests/onnx/foreign.py make "$folder/foreign"
"$build/tests/onnx_cases" --run "$folder/foreign"
"$python" tests/onnx/foreign.py compare "$folder/foreign"

# As a user does it: the file of a training run, and the numbers that `predict` prints for an image of the
# network's own size, which nothing resizes.
thorax=$PWD/$build/apps/thorax
"$thorax" data phantoms --out "$folder/data" --patients 8 --max-images 1 --size 64 --seed 1 >/dev/null
"$thorax" train classifier --data "manifest:$folder/data/manifest.csv" --size 64 --epochs 1 --batch 4 \
  --out "$folder/run" >"$folder/train.log" 2>&1 || { cat "$folder/train.log"; exit 1; }
"$thorax" export "$folder/run/last.safetensors" --onnx "$folder/net.onnx"
"$thorax" predict "$folder/data/CXR_png" --classifier "$folder/run/last.safetensors" --temperature off --json >"$folder/predict.json"
"$python" tests/onnx/as_predict.py "$folder/net.onnx" "$folder/predict.json"
echo "check_onnx.sh: exported networks compute what thorax computes"
