#!/usr/bin/env python3
"""Random chains of operations with their gradients from PyTorch's autograd, everything in float64 (README.md)."""
import json
import os

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = 32


class Graph:
    """Values are numbered: leaves and results as they come. Each operation takes any earlier values, so that some are used
    several times and their gradients add up."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.values, self.program, self.leaves = [], [], []

    def leaf(self, *shape, low=None):
        value = self.random.standard_normal(shape) if low is None else self.random.uniform(low, low + 1, shape)
        self.values.append(torch.from_numpy(value).requires_grad_(True))
        self.leaves.append(len(self.values) - 1)
        self.program.append({"op": "leaf"})
        return len(self.values) - 1

    def apply(self, op, inputs, function, **options):
        result = function(*[self.values[i] for i in inputs])
        self.values.append(result)
        self.program.append({"op": op, "in": inputs, **options})
        return len(self.values) - 1

    def choose(self, *options):
        return options[self.random.integers(len(options))]

    def shape(self, i):
        return tuple(self.values[i].shape)

    def image(self):
        """Any value of rank 4 that is still large enough for a window; the latest ones twice as often."""
        found = [i for i, v in enumerate(self.values)
                 if v.dim() == 4 and self.program[i].get("role") != "filter" and min(v.shape[2:]) >= 2 and max(v.shape[2:]) <= 12]
        return self.choose(*found, *found[-2:])

    def filter(self, *shape):
        i = self.leaf(*shape)
        self.program[i]["role"] = "filter"
        return i

    def step(self):
        op = self.choose("conv2d", "conv2d", "conv_transpose2d", "batch_norm", "relu", "sigmoid", "max_pool2d", "avg_pool2d",
                         "upsample_nearest", "upsample_bilinear", "concat", "fuse_multires")
        x = self.image()
        n, c, h, w = self.shape(x)
        if op == "conv2d":
            groups = self.choose(1, 1, c)
            kernel, stride, padding, dilation = self.choose(1, 2, 3), self.choose(1, 2), self.choose(0, 1), self.choose(1, 2)
            if min(h, w) + 2 * padding <= dilation * (kernel - 1) + stride:
                return
            out = groups * self.choose(1, 2) if groups > 1 else self.choose(2, 3)
            relu = bool(self.choose(0, 1))
            weight, bias = self.filter(out, c // groups, kernel, kernel), self.leaf(out)

            def conv(x, weight, bias):
                y = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
                return y.relu() if relu else y
            self.apply(op, [x, weight, bias], conv, stride=stride, padding=padding, dilation=dilation, groups=groups, relu=relu)
        elif op == "conv_transpose2d":
            if max(h, w) > 6:
                return
            kernel, stride, out = self.choose(2, 3), self.choose(1, 2), self.choose(2, 3)
            weight, bias = self.filter(c, out, kernel, kernel), self.leaf(out)
            self.apply(op, [x, weight, bias], lambda x, w, b: F.conv_transpose2d(x, w, b, stride, 0), stride=stride)
        elif op == "batch_norm":
            same = [i for i in range(len(self.values)) if self.shape(i) == self.shape(x) and self.program[i].get("role") != "filter"]
            residual = self.choose(None, *same)
            relu = bool(self.choose(0, 1))
            weight, bias = self.leaf(c, low=0.5), self.leaf(c)

            def norm(x, weight, bias, *rest):
                y = F.batch_norm(x, None, None, weight, bias, True, 0.1, 1e-5)
                y = y + rest[0] if rest else y
                return y.relu() if relu else y
            self.apply(op, [x, weight, bias] + ([] if residual is None else [residual]), norm, relu=relu)
        elif op in ("relu", "sigmoid"):
            self.apply(op, [x], getattr(torch, op))
        elif op in ("max_pool2d", "avg_pool2d"):
            kernel, stride = self.choose(2, 3), self.choose(1, 2)
            if min(h, w) < kernel:
                return
            self.apply(op, [x], lambda x: getattr(F, op)(x, kernel, stride), kernel=kernel, stride=stride)
        elif op == "upsample_nearest":
            if max(h, w) <= 6:
                self.apply(op, [x], lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), factor=2)
        elif op == "upsample_bilinear":
            size, corners = (self.choose(3, 5, 7), self.choose(4, 6, 7)), bool(self.choose(0, 1))
            self.apply(op, [x], lambda x: F.interpolate(x, size, mode="bilinear", align_corners=corners),
                       height=size[0], width=size[1], align_corners=corners)
        elif op == "concat":
            same = [i for i, v in enumerate(self.values) if v.dim() == 4 and self.program[i].get("role") != "filter"
                    and v.shape[0] == n and v.shape[2:] == (h, w) and v.shape[1] + c <= 8]
            if same:
                self.apply(op, [x, self.choose(*same)], lambda a, b: torch.cat([a, b], 1))
        elif op == "fuse_multires":
            same = [i for i, v in enumerate(self.values) if v.dim() == 4 and self.program[i].get("role") != "filter"
                    and v.shape[:2] == (n, c) and (v.shape[2:] == (h, w) or (2 * v.shape[2], 2 * v.shape[3]) == (h, w))]
            relu = bool(self.choose(0, 1))

            def fuse(a, b):
                y = a + (b if b.shape == a.shape else F.interpolate(b, scale_factor=2, mode="nearest"))
                return y.relu() if relu else y
            if same:
                self.apply(op, [x, self.choose(*same)], fuse, relu=relu)

    def finish(self):
        """The mean over each image, a linear layer, and a loss that several earlier values take part in."""
        pooled = [self.apply("global_avg_pool", [self.image()], lambda x: x.mean((2, 3))) for _ in range(2)]
        logits = []
        for p in pooled:
            weight, bias = self.leaf(3, self.shape(p)[1]), self.leaf(3)
            logits.append(self.apply("linear", [p, weight, bias], F.linear))
        joined = self.apply("linear", [logits[0], self.leaf(3, 3), self.leaf(3)], F.linear)
        kind = self.choose("cross_entropy", "bce_with_logits", "dice_loss", "none")
        root = joined
        target = None
        if kind == "cross_entropy":
            target = torch.from_numpy(self.random.integers(0, 3, self.shape(joined)[0]))
            root = self.apply(kind, [joined], lambda x: F.cross_entropy(x, target, label_smoothing=0.1).reshape(1), label_smoothing=0.1)
        elif kind == "bce_with_logits":
            target = torch.from_numpy(self.random.integers(0, 2, self.shape(joined)).astype(np.float64))
            root = self.apply(kind, [joined], lambda x: F.binary_cross_entropy_with_logits(
                x, target, pos_weight=torch.tensor(1.5, dtype=torch.float64)).reshape(1), pos_weight=1.5)
        elif kind == "dice_loss":
            target = torch.from_numpy(self.random.integers(0, 2, self.shape(joined)).astype(np.float64))

            def dice(x):
                p = torch.sigmoid(x)
                return (1 - (2 * (p * target).sum() + 1e-6) / ((p * p).sum() + (target * target).sum() + 1e-6)).reshape(1)
            root = self.apply(kind, [joined], dice, epsilon=1e-6)
        return root, target


def main():
    tensors, metadata = {}, {"torch": torch.__version__}
    used = {}
    case, draw = -1, 0
    while case + 1 < CASES:
        draw += 1
        graph = Graph(1000 + draw)
        graph.leaf(2, int(graph.choose(2, 3)), int(graph.choose(4, 5, 6)), int(graph.choose(4, 5, 6)))
        while sum("in" in entry for entry in graph.program) < 3 + draw % 6:
            graph.step()
        root, target = graph.finish()
        seed = torch.from_numpy(graph.random.standard_normal(graph.shape(root)))
        graph.values[root].backward(seed)
        # Where saturation or a normalisation leaves no gradient there is nothing to compare.
        if max(float(graph.values[i].grad.abs().max()) for i in graph.leaves if graph.values[i].grad is not None) < 1e-2:
            continue
        case += 1
        put = lambda name, value: tensors.update({f"case{case}/{name}": np.ascontiguousarray(value)})
        for i in graph.leaves:
            put(f"leaf{i}", graph.values[i].detach().numpy())
            gradient = graph.values[i].grad
            if gradient is not None:
                put(f"grad{i}", gradient.numpy())
        put("output", graph.values[root].detach().numpy())
        put("seed", seed.numpy())
        if target is not None:
            put("target", target.numpy())
        metadata[f"case{case}/program"] = json.dumps(graph.program, default=lambda v: v.item())
        for entry in graph.program:
            used[entry["op"]] = used.get(entry["op"], 0) + 1
    path = os.path.join(HERE, "autograd.safetensors")
    save_file(tensors, path, metadata)
    os.chmod(path, 0o644)
    print(f"autograd.safetensors: {CASES} cases, {os.path.getsize(path)} bytes, {used}")


main()
