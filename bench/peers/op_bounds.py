"""Random values and derived tolerances, as op_problems.py uses them.

A problem is (tensors, options, {output: (expected, tolerance)}). Tolerances are derived, not tuned. u = 2^-24 is float32's unit
roundoff. A sum of n products computed in any order differs from the exact one by at most about

    lambda sqrt(n) u sum |a_i b_i|,   lambda = 4

except with vanishing probability (Higham and Mary, "A new approach to probabilistic rounding error analysis", SISC 2019), plus a
few roundings of single values. sum |a_i b_i| is what the same operation gives for the absolute values of its arguments, and
its gradients likewise: it is linear in each, so `magnitudes` runs it once more that way.

`set_precision` makes every random value one that the type has, so that products of two stay exact in float32 and the bounds
above hold for kernels of f16, bf16 and tf32, too; what a result of 16 bits loses when it is stored is check_ops.py's to add.
"""
import numpy as np
import torch

U = 2.0**-24
LAMBDA = 4.0
# Unit roundoff of each type, and half of its smallest subnormal number (tf32: of factors alone).
UNIT = dict(f32=U, f16=2.0**-11, bf16=2.0**-8, tf32=2.0**-11)
LEAST = dict(f32=0.0, f16=2.0**-25, bf16=2.0**-134)
precision = "f32"


def set_precision(name):
    global precision
    precision = name


def unit():
    return UNIT[precision]


def least():
    return LEAST.get(precision, 0.0)


def rounded(values):
    """float32 values, each one that the precision has."""
    if precision == "f32":
        return values
    if precision == "f16":
        return values.astype(np.float16).astype(np.float32)
    dropped = 16 if precision == "bf16" else 13  # bits of the mantissa; to the nearest, ties to even
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    bits = bits + np.uint32((1 << (dropped - 1)) - 1) + ((bits >> np.uint32(dropped)) & np.uint32(1))
    return (bits & ~np.uint32((1 << dropped) - 1)).view(np.float32)


def t64(x):
    return torch.from_numpy(np.ascontiguousarray(x)).double()


def rand(rng, shape, a=1.0):
    return rounded(rng.uniform(-a, a, shape).astype(np.float32))


def magnitudes(function, arguments, grad_output):
    """function and its gradients for |arguments| and |grad_output|: [output, grad, grad, ...] as float64 arrays."""
    leaves = [t64(np.abs(a)).requires_grad_() for a in arguments]
    y = function(*leaves)
    grads = torch.autograd.grad(y, leaves, t64(np.abs(grad_output)))
    return [y.detach().numpy(), *(g.numpy() for g in grads)]


def evaluate(function, arguments):
    leaves = [t64(a).requires_grad_() for a in arguments]
    return leaves, function(*leaves)


def finish(names, leaves, y, grad_output):
    grads = torch.autograd.grad(y, leaves, t64(grad_output))
    return [("output", y.detach().numpy()), *((f"grad.{n}", g.numpy()) for n, g in zip(names, grads))]


def zero_near_kink(rng, before, tolerance):
    """A random upstream gradient that is 0 where rounding could push a ReLU's input across 0."""
    dy = rand(rng, before.shape)
    dy[np.abs(before) <= 2 * tolerance] = 0
    return dy


def tol(n, magnitude, roundings=4):
    return (LAMBDA * np.sqrt(n) + roundings) * U * magnitude


def any_shape(rng):
    return tuple(int(v) for v in rng.integers(1, 9, int(rng.integers(1, 5))))
