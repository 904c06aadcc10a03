#!/usr/bin/env bash
# What a newcomer meets: makes a bare Debian 12 in a folder (debootstrap), installs nothing but git and
# sudo, clones HEAD as an ordinary user and runs the two commands, apps/quickstart.sh and
# tests/run.sh. Needs root, debootstrap and the network.
#
#   tests/fresh_machine.sh [--folder FOLDER] [--keep] [COMMAND...]
#     --folder   where to make it (about 3 GB); default: a temporary folder
#     --keep     leave it there, and use it again (with a new user) if it is there already
#     COMMAND    run these instead, each a string for a login shell in the clone
#   THORAX_MIRROR=http://deb.debian.org/debian
set -euo pipefail
cd "$(dirname "$0")/.."

folder=
keep=false
commands=()
while [ $# -gt 0 ]; do
  case "$1" in
    --folder) folder=${2:?fresh_machine.sh: --folder needs a value}; shift 2 ;;
    --keep) keep=true; shift ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "fresh_machine.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
    *) commands+=("$1"); shift ;;
  esac
done
[ ${#commands[@]} -gt 0 ] || commands=(apps/quickstart.sh tests/run.sh)
[ "$(id -u)" -eq 0 ] || { echo "fresh_machine.sh: needs root (debootstrap and chroot do)" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "fresh_machine.sh: apt-get install debootstrap" >&2; exit 1; }
mirror=${THORAX_MIRROR:-http://deb.debian.org/debian}

[ -n "$folder" ] || folder=$(mktemp -d --tmpdir thorax-fresh.XXXXXX)
machine=$folder/debian
if ! $keep; then trap 'rm -rf --one-file-system "$machine"; rmdir --ignore-fail-on-non-empty "$folder"' EXIT; fi
mkdir -p "$folder"

# Mounts live in a namespace of their own and vanish with the command.
inside() {  # USER COMMAND: a login shell of that user
  unshare --mount --pid --fork bash -euc '
    mount -t proc proc "$0/proc"
    mount -t sysfs sysfs "$0/sys"
    mount --rbind /dev "$0/dev"
    exec chroot "$0" /usr/bin/env -i TERM=dumb su - "$1" -c "$2"' "$machine" "$1" "$2" </dev/null
}

if [ ! -e "$machine/etc/debian_version" ]; then
  echo "fresh_machine.sh: making a bare Debian 12 in $machine"
  debootstrap --variant=minbase bookworm "$machine" "$mirror" >"$folder/debootstrap.log" ||
    { tail -n 20 "$folder/debootstrap.log" >&2; exit 1; }
fi
cp /etc/resolv.conf "$machine/etc/resolv.conf"
inside root 'apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends git sudo' \
  >"$folder/git.log" 2>&1 || { tail -n 20 "$folder/git.log" >&2; exit 1; }
inside root 'deluser --quiet --remove-home newcomer 2>/dev/null; userdel -rf newcomer 2>/dev/null; set -e
  useradd --create-home --shell /bin/bash newcomer
  echo "newcomer ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/newcomer'
git bundle create -q "$machine/tmp/thorax.bundle" HEAD
inside newcomer 'git clone -q /tmp/thorax.bundle thorax && git -C thorax log -1 --oneline'
rm "$machine/tmp/thorax.bundle"

for command in "${commands[@]}"; do
  echo "fresh_machine.sh: \$ $command"
  begin=$SECONDS
  inside newcomer "cd thorax && $command"
  echo "fresh_machine.sh: $command took $((SECONDS - begin)) s on $(nproc) cores"
done
# What the commands wrote must be where git ignores it.
left=$(inside newcomer 'git -C thorax status --porcelain')
[ -z "$left" ] || { echo "fresh_machine.sh: left in the clone:"$'\n'"$left" >&2; exit 1; }
echo "fresh_machine.sh: all ${#commands[@]} commands passed"
