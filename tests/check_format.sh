#!/usr/bin/env bash
# Every tracked C++ and CUDA source is as clang-format (Debian 12's version 14) writes it.
# Mend with: clang-format -i FILE...
set -euo pipefail
cd "$(dirname "$0")/.."
command -v clang-format >/dev/null || {
  echo "check_format.sh: no clang-format; run third_party/install.sh --dev" >&2
  exit 1
}
mapfile -t files < <(git ls-files -- '*.h' '*.hpp' '*.cpp' '*.cu' '*.cuh')
if ! printf '%s\n' "${files[@]}" | xargs -d '\n' -P "$(nproc)" -n 16 clang-format --dry-run -Werror; then
  echo "check_format.sh: not formatted; mend with: clang-format -i FILE..." >&2
  exit 1
fi
echo "check_format.sh: ${#files[@]} files are formatted"
