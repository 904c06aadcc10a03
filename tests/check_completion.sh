#!/usr/bin/env bash
# Usage: tests/check_completion.sh [BUILD]
# What `thorax completion` and `thorax man` print, given to the shells and the formatter themselves: bash, and where they are
# installed zsh, fish and mandoc. Every command and option of the help texts must be offered and documented.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
thorax=$PWD/$build/apps/thorax
[ -x "$thorax" ] || { echo "check_completion.sh: build first (tests/run.sh)" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
PATH=${thorax%/*}:$PATH
failed=0
offence() {
  echo "check_completion.sh: $*" >&2
  failed=1
}

# Each question: words of a command line, the last one incomplete; what must be offered, in alphabetical order.
questions=(
  "thorax tra|train"
  "thorax train |classifier segmenter"
  "thorax train segmenter --acc|--accumulate"
  "thorax train classifier --sampling |balanced uniform"
  "thorax --verbos|"
  "thorax data phantoms --masks l|labels lungs"
  "thorax completion |bash fish zsh"
)
ask_all() {  # SHELL COMMAND: the command, given the line as its argument, prints the candidates
  local shell=$1 question line wanted got
  for question in "${questions[@]}"; do
    line=${question%|*} wanted=${question#*|}
    got=$("$2" "$line" | LC_ALL=C sort -u | xargs)
    [ "$got" = "$wanted" ] || offence "$shell: '$line' offers '$got' instead of '$wanted'"
  done
  echo "check_completion.sh: $shell completes ${#questions[@]} lines"
}

# bash, which calls the function with the line as words
"$thorax" completion bash >"$folder/thorax.bash"
in_bash() {
  bash -uo pipefail -c '
    source "$1"
    read -ra COMP_WORDS <<<"$2"
    [[ $2 != *" " ]] || COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _thorax
    printf "%s\n" "${COMPREPLY[@]}"' - "$folder/thorax.bash" "$1"
}
ask_all bash in_bash

# zsh in a terminal of its own: what its completion adds is printed between two marks.
if command -v zsh >/dev/null; then
  mkdir "$folder/functions"
  "$thorax" completion zsh >"$folder/functions/_thorax"
  zsh -n "$folder/functions/_thorax"
  cat >"$folder/ask.zsh" <<'ZSH'
zmodload zsh/zpty
zpty asked zsh -f -i
zpty -w asked "PS1= fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; zstyle ':completion:*' list-grouped false
  list() { compstate[insert]=; compstate[list]=; }
  compadd() { local -a given; builtin compadd -O given \"\$@\"; (( \$#given )) && print -rl -- BEGIN \$given END; builtin compadd \"\$@\"; }
  compprefuncs=(); comppostfuncs=(list); unsetopt zle_bracketed_paste; bindkey '^I' complete-word; print -r READY-\$((1 + 1))"
zpty -r -m asked line '*READY-2*' 
zpty -n -w asked "$2"$'\t'
sleep 0.5
zpty -n -w asked $'\x15'"print -r DO""NE"$'\n'
zpty -r -m asked line '*DONE*'
print -r -- $line
zpty -d asked
ZSH
  in_zsh() {
    zsh -f "$folder/ask.zsh" "$folder/functions" "$1" | tr -d '\r' | sed -n '/BEGIN/,/END/p' | grep -vE 'BEGIN|END' || true
  }
  ask_all zsh in_zsh
else
  echo "check_completion.sh: SKIPPED for zsh, which is not installed"
fi

if command -v fish >/dev/null; then
  "$thorax" completion fish >"$folder/thorax.fish"
  in_fish() {
    HOME=$folder fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$folder/thorax.fish" "$1" | cut -f 1
  }
  ask_all fish in_fish
else
  echo "check_completion.sh: SKIPPED for fish, which is not installed"
fi

# The manual page has every command and every option of the help texts.
"$thorax" man >"$folder/thorax.1"
if command -v mandoc >/dev/null; then
  mandoc -T lint -W warning "$folder/thorax.1" || offence "mandoc has warnings of the manual page"
  mandoc -T utf8 "$folder/thorax.1" | sed 's/.\x08//g' >"$folder/thorax.txt"
  documented=0
  check_help() {  # COMMAND...: its options and those below it
    local help name section
    help=$("$thorax" "$@" --help)
    # The lines below the heading of the command, up to the next heading.
    section=$(awk -v wanted="${*:-OPTIONS}" '/^ ? ? ?[A-Za-z]/ { heading = $0; gsub(/^ +| +$/, "", heading) } heading == wanted' \
      "$folder/thorax.txt")
    for name in $(sed -nE '/^Options:/,/^$/s/^  (-[a-z],)?(--[a-z0-9-]+).*/\2/p' <<<"$help"); do
      grep -qE -- "(^| )$name( |,|\$)" <<<"$section" || offence "the manual page has no $name of 'thorax $*'"
      documented=$((documented + 1))
    done
    for name in $(sed -nE '/^Subcommands:/,/^$/s/^  ([a-z][a-z0-9_-]*) .*/\1/p' <<<"$help"); do check_help "$@" "$name"; done
  }
  check_help
  [ "$documented" -gt 100 ] || offence "found only $documented options in the help texts"
  echo "check_completion.sh: the manual page has all $documented options"
else
  echo "check_completion.sh: SKIPPED for the manual page: mandoc is not installed"
fi
[ "$failed" -eq 0 ] || exit 1
echo "check_completion.sh: completions and manual page are made of the help texts"
