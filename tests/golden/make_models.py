#!/usr/bin/env python3
"""Golden files of whole models, made once by PyTorch and timm: make_models.py [NAME...] (all by default; `states` is
state_dicts.json).

Everything stored is the float64 run, rounded to float32 where the file is safetensors. Beside each tensor stands
`err`: the largest absolute difference from it over four float32 runs of PyTorch (blocked convolutions, channels last,
plain convolutions, and weights moved by up to one unit in the last place), and `tol`, derived from it by tolerances().
See README.md for the layout.
"""
import json
import math
import os
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../bench/peers"))
import hashfill  # noqa: E402
import torch_models  # noqa: E402

SGD = dict(lr=0.01, momentum=0.8, weight_decay=1e-4)
STEPS = 3
SAMPLES = 4

FULL = {
    "unet_w4_d4": dict(make=lambda: torch_models.UNet(width=4, depth=4), loss="dice", input=(2, 1, 32, 32),
                       about="UNet width 4, depth 4, 1 input channel, 1 output channel"),
    "unet_w8_d2": dict(make=lambda: torch_models.UNet(width=8, depth=2, in_channels=3), loss="dice", input=(3, 3, 20, 28),
                       about="UNet width 8, depth 2, 3 input channels, 1 output channel, not square"),
    "hrnet_tiny": dict(make=lambda: torch_models.tiny_hrnet(3), loss="cross_entropy", classes=3, input=(3, 3, 64, 96), input_name="input.1",
                       about="HRNet: stem 8 then 64; stage 1: 1 bottleneck of 4; stages 2, 3, 4: 1, 1, 2 modules of 1 basic block "
                             "a branch, channels 4, 8, 16, 32; head planes 4, 8, 16, 32 (times 4), 64 features, 3 classes"),
    # Where a max pooling and another batch norm follow, a first batch norm that leaves nothing to its ReLU has no gradient but
    # rounding: their biases are moved to around -0.5.
    "resnet_basic": dict(make=lambda: torch_models.tiny_resnet(bottleneck=False), lower="bn1.bias", loss="cross_entropy", classes=3,
                         input=(3, 1, 64, 51),
                         about="ResNet: stem 64, basic blocks 2 1 1 1 of 3, 6, 12, 24 planes, 1 input channel, 3 classes, not square"),
    "resnet_bottleneck": dict(make=lambda: torch_models.tiny_resnet(bottleneck=True), lower="bn1.bias", loss="cross_entropy", classes=3,
                              input=(3, 1, 64, 64),
                              about="ResNet: stem 64, bottlenecks 1 2 1 1 of 2, 4, 8, 16 planes (times 4), 1 input channel, 3 classes"),
    "densenet_tiny": dict(make=torch_models.tiny_densenet, lower="features.norm0.bias", loss="cross_entropy", classes=3,
                          input=(3, 3, 64, 58),
                          about="DenseNet: growth 4, blocks of 1 3 2 1 layers, 3 input channels, 3 classes, not square"),
}
SAMPLED = {name: dict(make=lambda name=name: torch_models.build(name), loss="cross_entropy", classes=1000, input=(4, 3, 64, 64))
           for name in torch_models.HRNETS}
SAMPLED["unet"] = dict(make=torch_models.UNet, loss="dice", input=(2, 1, 64, 64))


def filled(spec):
    model = torch_models.fill(spec["make"]())
    if "lower" in spec:
        with torch.no_grad():
            model.state_dict()[spec["lower"]].sub_(1.5)
    return model


def one_run(spec, dtype=torch.float64, channels_last=False, mkldnn=True, jitter=False):
    """Forward, backward and three SGD steps in train mode; everything as float64 arrays."""
    model = filled(spec).train()
    if jitter:
        with torch.no_grad():
            for name, p in model.named_parameters():
                ulps = hashfill.bits("jitter." + name, p.numel()) % np.uint64(3)
                up, down = torch.nextafter(p, torch.tensor(math.inf)), torch.nextafter(p, torch.tensor(-math.inf))
                pick = torch.from_numpy(ulps.astype(np.int64)).reshape(p.shape)
                p.copy_(torch.where(pick == 0, down, torch.where(pick == 1, p, up)))
    model = model.to(dtype)
    x = torch.from_numpy(hashfill.uniform(spec.get("input_name", "input"), spec["input"])).to(dtype)
    if spec["loss"] == "dice":
        target, criterion = torch.from_numpy(target_of(spec)).to(dtype), torch_models.dice_loss
    else:
        target, criterion = torch.from_numpy(target_of(spec)), torch.nn.functional.cross_entropy
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    out, losses = {}, []
    array = lambda t: t.detach().contiguous().numpy().astype(np.float64 if t.is_floating_point() else np.int64).copy()
    with torch.backends.mkldnn.flags(enabled=mkldnn):
        for step in range(STEPS + 1):
            optimizer.zero_grad()
            logits = model(x)
            loss = criterion(logits, target)
            losses.append(loss.item())
            if step == 0:
                out["logits"] = array(logits)
            if step < STEPS:
                loss.backward()
                if step == 0:
                    out.update((f"grad.{n}", array(p.grad)) for n, p in model.named_parameters())
                optimizer.step()
                if step == STEPS - 1:
                    out.update((f"after3.{n}", array(t)) for n, t in model.state_dict().items())
    out["losses"] = np.array(losses)
    return out


def target_of(spec):
    n, _, h, w = spec["input"]
    return hashfill.mask((n, 1, h, w)) if spec["loss"] == "dice" else hashfill.classes(n, spec["classes"])


def norm(value):
    return float(np.sqrt((value.astype(np.float64) ** 2).sum()))


def runs(spec):
    exact = one_run(spec)
    err = {}
    norms = {}
    for variant in (dict(), dict(channels_last=True), dict(mkldnn=False), dict(jitter=True)):
        single = one_run(spec, torch.float32, **variant)
        for key, value in exact.items():
            difference = np.abs(single[key] - value)
            err[key] = max(err.get(key, 0.0), float(difference.max()))
            norms[key] = max(norms.get(key, 0.0), abs(norm(single[key]) - norm(value)))
    floats = [k for k in exact if exact[k].dtype != np.int64]
    tol = tolerances({k: float(np.abs(exact[k]).max()) for k in floats}, err)
    norm_tol = tolerances({k: norm(exact[k]) for k in floats}, norms)
    return exact, err, tol, norm_tol


def kind_of(key):
    return key.split(".", 1)[0]


def tolerances(size, err):
    """key -> tolerance, from the size of each tensor (its largest value, or its norm) and the error float32 made in it.

    4 err + 4 share size + 2^-20 S: `share` is the worst err/size of the kind (grad, after3, ...), because a ReLU or a max-pool
    window near its tie falls differently in each float32 program, and in another tensor; S is the largest size of the kind,
    because a tensor whose true value is 0 (the bias before a batch norm) holds only the rounding of its large terms.
    """
    tol = {}
    for kind in {kind_of(k) for k in size}:
        keys = [k for k in size if kind_of(k) == kind]
        largest = max(size[k] for k in keys)
        share = max(err[k] / size[k] for k in keys if size[k] > 2.0**-20 * largest)
        tol.update((k, 4 * err[k] + 4 * share * size[k] + 2.0**-20 * largest) for k in keys)
    return tol


def make_full(name, spec):
    exact, err, tol, norm_tol = runs(spec)
    state = filled(spec).state_dict()
    tensors = {f"param.{n}": t.numpy() for n, t in state.items()}
    tensors["input"], tensors["target"] = hashfill.uniform(spec.get("input_name", "input"), spec["input"]), target_of(spec)
    for key, value in exact.items():
        tensors[key] = value if value.dtype == np.int64 else value.astype(np.float32)
        tensors["err." + key] = np.array([err[key]], np.float32)
        tensors["tol." + key] = np.array([tol.get(key, 0.0)], np.float32)
    tensors["loss"] = tensors["losses"][:1]
    meta = dict(about=spec["about"], loss=spec["loss"], mode="train", optimizer="sgd", torch=torch.__version__,
                **{k: str(v) for k, v in SGD.items()})
    path = os.path.join(HERE, name + ".safetensors")
    save_file({k: np.asarray(v, order="C") for k, v in tensors.items()}, path, meta)
    os.chmod(path, 0o644)
    worst(name, exact, err)


def number(value):
    return float(f"{value:.9g}")


def make_sampled(name, spec):
    exact, err, tol, norm_tol = runs(spec)
    state = spec["make"]().state_dict()
    tensors = []
    for n, t in state.items():
        row = dict(name=n, shape=list(t.shape))
        count = max(t.numel(), 1)
        index = sorted({(count - 1) * k // (SAMPLES - 1) for k in range(SAMPLES)})
        for kind in ("grad", "after3"):
            value = exact.get(f"{kind}.{n}")
            if value is None:
                continue
            key = f"{kind}.{n}"
            flat = value.reshape(-1).astype(np.float64)
            row[kind] = dict(index=index, value=[number(flat[i]) for i in index], err=number(err[key]),
                             tol=number(tol.get(key, 0.0)), norm=number(norm(value)), norm_tol=number(norm_tol.get(key, 0.0)))
        tensors.append(row)
    document = dict(
        model=name, torch=torch.__version__, mode="train", loss=spec["loss"], input_shape=list(spec["input"]),
        classes=spec.get("classes"), parameters=sum(p.numel() for p in spec["make"]().parameters()), sgd=SGD,
        losses=[number(v) for v in exact["losses"]], losses_err=number(err["losses"]), losses_tol=number(tol["losses"]),
        logits_shape=list(exact["logits"].shape), logits=[number(v) for v in exact["logits"].reshape(-1)],
        logits_err=number(err["logits"]), logits_tol=number(tol["logits"]), tensors="@")
    head, tail = json.dumps(document, indent=1).split('"@"')
    with open(os.path.join(HERE, name + ".json"), "w") as f:
        f.write(head.replace(",\n  ", ", ") + "[\n" + ",\n".join(json.dumps(t) for t in tensors) + "\n]" + tail + "\n")
    worst(name, exact, err)


def make_states():
    """Per model its parameter count, and the FNV-1a 64 of its state dict: a line "name extent extent ...\\n" per tensor, sorted by
    name."""
    states = {}
    for name in torch_models.NAMES:
        model = torch_models.build(name)
        lines = sorted(" ".join([n, *map(str, t.shape)]) + "\n" for n, t in model.state_dict().items())
        states[name] = dict(parameters=sum(p.numel() for p in model.parameters()), tensors=len(lines),
                            fnv1a64=f"{hashfill.fnv1a64(''.join(lines)):016x}")
    with open(os.path.join(HERE, "state_dicts.json"), "w") as f:
        json.dump(states, f, indent=1)
        f.write("\n")


def worst(name, exact, err):
    for kind in ("losses", "logits", "grad.", "after3."):
        keys = [k for k in exact if k.startswith(kind) and exact[k].dtype != np.int64]
        share = {k: float(np.max(err[k]) / (np.abs(exact[k]).max() + 1e-300)) for k in keys}
        key = max((k for k in keys if np.abs(exact[k]).max() > 1e-12), key=share.get)
        print(f"{name:20} {kind:8} float32 off by at most {share[key]:.2e} of the largest value ({key}); "
              f"median tensor {np.median(list(share.values())):.2e}")
    print(f"{name:20} losses {exact['losses']}", flush=True)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or [*FULL, *SAMPLED, "states"]
    for name in wanted:
        if name == "states":
            make_states()
        elif name in FULL:
            make_full(name, FULL[name])
        else:
            make_sampled(name, SAMPLED[name])
