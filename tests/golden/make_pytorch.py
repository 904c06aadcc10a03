#!/usr/bin/env python3
"""Writes pytorch/: files of torch.save beside the same tensors as safetensors, and files that must be refused.

Needs: pip install torch torchvision safetensors (made with torch 2.15.0, torchvision 0.29.2). Weights come from hashfill.py.
"""
import argparse
import collections
import io
import os
import pathlib
import pickle
import sys
import zipfile

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "pytorch"
sys.path.insert(0, str(HERE / "../../bench/peers"))
import torch_models  # noqa: E402


def ramp(shape, dtype=torch.float32):
    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)


def twin(name, tensors):
    """Each tensor dense and with a storage of its own, as safetensors wants them."""
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, OUT / (name + ".safetensors"))
    os.chmod(OUT / (name + ".safetensors"), 0o644)


def kinds():
    """Every dtype that is read and every way in which a tensor lies in its storage."""
    shared = ramp((4, 6))
    return collections.OrderedDict(
        float=ramp((2, 3)), double=ramp((3,), torch.float64) / 3, half=ramp((5,), torch.float16) / 8,
        brain=ramp((5,), torch.bfloat16) / 8, int=ramp((2, 2), torch.int32) - 2, long=ramp((3,), torch.int64) - 2**40,
        byte=ramp((7,), torch.uint8), bool=torch.tensor([True, False, True]),
        scalar=torch.tensor(7, dtype=torch.int64), empty=torch.empty((0, 3)), rank5=ramp((1, 2, 1, 3, 2)),
        filter=ramp((2, 3, 2, 2)), channels_last=ramp((2, 3, 2, 2)).contiguous(memory_format=torch.channels_last),
        transposed=ramp((2, 3, 4)).permute(2, 0, 1), every_other=ramp((9,))[1::2], narrow=ramp((3, 4, 2, 2))[1:, 1:3],
        rows=shared[1:3], column=shared[:, 2], all_of_it=shared, once_more=shared, **{"h\u00f6he": torch.tensor([1.5])})


def with_entries(path, change):
    """The same archive with change(name, bytes) -> bytes in place of each entry."""
    with zipfile.ZipFile(path) as archive:
        entries = [(i.filename, change(i.filename, archive.read(i))) for i in archive.infolist()]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


def main():
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(0)
    tensors = kinds()
    twin("kinds", tensors)
    torch.save(tensors, OUT / "kinds.pth")
    torch.save(tensors, OUT / "kinds_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(tensors, OUT / "kinds_protocol4.pth", pickle_protocol=4)

    # The same numbers as a big-endian machine writes them: widths by the order of torch.save's keys.
    widths = {}
    for tensor in tensors.values():
        widths.setdefault(tensor.untyped_storage().data_ptr() or id(tensor), tensor.element_size())
    widths = list(widths.values())

    def swapped(name, data):
        if name.endswith("/byteorder"):
            return b"big"
        if "/data/" in name:
            width = widths[int(name.rsplit("/", 1)[1])]
            return np.frombuffer(data, f"u{width}").byteswap().tobytes() if width > 1 else data
        return data
    (OUT / "kinds_big_endian.pth").write_bytes(with_entries(OUT / "kinds.pth", swapped))

    # A checkpoint as training scripts write them: data parallel, optimizer, what the script was given.
    model = torch_models.fill(torch_models.tiny_resnet(bottleneck=False))
    twin("resnet_basic", model.state_dict())
    parallel = torch.nn.DataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    torch.save({"epoch": 3, "arch": "resnet", "best_acc": np.float64(0.5), "args": argparse.Namespace(lr=0.1, layers=[1, 2]),
                "state_dict": parallel.state_dict(), "optimizer": optimizer.state_dict(), "seen": {1, 2}}, OUT / "checkpoint.pth")

    # A whole network: its class is named, its code would be imported.
    net = torchvision.models.DenseNet(growth_rate=4, block_config=(2, 3, 2, 2), num_init_features=8, num_classes=3)
    torch_models.fill(net)
    twin("densenet_module", net.state_dict())
    torch.save(net, OUT / "densenet_module.pt")
    torch.save({"model": net, "epoch": 1}, OUT / "densenet_module_legacy.pt", _use_new_zipfile_serialization=False)

    # To be refused ---------------------------------------------------------------------------
    class Call:
        def __init__(self, function, *arguments):
            self.call = (function, arguments)

        def __reduce__(self):
            return self.call
    torch.save({"weight": ramp((2,)), "x": Call(os.system, "touch executed")}, OUT / "hostile_system.pth")
    torch.save({"weight": ramp((2,)), "x": Call(eval, "open('executed', 'w')")}, OUT / "hostile_eval_legacy.pth",
               _use_new_zipfile_serialization=False)
    torch.save({"weight": ramp((2,)), "x": Call(getattr, torch.nn.Linear, "__init__")}, OUT / "hostile_getattr.pth", pickle_protocol=4)
    torch.save({"weight": ramp((2,), torch.int8)}, OUT / "int8.pth")
    torch.save({"weight": torch.eye(3).to_sparse()}, OUT / "sparse.pth")
    torch.save({"a": {"w": ramp((2,))}, "b": {"w": ramp((2,))}}, OUT / "two_networks.pth")
    torch.save(ramp((2,)), OUT / "one_tensor.pth")
    torch.save({"weight": torch.ones(1).expand(1000)}, OUT / "expanded.pth")
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(OUT / "script.pt"))
    with zipfile.ZipFile(OUT / "kinds.pth") as archive, zipfile.ZipFile(OUT / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as out:
        for entry in archive.infolist():
            if "/data/" not in entry.filename:
                info = zipfile.ZipInfo(entry.filename)
                info.compress_type = zipfile.ZIP_DEFLATED
                out.writestr(info, archive.read(entry))


if __name__ == "__main__":
    main()
