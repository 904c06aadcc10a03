#!/usr/bin/env python3
"""Time one training step or one inference in PyTorch, and dump what it computed.

    torch_step.py --model unet --mode train --size 512 --batch 1 --layout best --json
    torch_step.py --model unet --batch 8 --device cuda --layout nhwc --amp f16 --compile --warmup 5 --json
    torch_step.py --model hrnet_w18 --mode infer --size 224 --batch 8 --weights w.safetensors --dump out.safetensors

A training step is forward, loss, backward and SGD with momentum 0.9; UNet: Dice with logits (squared denominator),
classifiers: two classes, cross entropy. Inference is eval mode under no_grad. Weights and inputs come from hashfill.py unless
files are given, so another program can do the same work without any file. The dump is taken before timing starts:
`logits`, and in train mode `loss` and `grad.<name>`, in PyTorch's order.

peak_rss_mb is this process's VmHWM: --layout best runs each layout in a process of its own. `import_rss_mb` is what
was already resident before the model was built.
"""
import argparse
import json
import os
import subprocess
import sys
import time


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="a name of torch_models.py")
    p.add_argument("--mode", choices=["train", "infer"], default="train")
    p.add_argument("--size", type=int, help="default 512 for unet, else 224")
    p.add_argument("--batch", type=int, help="default 1 for unet, else 8")
    p.add_argument("--layout", choices=["nchw", "nhwc", "best"], default="best")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    p.add_argument("--amp", choices=["f16", "bf16"], help="autocast, for f16 with loss scaling; TF32 stays off in any case")
    p.add_argument("--compile", action="store_true", help="torch.compile the model")
    p.add_argument("--weights", help="safetensors state dict (default: hashfill)")
    p.add_argument("--inputs", help="safetensors with `input` and `target` (default: hashfill)")
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--warmup", type=int, default=1)
    p.add_argument("--dump", help="write logits, loss and gradients here")
    p.add_argument("--profile", action="store_true", help="print self CPU time by operation to stderr")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    a.size = a.size or (512 if a.model == "unet" else 224)
    a.batch = a.batch or (1 if a.model == "unet" else 8)
    return a


def rss_mb():
    # Not ru_maxrss: it survives exec, so a process would report its parent's peak.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def best(args):
    rows = []
    argv = [v for v in sys.argv[1:] if v != "--json"]
    for layout in ("nchw", "nhwc"):
        out = subprocess.run([sys.executable, __file__, *argv, "--layout", layout, "--json"], check=True, stdout=subprocess.PIPE)
        rows.append(json.loads(out.stdout))
    row = min(rows, key=lambda r: r["min_s"])
    row["layouts"] = {r["layout"]: {k: r[k] for k in ("min_s", "median_s", "peak_rss_mb")} for r in rows}
    return row


def profile(step, count):
    from torch.profiler import ProfilerActivity, profile as record
    with record(activities=[ProfilerActivity.CPU]) as prof:
        for _ in range(count):
            step()
    rows = sorted(prof.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in rows)
    conv = sum(e.self_cpu_time_total for e in rows if "convolution" in e.key)
    print(f"  convolution {conv / count / 1e6:.3f} s = {100 * conv / total:.1f} % of {total / count / 1e6:.3f} s", file=sys.stderr)
    for e in rows[:14]:
        print(f"    {e.self_cpu_time_total / count / 1e6:8.4f} s {100 * e.self_cpu_time_total / total:5.1f} %  {e.count // count:5d} x  {e.key}",
              file=sys.stderr)


def measure(args):
    import torch
    import hashfill
    import torch_models
    from tensor_files import load_file, save_file

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    unet = args.model == "unet"
    model = torch_models.build(args.model, None if unet else 2)
    imported = rss_mb()
    if args.weights:
        model.load_state_dict(load_file(args.weights), strict=True)
    else:
        torch_models.fill(model)
    shape = (args.batch, 1 if unet else 3, args.size, args.size)
    if args.inputs:
        given = load_file(args.inputs)
        x, target = given["input"], given["target"]
        if tuple(x.shape) != shape:
            raise SystemExit(f"{args.inputs}: input {tuple(x.shape)}, wanted {shape}")
    else:
        x = torch.from_numpy(hashfill.uniform("input", shape))
        target = torch.from_numpy(hashfill.mask(shape) if unet else hashfill.classes(args.batch, 2))
    if args.layout == "nhwc":
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        if unet:
            target = target.to(memory_format=torch.channels_last)
    on_gpu = args.device == "cuda"
    if on_gpu:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True  # its best algorithm, found in the warm-up
        model, x, target = model.cuda(), x.cuda(), target.cuda()
    half = {"f16": torch.float16, "bf16": torch.bfloat16}.get(args.amp)
    scaler = torch.amp.GradScaler(args.device, enabled=args.amp == "f16")
    forward = torch.compile(model) if args.compile else model
    criterion = torch_models.dice_loss if unet else torch.nn.functional.cross_entropy
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def gradients():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(args.device, dtype=half, enabled=half is not None):
            logits = forward(x)
        loss = criterion(logits.float(), target)
        scaler.scale(loss).backward()
        return logits, loss

    def train_step():
        gradients()
        scaler.step(optimizer)
        scaler.update()

    def infer_step():
        with torch.no_grad(), torch.autocast(args.device, dtype=half, enabled=half is not None):
            return forward(x)

    model.train(args.mode == "train")
    step = train_step if args.mode == "train" else infer_step
    if args.dump:
        dump = {}
        if args.mode == "train":
            logits, loss = gradients()
            dump["loss"] = loss.detach().reshape(1)
            dump.update((f"grad.{n}", p.grad.detach().contiguous().clone()) for n, p in model.named_parameters())
            logits = logits.detach()
        else:
            logits = infer_step()
        dump["logits"] = logits.contiguous()
        save_file(dump, args.dump)
        del dump, logits
    times = []
    for i in range(args.warmup + args.repeat):
        if on_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        if on_gpu:
            torch.cuda.synchronize()
        if i >= args.warmup:
            times.append(time.perf_counter() - start)
    peak = rss_mb()
    if args.profile:
        print(f"{args.model} {args.mode} {args.layout}", file=sys.stderr)
        profile(step, 2)
    times.sort()
    return {
        "program": f"torch {torch.__version__}", "model": args.model, "mode": args.mode, "size": args.size, "batch": args.batch,
        "layout": args.layout, "threads": args.threads, "repeat": args.repeat, "min_s": times[0], "median_s": times[len(times) // 2],
        "peak_rss_mb": peak, "import_rss_mb": imported, "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "amp": args.amp, "compile": args.compile, "peak_gpu_mb": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None,
    }


def main():
    args = arguments()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    row = best(args) if args.layout == "best" else measure(args)
    if args.json:
        print(json.dumps(row))
    else:
        print("{model} {mode} {size}² batch {batch} {layout} {threads} threads: min {min_s:.3f} s, median {median_s:.3f} s, "
              "peak {peak_rss_mb:.0f} MB ({import_rss_mb:.0f} MB before the model ran), {program}".format(**row))


if __name__ == "__main__":
    main()
