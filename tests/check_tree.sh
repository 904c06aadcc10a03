#!/usr/bin/env bash
# What must not be in the repository: images of the development data (their licences do not allow
# redistribution), paths of one machine, files nobody can review. Long source files only get a warning.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
offence() {
  echo "check_tree.sh: $*" >&2
  failed=1
}

# By name and by content, against the list of checksums that lies beside the data.
data=${THORAX_DATA:-../shared/data}
mapfile -t images < <(git ls-files | grep -iE '\.(jpe?g|png|gif|tiff?|bmp|pgm|ppm|webp|dcm)$' || true)
if [ -e "$data/checksums.sha256" ]; then
  for image in "${images[@]}"; do
    sum=$(sha256sum <"$image" | cut -d' ' -f1)
    if grep -q "^$sum " "$data/checksums.sha256"; then offence "$image is an image of the development data"; fi
    if grep -qF "/${image##*/}" "$data/checksums.sha256"; then offence "$image has the name of a file of the development data"; fi
  done
  echo "check_tree.sh: ${#images[@]} images, compared with the $(wc -l <"$data/checksums.sha256") files of the development data"
else
  echo "check_tree.sh: ${#images[@]} images; NOT compared with the development data, there is no $data/checksums.sha256"
fi

# The top level is settled; new libraries of the program live below it (apps/report, apps/serve).
top='CMakeLists.txt CMakePresets.json CONTRIBUTING.md LICENSE README.md apps bench data engine kernels models tests third_party'
while read -r name; do
  [[ $name == .* || " $top " == *" $name "* ]] || offence "$name is new at the top level; move it below apps/, models/, data/, kernels/ or engine/"
done < <(git ls-files | cut -d/ -f1 | sort -u)

# An absolute path below a home or a work folder belongs to one machine.
paths=$(git grep -nE '(^|[^A-Za-z0-9_.<>~-])/(work|home|root|Users)/[A-Za-z]' -- . ':!LICENSE' ':!tests/check_tree.sh' || true)
if [ -n "$paths" ]; then offence $'paths of one machine:\n'"$paths"; fi

# What a rehearsal of bench/gpu_check.sh writes is no measurement.
rehearsed=$(git ls-files bench/results | grep -i rehearsal || true; git grep -liE 'REHEARSAL on' -- bench/results || true)
if [ -n "$rehearsed" ]; then offence $'rows of a rehearsal among the measured ones:\n'"$rehearsed"; fi

large=$(git ls-files -z | xargs -0 -r stat -c '%s %n' | awk '$1 > 5000000')
if [ -n "$large" ]; then offence $'over 5 MB (generate it or fetch it instead):\n'"$large"; fi

git ls-files -- '*.h' '*.hpp' '*.cpp' '*.cu' '*.cuh' '*.sh' | xargs -r -d '\n' wc -l |
  awk '$2 != "total" && $1 > 600 { print "check_tree.sh: warning: " $2 " has " $1 " lines; does it have one subject?" }'

[ "$failed" -eq 0 ] || exit 1
echo "check_tree.sh: the tree is clean"
