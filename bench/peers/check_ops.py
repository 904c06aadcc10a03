#!/usr/bin/env python3
"""`thorax op` against PyTorch and scipy: random problems of every operation, forward and backward.

    check_ops.py --thorax build/apps/thorax [--ops conv2d batch_norm] [--provider reference] [--cases 200] [--seed 1]
    check_ops.py --all-providers [--device sim]    every provider that the program has for the device, one after the other
    check_ops.py --all-providers --device ptx:2 --cases 50 --precision f32 tf32 f16 bf16 [--csv FILE]

With a provider named, problems that it says it does not support are counted and others drawn in their place. Without one, all
problems of an operation travel in one file (README.md has the convention). --precision f16 and bf16: activations and their
gradients have that type, parameters are float32 (devices cuda, sim and ptx; bf16 from sm_80 on); tf32: the provider cuda/mma_tf32.
Oracle is PyTorch in float64 on the very values that the kernels get. The table shows how far the worst result is from it as a share
of what is allowed (op_bounds.py says how); exit code 1 when anything exceeds it.
"""
import argparse
import concurrent.futures
import csv
import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import op_bounds
from op_bounds import LEAST, UNIT, U
from op_problems import HALF, NO_GRAD, OPS, PARAMETERS

HALVES = dict(f16=torch.float16, bf16=torch.bfloat16)


def text(value):
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


@functools.lru_cache(maxsize=1024)
def problem(op, seed, which, precision):
    op_bounds.set_precision(precision)
    return OPS[op](np.random.default_rng([seed, zlib.crc32(op.encode()), which]), which)


def tensor(name, value, precision):
    """Exact: the values are those that the precision has."""
    there = torch.from_numpy(np.ascontiguousarray(value))
    return there.to(HALVES[precision]) if precision in HALVES and name not in PARAMETERS else there


def write_problems(path, op, numbers, seed, precision):
    tensors, metadata, expected = {}, {}, []
    for k, number in enumerate(numbers):
        inputs, options, wanted = problem(op, seed, number, precision)
        tensors.update((f"case{k}/{name}", tensor(name, value, precision)) for name, value in inputs.items())
        metadata.update((f"case{k}/{name}", text(value)) for name, value in options.items())
        expected.append((inputs, options, wanted))
    save_file(tensors, path, metadata)
    return expected


def compare(results, expected):
    """(tensors compared, worst share of the tolerance, messages)"""
    worst, count, messages = 0.0, 0, []
    got = {}
    for key, value in results.items():
        case, _, name = key.partition("/")
        got.setdefault(case, {})[name] = value
    for k, (inputs, options, wanted) in enumerate(expected):
        mine = got.pop(f"case{k}", {})
        shapes = ", ".join(f"{n} {'x'.join(map(str, v.shape))}" for n, v in inputs.items())
        about = f"case{k} ({shapes}; {', '.join(f'{a}={text(b)}' for a, b in options.items())})"
        for name, (value, tolerance) in wanted.items():
            if name not in mine:
                messages.append(f"{about}: no `{name}` in the output")
                continue
            result = mine.pop(name)
            kind = {torch.float16: "f16", torch.bfloat16: "bf16"}.get(result.dtype, "f32")
            result = (result.float() if result.dtype in HALVES.values() else result).numpy()
            if result.shape != value.shape:
                messages.append(f"{about}: {name} has shape {result.shape}, expected {value.shape}")
                continue
            count += 1
            if not value.size:
                continue
            # Half a unit in the last place of the type that the result is stored in belongs to any tolerance above 0.
            tolerance = np.asarray(tolerance, np.float64)
            stored = UNIT.get(kind, U) * np.abs(value) + LEAST.get(kind, 0.0)
            allowed = np.broadcast_to(np.where(tolerance > 0, tolerance + stored, 0.0), value.shape)
            difference = np.abs(result.astype(np.float64) - value.astype(np.float64))
            exact = allowed == 0
            if exact.all() and value.dtype == np.float64:  # exact in float32 arithmetic: compare as float32
                difference = np.abs(result.astype(np.float64) - value.astype(np.float32))
            with np.errstate(invalid="ignore", divide="ignore"):
                share = np.where(difference == 0, 0.0, np.where(exact, np.inf, difference / np.where(exact, 1.0, allowed)))
            share = np.where(np.isnan(difference), np.inf, share)
            at = np.unravel_index(int(np.argmax(share)), share.shape)
            worst = max(worst, float(share[at]))
            if share[at] > 1:
                messages.append(f"{about}: {name}[{','.join(map(str, at))}] is {result[at]!r}, expected {value[at]!r} +- {allowed[at]:.1e}")
        if mine:
            messages.append(f"{about}: unexpected {sorted(mine)}")
    if got:
        messages.append(f"unexpected cases {sorted(got)}")
    return count, worst, messages


def compare_dropout(results, expected):
    """Kept elements are x / (1 - p), the others 0; both directions use one mask; the share kept is binomial; the same (seed, stream)
    gives the same mask and another one an independent mask."""
    messages, worst, masks = [], 0.0, []
    for k, (inputs, options, _) in enumerate(expected):
        y, dx = results[f"case{k}/output"], results[f"case{k}/grad.input"]
        unit = UNIT["bf16" if y.dtype == torch.bfloat16 else "f16" if y.dtype == torch.float16 else "f32"] / U
        y, dx = y.float().numpy(), dx.float().numpy()
        x, dy, p = inputs["input"], inputs["grad_output"], options["p"]
        keep = y != 0
        masks.append(keep)
        if not options["training"]:
            if not (np.array_equal(y, x) and np.array_equal(dx, dy)):
                messages.append(f"case{k}: not training, yet something changed")
            continue
        if not np.array_equal(keep, dx != 0):
            messages.append(f"case{k}: forward and backward drop different elements")
        for value, source in ((y, x), (dx, dy)):
            error = np.abs(value - np.where(keep, source.astype(np.float64) / max(1 - p, 1e-30), 0))
            share = float(np.max(error / ((3 + unit) * U * source / max(1 - p, 1e-30))))
            worst = max(worst, share)
            if share > 1:
                messages.append(f"case{k}: a kept element is not x / (1 - p)")
        deviation = np.sqrt(x.size * p * (1 - p))
        if abs(keep.sum() - x.size * (1 - p)) > 5 * deviation:
            messages.append(f"case{k}: kept {keep.sum()} of {x.size} with p = {p}: more than 5 standard deviations off")
    for k in range(0, len(expected) - 1, 2):
        (_, a, _), (_, b, _) = expected[k], expected[k + 1]
        if not (a["training"] and b["training"]) or a["p"] in (0.0, 1.0) or b["p"] in (0.0, 1.0):
            continue
        n = min(masks[k].size, masks[k + 1].size)
        one, two = masks[k][:n], masks[k + 1][:n]
        same = (a["seed"], a["stream"]) == (b["seed"], b["stream"])
        if same:
            # Element i is kept when its random word reaches p: the mask of the larger p is part of the other.
            small, large = (one, two) if a["p"] >= b["p"] else (two, one)
            if (small & ~large).any() or (a["p"] == b["p"] and not np.array_equal(one, two)):
                messages.append(f"case{k}, case{k + 1}: the same seed and stream, another mask")
        else:
            both = (1 - a["p"]) * (1 - b["p"])
            if abs((one & two).sum() - n * both) > 5 * np.sqrt(n * both * (1 - both)):
                messages.append(f"case{k}, case{k + 1}: another seed or stream, yet the masks are not independent")
    return 2 * len(expected), worst, messages


# Whose providers `thorax op` chooses from, where the names differ.
FAMILY = dict(max_pool2d="pool", avg_pool2d="pool", global_avg_pool="pool", upsample_nearest="upsample", upsample_bilinear="upsample",
              **dict.fromkeys(["relu", "sigmoid", "exp", "log", "sqrt", "abs", "affine", "pow"], "activation"),
              **dict.fromkeys(["add", "sub", "mul", "div"], "binary"), sum="reduce", mean="reduce", log_softmax="softmax", matmul="conv2d",
              sgd_step="sgd", adamw_step="adamw", dilate="morphology", erode="morphology", close="morphology", connected_components="morphology",
              fill_holes="morphology", keep_largest="morphology")
TF32 = "cuda/mma_tf32"  # rounds factors, so it has to be asked for by name
NOT_SUPPORTED = "was asked for but does not support"
DRAWS = 5  # problems drawn at most for each one wanted, where a provider does not support all
NONE = 40
BATCH = 20


def op_command(thorax, op, provider, device, inputs, output):
    command = [thorax, "op", op, "--inputs", inputs, "--output", output, "--device", device]
    command += ["--provider", provider] if provider else []
    return command + ([] if op in NO_GRAD else ["--grad"])


def run_cases(thorax, op, provider, device, numbers, seed, precision):
    """(results, expected, message): the problems of these numbers in one file, as case0, case1, ..."""
    with tempfile.TemporaryDirectory(prefix="thorax-ops-") as folder:
        inputs, output = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
        expected = write_problems(inputs, op, numbers, seed, precision)
        done = subprocess.run(op_command(thorax, op, provider, device, inputs, output), capture_output=True, text=True)
        if done.returncode:
            return {}, expected, f"`thorax op {op}` ended with {done.returncode}: {done.stderr.strip()}"
        return load_file(output), expected, ""


def run_supported(thorax, op, provider, device, cases, seed, precision):
    """(results, expected, problems left out, message): all problems in one file; where the provider does not support one of them, each
    in a file of its own, until it has had `cases` that it supports, DRAWS times as many were drawn, or NONE in a row were not."""
    results, expected, error = run_cases(thorax, op, provider, device, range(cases), seed, precision)
    if not error or NOT_SUPPORTED not in error:
        return results, expected, 0, error
    results, expected, left_out = {}, [], 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for begin in range(0, DRAWS * cases, BATCH):
            if left_out >= NONE and not expected:
                break
            work = pool.map(lambda k: run_cases(thorax, op, provider, device, [k], seed, precision), range(begin, begin + BATCH))
            for number, (mine, wanted, error) in enumerate(list(work), begin):
                if len(expected) == cases:
                    return results, expected, left_out, ""
                if error and NOT_SUPPORTED in error:
                    left_out += 1
                elif error:
                    return {}, wanted, left_out, f"problem {number}: {error}"
                else:
                    results.update((f"case{len(expected)}/{key.partition('/')[2]}", value) for key, value in mine.items())
                    expected += wanted
    return results, expected, left_out, ""


def providers_of(thorax, op, device, precision):
    if precision in HALVES and op not in HALF:
        return []
    info = json.loads(subprocess.run([thorax, "info", "--json"], capture_output=True, text=True, check=True).stdout)
    kind = device.partition(":")[0]
    names = info["operations"].get(FAMILY.get(op, op), {}).get("sim" if kind == "ptx" else kind, [])
    if precision == "tf32":
        return [name for name in names if name == TF32]
    return [name for name in names if name != TF32] or [None]


def run_all(args):
    """A row for each operation, provider and precision: dict(operation=, ..., worst_of_allowed=, messages=)"""
    for device, precision in itertools.product(args.device, args.precision):
        if precision == "bf16" and device in ("sim:0", "ptx:0", "ptx:1"):  # ptx:1 runs the PTX of sm_75 where there is none of sm_80
            print(f"{device} has no bfloat16, left out")
            continue
        for op in args.ops:
            providers = providers_of(args.thorax, op, device, precision)
            if not args.all_providers and precision != "tf32":
                providers = [args.provider] if providers else []
            for provider in providers:
                left_out = 0
                if provider:
                    results, expected, left_out, error = run_supported(args.thorax, op, provider, device, args.cases, args.seed, precision)
                else:
                    results, expected, error = run_cases(args.thorax, op, provider, device, range(args.cases), args.seed, precision)
                if not error and not expected:
                    if args.all_providers and left_out:  # a provider of other types
                        continue
                    error = "not one problem was supported"
                if error:
                    count, worst, messages = 0, float("inf"), [error]
                else:
                    count, worst, messages = (compare_dropout if op == "dropout" else compare)(results, expected)
                yield dict(operation=op, provider=provider or "default", precision=precision, device=device, problems=len(expected),
                           tensors=count, worst_of_allowed=worst, not_supported=left_out, messages=messages)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--thorax", default="build/apps/thorax")
    p.add_argument("--ops", nargs="+", choices=list(OPS), default=list(OPS), metavar="OP")
    p.add_argument("--provider", help="passed on; default: thorax's own choice")
    p.add_argument("--all-providers", action="store_true", help="each provider of the device by name")
    p.add_argument("--device", nargs="+", default=["cpu"], help="passed on, one after the other")
    p.add_argument("--cases", type=int, default=200)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--precision", nargs="+", choices=list(UNIT), default=["f32"])
    p.add_argument("--csv", help="write the table there, too")
    p.add_argument("--verbose", type=int, default=3, help="messages shown per operation")
    args = p.parse_args()
    torch.set_num_threads(1)
    rows = []
    print(f"{'operation':22} {'provider':15} {'type':4} {'cases':>5} {'tensors':>7} {'worst / allowed':>15}")
    for row in run_all(args):
        messages = row.pop("messages")
        rows.append(dict(row, worst_of_allowed=f"{row['worst_of_allowed']:.3f}", outcome="FAILED" if messages else "agrees", torch=torch.__version__))
        if args.csv:  # as soon as it is known
            with open(args.csv, "w", newline="") as f:
                table = csv.DictWriter(f, list(rows[0]), lineterminator="\n")
                table.writeheader()
                table.writerows(rows)
        print(f"{row['operation']:22} {row['provider']:15} {row['precision']:4} {row['problems']:5} {row['tensors']:7} "
              f"{row['worst_of_allowed']:15.3f} {'FAILED' if messages else ''}"
              f"{str(row['not_supported']) + ' not supported' if row['not_supported'] else ''}", flush=True)
        for message in messages[:args.verbose]:
            print("   ", message)
        if len(messages) > args.verbose:
            print(f"    ... and {len(messages) - args.verbose} more")
    failed = sum(row["outcome"] == "FAILED" for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} {'providers' if args.all_providers else 'operations'} agree")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
