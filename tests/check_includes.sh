#!/usr/bin/env bash
# Who may include whom, checked on every tracked source file; first it checks itself on a small tree
# that breaks every rule once.
#   engine        -> engine
#   kernels/<op>  -> engine, kernels; a provider never includes another provider's file
#   models        -> engine, kernels, models
#   data          -> engine, kernels, data
#   apps/inference -> engine, kernels, models, data, apps/inference: it is part of the library
#   apps          -> engine, kernels, models, data, apps
#   bench, tests  -> everything, but nobody else includes them
# Every #include "..." is written from the root of the repository and must exist; in apps/examples/ it may also be a file
# beside the one that includes it, since these are programs outside the tree.
set -euo pipefail

check_tree() {  # reads file names from stdin, run in the root of the tree; prints one line per offence
  xargs -r -d '\n' grep -HE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' |
    sed -E 's/^([^:]+):[[:space:]]*#[[:space:]]*include[[:space:]]*"([^"]+)".*/\1 \2/' |
    while read -r file included; do
      layer=${file%%/*}
      target=${included%%/*}
      case "$layer" in
        engine) allowed="engine" ;;
        kernels) allowed="engine kernels" ;;
        models) allowed="engine kernels models" ;;
        data) allowed="engine kernels data" ;;
        apps) allowed="engine kernels models data apps" ;;
        bench | tests) allowed="engine kernels models data apps bench tests" ;;
        *) continue ;;
      esac
      if [[ $file == apps/examples/* && -e ${file%/*}/$included ]]; then continue; fi
      if [[ ! -e "$included" ]]; then
        echo "$file: \"$included\" does not exist (paths start at the root of the repository)"
      elif [[ " $allowed " != *" $target "* ]]; then
        echo "$file: $layer may not include $target (\"$included\"); allowed: $allowed"
      elif [[ "$file" == apps/inference/* && "$target" == apps && "$included" != apps/inference/* ]]; then
        echo "$file: a part of the library may not include the program's \"$included\""
      elif [[ "$included" == *.cpp || "$included" == *.cu ]]; then
        echo "$file: includes a source file (\"$included\")"
      elif [[ "$included" == kernels/*/* && "$included" != kernels/common/* ]]; then
        # kernels/<op>/<op>_<provider>*.h or <provider>*.h is the private header of the provider
        # kernels/<op>/<op>_<provider>.cpp or .cu; only files named after that provider include it.
        folder=${included%/*}
        op=${folder##*/}
        stem=${included##*/}
        stem=${stem%.*}
        stem=${stem#"${op}_"}
        provider=${stem%%_*}
        if [[ -e "$folder/${op}_$provider.cpp" || -e "$folder/${op}_$provider.cu" ]] &&
          [[ "$layer" != tests && "$layer" != bench ]] && [[ "${file##*/}" != *"$provider"* ]]; then
          echo "$file: \"$included\" belongs to the provider $op/$provider; share through kernels/common"
        fi
      fi
    done
}

self_test() {  # every rule broken once must be found, and nothing else
  local tree
  tree=$(mktemp -d)
  trap 'rm -rf "$tree"' RETURN
  (
    cd "$tree"
    mkdir -p engine/a kernels/op kernels/common models data apps/inference tests
    touch engine/a/a.h kernels/op/op.h kernels/op/fast.h kernels/op/op_fast.cpp kernels/common/c.h \
      models/m.h data/d.h apps/inference/i.h tests/t.h apps/p.h
    echo '#include "kernels/op/op.h"' >engine/a/bad1.cpp
    echo '#include "models/m.h"' >kernels/op/bad2.cpp
    echo '#include "data/d.h"' >models/bad3.cpp
    echo '#include "models/m.h"' >data/bad4.cpp
    echo '#include "tests/t.h"' >apps/bad5.cpp
    echo '#include "kernels/op/fast.h"' >kernels/op/op_slow_bad6.cpp
    echo '#include "kernels/op/op_fast.cpp"' >kernels/op/op_slow_bad7.cpp
    echo '#include "a.h"' >engine/a/bad8.cpp
    echo '#include "apps/inference/i.h"' >data/bad9.cpp
    echo '#include "apps/p.h"' >apps/inference/bad10.cpp
    printf '#include "kernels/op/op.h"\n#include "kernels/op/fast.h"\n#include "kernels/common/c.h"\n#include <vector>\n' \
      >kernels/op/op_fast.cpp
    printf '#include "engine/a/a.h"\n#include "models/m.h"\n#include "data/d.h"\n' >apps/good.cpp
    found=$(find . -type f -name '*.cpp' | sed 's|^\./||' | sort | check_tree)
    for n in 1 2 3 4 5 6 7 8 9 10; do
      grep -q "bad$n\." <<<"$found" || { echo "check_includes.sh: rule $n is not enforced" >&2; exit 1; }
    done
    [ "$(wc -l <<<"$found")" -eq 10 ] || { echo "check_includes.sh: false alarm in: $found" >&2; exit 1; }
  )
}

self_test
cd "$(dirname "$0")/.."
offences=$(git ls-files -- '*.h' '*.hpp' '*.cpp' '*.cu' '*.cuh' | check_tree)
if [ -n "$offences" ]; then
  echo "$offences" >&2
  echo "check_includes.sh: $(wc -l <<<"$offences") forbidden includes" >&2
  exit 1
fi
echo "check_includes.sh: $(git ls-files -- '*.h' '*.hpp' '*.cpp' '*.cu' '*.cuh' | wc -l) files keep the rules"
