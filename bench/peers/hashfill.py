"""Weights and inputs that two programs can make without exchanging a file.

u64 arithmetic modulo 2^64, one float32 multiply; any language gives the same bits.

    h(name)    = FNV-1a 64 of the UTF-8 bytes: h = 0xcbf29ce484222325; for each byte: h = (h ^ byte) * 0x100000001b3
    z(name, i) = splitmix64 finaliser of h(name) + i + 0x9e3779b97f4a7c15:
                 z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
                 z = (z ^ (z >> 27)) * 0x94d049bb133111eb
                 z =  z ^ (z >> 31)
    k(name, i) = int(z >> 40) - 2^23                 in [-2^23, 2^23), exact in float32
    u(name, i) = float32(k) * float32(a / 2^23)      in [-a, a); a computed in double, rounded once

i is the flat index in PyTorch's order (NCHW, OIHW, IOHW for transposed convolutions).

Parameters, by rank and name:
    rank >= 2               a = sqrt(6 / fan_in); fan_in = product of all but the first dimension,
                            for a transposed convolution (name ends in `up.weight`) the first dimension
    rank 1, `P.weight`      batch norm's gamma: 1/2 + u with a = 1/8
    rank 1, `P.bias`        batch norm's beta (the state dict also has `P.running_var`): 1 + u with a = 1/2;
                            any other bias: u with a = 1/8
    `*.running_mean` 0, `*.running_var` 1, `*.num_batches_tracked` 0
    The products are exact (a is a power of two), so a fused multiply-add gives the same bits. Beta above zero keeps most
    values away from ReLU's kink: with gamma 1 and beta 0, rounding alone flips so many ReLUs in a small HRNet that float32
    gradients carry 2-20 % noise and prove nothing; this way they carry about 1e-5.
Inputs: `input` u with a = 1. `target` of a mask: 1.0 where k >= 0, else 0.0. `target` of classes: z mod classes.
"""
import math

import numpy as np

MASK = (1 << 64) - 1


def fnv1a64(name: str) -> int:
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def bits(name: str, count: int) -> np.ndarray:
    """z(name, 0..count-1) as uint64."""
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + np.uint64((fnv1a64(name) + 0x9E3779B97F4A7C15) & MASK)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def centred(name: str, count: int) -> np.ndarray:
    """k(name, 0..count-1) as int64."""
    return (bits(name, count) >> np.uint64(40)).astype(np.int64) - (1 << 23)


def uniform(name: str, shape, a: float = 1.0) -> np.ndarray:
    scale = np.float32(a / float(1 << 23))
    return (centred(name, math.prod(shape)).astype(np.float32) * scale).reshape(shape)


def parameter(name: str, shape, batch_norm: bool) -> np.ndarray:
    """batch_norm: the parameter belongs to a batch norm, that is, its module has a running_var."""
    shape = tuple(shape)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_mean"):
        return np.zeros(shape, np.float32)
    if name.endswith("running_var"):
        return np.ones(shape, np.float32)
    if len(shape) >= 2:
        fan_in = shape[0] if name.endswith("up.weight") else math.prod(shape[1:])
        return uniform(name, shape, math.sqrt(6.0 / fan_in))
    if not batch_norm:
        return uniform(name, shape, 0.125)
    if name.endswith(".weight"):
        return np.float32(0.5) + uniform(name, shape, 0.125)
    return np.float32(1) + uniform(name, shape, 0.5)


def mask(shape, name: str = "target") -> np.ndarray:
    return (centred(name, math.prod(shape)) >= 0).astype(np.float32).reshape(shape)


def classes(count: int, num_classes: int, name: str = "target") -> np.ndarray:
    return (bits(name, count) % np.uint64(num_classes)).astype(np.int64)
