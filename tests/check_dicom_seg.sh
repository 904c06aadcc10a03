#!/usr/bin/env bash
# Usage: tests/check_dicom_seg.sh [BUILD]
# Runs the DICOM workflow (apps/examples/workflows) and reads its DICOM Segmentations with highdicom (PyPI). Takes highdicom of
# the system's Python if it is there, else installs it into a virtual environment in BUILD; says so and ends well where neither is
# possible, or where the workflow was skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
[ -e "$build/CMakeCache.txt" ] || { echo "check_dicom_seg.sh: build first (tests/run.sh)" >&2; exit 1; }
cmake --build "$build" --target thorax_cli

. tests/support/pypi_python.sh
python_with "$build" "highdicom, PIL" highdicom pillow
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
apps/examples/workflows/dicom_to_csv_and_seg.sh "$folder/run" "$PWD/$build/apps/thorax" >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
if [ -e "$folder/run/skipped.txt" ]; then
  echo "check_dicom_seg.sh: $(cat "$folder/run/skipped.txt")"
  exit 0
fi
"$python" tests/dicom/compare_seg.py "$folder/run/cut" "$folder/run/studies"
