#!/usr/bin/env bash
# Runs a script of apps/examples/workflows in an empty folder: tests/workflow.sh SCRIPT THORAX. It must end well.
set -euo pipefail
script=$(realpath "$1") thorax=$(realpath "$2")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$script" "$folder/run" "$thorax"
[ -n "$(ls -A "$folder/run")" ] || { echo "workflow.sh: $script left nothing in its folder" >&2; exit 1; }
