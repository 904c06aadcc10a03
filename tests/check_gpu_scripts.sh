#!/usr/bin/env bash
# bench/gpu_check.sh and bench/gpu_bundle.sh where there is no GPU, so that an hour on one is not lost to a script:
# every way in which a part, a machine or the command itself fails, on programs that stand in for ours and take
# seconds; then the three commands on a bundle of BUILD with the PTX machine, or the simulator, as the GPU.
#
#   tests/check_gpu_scripts.sh BUILD [PTX]    BUILD: a finished build; PTX: the folder that the target kernel_ptx filled
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
build=$(realpath "$1") ptx=${2:+$(realpath "$2")}
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive
fake=$work/fake
wrong() { echo "check_gpu_scripts.sh: $*" >&2; cat "$work/out" >&2; exit 1; }

# --- Stand-ins ---------------------------------------------------------------------------------------------------
mkdir -p "$fake"/{apps,tests,bench,lib} "$work/tools"
cp -r bench/gpu_check.sh bench/counter_kernels.txt bench/peers "$fake/bench/"
echo stand-in >"$fake/bundle"
program() { cat >"$fake/$1" && chmod +x "$fake/$1"; }
program apps/thorax <<'S'
#!/bin/sh
case "$1 $2" in
  "info ") echo "sim:0 stands in"; echo "cuda     none: no driver" ;;
  "train segmenter") echo "thorax: error: [train] no memory"; echo "4 images"; exit 1 ;;
  *) echo "$@" ;;
esac
S
program bench/bench_step <<'S'
#!/bin/sh
case "$*" in *float16*) kill -9 $$ ;; esac
echo '{"program":"thorax","model":"unet","mode":"train","size":16,"batch":1,"layout":"nhwc","precision":"float32","graph":false,"min_s":1.5,"median_s":2,"peak_tensors_mb":3}'
S
program bench/gpu_table <<'S'
#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" != --csv ] || csv=$2; shift; done
echo "operation,ok" >"$csv"; echo "conv2d,1" >>"$csv"; kill -ABRT $$
S
# Test files by what happens in them.
for name in engine models simulated; do program tests/test_$name <<<'#!/bin/sh'; done
kernels_with() {
  { echo '#!/bin/sh'
    echo 'case "$*" in'
    echo "  --list*) for f in $*; do echo \"<TestCase filename=\\\"/tree/tests/kernels/\${f}_test.cpp\\\"/>\"; done ;;"
    cat <<'S'
  */cast_test*) echo fine ;;
  */dropout_test*) echo last words; kill -9 $$ ;;
  */staging_test*) echo abort >&2; kill -ABRT $$ ;;
  */hostile_config_test*) trap '' TERM; echo stuck; while :; do sleep 1; done ;;
esac
S
  } | program tests/test_kernels
}
cat >"$work/tools/no_torch" <<'S'
#!/bin/sh
case "$*" in *torch*zeros*) echo "ModuleNotFoundError: No module named 'torch'" >&2 ;; esac
exit 1
S
printf '#!/bin/sh\necho "$@"; exit 9\n' >"$work/tools/compute-sanitizer"
chmod +x "$work"/tools/*

run() {  # STATUS COMMAND ARGUMENTS...: gpu_check.sh of the stand-ins into a fresh folder
  local wanted=$1 status=0
  shift
  rm -rf "$work/results" "$work/unpacked"
  PATH=$work/tools:$PATH timeout 60 "$fake/bench/gpu_check.sh" "$1" "$work/results" --rehearse sim "${@:2}" >"$work/out" 2>&1 || status=$?
  [ $status = "$wanted" ] || wrong "gpu_check.sh $*: exit status $status, $wanted is right"
  unpack
}
unpack() {
  mkdir -p "$work/unpacked"
  tar -C "$work/unpacked" -xzf "$work/results/results.tar.gz" || wrong "no results.tar.gz"
  [ "$(find "$work/results" -type f | wc -l)" -le 8 ] || wrong "more than 8 files"
  cmp -s "$work"/unpacked/*/rehearsal-rows.csv "$work/results/rehearsal-rows.csv" || wrong "results.tar.gz lacks rows"
  # Nothing of a rehearsal looks like a measurement.
  ! find "$work/unpacked" -name '*.csv' -not -name 'rehearsal-*' | grep . || wrong "a table without 'rehearsal' in its name"
  ! awk 'FNR > 1 && !/"REHEARSAL on (sim|ptx)"/' "$work"/unpacked/*/*.csv | grep . || wrong "a row without REHEARSAL"
}
has() { grep -qE "$1" "$work/results/rehearsal-rows.csv" || wrong "no row '$1'"; }
ends() { tail -n 1 "$work/out" | grep -qE "$1" || wrong "the last line does not say '$1'"; }

# --- What goes wrong ---------------------------------------------------------------------------------------------
# Tests that crash, abort and hang, the last one deaf to SIGTERM; what follows them runs.
kernels_with dropout staging hostile_config cast
GPU_CHECK_PERCENT=4 run 1 A
has '^A,tests_kernels_cast,ok,'
has '^A,tests_kernels_dropout,FAILED,[0-9]+,3,"killed \(SIGKILL; out of memory\?\); last line: last words"'
has '^A,tests_kernels_staging,FAILED,[0-9]+,3,"exit status 134: abort"'
has '^A,tests_kernels_hostile_config,STOPPED,[0-9]+,3,"ran past its limit, had to be killed'
has '^A,memcheck_dropout_test,FAILED,.*exit status 9'
ends 'failed: .*tests_kernels_dropout FAILED'
! pgrep -f "$fake/tests/test_kernels" >/dev/null || wrong "a test that hangs still runs"
# The command's own time is over before all have run.
kernels_with hostile_config
GPU_CHECK_PERCENT=1 run 1 A
has '^A,memcheck_hostile_config_test,not started,.*s are over'
# All is well.
kernels_with cast
run 0 A
ends 'failed: none; left out: memcheck;'

# No PyTorch: its parts are left out, the others run; steps that crash; a table that ends in the middle keeps its rows.
run 1 B --python "$work/tools/no_torch"
has "^B,pytorch,left out,.*No module named 'torch'"
has '^B,gradients_unet,left out,.*no PyTorch'
has '^B,step_unet_float32,ok,'
has '^B,step_unet_float16,FAILED,.*SIGKILL'
has '^B,train_segmenter,FAILED,.*\[train\] no memory'
has '^B,table_batch1,FAILED,.*exit status 134'
ends 'failed: step_unet_float16 FAILED.*left out: pytorch'
grep -q '^thorax,unet,train,16,1,nhwc,float32,false,,1.5,2,3,"REHEARSAL on sim"' "$work"/unpacked/*/rehearsal-sim-*-steps.csv || wrong "no step"
grep -q '^conv2d,1,"REHEARSAL on sim"' "$work"/unpacked/*/rehearsal-sim-*-kernels-batch1.csv || wrong "the table's rows are lost"

# The command itself is ended: asked to, and without a word. Rows and results so far are there.
kernels_with cast hostile_config
for signal in TERM KILL; do
  rm -rf "$work/results" "$work/unpacked"
  "$fake/bench/gpu_check.sh" A "$work/results" --rehearse sim >"$work/out" 2>&1 &
  process=$!
  until grep -qs cast,ok "$work/results/rehearsal-rows.csv" && [ -e "$work/results/results.tar.gz" ]; do
    kill -0 $process 2>/dev/null || wrong "gpu_check.sh ended by itself"
    sleep 0.2
  done
  sleep 0.5
  kill -$signal $process
  status=0
  wait $process || status=$?
  [ $status = $([ $signal = TERM ] && echo 143 || echo 137) ] || wrong "SIG$signal: exit status $status"
  unpack
  has '^A,tests_kernels_cast,ok,'
  [ $signal = KILL ] || { has '^A,end,STOPPED,.*signal'; ends 'failed: .*end STOPPED'; }
  pkill -KILL -f "$fake/tests/test_kernels" || true  # SIGKILL leaves no one who ends what runs
done

# Results are not overwritten.
if "$fake/bench/gpu_check.sh" A "$work/results" --rehearse sim >"$work/out" 2>&1; then wrong "results were overwritten"; fi
grep -q 'has results already' "$work/out" || wrong "it does not say why"

# A library that the machine lacks: cuDNN has a stand-in, another has none.
echo 'int f(void) { return 0; }' | gcc -shared -fPIC -x c -Wl,-soname,libcudnn.so.99 -o "$work/libcudnn.so.99" -
echo 'int f(void); int g(void) { return f(); }' |
  gcc -shared -fPIC -Wl,-soname,libthorax.so.0 -o "$fake/lib/libthorax.so.0" -x c - -x none "$work/libcudnn.so.99"
kernels_with cast
run 2 A --python "$work/tools/no_torch"
has '^A,devices,FAILED,.*libcudnn.so.99 is missing on this machine'
mkdir -p "$fake/lib/absent" && cp "$work/libcudnn.so.99" "$fake/lib/absent/"
run 0 A --python "$work/tools/no_torch"
has '^A,vendor_libcudnn.so.99,left out,'
ends 'left out: vendor_libcudnn.so.99'
# Where pip has put it.
mkdir -p "$work/site/nvidia/cudnn/lib" && cp "$work/libcudnn.so.99" "$work/site/nvidia/cudnn/lib/"
PYTHONPATH=$work/site run 0 A
ends 'left out: memcheck;'
rm "$fake/lib/libthorax.so.0"
# No GPU: nothing is taken for one.
rm -rf "$work/results"
status=0
PATH=$work/tools:$PATH "$fake/bench/gpu_check.sh" A "$work/results" >"$work/out" 2>&1 || status=$?
[ $status = 2 ] && grep -q '^A,devices,FAILED,.*no nvidia-smi' "$work/results/rows.csv" || wrong "no GPU: exit status $status"
rm -rf "$work/results"
printf '#!/bin/sh\necho "GPU 7"\n' >"$work/tools/nvidia-smi" && chmod +x "$work/tools/nvidia-smi"
status=0
PATH=$work/tools:$PATH "$fake/bench/gpu_check.sh" A "$work/results" >"$work/out" 2>&1 || status=$?
[ $status = 2 ] && grep -q '^A,devices,FAILED,.*finds no cuda:0: no driver.*"GPU 7"' "$work/results/rows.csv" || wrong "a GPU without a driver"
# More than may come back.
cat >"$fake/bench/gpu_table" <<'S'
#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" != --csv ] || csv=$2; shift; done
head -c 20000000 /dev/urandom | base64 -w 100 >"$csv"
S
run 1 B --python "$work/tools/no_torch" --only table
ends 'files of up to [0-9]+ bytes, 8 of 16777216 come back'
echo "check_gpu_scripts.sh: failures leave what they should"

# --- The three commands, whole -----------------------------------------------------------------------------------
XZ_OPT=-0 bench/gpu_bundle.sh "$work/bundle.tar.xz" --build "$build" --rehearsal
tar -C "$work" -xf "$work/bundle.tar.xz"
instead=sim
[ -z "$ptx" ] || { instead=ptx; export THORAX_PTX=$ptx; }
for command in A B C; do
  rm -rf "$work/results" "$work/unpacked"
  status=0
  GPU_CHECK_PERCENT=100 "$work/thorax-gpu/bench/gpu_check.sh" $command "$work/results" --rehearse $instead 2>&1 | tee "$work/out" || status=$?
  [ $status = 0 ] || wrong "the rehearsal of $command ends with $status"
  unpack
done
echo "check_gpu_scripts.sh: the three commands went well on $instead"
