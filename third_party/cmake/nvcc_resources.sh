#!/usr/bin/env bash
# nvcc_resources.sh [ccache] nvcc ARGUMENTS...: runs the compiler; what ptxas reports of each kernel
# goes to OBJECT.ptxas instead of the screen, everything else is shown.
output=
previous=
for argument in "$@"; do
  if [ "$previous" = -o ]; then output=$argument; fi
  previous=$argument
done
if [ -z "$output" ]; then exec "$@"; fi
report=$(mktemp)
"$@" 2>"$report"
status=$?
pattern="^ptxas info|bytes stack frame|^$"
grep -E "$pattern" "$report" >"$output.ptxas"
grep -vE "$pattern" "$report" >&2
rm -f "$report"
exit $status
