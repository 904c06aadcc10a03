#!/usr/bin/env python3
"""Writes published.json: names, shapes and outputs of torchvision's and torchxrayvision's networks, filled by hashfill.py.

Needs: pip install torch torchvision torchxrayvision (made with torchvision 0.29.2, torchxrayvision 1.5.7).

Per network: `fnv1a64` of the lines "name extent extent ..." of its state dict (as state_dicts.json), `input_shape`, and in eval mode the
logits of float64 with `err`, the largest difference of float32 from them, and `tol` = 8 err + 2^-20 of the largest logit. The input is
hashfill's; torchxrayvision's is multiplied by 512, because its pixels go from -1024 to 1024 where those of thorax go from -2 to 2.
"""
import json
import os
import sys

import torch
import torchvision
import torchxrayvision

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../bench/peers"))
import hashfill  # noqa: E402
import torch_models  # noqa: E402


def describe(model, shape, factor=1.0):
    state = model.state_dict()
    lines = sorted(" ".join([n, *map(str, t.shape)]) + "\n" for n, t in state.items())
    x = torch.from_numpy(hashfill.uniform("input", shape)) * factor
    with torch.no_grad():
        single = torch_models.fill(model).eval()(x).double()
        exact = model.double()(x.double())
    err = float((single - exact).abs().max())
    size = float(exact.abs().max())
    return dict(fnv1a64=f"{hashfill.fnv1a64(''.join(lines)):016x}", input_shape=list(shape),
                logits=[float(f"{v:.9g}") for v in exact.reshape(-1)[:64]], err=err, tol=8 * err + 2.0**-20 * size)


def main():
    torch.set_num_threads(1)
    out = {f"torchvision/{name}": describe(getattr(torchvision.models, name)(), (1, 3, 64, 64))
           for name in ("resnet18", "resnet50", "densenet121")}
    out["torchxrayvision/densenet121"] = describe(torchxrayvision.models.DenseNet(), (1, 1, 64, 64), 512.0)
    with open(os.path.join(HERE, "published.json"), "w") as file:
        json.dump(out, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
