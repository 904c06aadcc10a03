#!/usr/bin/env bash
# What a GPU has to say about this program, in three commands, each short enough for a machine that is lent by the
# minute:
#
#   bench/gpu_check.sh A|B|C OUT [--build DIR] [--python PYTHON] [--only REGEX] [--rehearse sim|ptx]
#     A    5 minutes: the tests of kernels, engine and networks file by file, every launch waited for
#          (THORAX_CUDA_SYNC=1), compute-sanitizer's memcheck on what failed
#     B    9 minutes: gradients of whole networks against PyTorch's on the GPU; training steps with and without
#          graph in three precisions beside eager PyTorch; short training of UNet and HRNet in f16; every kernel
#          beside the vendor's at batch 1
#     C    9 minutes: the same table at batch 8; counters of ten kernels by ncu beside the PTX machine's; compiled
#          PyTorch; racecheck with what time is left
#     --build     what bench/gpu_bundle.sh packed (default where this script lies in it), or a finished build of
#                 preset "cuda" (default build-cuda)
#     --python    an interpreter with PyTorch (default python3); without one its parts are left out and said so
#     --only      only the parts whose name matches
#     --rehearse  the whole command on a simulated device in place of the GPU, with small work and a quarter of
#                 all limits (GPU_CHECK_PERCENT: another share): it tests this script, nothing is measured
# OUT gets rows.csv, a line for every part as soon as it ends, and results.tar.gz: those rows, every part's log
# and the tables, packed after every part and when the command ends, however it ends. Each part has a limit of its
# own. A table's name and its last columns say which machine made it; those of a rehearsal say REHEARSAL.
# Exit code: 0 everything went well (what was left out is said), 1 a part failed or was stopped, 2 there is nothing
# to run with: wrong arguments, no cuda:0, a library that is missing.
set -uo pipefail
here=$PWD  # paths among the arguments are the caller's
tree=$(cd "$(dirname "$0")/.." && pwd)
command= out= build= python=python3 only=. rehearse=
while [ $# -gt 0 ]; do
  case "$1" in
    --build | --python | --only | --rehearse)
      [ $# -ge 2 ] || { echo "gpu_check.sh: $1 needs a value" >&2; exit 2; }
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    -h | --help) sed -n '2,27s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "gpu_check.sh: unknown argument '$1' (see --help)" >&2; exit 2 ;;
    A | B | C) command=$1; shift ;;
    *)
      [ -z "$out" ] || { echo "gpu_check.sh: '$1' after OUT: A, B or C is wanted (see --help)" >&2; exit 2; }
      out=$1
      shift
      ;;
  esac
done
[ -n "$command" ] || { echo "gpu_check.sh: which part: A, B or C? (see --help)" >&2; exit 2; }
[ -n "$out" ] || { echo "gpu_check.sh: where to write? (see --help)" >&2; exit 2; }
absolute() { [[ $1 == /* || -z $1 ]] && echo "$1" || echo "$here/$1"; }
out=$(absolute "$out") build=$(absolute "$build")
[ -n "$build" ] || { [ -e "$tree/bundle" ] && build=$tree; } || build=$tree/build-cuda
case "$rehearse" in
  "" | sim | ptx) ;;
  *) echo "gpu_check.sh: --rehearse $rehearse: sim or ptx is wanted" >&2; exit 2 ;;
esac
if [ -e "$out/results.tar.gz" ]; then
  echo "gpu_check.sh: $out has results already; name another folder" >&2
  exit 2
fi
cd "$tree" || exit 2
mkdir -p "$out" || exit 2

# --- Limits, rows, and what comes back however this ends ---------------------------------------------------------
percent=100
[ -z "$rehearse" ] || percent=${GPU_CHECK_PERCENT:-25}
scaled() { echo $((($1 * percent + 99) / 100)); }
limit=540
[ $command != A ] || limit=300
limit=$(scaled $limit)
max_files=8 max_bytes=$((16 << 20))  # that come back
work=$(mktemp -d)
date=$(date +%F)
gpu=unknown driver= cuda= cudnn= commit=unknown
label=unknown-gpu
[ -z "$rehearse" ] || { gpu="REHEARSAL on $rehearse" label=rehearsal-$rehearse; }
mkdir -p "$work/results/tables" "$work/results/logs" "$work/bin" "$work/running"
machine() { echo "\"$gpu\",$driver,$cuda,${cudnn:-none},$commit"; }
machine_titles=gpu,driver,cuda,cudnn,commit
rows=$out/rows.csv
[ -z "$rehearse" ] || rows=$out/rehearsal-rows.csv
echo "command,part,outcome,seconds,limit_s,note,$machine_titles" >"$rows"
row() {  # PART OUTCOME SECONDS LIMIT NOTE
  local note
  note=$(printf %s "$5" | tr -d '"' | tr -s '[:cntrl:][:space:]' ' ' | cut -c 1-300)
  echo "$command,$1,$2,$3,$4,\"$note\",$(machine)" >>"$rows"
  echo "$command $1: $2, $3 s${note:+: $note}"
}
# Tables of this machine, and everything in one archive; a reader never sees half of one.
pack() {
  local table folder=$work/pack/$label-$date-$command
  rm -rf "$work/pack"
  mkdir -p "$folder/logs"
  cp "$rows" "$folder/"
  cp -r "$work/results/logs/." "$folder/logs/"
  # Logs of programs that never stop to write are cut, the end is kept.
  find "$folder/logs" -size +256k -exec sh -c 'tail -c 262144 "$1" >"$1.end" && mv "$1.end" "$1"' _ {} \;
  for table in "$work"/results/tables/*; do
    [ -s "$table" ] || continue
    if [[ $table == *.jsonl ]]; then
      cp "$table" "$folder/$label-$date-$(basename "$table")"
      continue
    fi
    awk -v machine="$(machine)" -v titles="$machine_titles" '{ print $0 "," (NR == 1 ? titles : machine) }' "$table" \
      >"$folder/$label-$date-$(basename "$table")"
  done
  tar -C "$work/pack" -czf "$out/packing" "$label-$date-$command" && mv "$out/packing" "$out/results.tar.gz"
}
finish() {
  local status=$? bad left files bytes
  trap - EXIT INT TERM HUP
  # Parts that still run; each is a process group of its own.
  for left in "$work"/running/*; do [ ! -e "$left" ] || kill -TERM -- "-$(basename "$left")" 2>/dev/null; done
  wait
  case $status in 129 | 130 | 143) row end STOPPED "$SECONDS" "$limit" "ended by a signal ($status)" ;; esac
  pack
  bad=$(awk -F, '$3 == "FAILED" || $3 == "STOPPED" || $3 == "not started" { printf "%s%s %s", n++ ? ", " : "", $2, $3 }' "$rows")
  left=$(awk -F, '$3 == "left out" { printf "%s%s", n++ ? ", " : "", $2 }' "$rows")
  files=$(find "$out" -type f | wc -l) bytes=$(find "$out" -type f -printf '%s\n' | sort -n | tail -n 1)
  if [ "$files" -gt $max_files ] || [ "$bytes" -gt $max_bytes ]; then
    bad+="${bad:+, }$out has $files files of up to $bytes bytes, $max_files of $max_bytes come back"
  fi
  rm -rf "$work"
  [ $status -ne 0 ] || [ -z "$bad" ] || status=1
  echo "gpu_check.sh $command${rehearse:+ (REHEARSAL on $rehearse)}: $(grep -c ',ok,' "$rows") parts ok in $SECONDS s;" \
    "failed: ${bad:-none}; left out: ${left:-none}; results: $out/results.tar.gz"
  exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

wanted() { [[ $1 =~ $only ]]; }
left_out() { if wanted "$1"; then row "$1" "left out" 0 0 "$2"; fi; }
# Runs a part within its limit and what is left of the command's. Its output is its log.
part() {  # NAME LIMIT COMMAND...
  local name=$1 cap begin status=0 left=$((limit - SECONDS)) note log=$work/results/logs/$1.log
  cap=$(scaled "$2")
  shift 2
  wanted "$name" || return 0
  if [ $left -le 0 ]; then
    row "$name" "not started" 0 "$cap" "the command's $limit s are over"
    return 1
  fi
  [ $cap -le $left ] || cap=$left
  begin=$SECONDS
  timeout --kill-after=3 "$cap" "$@" >"$log" 2>&1 </dev/null &
  local process=$!
  touch "$work/running/$process"  # where finish() finds it
  wait $process || status=$?
  rm -f "$work/running/$process"
  local seconds=$((SECONDS - begin))
  note=$(grep -aE 'error|Error|ERROR|FAILED|WRONG' "$log" | tail -n 1)
  [ -n "$note" ] || note=$(grep -av '^[[:space:]]*$' "$log" | tail -n 1)
  case $status in
    0) row "$name" ok $seconds "$cap" "" ;;
    124) row "$name" STOPPED $seconds "$cap" "ran past its limit; last line: $note" ;;
    137) if [ $seconds -ge "$cap" ]; then
      row "$name" STOPPED $seconds "$cap" "ran past its limit, had to be killed; last line: $note"
    else
      row "$name" FAILED $seconds "$cap" "killed (SIGKILL; out of memory?); last line: $note"
    fi ;;
    *) row "$name" FAILED $seconds "$cap" "exit status $status: $note" ;;
  esac
  return $((status != 0))
}
# Rows of one table after those of another: the title once.
append_table() {  # FROM NAME
  [ -s "$1" ] || return 0
  tail -n "+$([ -s "$work/results/tables/$2" ] && echo 2 || echo 1)" "$1" >>"$work/results/tables/$2"
}

# --- The machine, and programs that find their libraries there ---------------------------------------------------
if [ -z "$rehearse" ]; then
  device=cuda
  command -v nvidia-smi >/dev/null || { row devices FAILED 0 0 "no nvidia-smi: is there a GPU?"; exit 2; }
  query() { nvidia-smi --query-gpu="$1" --format=csv,noheader | head -n 1; }
  gpu=$(query name) driver=$(query driver_version)
  label=$(tr 'A-Z ' 'a-z-' <<<"$gpu" | tr -cd 'a-z0-9-')
  cuda=$(nvcc --version 2>/dev/null | sed -n 's/.*release \([^,]*\).*/\1/p')
  export THORAX_TEST_DEVICE=cuda
else
  # A card with bfloat16; PTX for it, or the newest.
  device=sim:1
  [ "$rehearse" != ptx ] || { device=ptx:2; export THORAX_TEST_DEVICE=ptx; }
  export CUDA_VISIBLE_DEVICES= OMP_WAIT_POLICY=passive TORCHDYNAMO_DISABLE=1  # a GPU that is there is not used; nothing is compiled
fi
commit=$(cat "$build/bundle" 2>/dev/null || git describe --always --dirty 2>/dev/null || echo unknown)
[ -x "$build/apps/thorax" ] || { row devices FAILED 0 0 "$build/apps/thorax is not there: pack or build it first (bench/README.md)"; exit 2; }

# Libraries of the bundle, and cuDNN and cuBLAS where pip put them, are found by our programs alone: PyTorch and
# NVIDIA's tools keep their own.
libraries=
[ ! -d "$build/lib" ] || libraries=$build/lib
library=$build/lib/libthorax.so.0
[ -e "$library" ] || library=$build/libthorax.so
missing() { LD_LIBRARY_PATH=$libraries ldd "$library" 2>/dev/null | awk '/not found/ { print $1 }' | sort -u; }
for name in $(missing); do
  found=$("$python" -c 'import glob, sys
for folder in sys.path:
    for file in sorted(glob.glob(f"{folder}/nvidia/*/lib/{sys.argv[1]}")) + sorted(glob.glob(f"{folder}/torch/lib/{sys.argv[1]}")):
        print(file.rpartition("/")[0])' "$name" 2>/dev/null | head -n 1)
  [ -z "$found" ] || libraries+=:$found
done
for name in $(missing); do
  if [ ! -e "$build/lib/absent/$name" ]; then
    row devices FAILED 0 0 "$name is missing on this machine"
    exit 2
  fi
  left_out "vendor_$name" "$name is neither installed nor in $python's site-packages: no rows of its kernels"
  libraries+=:$build/lib/absent
done
wrap() {  # PROGRAM: a command of that name that sees these libraries
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$libraries" "$build/$1" >"$work/bin/$(basename "$1")"
  chmod +x "$work/bin/$(basename "$1")"
}
for program in apps/thorax bench/gpu_table bench/bench_step tests/test_{engine,kernels,models,simulated}; do wrap $program; done
bin=$work/bin

if ! timeout "$(scaled 60)" "$bin/thorax" info >"$work/results/logs/devices.log" 2>&1; then
  row devices FAILED 0 0 "thorax info: $(tail -n 1 "$work/results/logs/devices.log")"
  exit 2
fi
cudnn=$(sed -n 's/.*cuDNN \([0-9.]*\).*/\1/p' "$work/results/logs/devices.log" | head -n 1)
if ! grep -q "^${device%%:*}:0 " "$work/results/logs/devices.log"; then
  row devices FAILED 0 0 "thorax finds no ${device%%:*}:0: $(sed -n "s/^${device%%:*}  *none: //p" "$work/results/logs/devices.log")"
  exit 2
fi
row devices ok 0 0 "$(grep "^${device%%:*}:0 " "$work/results/logs/devices.log")"
torch=
if [ $command != A ]; then
  where=cuda
  [ -z "$rehearse" ] || where=cpu
  if why=$(timeout "$(scaled 240)" "$python" -c "import sys, torch
print(torch.__version__)
torch.zeros(1, device=sys.argv[1])" $where 2>&1); then
    torch=$(head -n 1 <<<"$why")
    row pytorch ok 0 0 "torch $torch"
  else
    left_out pytorch "$python: $(tail -n 1 <<<"$why")"
  fi
fi
with_torch() { if [ -n "$torch" ]; then part "$@"; else left_out "$1" "no PyTorch"; fi; }
sanitizer() {  # NAME LIMIT TOOL PROGRAM...
  local name=$1 cap=$2 tool=$3
  shift 3
  if command -v compute-sanitizer >/dev/null; then
    part "$name" "$cap" compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 9 "$@"
  else
    left_out "$name" "compute-sanitizer is not installed"
  fi
}

# A step's row from the JSON line that bench_step or torch_step.py ends with.
step_row() {
  local log=$work/results/logs/$1.log table=$work/results/tables/steps.csv
  [ -s "$log" ] || return 0
  [ -s "$table" ] || echo "program,model,mode,size,batch,layout,precision,graph,compiled,min_s,median_s,peak_gpu_mb" >"$table"
  awk '
    function value(key, text) {  # of a flat JSON object
      if (!match($0, "\"" key "\": ?(\"[^\"]*\"|[^,}]*)")) return ""
      text = substr($0, RSTART, RLENGTH)
      sub(/^"[^"]*": ?/, "", text)
      gsub(/"|^null$/, "", text)
      return text
    }
    /"program"/ {
      ours = value("program") == "thorax"
      precision = ours ? value("precision") : value("amp") == "" ? "float32" : value("amp") == "f16" ? "float16" : "bfloat16"
      print value("program") "," value("model") "," value("mode") "," value("size") "," value("batch") "," value("layout") "," \
        precision "," value("graph") "," value("compile") "," value("min_s") "," value("median_s") "," \
        value(ours ? "peak_tensors_mb" : "peak_gpu_mb")
    }' "$log" >>"$table"
}
# Networks whose steps are timed: name, size, batch.
steps() {
  if [ -z "$rehearse" ]; then printf '%s\n' "unet 512 8" "hrnet_w18 224 32"; else echo "unet 16 1"; fi
}
repeats=(--warmup 5 --repeat 20)
[ -z "$rehearse" ] || repeats=(--warmup 0 --repeat 1)
torch_step() {  # NAME LIMIT ARGUMENTS...
  local name=$1 cap=$2
  shift 2
  with_torch "$name" "$cap" "$python" bench/peers/torch_step.py --device "$where" --mode train --json "${repeats[@]}" "$@"
  step_row "$name"
}
table() {  # NAME LIMIT CSV ARGUMENTS...
  local name=$1 cap=$2 csv=$3
  shift 3
  part "$name" "$cap" "$bin/gpu_table" --device "$device" --csv "$work/$name.csv" "$@"
  append_table "$work/$name.csv" "$csv"
}

# --- A: tests ----------------------------------------------------------------------------------------------------
test_file() {  # PROGRAM FILE-BELOW-tests/: one process, one part
  local name=tests_${2//\//_}
  name=${name%.cpp}
  part "${name%_test}" 60 "$bin/test_$1" --source-file="*/$2" --no-intro || echo "$1 $2" >>"$work/failed_files"
}
run_A() {
  local program file files lanes=$(($(nproc) / 2)) failed
  [ "$lanes" -ge 2 ] || lanes=2
  [ "$lanes" -le 8 ] || lanes=8
  export THORAX_CUDA_SYNC=1  # an error names its kernel
  for program in kernels engine models simulated; do
    files=$("$bin/test_$program" --list-test-cases --reporters=xml 2>/dev/null | sed -n 's|.* filename="[^"]*/tests/\([^"]*\)".*|\1|p' |
      LC_ALL=C sort -u)
    # A rehearsal tries a few of the quick ones.
    [ -z "$rehearse" ] || files=$(grep -E '/(cast|dropout|staging|hostile_config)_test' <<<"$files")
    if [ -z "$files" ]; then
      [ -n "$rehearse" ] || row "tests_$program" FAILED 0 0 "test_$program lists no test files"
      continue
    fi
    for file in $files; do
      while [ "$(jobs -pr | wc -l)" -ge $lanes ]; do wait -n; pack; done
      test_file "$program" "$file" &
    done
  done
  while [ -n "$(jobs -pr)" ]; do wait -n; pack; done
  pack
  failed=$(sort -u "$work/failed_files" 2>/dev/null)
  [ -n "$failed" ] || left_out memcheck "no test file failed"
  while read -r program file; do
    [ -n "$program" ] || continue
    sanitizer "memcheck_$(basename "${file%.cpp}")" 90 memcheck "$bin/test_$program" --source-file="*/$file" --no-intro
    pack
  done <<<"$failed"
}

# --- B: networks -------------------------------------------------------------------------------------------------
run_B() {
  local model size batch precision graph smoke=() networks="unet hrnet_w18 resnet152 densenet121" amp
  [ -z "$rehearse" ] || { smoke=(--smoke); networks=unet; }
  for model in $networks; do
    with_torch "gradients_$model" 90 "$python" bench/peers/compare_step.py --bench "$bin/bench_step" --device "$device" --rounds 0 \
      --only "$model/train" --agreement "$work/gradients_$model.csv" "${smoke[@]}"
    append_table "$work/gradients_$model.csv" gradients.csv
    pack
  done
  while read -r model size batch; do
    local shape=(--model "$model" --size "$size" --batch "$batch")
    for precision in float32 float16 bfloat16; do
      for graph in "" --graph; do
        part "step_${model}_$precision${graph:+_graph}" 60 "$bin/bench_step" --device "$device" --mode train --json "${repeats[@]}" \
          "${shape[@]}" --precision $precision $graph
        step_row "step_${model}_$precision${graph:+_graph}"
      done
      case $precision in float32) amp=() ;; float16) amp=(--amp f16) ;; bfloat16) amp=(--amp bf16) ;; esac
      torch_step "torch_${model}_$precision" 60 "${shape[@]}" --layout nhwc "${amp[@]}"
      pack
    done
    [ -n "$rehearse" ] || torch_step "torch_${model}_float32_nchw" 60 "${shape[@]}" --layout nchw
  done < <(steps)
  train
  pack
  if [ -n "$rehearse" ]; then
    table table_batch1 90 kernels-batch1.csv --batch 1 --model hrnet_w18 --size 32 --repeats 1 --precision f32 f16 --filter "64 * 64x3x3x64 stride 2"
  else
    table table_batch1 90 kernels-batch1.csv --batch 1
  fi
}
# On drawn radiographs, in 16 bits, each step a graph: it must learn, and no run may end.
train() {
  local size=256 patients=32 epochs=3 name more
  [ -z "$rehearse" ] || { size=32 patients=8 epochs=1; }
  part train_phantoms 60 "$bin/thorax" data phantoms --out "$work/phantoms" --patients $patients --max-images 1 --size $size --seed 1 || return 0
  for name in segmenter classifier; do
    more=(--model hrnet_w18)
    [ $name != segmenter ] || more=()
    # HRNet at full width takes a simulated device too long.
    [ -z "$rehearse" ] || [ $name != classifier ] || more=(--model resnet18)
    part train_$name 90 "$bin/thorax" train $name --data "manifest:$work/phantoms/manifest.csv" "${more[@]}" --device "$device" \
      --precision float16 --graph --size $size --epochs $epochs --batch 2 --out "$work/$name"
    [ ! -e "$work/$name/metrics.jsonl" ] || cp "$work/$name/metrics.jsonl" "$work/results/tables/training-$name.jsonl"
  done
}

# --- C: all kernels ----------------------------------------------------------------------------------------------
# Counters of one launch of a kernel: by ncu on the GPU, by the PTX machine from the PTX beside libthorax.so.
counters() {
  local number=0 name arguments table=$work/results/tables/counters.csv metrics
  metrics=smsp__inst_executed.sum,l1tex__t_requests_pipe_lsu_mem_global_op_ld.sum,l1tex__t_requests_pipe_lsu_mem_global_op_st.sum
  metrics+=,l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum,l1tex__t_sectors_pipe_lsu_mem_global_op_st.sum
  metrics+=,l1tex__data_pipe_lsu_wavefronts_mem_shared.sum,lts__t_bytes.sum,dram__bytes.sum,gpu__time_duration.sum
  echo "kernel,problem,by,counter,value" >"$table"
  while read -r name arguments; do
    number=$((number + 1))
    [ -z "$rehearse" ] || [ $number = 1 ] || [ $number = 10 ] || continue
    if [ -n "$rehearse" ]; then
      left_out "ncu_$number" "a rehearsal has no GPU to count on"
    elif command -v ncu >/dev/null; then
      # shellcheck disable=SC2086 -- words of a list of ours
      part "ncu_$number" 45 ncu --csv --page raw --target-processes all --kernel-name "regex:$name" --launch-count 1 --metrics $metrics \
        "$bin/thorax" bench kernels $arguments --device "$device" --repeats 1
      "$python" - "$work/results/logs/ncu_$number.log" "$name" "$arguments" >>"$table" <<'PY'
import csv, sys
lines = [line for line in open(sys.argv[1]) if line.startswith('"')]
rows = list(csv.reader(lines))
if len(rows) > 2:  # titles, units, one launch
    for title, unit, value in zip(rows[0], rows[1], rows[2]):
        if "__" in title:
            print(f'{sys.argv[2]},"{sys.argv[3]}",ncu,"{title} [{unit}]",{value.replace(",", "")}')
PY
    else
      left_out "ncu_$number" "ncu is not installed"
    fi
    # Times measured here and, below, predicted by the model, each in its own column.
    # shellcheck disable=SC2086
    if [ -z "$rehearse" ]; then
      part "time_$number" 30 "$bin/thorax" bench kernels $arguments --device "$device" --csv "$work/measured_$number.csv"
      append_table "$work/measured_$number.csv" calibration.csv
    fi
    if ! grep -q '^ptx:2 ' "$work/results/logs/devices.log"; then
      left_out "ptx_$number" "no PTX beside libthorax.so"
      continue
    fi
    # shellcheck disable=SC2086
    THORAX_PTX_COUNTERS=$work/ptx_$number.csv part "ptx_$number" 45 "$bin/thorax" bench kernels $arguments --device ptx:2 \
      --csv "$work/predicted_$number.csv"
    append_table "$work/predicted_$number.csv" calibration.csv
    [ ! -s "$work/ptx_$number.csv" ] || "$python" - "$work/ptx_$number.csv" "$name" "$arguments" >>"$table" <<'PY'
import csv, sys
counts = {}
for row in csv.DictReader(open(sys.argv[1])):
    if sys.argv[2] not in row["kernel"]:
        continue
    launches = int(row["launches"])
    def add(what, column):
        counts[what] = counts.get(what, 0) + int(row[column]) / launches
    add("executed", "executed")
    if row["class"] in ("ld.global", "st.global"):
        add(f"requests {row['class']}", "executed")
        add(f"sectors {row['class']}", "sectors")
    if row["class"] in ("ld.shared", "st.shared"):
        add("wavefronts shared", "wavefronts")
for what, value in counts.items():
    print(f'{sys.argv[2]},"{sys.argv[3]}",ptx,{what},{value:.0f}')
PY
    pack
  done < <(grep -v '^#' bench/counter_kernels.txt)
}
run_C() {
  local model size batch amp
  if [ -n "$rehearse" ]; then
    table table_hrnet_w18 60 kernels.csv --model hrnet_w18 --size 32 --batch 1 --repeats 1 --precision f32 --filter fuse_multires
  else
    for model in unet hrnet_w18 resnet152 densenet121; do
      table "table_$model" 60 kernels.csv --model $model --batch 8
      pack
    done
  fi
  counters
  while read -r model size batch; do
    for amp in "" f16; do
      torch_step "compiled_$model${amp:+_$amp}" 90 --model "$model" --size "$size" --batch "$batch" --layout nhwc --compile ${amp:+--amp $amp}
      pack
    done
  done < <(steps)
  sanitizer racecheck 90 racecheck "$bin/test_simulated" --no-intro
}

run_$command
exit 0
