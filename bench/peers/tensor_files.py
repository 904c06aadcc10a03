"""safetensors files by PyTorch alone, for machines that have no package of that name."""
import json

import numpy as np
import torch

TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32,
         "U8": torch.uint8}


def load_file(path):
    """{name: torch.Tensor}"""
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = bytearray(f.read())
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            flat = torch.frombuffer(data, dtype=torch.uint8)[begin:end].clone()
            tensors[name] = flat.view(TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def save_file(tensors, path):
    names = {dtype: name for name, dtype in TYPES.items()}
    header, blocks, offset = {}, [], 0
    for name, tensor in tensors.items():
        tensor = torch.as_tensor(tensor).detach().cpu().contiguous()
        block = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = dict(dtype=names[tensor.dtype], shape=list(tensor.shape), data_offsets=[offset, offset + len(block)])
        blocks.append(block)
        offset += len(block)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        f.writelines(blocks)


def load_arrays(path):
    """{name: numpy.ndarray}"""
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in load_file(path).items()}
