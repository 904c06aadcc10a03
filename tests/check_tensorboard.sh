#!/usr/bin/env bash
# Usage: tests/check_tensorboard.sh [BUILD]
# Trains two small folds and has TensorBoard's reader (PyPI) read what `thorax runs --tensorboard` makes of them
# (tests/tensorboard/compare.py). Takes tensorboard of the system's Python if it is there, else installs it into
# a virtual environment in BUILD; says so and ends well where neither is possible.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
[ -e "$build/CMakeCache.txt" ] || { echo "check_tensorboard.sh: build first (tests/run.sh)" >&2; exit 1; }
cmake --build "$build" --target thorax_cli

. tests/support/pypi_python.sh
python_with "$build" "numpy, tensorboard" tensorboard
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
thorax=$PWD/$build/apps/thorax
"$thorax" data phantoms --out "$folder/data" --patients 12 --max-images 2 --size 32 --seed 1 >/dev/null
"$thorax" kfold classifier --data "manifest:$folder/data/manifest.csv" --model resnet18 --size 32 --folds 2 --epochs 2 \
  --batch 4 --out "$folder/runs/covid" >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
"$thorax" runs "$folder/runs" --tensorboard "$folder/board"
"$python" tests/tensorboard/compare.py "$folder/runs/covid" "$folder/board/covid"
echo "check_tensorboard.sh: TensorBoard reads what the runs say"
