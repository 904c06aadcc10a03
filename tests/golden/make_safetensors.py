#!/usr/bin/env python3
"""Writes safetensors.safetensors with the official library: every dtype thorax reads, ranks 0 to 5,
an empty tensor, a non-ASCII name. tests/engine/io/safetensors_test.cpp holds the expected values.

Needs: pip install numpy torch safetensors (made with safetensors 0.8.0).
"""
import pathlib

import torch
from safetensors.torch import save_file

here = pathlib.Path(__file__).resolve().parent


def ramp(shape, dtype):
    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)


tensors = {
    "conv.weight": ramp((2, 3, 2, 2), torch.float32),  # O I H W
    "half.weight": ramp((2, 3, 1, 2), torch.float16),
    "bn.num_batches_tracked": torch.tensor(7, dtype=torch.int64),
    "double": ramp((3,), torch.float64) / 2,
    "brain": torch.tensor([1.0, -2.0], dtype=torch.bfloat16),
    "ints": torch.tensor([[-1, 2**31 - 1]], dtype=torch.int32),
    "bytes": torch.tensor([0, 255, 1], dtype=torch.uint8),
    "flags": torch.tensor([True, False]),
    "empty": torch.empty((0, 3)),
    "rank5": ramp((1, 2, 1, 2, 1), torch.float32),
    "höhe": torch.tensor([1.5]),
}
save_file(tensors, here / "safetensors.safetensors", metadata={"made \"by\"": "the official library\n"})
