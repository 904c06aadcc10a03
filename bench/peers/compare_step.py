#!/usr/bin/env python3
"""thorax against PyTorch: the same weights and inputs, agreement first, then time and memory.

    compare_step.py --bench build/bench/bench_step [--rounds 3] [--only unet/infer ...] [--csv out.csv]

Work: UNet 512² batch 1 (Dice); HRNet-W18, and, when named by --only, ResNet152 and DenseNet121, 224² batch 8 (two classes,
cross entropy); a training step (SGD, momentum 0.9) and an inference, float32. PyTorch runs as NCHW and as channels last; the
faster one counts. The programs take turns, each round in processes of their own, and the minimum counts, so that noise on the
machine hits both alike. --device says where thorax computes; PyTorch is on the GPU with it for cuda, else on the CPU.
--rounds 0: agreement alone.

Agreement: logits, and for training the loss and every gradient, against PyTorch NCHW, as L2 norms of differences. What float32
costs is measured as the difference `err` between PyTorch's own two layouts. With N a tensor's norm, S the largest norm of its
kind and g the norm of all of the kind's `err` over the norm of all its tensors, a tensor may differ by

    16 (err + g N) + 2^-12 S    and all of the kind together by    16 g + 2^-20 of their norm.

16, because 3x3 Winograd F(4x4, 3x3) rounds about ten times coarser than a plain sum (Barabasz et al., "Error analysis and
improving the accuracy of Winograd convolution for deep neural networks", ACM TOMS 2020); 2^-12 S, because a ReLU at its kink falls
differently in each program, which shows in tensors whose gradient nearly cancels. Exit code 1 when anything disagrees.
"""
import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

import hashfill
import torch_models
from tensor_files import load_arrays, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = {"unet": (1, 1, 512, 512), "hrnet_w18": (8, 3, 224, 224), "resnet152": (8, 3, 224, 224), "densenet121": (8, 3, 224, 224)}
MODES = ("train", "infer")
DEFAULT = [f"{m}/{d}" for m in ("unet", "hrnet_w18") for d in MODES]


def write_work(folder, model_name, shape):
    """Weights and one batch. Batch norm's running statistics are those of the batch, so that inference has sane values."""
    unet = model_name == "unet"
    model = torch_models.fill(torch_models.build(model_name, None if unet else 2)).train()
    x = hashfill.uniform("input", shape)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    if norms:
        momenta = [m.momentum for m in norms]
        for m in norms:
            m.momentum = 1.0
        with torch.no_grad():
            model(torch.from_numpy(x))
        for m, momentum in zip(norms, momenta):
            m.momentum = momentum
            m.num_batches_tracked.zero_()
    weights, inputs = os.path.join(folder, f"{model_name}.safetensors"), os.path.join(folder, f"{model_name}.batch.safetensors")
    save_file({k: v.numpy() for k, v in model.state_dict().items()}, weights)
    save_file({"input": x, "target": hashfill.mask(shape) if unet else hashfill.classes(shape[0], 2)}, inputs)
    return ["--weights", weights, "--inputs", inputs]


def run(command, environment):
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"compare_step: `{' '.join(command)}` ended with {done.returncode}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def kind_of(key):
    return key.split(".", 1)[0]


def norm(value):
    return float(np.linalg.norm(value.astype(np.float64).ravel()))


def agreement(thorax, nchw, nhwc):
    """[(kind, tensors, difference of all / norm, PyTorch's own, worst share of what is allowed, its tensor)]"""
    if thorax.keys() != nchw.keys():
        raise SystemExit(f"compare_step: tensors differ: {sorted(thorax.keys() ^ nchw.keys())[:10]}")
    rows = []
    for kind in sorted({kind_of(k) for k in nchw}):
        keys = [k for k in nchw if kind_of(k) == kind]
        for k in keys:
            if thorax[k].shape != nchw[k].shape:
                raise SystemExit(f"compare_step: {k}: thorax {thorax[k].shape}, PyTorch {nchw[k].shape}")
        size = {k: norm(nchw[k]) for k in keys}
        err = {k: norm(nchw[k] - nhwc[k]) for k in keys}
        difference = {k: norm(thorax[k].astype(np.float64) - nchw[k]) for k in keys}
        whole = lambda values: float(np.linalg.norm(list(values.values())))  # noqa: E731
        own, together = whole(err) / whole(size), whole(difference) / whole(size)
        share = {k: difference[k] / (16 * (err[k] + own * size[k]) + 2.0**-12 * max(size.values())) for k in keys}
        share["all together"] = together / (16 * own + 2.0**-20)
        share = {k: v if v <= float("inf") else float("inf") for k, v in share.items()}  # NaN
        worst = max(share, key=share.get)
        rows.append((kind, len(keys), together, own, share[worst], worst))
    return rows


AGREEMENT = ["model", "mode", "device", "size", "batch", "kind", "tensors", "difference", "pytorch_own", "worst_of_allowed", "worst_tensor", "agrees"]


def write_csv(path, titles, rows):
    with open(path, "w", newline="") as f:
        table = csv.writer(f, lineterminator="\n")
        table.writerow(titles)
        table.writerows(rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bench", default="build/bench/bench_step", help="thorax's step benchmark")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--repeat", type=int, default=4, help="steps a round")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--device", default="cpu", help="thorax's: cpu, cuda, sim, ptx:N (default %(default)s)")
    p.add_argument("--agreement", help="write what the agreement is here, as CSV")
    p.add_argument("--only", nargs="+", default=DEFAULT, metavar="MODEL/MODE", choices=[f"{m}/{d}" for m in WORK for d in MODES],
                   help=f"of %(choices)s (default {' '.join(DEFAULT)})")
    p.add_argument("--csv", help="write the table here, too")
    p.add_argument("--smoke", action="store_true", help="small images: is everything wired up and in agreement? times mean nothing")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    here = ["--device", args.device]
    there = ["--device", "cuda" if args.device.startswith("cuda") else "cpu"]
    rows, agrees, agreements = [], True, []
    with tempfile.TemporaryDirectory(prefix="thorax-compare-") as folder:
        for model, shape in WORK.items():
            if args.smoke:
                shape = (*shape[:2], 64, 64)
            modes = [m for m in MODES if f"{model}/{m}" in args.only]
            files = write_work(folder, model, shape) if modes else []
            for mode in modes:
                common = ["--model", model, "--mode", mode, "--size", str(shape[2]), "--batch", str(shape[0]), "--threads", str(args.threads),
                          *files, "--json"]
                programs = {"thorax": [args.bench, *common, *here],
                            "nchw": [sys.executable, os.path.join(HERE, "torch_step.py"), *common, *there, "--layout", "nchw"],
                            "nhwc": [sys.executable, os.path.join(HERE, "torch_step.py"), *common, *there, "--layout", "nhwc"]}
                dumps, best = {}, {}
                for name, command in programs.items():
                    path = os.path.join(folder, f"{name}.dump.safetensors")
                    run([*command, "--repeat", "1", "--warmup", "0", "--dump", path], environment)
                    dumps[name] = load_arrays(path)
                    os.remove(path)
                print(f"{model} {mode} {shape[0]} x {shape[2]}²", flush=True)
                for kind, count, together, own, used, key in agreement(dumps["thorax"], dumps["nchw"], dumps["nhwc"]):
                    agrees &= used <= 1
                    agreements.append([model, mode, args.device, shape[2], shape[0], kind, count, f"{together:.3e}", f"{own:.3e}", f"{used:.3f}", key,
                                       "yes" if used <= 1 else "NO"])
                    if args.agreement:  # as soon as it is known
                        write_csv(args.agreement, AGREEMENT, agreements)
                    print(f"  {kind:7} {count:4} tensors {'agree' if used <= 1 else 'DISAGREE'}: {together:.1e} apart (PyTorch's layouts: {own:.1e}); "
                          f"nearest the limit: {key}, {100 * used:.0f} % of what is allowed", flush=True)
                del dumps
                if args.rounds == 0:
                    continue
                for _ in range(args.rounds):
                    for name, command in programs.items():
                        row = run([*command, "--repeat", str(args.repeat)], environment)
                        if name not in best or row["min_s"] < best[name]["min_s"]:
                            best[name] = row
                layout = min(("nchw", "nhwc"), key=lambda n: best[n]["min_s"])
                ours, theirs = best["thorax"], best[layout]
                rows.append(dict(model=model, mode=mode, shape=shape, thorax=ours, torch_nchw=best["nchw"], torch_nhwc=best["nhwc"], best_layout=layout,
                                 ratio=theirs["min_s"] / ours["min_s"]))
                print(f"  thorax {ours['min_s']:.3f} s, PyTorch {best['nchw']['min_s']:.3f} s NCHW, {best['nhwc']['min_s']:.3f} s channels last: "
                      f"thorax is {rows[-1]['ratio']:.2f}x as fast", flush=True)
    if args.rounds == 0:
        return 0 if agrees else 1
    print(f"\n{'':22} {'thorax':>9} {'PyTorch':>9} {'':5} {'ratio':>6}   {'peak MB':>8} {'PyTorch':>8} {'(at import)':>11}")
    for r in rows:
        ours, theirs = r["thorax"], r["torch_" + r["best_layout"]]
        print(f"{r['model'] + ' ' + r['mode']:22} {ours['min_s']:7.3f} s {theirs['min_s']:7.3f} s {r['best_layout']:5} {r['ratio']:5.2f}x   "
              f"{ours['peak_rss_mb']:8.0f} {theirs['peak_rss_mb']:8.0f} {theirs['import_rss_mb']:11.0f}")
    if not agrees:
        print("\nThe programs do not compute the same: the times above mean nothing.")
    elif args.csv:
        table = []
        for r in rows:
            ours, theirs = r["thorax"], r["torch_" + r["best_layout"]]
            table.append([r["model"], r["mode"], r["shape"][2], r["shape"][0],
                          *(f"{r[n]['min_s']:.3f}" for n in ("thorax", "torch_nchw", "torch_nhwc")), f"{r['ratio']:.2f}",
                          *(f"{mb:.0f}" for mb in (ours["peak_rss_mb"], theirs["peak_rss_mb"], theirs["import_rss_mb"])),
                          torch.__version__])
        write_csv(args.csv, ["model", "mode", "size", "batch", "thorax_s", "pytorch_nchw_s", "pytorch_nhwc_s", "ratio_to_pytorch_best",
                             "thorax_peak_mb", "pytorch_best_peak_mb", "pytorch_import_mb", "torch_version"], table)
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
