#!/usr/bin/env bash
# Twenty training steps of UNet, HRNet-W18, ResNet152 and DenseNet121, all their layers at a fraction of their width,
# on the machine that executes PTX, against the same steps on the CPU (ptx/train_networks.cpp says how far they may
# be apart). Minutes on an idle machine, so no step of CI, where tests/ptx_machine.sh trains small networks.
#
#   tests/ptx_networks.sh PTX BUILD [FOLDER]    FOLDER (default tests/ptx): gets networks.csv and networks-losses.csv
#   tests/ptx_networks.sh --age                 how much changed since the committed run
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --age ]; then
  commit=$(tail -n 1 tests/ptx/networks.csv | sed 's/.*,//')
  if changed=$(git diff --name-only "$commit" -- engine kernels models 2>/dev/null | wc -l); then
    echo "ptx_networks.sh: the deep networks were trained on ptx at commit $commit; $changed files of engine, kernels and models changed since"
  else
    echo "ptx_networks.sh: the deep networks were trained on ptx at commit $commit, which this clone does not have"
  fi
  exit 0
fi
[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
ptx=$(realpath "$1") build=$(realpath "$2") folder=${3:-tests/ptx}
commit=$(git describe --always --dirty)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
THORAX_PTX=$ptx OMP_WAIT_POLICY=passive "$build/tests/train_networks" "$work/networks.csv" "$work/networks-losses.csv" ptx:0 ptx:2 || status=$?
if [ $status -ne 0 ]; then
  echo "ptx_networks.sh: train_networks ended with $status; $folder is as it was" >&2
  exit 1
fi
awk -v commit="$commit" '{ print $0 "," (NR == 1 ? "commit" : commit) }' "$work/networks.csv" >"$folder/networks.csv"
cp "$work/networks-losses.csv" "$folder/"
echo "ptx_networks.sh: 20 steps of four networks agree on ptx:0 (sm_75) and ptx:2 (sm_90)"
