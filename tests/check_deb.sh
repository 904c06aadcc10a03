#!/usr/bin/env bash
# Builds the Debian packages, looks into them, and installs them on a bare Debian 12 (mmdebstrap) as the last stage of
# third_party/packages/Containerfile does: by apt, with that file's own commands. From the installed package to the first
# prediction on a phantom it must take less than half a minute; apt takes as long as the mirror does, and a line says whether
# it was a minute in all. The library must run on a processor with AVX2 and nothing newer (qemu).
#
#   tests/check_deb.sh [--full] [BUILD]
#     BUILD    the build to pack, default: build
#     --full   also runs the first stage of the Containerfile, which compiles everything, on a bare Debian 12, and
#              builds a program against the packages there: half an hour on 2 cores
#
# Where no bare machine can be made (not root, no namespaces, no Debian mirror) it says so and ends well after the
# checks that need none.
set -euo pipefail
cd "$(dirname "$0")/.."
full=false
if [ "${1:-}" = --full ]; then full=true; shift; fi
build=${1:-build}
failed() { echo "check_deb.sh: $*" >&2; exit 1; }
[ -e "$build/CMakeCache.txt" ] || failed "build first (tests/run.sh)"

cmake --build "$build" --parallel "$(nproc)"
rm -f "$build"/*.deb
(cd "$build" && cpack) >"$build/cpack.log" 2>&1 || { cat "$build/cpack.log"; exit 1; }
runtime=$(echo "$build"/thorax_*.deb) development=$(echo "$build"/libthorax-dev_*.deb)
folder=$(mktemp -d)
trap 'rm -rf --one-file-system "$folder"' EXIT

# What is in them
for package in "$runtime" "$development"; do
  dpkg-deb --info "$package" | grep -E '^ (Package|Version|Section|Depends|Recommends|Suggests|Installed-Size)'
  dpkg-deb --extract "$package" "$folder/tree"
done
for file in bin/thorax share/man/man1/thorax.1.gz share/doc/thorax/copyright share/doc/libthorax-dev/copyright \
  share/bash-completion/completions/thorax share/zsh/vendor-completions/_thorax share/fish/vendor_completions.d/thorax.fish \
  include/thorax/engine/tensor/tensor.h; do
  [ -s "$folder/tree/usr/$file" ] || failed "the packages have no /usr/$file"
done
dpkg-deb --field "$runtime" Depends | grep -q 'libdnnl2' || failed "$runtime does not depend on the libraries that it calls"
for binary in "$folder"/tree/usr/bin/thorax "$folder"/tree/usr/lib/libthorax*.so*; do
  [ ! -L "$binary" ] || continue
  if readelf -d "$binary" | grep -E 'R(UN)?PATH'; then failed "${binary##*/} has a path of its own to libraries"; fi
  if strings "$binary" | grep -F "$PWD"; then failed "${binary##*/} holds the path of the tree it was built in"; fi
done

# A processor with AVX2 and no AVX-512; its libraries are this machine's.
if command -v qemu-x86_64 >/dev/null; then
  library=$(dirname "$(find "$folder/tree" -name 'libthorax.so.*' | head -n 1)")
  begin=$SECONDS
  LD_LIBRARY_PATH=$library OMP_NUM_THREADS=1 qemu-x86_64 -cpu Haswell "$folder/tree/usr/bin/thorax" data phantoms \
    --out "$folder/avx2" --patients 4 --max-images 1 --size 64 2>"$folder/avx2.log" | tail -n 1
  LD_LIBRARY_PATH=$library OMP_NUM_THREADS=1 qemu-x86_64 -cpu Haswell "$folder/tree/usr/bin/thorax" train segmenter --quiet \
    --data "manifest:$folder/avx2/manifest.csv" --size 16 --width 4 --epochs 1 --batch 1 --out "$folder/avx2/run" >>"$folder/avx2.log" 2>&1 ||
    { tail "$folder/avx2.log"; failed "the program does not run on a processor without AVX-512"; }
  echo "check_deb.sh: runs on a processor with AVX2 (qemu's Haswell), $((SECONDS - begin)) s"
else
  echo "check_deb.sh: SKIPPED on a processor without AVX-512: there is no qemu-x86_64"
fi

# The bare machine. Mounts live in a namespace of their own and vanish with the command.
cache=$build
mirror=${THORAX_MIRROR:-http://deb.debian.org/debian}
machine=$folder/debian
bare_machine() {  # FOLDER
  [ -e "$cache/debian.tar" ] || { mmdebstrap --quiet --variant=minbase bookworm "$cache/debian.new.tar" "$mirror" &&
    mv "$cache/debian.new.tar" "$cache/debian.tar"; } || return 1
  mkdir "$1" && tar -x -C "$1" -f "$cache/debian.tar" || return 1
  cp /etc/resolv.conf "$1/etc/resolv.conf"
  # Archives that this machine has fetched before need not be fetched again.
  mkdir -p "$cache/archives"
  cp "$cache"/archives/*.deb "$1/var/cache/apt/archives/" 2>/dev/null || true
  echo 'Binary::apt::APT::Keep-Downloaded-Packages "true"; APT::Keep-Downloaded-Packages "true";' >"$1/etc/apt/apt.conf.d/99keep"
}
inside() {  # MACHINE USER FOLDER COMMAND
  unshare --mount --pid --fork bash -euc '
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    exec chroot "$0" setpriv --reuid "$1" --regid "$1" --clear-groups env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
      DEBIAN_FRONTEND=noninteractive HOME=/tmp sh -ec "cd $2; $3"' "$1" "$2" "$3" "$4" </dev/null
}
if ! { [ "$(id -u)" -eq 0 ] && command -v mmdebstrap && unshare --mount --pid --fork true && bare_machine "$machine"; } >"$folder/log" 2>&1; then
  tail -n 3 "$folder/log"
  echo "check_deb.sh: SKIPPED: the packages were built, and NOT installed: no bare Debian 12 can be made here"
  exit 0
fi

# stage MACHINE NUMBER: does what the Containerfile says in its n-th stage; the program to start, its
# folder and user are left in $entry, $workdir and $user.
stage() {
  local machine=$1 stage=$2 at=0 instruction rest
  workdir=/ user=0 entry=
  while read -r instruction rest; do
    if [ "$instruction" = FROM ]; then at=$((at + 1)); fi
    [ "$at" -eq "$stage" ] || continue
    case "$instruction" in
      FROM) [[ $rest == debian:12-slim* ]] || failed "the Containerfile begins with $rest, not with Debian 12" ;;
      COPY)
        if [[ $rest == --from=build\ * ]]; then
          read -r _ from to <<<"$rest"
          from=$build/${from##*/}  # what the first stage built, or an equal build
        else
          read -r from to <<<"$rest"
        fi
        mkdir -p "$machine$to"
        if [ "$from" = . ]; then git archive HEAD | tar -x -C "$machine$to"; else cp $from "$machine$to"; fi
        ;;
      RUN) inside "$machine" "$user" "$workdir" "$rest" >"$folder/log" 2>&1 || { tail -n 20 "$folder/log"; failed "RUN $rest"; } ;;
      WORKDIR) workdir=$rest; mkdir -p "$machine$workdir" ;;
      USER) user=$(awk -F : -v name="$rest" '$1 == name { print $3 }' "$machine/etc/passwd"); : "${user:?}" ;;
      ENTRYPOINT) entry=$(tr -d '[],"' <<<"$rest") ;;
      CMD) ;;
      *) failed "check_deb.sh does not know the Containerfile's $instruction" ;;
    esac
  done < <(sed -e '/^#/d' -e '/^$/d' third_party/packages/Containerfile)
}

if $full; then
  bare_machine "$folder/builder"
  stage "$folder/builder" 1
  build=$folder/builder/thorax/build-deb
  echo "check_deb.sh: the container's first stage built $(cd "$build" && echo *.deb)"
fi

begin=$SECONDS
stage "$machine" 2
cp "$machine"/var/cache/apt/archives/*.deb "$cache/archives/" 2>/dev/null || true
installed=$((SECONDS - begin))
[ "$entry" = thorax ] || failed "the container starts '$entry'"
chown "$user" "$machine$workdir"  # as the folder that is mounted there belongs to who starts it
inside "$machine" "$user" "$workdir" '
  thorax data phantoms --out phantoms --patients 12 --max-images 1 --size 64
  thorax train classifier --data manifest:phantoms/manifest.csv --model resnet18 --size 64 --epochs 1 --batch 4 --out run
  thorax predict phantoms/CXR_png --classifier run/last.safetensors --out seen' >"$folder/log" 2>&1 ||
  { tail -n 20 "$folder/log"; failed "the installed program failed"; }
took=$((SECONDS - begin))
tail -n 3 "$folder/log"
[ -s "$machine$workdir/seen/predictions.json" ] || failed "there is no prediction"
inside "$machine" "$user" "$workdir" 'thorax info' | grep -q dcmtk -i || failed "the packaged program lacks DICOM"
echo "check_deb.sh: installed on a bare Debian 12 in $installed s; from the package to the first prediction $took s"
[ $((took - installed)) -lt 30 ] || failed "the commands up to the first prediction took $((took - installed)) s, allowed are 30"
[ "$took" -lt 60 ] || echo "check_deb.sh: NOTE: more than a minute, $installed s of it apt: a slow mirror or a busy machine"

if $full; then
  cp "$build"/libthorax-dev_*.deb tests/package/main.cpp "$machine/tmp/"
  inside "$machine" 0 /tmp 'apt-get install -y --no-install-recommends ./libthorax-dev_*.deb g++ pkg-config
    g++ main.cpp $(pkg-config --cflags --libs thorax) -o consumer && ./consumer'
fi
echo "check_deb.sh: the packages install and run"
