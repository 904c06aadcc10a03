#!/usr/bin/env bash
# The commands in our pages are true. In the ```sh blocks of every tracked *.md file, each `thorax`
# command must name a subcommand that exists with options that it has, and each script that is called
# must exist. Blocks after a line `<!-- run -->` are also run, from the root, in the order they stand.
set -euo pipefail
cd "$(dirname "$0")/.."
thorax=build/apps/thorax
[ -x "$thorax" ] || { echo "check_readme.sh: build first (tests/run.sh)" >&2; exit 1; }

commands() {  # FILE: "LINE<tab>COMMAND" of its sh blocks, continued lines joined, comments dropped
  awk '
    /^ *```sh *$/ { inside = 1; next }
    /^ *```/ { inside = 0; next }
    inside {
      line = $0; sub(/^[ $]+/, "", line); sub(/(^| +)#.*/, "", line)
      if (held == "") first = FNR
      if (line ~ /\\$/) { sub(/ *\\$/, "", line); held = held line " "; next }
      if (held line != "") print first "\t" held line
      held = ""
    }' "$1"
}

checked=0
failed=0
offence() {
  echo "check_readme.sh: $*" >&2
  failed=1
}
check_thorax() {  # PLACE WORD...: the words after `thorax`
  local place=$1 word path=() help
  shift
  help=$("$thorax" --help)
  while [ $# -gt 0 ] && [[ $1 =~ ^[a-z_]+$ ]]; do
    # A word that is no subcommand leaves the help of its parent.
    # Not in a pipe: grep leaves at the first match, and who still writes then fails.
    grep -qE "^Usage: .*${path[*]:+${path[*]} }$1( |\$)" <<<"$("$thorax" "${path[@]}" "$1" --help 2>/dev/null)" || break
    path+=("$1")
    help=$("$thorax" "${path[@]}" --help)
    shift
  done
  if [ ${#path[@]} -eq 0 ] && [[ "${1:---help}" != -* ]]; then
    offence "$place: thorax has no subcommand '$1'"
    return
  fi
  for word in "$@"; do
    [[ $word == -[-a-zA-Z]* ]] || continue
    word=${word%%=*}
    grep -qE -- "(^|[ ,])$word([] ,=:]|\$)" <<<"$help" ||
      offence "$place: 'thorax ${path[*]}' has no option $word"
  done
}

mapfile -t pages < <(git ls-files -- '*.md')
for page in "${pages[@]}"; do
  while IFS=$'\t' read -r line command; do
    while read -r part; do
      read -ra words <<<"$part"
      while [[ ${words[0]:-} == *=* || ${words[0]:-} == time || ${words[0]:-} == nice || ${words[0]:-} == sudo ]]; do
        words=("${words[@]:1}")
      done
      case "${words[0]:-}" in
        thorax | */thorax)
          check_thorax "$page:$line" "${words[@]:1}"
          checked=$((checked + 1))
          ;;
        */*.sh | bash)
          script=${words[0]}
          [ "$script" != bash ] || script=${words[1]}
          [ -e "$script" ] || [ -e "${page%/*}/$script" ] || offence "$page:$line: there is no $script"
          checked=$((checked + 1))
          ;;
      esac
    done < <(sed -E 's/ *(&&|\|\||[|;]) */\n/g' <<<"$command")
  done < <(commands "$page")
done
[ "$failed" -eq 0 ] || exit 1
[ "$checked" -gt 0 ] || { echo "check_readme.sh: found no command at all" >&2; exit 1; }

ran=0
for page in "${pages[@]}"; do
  blocks=$(mktemp -d)
  awk -v folder="$blocks" '
    /^<!-- run -->$/ { marked = 1; next }
    marked && /^```sh *$/ { inside = 1; marked = 0; n++; next }
    /^```/ { inside = 0 }
    inside { sub(/^\$ /, ""); print > sprintf("%s/%03d.sh", folder, n) }' "$page"
  for block in "$blocks"/*.sh; do
    [ -e "$block" ] || continue
    echo "--- $page runs:" && cat "$block"
    PATH="$PWD/${thorax%/*}:$PATH" bash -euo pipefail "$block" </dev/null
    ran=$((ran + 1))
  done
  rm -rf "$blocks"
done
echo "check_readme.sh: $checked commands name what exists, $ran blocks ran"
