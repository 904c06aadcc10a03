#!/usr/bin/env bash
# Do the simulator and the tests catch a broken kernel? Each mutation below is made in a copy of a real
# kernel; the tests of its operation must then fail. One that passes is an error here.
#
#   tests/mutation.sh [BUILD] [REGEX]    BUILD: a finished build folder (default build); REGEX: only
#                                        mutations whose line in mutations.txt matches
# mutations.txt: file | test source | what | sed expression. The expression must change the file.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
only=${2:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
library=$(cd "$build" && ls -d libthorax.so.*.* | head -n 1)
link=$(ninja -C "$build" -t commands "$library" | tail -n 1)
caught=0
missed=0
mutate() {  # file, test, what, expression
  local file=$1 test=$2 what=$3 expression=$4
  local tree=$work/tree
  rm -rf "$tree"
  mkdir -p "$tree/$(dirname "$file")"
  sed -E "$expression" "$file" >"$tree/$file"
  if cmp -s "$file" "$tree/$file"; then
    echo "mutation.sh: '$expression' changes nothing in $file" >&2
    return 1
  fi
  # Every simulated .cu that the mutation reaches, compiled against the mutated tree first.
  local sources=("$file") objects=() line object
  if [[ $file != *.cu ]]; then
    mapfile -t sources < <(git grep -lF "\"$file\"" -- '*.cu')
  fi
  line=$link
  for source in "${sources[@]}"; do
    object=$(ninja -C "$build" -t query "$library" | tr -d ' ' | grep -F "/sim/$source.cpp.o" || true)
    [ -n "$object" ] || { echo "mutation.sh: no object of $source in $library" >&2; return 1; }
    local command
    command=$(ninja -C "$build" -t commands "$object" | tail -n 1)
    command=${command/ -I/ -iquote $tree -I$tree -I}
    # ccache and the object's own path stay out of it.
    command=$(sed -E "s#^[^ ]*ccache ##; s# -o [^ ]+# -o $work/$(basename "$source").o#; s# -M[DTF]+( [^ ]+\\.[od])?##g; s#-O3#-O1#" <<<"$command")
    (cd "$build" && eval "$command") || { echo "mutation.sh: mutated $source does not compile" >&2; return 1; }
    line=${line/ $object / $work/$(basename "$source").o }
  done
  line=${line//-o $library/-o $work/$library}
  (cd "$build" && eval "$line" >/dev/null)
  ln -sf "$library" "$work/$(sed -E 's/(\.so\.[0-9]+)\..*/\1/' <<<"$library")"
  local order status=0
  for order in forward reverse random:3; do
    status=0
    LD_LIBRARY_PATH=$work THORAX_SIM_ORDER=$order timeout 300 \
      "$build/tests/test_kernels" "--source-file=*/$test" --no-intro >"$work/log" 2>&1 || status=$?
    if [ $status -ne 0 ]; then break; fi
  done
  if [ $status -ne 0 ]; then
    caught=$((caught + 1))
    echo "caught  $file: $what"
  else
    missed=$((missed + 1))
    echo "MISSED  $file: $what" >&2
  fi
}
while IFS='|' read -r file test what expression; do
  [[ -z $file || $file == \#* ]] && continue
  file=$(xargs <<<"$file") test=$(xargs <<<"$test")
  what=$(sed -E 's/^ +| +$//g' <<<"$what") expression=$(sed -E 's/^ +| +$//g' <<<"$expression")
  [[ "$file $what" =~ $only ]] || continue
  mutate "$file" "$test" "$what" "$expression"
done <tests/mutations.txt
echo "mutation.sh: $caught caught, $missed missed"
[ $missed -eq 0 ] && [ $caught -gt 0 ]
