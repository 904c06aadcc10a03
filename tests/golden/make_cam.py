#!/usr/bin/env python3
"""Golden class activation maps, made once by PyTorch: a tiny HRNet in eval mode, gradients by autograd's hooks, float64.

Weights and input come from bench/peers/hashfill.py and are not stored; running statistics are
running_mean = u(name) with a = 0.3, running_var = 1 + u(name) with a = 0.5.

cam.safetensors: `logits<K>` [N, K] of the network with K outputs (1 or 3), then for K outputs, class T, layer L and method M
`maps/K/T/L/M` [N, h, w] (after ReLU, not normalised) with `size/...` [N], the largest sum over channels of |weight| |A|: what
rounding is to be measured by where the terms of a map cancel; and `large/...` [N, H, W] (bilinear, align_corners false, divided
by its maximum) of one layer.
"""
import os
import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../bench/peers"))
import hashfill  # noqa: E402
import torch_models  # noqa: E402

INPUT = (2, 3, 64, 96)
LARGE = (70, 50)
# Our name of a layer and the module of timm's network whose output it is.
LAYERS = {
    "layer1": "layer1",
    "stage2.0.branches.1": "stage2.0.branches.1",
    "stage4.1.fuse_layers.0": None,  # an output of a module that has several
    "incre_modules.3": "incre_modules.3",
    "final_layer": "final_layer",
}


def network(outputs):
    model = torch_models.fill(torch_models.tiny_hrnet(outputs))
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("running_mean"):
            tensor.copy_(torch.from_numpy(hashfill.uniform(name, tuple(tensor.shape), 0.3)))
        if name.endswith("running_var"):
            tensor.copy_(torch.from_numpy(hashfill.uniform(name, tuple(tensor.shape), 0.5) + np.float32(1)))
    return model.double().eval()


def activations(model, x):
    """Every layer's output, kept in the graph, and the logits."""
    kept, hooks = {}, []
    for name, path in LAYERS.items():
        if path is None:
            hooks.append(model.get_submodule("stage4.1").register_forward_hook(lambda m, i, y, name=name: kept.update({name: y[0]})))
        else:
            hooks.append(model.get_submodule(path).register_forward_hook(lambda m, i, y, name=name: kept.update({name: y})))
    logits = model(x)
    for hook in hooks:
        hook.remove()
    return kept, logits


def cam(method, a, g):
    if method == "grad-cam":
        terms = g.mean((2, 3), keepdim=True) * a
    elif method == "grad-cam++":
        denominator = 2 * g**2 + g**3 * a.sum((2, 3), keepdim=True)
        alpha = torch.where(denominator != 0, g**2 / torch.where(denominator != 0, denominator, 1.0), 0.0)
        terms = (alpha * F.relu(g)).sum((2, 3), keepdim=True) * a
    elif method == "layer-cam":
        terms = F.relu(g) * a
    else:
        rows = []
        for one in a:
            matrix = one.flatten(1).T  # places x channels
            v = torch.linalg.svd(matrix, full_matrices=False).Vh[0]
            rows.append(((matrix if (matrix @ v).sum() >= 0 else -matrix) * v).T.reshape(one.shape))
        terms = torch.stack(rows)
    return F.relu(terms.sum(1)), terms.abs().sum(1).amax((1, 2))


def main():
    tensors = {}
    x = torch.from_numpy(hashfill.uniform("input", INPUT)).double()
    for outputs, targets in ((1, (0, 1)), (3, (2,))):
        model = network(outputs)
        kept, logits = activations(model, x)
        tensors[f"logits{outputs}"] = logits
        for target in targets:
            score = logits[:, target] if outputs > 1 else logits[:, 0] * (1 if target == 1 else -1)
            grads = torch.autograd.grad(score.sum(), list(kept.values()), retain_graph=True)
            for (layer, a), g in zip(kept.items(), grads):
                for method in ("grad-cam", "grad-cam++", "layer-cam", "eigen-cam"):
                    if method == "eigen-cam" and target != 1:
                        continue
                    value, size = cam(method, a, g)
                    key = f"{outputs}/{target}/{layer}/{method}"
                    tensors["maps/" + key], tensors["size/" + key] = value, size
                    print(f"{key:50} max {value.amax((1, 2)).tolist()} of {size.tolist()}, zero {(value == 0).double().mean().item():.2f}")
                    if layer == "layer1" and method == "grad-cam":
                        large = F.interpolate(value[:, None], LARGE, mode="bilinear", align_corners=False)[:, 0]
                        tensors["large/" + key] = large / large.amax((1, 2), keepdim=True).clamp(min=1e-300)
        print(f"logits {logits.tolist()}")
    path = os.path.join(HERE, "cam.safetensors")
    save_file({k: v.detach().float().contiguous().numpy() for k, v in tensors.items()}, path, {"torch": torch.__version__})
    os.chmod(path, 0o644)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    main()
