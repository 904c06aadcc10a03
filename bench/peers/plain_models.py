#!/usr/bin/env python3
"""timm's networks as Python source that needs PyTorch alone, for machines where timm cannot be had.

    plain_models.py FOLDER [NAME...]    writes FOLDER/plain_NAME.py (default hrnet_w18 resnet152 densenet121, two classes)

A file has the layers under timm's names and the forward pass as torch.fx traced it: `build()` in it gives the same state dict
names and, from the same weights, the same numbers; that is checked here before a file is written. torch_models.build() takes
such a file beside it where timm cannot be imported.
"""
import importlib.util
import os
import sys

import torch
from torch import nn

import torch_models

ACTIVATED_NORM = "BatchNormAct2d"


class Tracer(torch.fx.Tracer):
    def is_leaf_module(self, module, name):
        return type(module).__name__ == ACTIVATED_NORM or super().is_leaf_module(module, name)


def construct(module):
    """The expression that makes a layer."""
    if type(module).__name__ == ACTIVATED_NORM:
        relu = isinstance(module.act, nn.ReLU)
        if not relu and not isinstance(module.act, nn.Identity):
            raise SystemExit(f"plain_models.py: a batch norm followed by {module.act}: ReLU or nothing is known")
        return f"{ACTIVATED_NORM}({module.num_features}, eps={module.eps}, momentum={module.momentum}, relu={relu})"
    if not type(module).__module__.startswith("torch.nn"):
        raise SystemExit(f"plain_models.py: {type(module)} is no layer of PyTorch")
    return f"nn.{module!r}"


def source(name):
    model = torch_models.build(name, 2)
    tracer = Tracer()
    graph = tracer.trace(model)
    used = sorted({str(node.target) for node in graph.nodes if node.op == "call_module"})
    others = sorted({str(node.target) for node in graph.nodes if node.op == "get_attr"})
    if others:
        raise SystemExit(f"plain_models.py: {name} reads {others} outside its layers")
    code = graph.python_code("self").src
    lines = [f'"""{name} of timm, two classes, written by plain_models.py."""', "import torch", "from torch import nn", "", "",
             f"class {ACTIVATED_NORM}(nn.BatchNorm2d):", "    def __init__(self, channels, eps, momentum, relu):",
             "        super().__init__(channels, eps=eps, momentum=momentum)", "        self.relu = relu", "", "    def forward(self, x):",
             "        y = super().forward(x)", "        return torch.relu(y) if self.relu else y", "", "",
             "def put(model, path, layer):", "    *folders, last = path.split('.')", "    for folder in folders:",
             "        if not hasattr(model, folder):", "            model.add_module(folder, nn.Module())",
             "        model = getattr(model, folder)", "    model.add_module(last, layer)", "", "", "class Network(nn.Module):",
             "    def __init__(self):", "        super().__init__()"]
    # In the order of the original, so that parameters are in its order, too.
    wanted = set(used)
    lines += [f"        put(self, {path!r}, {construct(layer)})" for path, layer in model.named_modules() if path in wanted]
    lines += ["", *("    " + line if line.strip() else "" for line in code.strip().splitlines()), "", "", "def build():", "    return Network()", ""]
    return "\n".join(lines)


def load(path):
    spec = importlib.util.spec_from_file_location(os.path.basename(path).removesuffix(".py"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build()


def write(folder, name):
    path = os.path.join(folder, f"plain_{name}.py")
    with open(path + ".new", "w") as f:
        f.write(source(name))
    os.replace(path + ".new", path)
    theirs, plain = torch_models.fill(torch_models.build(name, 2)), torch_models.fill(load(path))
    if list(theirs.state_dict()) != list(plain.state_dict()):
        raise SystemExit(f"plain_models.py: {path} has other parameters than timm's")
    x = torch.linspace(-1, 1, 2 * 3 * 64 * 64).sin().reshape(2, 3, 64, 64)
    for mode in (True, False):
        if not torch.equal(theirs.train(mode)(x), plain.train(mode)(x)):
            raise SystemExit(f"plain_models.py: {path} computes something else than timm's {name}")
    print(f"plain_models.py: {path}, {os.path.getsize(path)} bytes, as timm's")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    os.makedirs(sys.argv[1], exist_ok=True)
    for model_name in sys.argv[2:] or ("hrnet_w18", "resnet152", "densenet121"):
        write(sys.argv[1], model_name)
