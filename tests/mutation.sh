#!/usr/bin/env bash
# Do the simulator and the tests catch a broken kernel? Each mutation below is made in a copy of a real
# kernel; the tests of its operation must then fail. One that passes is an error here. In a build with
# a sanitizer (presets race and asan) the sanitizer must report the mutation; under the race detector
# the test itself must pass, too: these are the errors that nothing else sees.
#
#   tests/mutation.sh [BUILD] [REGEX]    BUILD: a finished build folder (default build); REGEX: only
#                                        mutations whose line in the list matches
# The lists: mutations.txt, mutations_race.txt, mutations_asan.txt.
# An expression that changes nothing is an error, too: the kernel has moved on and the list has not.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
only=${2:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
library=$(cd "$build" && ls -d libthorax.so.*.* | head -n 1)
link=$(ninja -C "$build" -t commands "$library" | tail -n 1)
list=tests/mutations.txt orders=(forward reverse random:3)
if grep -q '^THORAX_RACES:BOOL=ON' "$build/CMakeCache.txt"; then
  list=tests/mutations_race.txt orders=(forward)
elif grep -q '^THORAX_SANITIZE:STRING=.*address' "$build/CMakeCache.txt"; then
  list=tests/mutations_asan.txt orders=(forward)
fi
# caught STATUS LOG: whether the mutated program's end is what the list is about.
caught() {
  case $list in
    *race*) grep -q 'WARNING: ThreadSanitizer: data race' "$2" && grep -q 'Status: SUCCESS!' "$2" ;;
    *asan*) grep -q 'ERROR: AddressSanitizer' "$2" ;;
    *) [ "$1" -ne 0 ] ;;
  esac
}
# Runs in a process of its own, in an empty FOLDER; FOLDER/caught is there at the end when the mutation was.
mutate() {
  local folder=$1 file=$2 source=$3 test=$4 what=$5 expression=$6
  local tree=$folder/tree object command line order status=0 filter
  mkdir -p "$tree/$(dirname "$file")"
  sed -E "$expression" "$file" >"$tree/$file"
  if cmp -s "$file" "$tree/$file"; then
    echo "mutation.sh: '$expression' changes nothing in $file" >&2
    return 1
  fi
  # The simulator's object of the source, compiled with the changed file in front of the true one, in a
  # library that is otherwise the same.
  object=$(ninja -C "$build" -t query "$library" | tr -d ' ' | grep -F "/sim/$source.cpp.o") ||
    { echo "mutation.sh: no object of $source in $library" >&2; return 1; }
  command=$(ninja -C "$build" -t commands "$object" | tail -n 1)
  command=$(sed -E "s#^.* [^ ]*ccache ##; s#^([^ ]+) #\\1 -iquote $tree -I$tree #; s# -o [^ ]+# -o $folder/mutated.o#
                    s# -MD | # #; s# -M[TF] [^ ]+##g; s# -include [^ ]*cmake_pch.hxx##; s#-O3#-O1#" <<<"$command")
  (cd "$build" && eval "$command") || { echo "mutation.sh: mutated $source does not compile" >&2; return 1; }
  line=${link/ $object / $folder/mutated.o }
  line=${line/-o $library/-o $folder/$library}
  (cd "$build" && eval "$line" >/dev/null)
  ln -sf "$library" "$folder/$(sed -E 's/(\.so\.[0-9]+)\..*/\1/' <<<"$library")"
  read -r test filter <<<"$test"
  for order in "${orders[@]}"; do
    status=0
    LD_LIBRARY_PATH=$folder OMP_WAIT_POLICY=passive THORAX_SIM_ORDER=$order timeout 600 "$build/tests/test_${test%%/*}" \
      "--source-file=*/$test" ${filter:+"-tc=$filter"} --abort-after=1 --no-intro >"$folder/log" 2>&1 || status=$?
    if caught $status "$folder/log"; then
      touch "$folder/caught"
      echo "caught  $source: $what"
      # Where: the first lines of the report.
      if [ ${#orders[@]} -eq 1 ]; then grep -m 2 -E '^ +#[01] .*\.cu' "$folder/log" || true; fi
      return
    fi
  done
  echo "MISSED  $source: $what" >&2
  if [ ${#orders[@]} -eq 1 ]; then tail -n 20 "$folder/log" >&2; fi
}
folders=()
while IFS='|' read -r file source test what expression; do
  [[ -z $file || $file == \#* ]] && continue
  file=$(xargs <<<"$file") source=$(xargs <<<"$source") test=$(xargs <<<"$test")
  what=$(sed -E 's/^ +| +$//g' <<<"$what") expression=$(sed -E 's/^ +| +$//g' <<<"$expression")
  [[ "$source $what" =~ $only ]] || continue
  folder=$work/${#folders[@]}
  folders+=("$folder")
  mkdir "$folder"
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
  mutate "$folder" "$file" "$source" "$test" "$what" "$expression" >"$folder/report" 2>&1 &
done <"$list"
wait
caught=0
for folder in "${folders[@]}"; do
  cat "$folder/report"
  [ ! -e "$folder/caught" ] || caught=$((caught + 1))
done
echo "mutation.sh: $caught caught, $((${#folders[@]} - caught)) missed"
[ $caught -gt 0 ] && [ $caught -eq ${#folders[@]} ]
