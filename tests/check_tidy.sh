#!/usr/bin/env bash
# Usage: tests/check_tidy.sh [FILE...] | --all
# clang-tidy (Debian 12's version 14) with the checks of .clang-tidy on source files: the named ones; by default the 6 that were
# changed last, which takes about a minute; --all takes an hour on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v clang-tidy >/dev/null || {
  echo "check_tidy.sh: no clang-tidy; run third_party/install.sh --dev" >&2
  exit 1
}
sources() { git ls-files -- 'engine/*.cpp' 'kernels/*.cpp' 'models/*.cpp' 'data/*.cpp' 'apps/*.cpp'; }
case "${1:-}" in
  --all) mapfile -t files < <(sources) ;;
  "")
    # By the commits that changed them, the newest first.
    mapfile -t files < <(awk 'NR == FNR { known[$0] = 1; next } known[$0] && !seen[$0]++ && ++n <= 6' <(sources) \
      <(git log -n 200 --name-only --format= -- '*.cpp'))
    ;;
  *) files=("$@") ;;
esac
# Commands without precompiled headers, which are g++'s; nothing but the generated headers is built.
cmake -S . -B build-tidy -G Ninja -DCMAKE_BUILD_TYPE=Release -DTHORAX_PCH=OFF -DTHORAX_TESTS=OFF -DTHORAX_BENCH=OFF \
  -DTHORAX_SIM=ON >build-tidy.log 2>&1 || { cat build-tidy.log; exit 1; }
rm -f build-tidy.log
cmake --build build-tidy --target thorax_commit >/dev/null
# A file that this build leaves out (a vendor's kernels) has no command.
for i in "${!files[@]}"; do
  grep -qF "\"$PWD/${files[i]}\"" build-tidy/compile_commands.json || unset "files[$i]"
done
if ! printf '%s\n' "${files[@]}" | xargs -d '\n' -P "$(nproc)" -n 1 clang-tidy -p build-tidy --quiet \
  --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-ignored-optimization-argument 2>/dev/null; then
  echo "check_tidy.sh: see above; a false alarm gets // NOLINT(check) and why" >&2
  exit 1
fi
echo "check_tidy.sh: ${#files[@]} files have no finding"
