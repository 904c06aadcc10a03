#!/usr/bin/env bash
# The walk-throughs of CONTRIBUTING.md work: its files and patches are put into a copy of the tree, which is built; then
# their tests, the checks of format and includes, and the commands of its ```sh blocks marked `<!-- run in the copy -->` are run there.
#
#   tests/check_contributing.sh [FOLDER]    FOLDER: where the copy is made, and kept (default: a temporary folder)
#
# In the page, `<!-- file: PATH -->` stands before the block of a new file, `<!-- patch -->` before a patch.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=${1:-$(mktemp -d)}
[ $# -gt 0 ] || trap 'rm -rf "$work"' EXIT
tree=$work/thorax
[ ! -e "$tree" ] || { echo "check_contributing.sh: $tree is there; give another folder" >&2; exit 2; }
mkdir -p "$tree"
work=$(cd "$work" && pwd) tree=$work/thorax

git ls-files -z | tar -c --null --no-recursion -T - | tar -x -C "$tree"
# The checks of format and includes ask git for the tracked files.
git -C "$tree" init -q
: >"$work/written"
awk -v tree="$tree" -v list="$work/written" -v patches="$work/all.patch" '
  /^<!-- file: .* -->$/ { path = $3; next }
  /^<!-- patch -->$/ { path = "patch"; next }
  path != "" && /^```/ && !inside { inside = 1; target = path == "patch" ? patches : tree "/" path
    if (path != "patch") { folder = target; sub("/[^/]*$", "", folder); system("mkdir -p \"" folder "\""); print path >list }
    next }
  inside && /^```$/ { inside = 0; path = ""; next }
  inside { print >target }' CONTRIBUTING.md
git -C "$tree" apply "$work/all.patch"
git -C "$tree" add -A

mapfile -t tests < <(sed -n 's#^tests/\(.*\)_test\.cpp$#\1#p' "$work/written")
[ ${#tests[@]} -ge 3 ] || { echo "check_contributing.sh: found only the tests: ${tests[*]}" >&2; exit 1; }
(
  cd "$tree"
  tests/check_format.sh
  tests/check_includes.sh
  # The copy's objects are those of the tree that the compiler cache has, but for what the page adds.
  export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1
  cmake --preset ci >"$work/configure.log" || { cat "$work/configure.log"; exit 1; }
  cmake --build --preset ci --parallel "$(nproc)" --target thorax_cli test_simulated \
    $(printf 'test_%s\n' "${tests[@]%%/*}" | sort -u)
  ctest --preset ci -R "^($(IFS='|' && echo "${tests[*]}")|simulated/maps)\$"
)

awk -v folder="$work" '
  /^<!-- run in the copy -->$/ { marked = 1; next }
  marked && /^```sh *$/ { inside = 1; marked = 0; next }
  /^```/ { inside = 0 }
  inside' CONTRIBUTING.md >"$work/commands.sh"
mkdir "$work/run"
(cd "$work/run" && PATH="$tree/build/apps:$PATH" bash -euxo pipefail "$work/commands.sh" </dev/null)
echo "check_contributing.sh: $(wc -l <"$work/written") files, $(grep -c '^+++ ' "$work/all.patch") patches and $(grep -c . "$work/commands.sh") lines of commands work"
