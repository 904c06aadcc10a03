"""Random problems for every operation of `thorax op`, with PyTorch (scipy for masks) as the oracle in float64.

A problem is (tensors, options, {output: (expected, tolerance)}). Tolerances are derived, not tuned. u = 2^-24 is float32's unit
roundoff. A sum of n products computed in any order differs from the exact one by at most about

    lambda sqrt(n) u sum |a_i b_i|,   lambda = 4

except with vanishing probability (Higham and Mary, "A new approach to probabilistic rounding error analysis", SISC 2019), plus a
few roundings of single values. sum |a_i b_i| is what the same operation gives for the absolute values of its arguments, and
its gradients likewise: it is linear in each, so `magnitudes` runs it once more that way.
"""
import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

U = 2.0**-24
LAMBDA = 4.0


def t64(x):
    return torch.from_numpy(np.ascontiguousarray(x)).double()


def rand(rng, shape, a=1.0):
    return rng.uniform(-a, a, shape).astype(np.float32)


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


# -- products ---------------------------------------------------------------------------------------------------------
def products(rng, names, arguments, tensors, options, function, relu, lengths, spread):
    """An operation linear in each argument. lengths: how many products each result sums. spread: a result's rounding may come
    from its neighbours too (Winograd tiles: 16 times the largest magnitude, see compare_step.py), else it is elementwise."""
    leaves, before = evaluate(function, arguments)
    ones = np.ones(before.shape, np.float32)
    factor = (lambda m: 16 * np.max(m, initial=0.0)) if spread else (lambda m: m)
    forward = tol(lengths[0], factor(magnitudes(function, arguments, ones)[0]))
    dy = zero_near_kink(rng, before.detach().numpy(), forward) if relu else rand(rng, before.shape)
    kept = dy * (before.detach().numpy() > 0) if relu else dy
    y = torch.relu(before) if relu else before
    sizes = magnitudes(function, arguments, kept)
    expected = {}
    for (key, value), n, size in zip(finish(names, leaves, y, dy), lengths, sizes):
        expected[key] = (value, forward if key == "output" else tol(n, factor(size)))
    tensors["grad_output"] = dy
    if relu is not None:
        options["relu"] = bool(relu)
    return tensors, options, expected


def conv2d(rng, k):
    def few(limit):
        return int(rng.integers(1, limit))

    # A quarter each: what Winograd, what a plain matrix product and what kernels for few channels can do, and anything.
    kernel, stride, dilation, groups, padding = [int(v) for v in rng.choice([1, 2, 3, 5], 2)], 1, 1, 1, None
    if k % 4 == 0:
        kernel, (cin, cout) = [3, 3], (int(v) for v in rng.integers(8 if k % 16 == 0 else 16, 40, 2))  # on GPUs from 16 channels on
    elif k % 4 == 1:
        kernel, padding, cin, cout = [1, 1], 0, few(70), few(70)
    else:
        stride, dilation = (int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])), int(rng.choice([1, 2], p=[0.8, 0.2])))
        if k % 4 == 2:
            cin, cout = (few(5), few(40)) if rng.random() < 0.6 else (few(40), 1)
        else:
            groups = int(rng.choice([1, 1, 1, 2, 3]))
            cin, cout = groups * few(20), groups * few(20)
    if padding is None:
        padding = int(rng.integers(0, max(kernel)))
    h, w = (int(dilation * (s - 1) + 1 + rng.integers(0, 20)) for s in kernel)
    n = int(rng.integers(1, 4))
    tensors = {"input": rand(rng, (n, cin, h, w)), "weight": rand(rng, (cout, cin // groups, *kernel))}
    if rng.random() < 0.7:
        tensors["bias"] = rand(rng, (cout,))
    options = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    names = list(tensors)

    def function(x, weight, bias=None):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)

    arguments = [tensors[i] for i in names]
    pixels = function(*(t64(a) for a in arguments)).numel() // cout
    window = kernel[0] * kernel[1]
    lengths = [window * cin // groups + 1, window * cout // groups, pixels, pixels]
    return products(rng, names, arguments, tensors, options, function, bool(rng.random() < 0.3), lengths, kernel == [3, 3])


def conv_transpose2d(rng, k):
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    cin, cout = groups * int(rng.integers(1, 20)), groups * int(rng.integers(1, 20))
    size, stride = (2, 2) if k % 2 == 0 else (int(rng.integers(1, 5)), int(rng.integers(1, 4)))
    padding, dilation = (0, 1) if k % 2 == 0 else (int(rng.integers(0, (size + 1) // 2)), int(rng.choice([1, 2])))
    extra = int(rng.integers(0, max(stride, dilation))) if k % 4 == 1 else 0
    h, w = (int(rng.integers(1, 14)) + 2 * padding for _ in range(2))
    tensors = {"input": rand(rng, (int(rng.integers(1, 4)), cin, h, w)), "weight": rand(rng, (cin, cout // groups, size, size))}
    if rng.random() < 0.7:
        tensors["bias"] = rand(rng, (cout,))
    options = dict(stride=stride, padding=padding, output_padding=extra, dilation=dilation, groups=groups)
    names = list(tensors)

    def function(x, weight, bias=None):
        return F.conv_transpose2d(x, weight, bias, stride, padding, extra, groups, dilation)

    arguments = [tensors[i] for i in names]
    out_pixels = function(*(t64(a) for a in arguments)).numel() // cout
    lengths = [size * size * cin // groups + 1, size * size * cout // groups, tensors["input"].size // cin, out_pixels]
    return products(rng, names, arguments, tensors, options, function, None, lengths, size == 3)


def linear(rng, k):
    n, cin, cout = (int(v) for v in rng.integers(1, 70, 3))
    tensors = {"input": rand(rng, (n, cin)), "weight": rand(rng, (cout, cin))}
    if rng.random() < 0.7:
        tensors["bias"] = rand(rng, (cout,))
    names = list(tensors)
    return products(rng, names, [tensors[i] for i in names], tensors, {}, F.linear, bool(rng.random() < 0.3), [cin + 1, cout, n, n], False)


# -- pooling and resampling: linear in the input ----------------------------------------------------------------------
def linear_map(rng, tensors, options, function, n_forward, n_backward, roundings=4, relu=None, spread=False):
    names = list(tensors)
    return products(rng, names, [tensors[i] for i in names], tensors, options, function, relu,
                    [n_forward] + [n_backward] * len(names), spread)


def image(rng, largest=24, channels=20):
    return tuple(int(v) for v in (rng.integers(1, 4), rng.integers(1, channels), rng.integers(1, largest), rng.integers(1, largest)))


def pool_options(rng, k):
    kernel = 2 if k % 2 == 0 else int(rng.integers(1, 5))
    stride = kernel if k % 2 == 0 else int(rng.integers(1, 4))
    padding, ceil = (0, False) if k % 2 == 0 else (int(rng.integers(0, kernel // 2 + 1)), bool(rng.random() < 0.4))
    n, c, h, w = image(rng)
    return (n, c, h + kernel, w + kernel), kernel, stride, padding, ceil


def max_pool2d(rng, k):
    shape, kernel, stride, padding, ceil = pool_options(rng, k)
    x = rand(rng, shape) if k % 3 else np.round(2 * rand(rng, shape))  # whole numbers: ties
    function = lambda v: F.max_pool2d(v, kernel, stride, padding, ceil_mode=ceil)  # noqa: E731
    leaves, y = evaluate(function, [x])
    dy = rand(rng, y.shape)
    (_, value), (_, grad) = finish(["input"], leaves, y, dy)
    size = finish(["input"], *evaluate(function, [x]), np.abs(dy))[1][1]
    options = dict(kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil)
    return {"input": x, "grad_output": dy}, options, {"output": (value, 0.0), "grad.input": (grad, tol(kernel * kernel, size))}


def avg_pool2d(rng, k):
    shape, kernel, stride, padding, ceil = pool_options(rng, k)
    include = bool(rng.random() < 0.5)
    options = dict(kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil, count_include_pad=include)
    return linear_map(rng, {"input": rand(rng, shape)}, options,
                      lambda v: F.avg_pool2d(v, kernel, stride, padding, ceil_mode=ceil, count_include_pad=include), kernel**2, kernel**2)


def global_avg_pool(rng, k):
    shape = image(rng, 40)
    return linear_map(rng, {"input": rand(rng, shape)}, {}, lambda v: v.mean((2, 3)), shape[2] * shape[3], 1)


def upsample_nearest(rng, k):
    factor = int(rng.choice([1, 2, 3, 4, 8]))
    return linear_map(rng, {"input": rand(rng, image(rng, 12))}, dict(factor=factor), lambda v: F.interpolate(v, scale_factor=factor, mode="nearest"),
                      1, factor**2)


def upsample_bilinear(rng, k):
    shape = image(rng, 16)
    height, width = (int(v) for v in rng.integers(1, 40, 2))
    align = bool(rng.random() < 0.3)
    # A weight is a fraction of a source position of up to `size` pixels, rounded to float32: its error is size * u, not
    # weight * u, so the magnitude of a neighbouring pixel counts too: hence the largest magnitude.
    reach = 2 + max(height, width) / min(shape[2:])
    n = (max(shape[2:]) / LAMBDA) ** 2
    function = lambda v: F.interpolate(v, (height, width), mode="bilinear", align_corners=align)  # noqa: E731
    tensors, options, expected = linear_map(rng, {"input": rand(rng, shape)}, dict(height=height, width=width, align_corners=align), function,
                                            4, 4 * reach**2)
    sizes = dict(zip(("output", "grad.input"), magnitudes(function, [tensors["input"]], tensors["grad_output"])))
    expected = {key: (value, tol(n, np.max(sizes[key])) + limit) for key, (value, limit) in expected.items()}
    return tensors, options, expected


def fuse_multires(rng, k):
    count = int(rng.integers(2, 5))
    factors = [1] + [int(rng.choice([1, 2, 4, 8])) for _ in range(count - 1)]
    rng.shuffle(factors)
    n, c = int(rng.integers(1, 4)), int(rng.integers(1, 40))
    h, w = (8 * int(v) for v in rng.integers(1, 4, 2))
    tensors = {f"input{i}": rand(rng, (n, c, h // f, w // f)) for i, f in enumerate(factors)}

    def function(*branches):
        return sum(F.interpolate(b, scale_factor=f, mode="nearest") for b, f in zip(branches, factors))

    return linear_map(rng, tensors, {}, function, count, max(factors) ** 2, relu=bool(rng.random() < 0.7))


def concat(rng, k):
    n, _, h, w = image(rng)
    tensors = {f"input{i}": rand(rng, (n, int(rng.integers(1, 20)), h, w)) for i in range(int(rng.integers(1, 5)))}
    tensors, options, expected = linear_map(rng, tensors, {}, lambda *parts: torch.cat(parts, 1), 0, 0)
    return tensors, options, {key: (value, 0.0) for key, (value, _) in expected.items()}


# -- batch norm, activations ------------------------------------------------------------------------------------------
def batch_norm(rng, k):
    shape = image(rng, 12, 40) if k % 5 else tuple(int(v) for v in rng.integers(2, 40, 2))
    if len(shape) == 4 and shape[0] * shape[2] * shape[3] < 4:
        shape = (4, *shape[1:])
    c = shape[1]
    offset = float(rng.choice([0.0, 0.0, 3.0]))
    training, relu, residual = (bool(rng.random() < p) for p in (0.7, 0.4, 0.4))
    epsilon, momentum = float(rng.choice([1e-5, 1e-3])), float(rng.choice([0.1, 0.01]))
    tensors = {"input": rand(rng, shape) + np.float32(offset), "weight": rand(rng, (c,)), "bias": rand(rng, (c,))}
    if residual:
        tensors["residual"] = rand(rng, shape)
    state = {"running_mean": rand(rng, (c,)), "running_var": rng.uniform(0.3, 2, c).astype(np.float32)}
    names = list(tensors)
    leaves = [t64(tensors[i]).requires_grad_() for i in names]
    mean, var = t64(state["running_mean"]), t64(state["running_var"])
    before = F.batch_norm(leaves[0], mean, var, leaves[1], leaves[2], training, momentum, epsilon)
    if residual:
        before = before + leaves[3]
    # First-order errors, in units of u: xhat = (x - mean) rstd carries a = |x| rstd from the subtraction, and rstd, through the
    # variance, a relative 1 + a.
    axes, column = tuple(i for i in range(len(shape)) if i != 1), (1, c) + (1,) * (len(shape) - 2)
    x = tensors["input"].astype(np.float64)
    n = x.size // c
    m, v = (x.mean(axes), x.var(axes)) if training else (state["running_mean"].astype(np.float64), state["running_var"].astype(np.float64))
    rstd = 1 / np.sqrt(v + epsilon)
    largest = np.abs(x).max(axes) + np.abs(m)
    scale = lambda values: values.reshape(column)  # noqa: E731
    xhat, a = np.abs(x - scale(m)) * scale(rstd), largest * rstd
    xhat_error = xhat * (2 + scale(a)) + scale(a)
    weight = np.abs(tensors["weight"]).astype(np.float64)
    forward = tol(n, scale(weight) * xhat_error + scale(np.abs(tensors["bias"])) + (np.abs(tensors["residual"]) if residual else 0), 8)
    dy = zero_near_kink(rng, before.detach().numpy(), forward) if relu else rand(rng, shape)
    y = torch.relu(before) if relu else before
    results = dict(finish(names, leaves, y, dy))
    kept = np.abs(dy * (before.detach().numpy() > 0) if relu else dy).astype(np.float64)
    s0, s1, s1_error = kept.sum(axes), (kept * xhat).sum(axes), (kept * xhat_error).sum(axes)
    dx = (1 + scale(a)) * kept  # dx = w rstd (dy - mean(dy) - xhat mean(dy xhat)) when training, else w rstd dy
    if training:
        dx = (1 + scale(a)) * (kept + scale(s0) / n + xhat * scale(s1) / n) + scale(s0) / n + (xhat_error * scale(s1) + xhat * scale(s1_error)) / n
    limit = {"output": forward, "grad.input": tol(n, scale(weight * rstd) * dx, 8), "grad.weight": tol(n, s1 + s1_error, 8),
             "grad.bias": tol(n, s0), "grad.residual": tol(1, kept)}
    expected = {key: (value, limit[key]) for key, value in results.items()}
    if training:
        expected["running_mean"] = (mean.numpy(), tol(n, largest + np.abs(state["running_mean"])))
        expected["running_var"] = (var.numpy(), tol(n, largest**2 + state["running_var"], 8))
    tensors.update(state, grad_output=dy)
    return tensors, dict(training=training, momentum=momentum, epsilon=epsilon, relu=relu), expected


def any_shape(rng):
    return tuple(int(v) for v in rng.integers(1, 9, int(rng.integers(1, 5))))


def relu(rng, k):
    x, shape = None, any_shape(rng)
    x = rand(rng, shape, 3)
    leaves, y = evaluate(torch.relu, [x])
    dy = rand(rng, shape)
    return {"input": x, "grad_output": dy}, {}, {key: (value, 0.0) for key, value in finish(["input"], leaves, y, dy)}


def sigmoid(rng, k):
    shape = any_shape(rng)
    x = rand(rng, shape, float(rng.choice([1, 10, 100])))
    leaves, y = evaluate(torch.sigmoid, [x])
    dy = rand(rng, shape)
    out, grad = (value for _, value in finish(["input"], leaves, y, dy))
    # exp(-x) of a rounded argument is off by |x| u relative; 1 - y is off by u where y is near 1.
    return ({"input": x, "grad_output": dy}, {},
            {"output": (out, (4 + np.abs(x) * (1 - out)) * U * out + 2.0**-126), "grad.input": (grad, (8 + np.abs(x)) * U * np.abs(dy) * out + 2.0**-126)})


def axes_shape(rng):
    """Axes count as they lie in memory, which rank 4 (N H W C there, N C H W in the file) would mix up."""
    return tuple(int(v) for v in rng.integers(1, 9, int(rng.choice([1, 2, 3, 5]))))


def unary(function, low, high, units, **options):
    """`units` roundings of the result and of the gradient; log and affine cross zero, hence the absolute part."""
    def problem(rng, k):
        x = rng.uniform(low, high, any_shape(rng)).astype(np.float32)
        leaves, y = evaluate(lambda v: function(v, **options), [x])
        dy = rand(rng, x.shape)
        out, grad = (value for _, value in finish(["input"], leaves, y, dy))
        return ({"input": x, "grad_output": dy}, dict(options),
                {"output": (out, units * U * (np.abs(out) + 1)), "grad.input": (grad, 2 * units * U * np.abs(grad))})
    return problem


def power(rng, k):
    return unary(lambda x, exponent: x**exponent, 0.1, 4, 16, exponent=float(rng.choice([-1, 0.5, 2, 2.7])))(rng, k)


def binary(function):
    def problem(rng, k):
        shape = axes_shape(rng)
        shapes = [tuple(1 if rng.random() < 0.3 else n for n in shape) for _ in range(2)]
        if rng.random() < 0.3:
            missing = int(rng.integers(0, len(shape)))
            shapes[1] = shapes[1][missing + (len(shape) - missing == 4):]
        a, b = rand(rng, shapes[0]), rng.uniform(0.5, 2, shapes[1]).astype(np.float32)
        leaves, y = evaluate(function, [a, b])
        dy = rand(rng, y.shape)
        # A gradient sums what its operand was repeated along: terms of at most 4 (a / b^2), with a few roundings each.
        repeats = [y.numel() // a.size, y.numel() // b.size]
        bounds = [tol(0, np.abs(y.detach().numpy())), *(tol(n, 4.0 * n, 6) for n in repeats)]
        values = finish(["input", "other"], leaves, y, dy)
        return {"input": a, "other": b, "grad_output": dy}, {}, {key: (value, bound) for (key, value), bound in zip(values, bounds)}
    return problem


def reduction(function):
    def problem(rng, k):
        x = rand(rng, axes_shape(rng))
        axis, keepdim = int(rng.integers(0, x.ndim)), bool(rng.random() < 0.5)
        everything = bool(rng.random() < 0.3) or x.ndim == 1 or (x.ndim == 5 and not keepdim)
        options = {} if everything else dict(axis=axis, keepdim=keepdim)
        run = (lambda v: function(v).reshape(1)) if everything else (lambda v: function(v, dim=axis, keepdim=keepdim))
        leaves, y = evaluate(run, [x])
        dy = rand(rng, y.shape)
        # Summed in double: the result's rounding, and for a mean its factor's.
        return ({"input": x, "grad_output": dy}, options,
                {key: (value, 4 * U * np.abs(value) + 2.0**-40) for key, value in finish(["input"], leaves, y, dy)})
    return problem


def permute(rng, k):
    x = rand(rng, axes_shape(rng))
    axes = [int(a) for a in rng.permutation(x.ndim)]
    leaves, y = evaluate(lambda v: v.permute(axes), [x])
    dy = rand(rng, y.shape)
    return ({"input": x, "grad_output": dy}, {f"axis{i}": a for i, a in enumerate(axes)},
            {key: (value, 0.0) for key, value in finish(["input"], leaves, y, dy)})


def softmax(log):
    def problem(rng, k):
        x = rand(rng, axes_shape(rng), float(rng.choice([1, 10, 50])))
        axis = int(rng.integers(0, x.ndim))
        leaves, y = evaluate(lambda v: F.log_softmax(v, axis) if log else F.softmax(v, axis), [x])
        dy = rand(rng, x.shape)
        out, grad = (value for _, value in finish(["input"], leaves, y, dy))
        # exp of a difference that was rounded is off by up to 2 max|x| u relative.
        off = (8 + 2 * np.max(np.abs(x))) * U
        total = np.abs(dy).sum(axis, keepdims=True)
        probability = np.exp(out) if log else out
        return ({"input": x, "grad_output": dy}, dict(axis=axis),
                {"output": (out, off * (np.abs(out) + (1 if log else 0)) + 2.0**-126),
                 "grad.input": (grad, 4 * off * (np.abs(dy) * (1 if log else probability) + probability * total) + 2.0**-126)})
    return problem


def matmul(rng, k):
    m, inner, n = (int(v) for v in rng.integers(1, 40, 3))
    batch = [(), (int(rng.integers(1, 4)),)][k % 2]
    tensors = {"input": rand(rng, (*batch, m, inner)), "other": rand(rng, (*(batch if rng.random() < 0.6 else ()), inner, n))}
    rows = m if tensors["other"].ndim == len(batch) + 2 else m * int(np.prod(batch))
    return products(rng, list(tensors), list(tensors.values()), tensors, {}, torch.matmul, None, [inner, n, rows], False)


def dropout(rng, k):
    """The mask is thorax's own: check_ops.py judges it."""
    p = float(rng.choice([0.0, 0.1, 0.25, 0.5, 0.8, 1.0]))
    n = int(rng.integers(200, 3000))
    x, dy = rng.uniform(0.5, 1, n).astype(np.float32), rng.uniform(0.5, 1, n).astype(np.float32)
    # Cases 2i and 2i + 1: in every second pair the same seed and stream, else another one of the two.
    pair = k // 2
    changed = k % 2 if pair % 2 else 0
    seed, stream = (1000 + pair + (changed if pair % 4 == 1 else 0), pair + (changed if pair % 4 == 3 else 0))
    return {"input": x, "grad_output": dy}, dict(p=p, seed=seed, stream=stream, training=bool(k % 7)), {}


# -- losses -----------------------------------------------------------------------------------------------------------
def target_mask(rng, shape):
    target = (rng.random(shape) < rng.choice([0.1, 0.5, 0.9])).astype(np.float32)
    if rng.random() < 0.15:
        target[0] = 0
    return target


def dice_loss(rng, k):
    shape = (int(rng.integers(1, 4)), 1, int(rng.integers(1, 30)), int(rng.integers(1, 30)))
    squared, per_image = bool(rng.random() < 0.7), bool(rng.random() < 0.5)
    epsilon = float(rng.choice([1e-6, 1e-3, 1.0]))
    x, target = rand(rng, shape, float(rng.choice([1, 4, 12]))), target_mask(rng, shape)
    leaf, g = t64(x).requires_grad_(), t64(target)
    p = torch.sigmoid(leaf)
    axes = (1, 2, 3) if per_image else (0, 1, 2, 3)
    overlap = (p * g).sum(axes)
    bottom = ((p * p + g * g) if squared else (p + g)).sum(axes) + epsilon
    loss = (1 - (2 * overlap + epsilon) / bottom).mean()
    loss.backward()
    n = x[0].size if per_image else x.size
    images = shape[0] if per_image else 1
    # d loss / d p = -2 g / bottom + dice * d bottom / bottom with dice <= 1; p' = p (1 - p) is off by u where p is near 1.
    p, bottom = p.detach().numpy(), bottom.detach().numpy().reshape((-1, 1, 1, 1) if per_image else (1, 1, 1, 1))
    slope = (2 * target + (2 * p if squared else 1)) / bottom / images
    return ({"input": x, "target": target}, dict(squared=squared, per_image=per_image, epsilon=epsilon),
            {"output": (loss.detach().reshape(1).numpy(), tol(n, 2.0, 8 + 2 * np.abs(x).max())),
             "grad.input": (leaf.grad.numpy(), tol(n, slope * p, 16 + 2 * np.abs(x)) + 2.0**-120)})


def bce_with_logits(rng, k):
    shape = any_shape(rng)
    x = rand(rng, shape, float(rng.choice([1, 10, 100])))
    target = target_mask(rng, shape) if k % 3 else rng.random(shape).astype(np.float32)
    pos_weight = float(rng.choice([1.0, 1.0, 2.5, 0.25]))
    leaf = t64(x).requires_grad_()
    positive = torch.tensor(pos_weight, dtype=torch.float64)
    w = max(1.0, pos_weight)
    if k % 4 == 1:  # a weight for every element, some 0
        each = (rng.random(shape) * (rng.random(shape) < 0.7)).astype(np.float32)
        loss = F.binary_cross_entropy_with_logits(leaf, t64(target), t64(each), reduction="sum", pos_weight=positive)
        loss.backward()
        return ({"input": x, "target": target, "weight": each}, dict(pos_weight=pos_weight),
                {"output": (loss.detach().reshape(1).numpy(), tol(x.size, w * ((np.abs(x) + 1) * each).sum(), 8)),
                 "grad.input": (leaf.grad.numpy(), tol(0, w * each * (1 + np.abs(x) * np.exp(-np.abs(x))), 8))})
    loss = F.binary_cross_entropy_with_logits(leaf, t64(target), pos_weight=positive)
    loss.backward()
    return ({"input": x, "target": target}, dict(pos_weight=pos_weight),
            {"output": (loss.detach().reshape(1).numpy(), tol(x.size, w * (np.abs(x).mean() + 1), 8)),
             "grad.input": (leaf.grad.numpy(), tol(0, w / x.size * (1 + np.abs(x) * np.exp(-np.abs(x))), 8))})


def cross_entropy(rng, k):
    rows, classes = int(rng.integers(1, 12)), int(rng.choice([2, 2, 3, 10, 1000]))
    x = rand(rng, (rows, classes), float(rng.choice([1, 10, 100])))
    target = rng.integers(0, classes, rows)
    smoothing = float(rng.choice([0.0, 0.0, 0.1, 0.5]))
    weights = rng.random(classes).astype(np.float32) * 3 if k % 2 else None
    leaf = t64(x).requires_grad_()
    loss = F.cross_entropy(leaf, torch.from_numpy(target), weight=None if weights is None else t64(weights), label_smoothing=smoothing,
                           reduction="sum") / rows
    loss.backward()
    shifted = x.astype(np.float64) - x.max(1, keepdims=True)
    softmax = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    size = np.abs(shifted).max() + np.abs(x).max() + np.log(classes)
    q = smoothing / classes + (1 - smoothing) * (np.arange(classes) == target[:, None])
    w = 1 if weights is None else 3  # at most
    return ({"input": x, "target": target, **({} if weights is None else {"class_weights": weights})}, dict(label_smoothing=smoothing),
            {"output": (loss.detach().reshape(1).numpy(), tol(classes, w * size, 8)),
             "grad.input": (leaf.grad.numpy(), tol(classes, w * (softmax * (1 + np.abs(shifted)) + q) / rows, 8) + 2.0**-120)})


# -- optimizers -------------------------------------------------------------------------------------------------------
def sgd_step(rng, k):
    shape = any_shape(rng)
    momentum = float(rng.choice([0.0, 0.8, 0.9]))
    nesterov = bool(momentum and rng.random() < 0.4)
    dampening = 0.0 if nesterov or not momentum else float(rng.choice([0.0, 0.5]))
    lr, decay = float(rng.choice([0.1, 0.01])), float(rng.choice([0.0, 1e-4, 0.1]))
    first = bool(momentum and rng.random() < 0.3)
    param, grad, buffer = (rand(rng, shape) for _ in range(3))
    leaf = t64(param).requires_grad_()
    optimizer = torch.optim.SGD([leaf], lr=lr, momentum=momentum, dampening=dampening, weight_decay=decay, nesterov=nesterov)
    if momentum and not first:
        optimizer.state[leaf]["momentum_buffer"] = t64(buffer)
    leaf.grad = t64(grad)
    optimizer.step()
    size = np.abs(grad) + decay * np.abs(param) + momentum * np.abs(buffer)
    tensors = {"param": param, "grad": grad}
    expected = {"param": (leaf.detach().numpy(), tol(0, np.abs(param) + 2 * lr * size, 8))}
    if momentum:
        tensors["momentum_buffer"] = buffer
        expected["momentum_buffer"] = (optimizer.state[leaf]["momentum_buffer"].numpy(), tol(0, size, 8))
    return tensors, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=decay, nesterov=nesterov, first=first), expected


def adamw_step(rng, k):
    shape = any_shape(rng)
    beta1, beta2 = float(rng.choice([0.9, 0.5])), float(rng.choice([0.999, 0.9]))
    lr, decay, epsilon = float(rng.choice([1e-3, 0.1])), float(rng.choice([0.0, 0.01, 0.3])), float(rng.choice([1e-8, 1e-3]))
    step = int(rng.choice([1, 2, 10, 1000]))
    param, grad, mean = (rand(rng, shape) for _ in range(3))
    square = rng.uniform(0.01, 1, shape).astype(np.float32)
    if step == 1:
        mean, square = np.zeros_like(mean), np.zeros_like(square)
    leaf = t64(param).requires_grad_()
    optimizer = torch.optim.AdamW([leaf], lr=lr, betas=(beta1, beta2), eps=epsilon, weight_decay=decay)
    optimizer.state[leaf] = {"step": torch.tensor(float(step - 1)), "exp_avg": t64(mean), "exp_avg_sq": t64(square)}
    leaf.grad = t64(grad)
    optimizer.step()
    state = optimizer.state[leaf]
    m_size = np.abs(mean) + np.abs(grad)
    root = np.sqrt(state["exp_avg_sq"].numpy() / (1 - beta2**step)) + epsilon
    update = lr / (1 - beta1**step) * (beta1 * np.abs(mean) + (1 - beta1) * np.abs(grad)) / root
    return ({"param": param, "grad": grad, "exp_avg": mean, "exp_avg_sq": square},
            dict(lr=lr, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=decay, step=step),
            {"param": (leaf.detach().numpy(), tol(0, np.abs(param) + update, 16)), "exp_avg": (state["exp_avg"].numpy(), tol(0, m_size, 8)),
             "exp_avg_sq": (state["exp_avg_sq"].numpy(), tol(0, square + grad.astype(np.float64) ** 2, 8))})


# -- masks: exact -----------------------------------------------------------------------------------------------------
def random_mask(rng):
    n, h, w = int(rng.integers(1, 4)), int(rng.integers(1, 80)), int(rng.integers(1, 150))
    mask = rng.random((n, 1, h, w)) < rng.choice([0.02, 0.3, 0.5, 0.6, 0.95])
    return mask.astype(np.uint8) * np.uint8(rng.choice([1, 255]))


def morphology(function):
    def problem(rng, k):
        mask, iterations = random_mask(rng), int(rng.integers(0, 10))
        square = bool(rng.random() < 0.4)
        structure = ndimage.generate_binary_structure(2, 2 if square else 1)
        # scipy reads iterations = 0 as "until nothing changes"
        out = np.stack([[function(m[0], structure, iterations) if iterations else m[0] != 0] for m in mask]).astype(np.uint8)
        return {"input": mask}, dict(iterations=iterations, structure="square" if square else "cross"), {"output": (out, 0.0)}
    return problem


def connected_components(rng, k):
    mask, connectivity = random_mask(rng), int(rng.choice([4, 8]))
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    labels = np.stack([[ndimage.label(m[0], structure)[0]] for m in mask])
    return {"input": mask}, dict(connectivity=connectivity), {"output": (labels, 0.0)}


OPS = dict(conv2d=conv2d, conv_transpose2d=conv_transpose2d, batch_norm=batch_norm, max_pool2d=max_pool2d, avg_pool2d=avg_pool2d,
           global_avg_pool=global_avg_pool, upsample_nearest=upsample_nearest, upsample_bilinear=upsample_bilinear,
           fuse_multires=fuse_multires, concat=concat, linear=linear, relu=relu, sigmoid=sigmoid, dropout=dropout, dice_loss=dice_loss,
           matmul=matmul, add=binary(torch.add), sub=binary(torch.sub), mul=binary(torch.mul), div=binary(torch.div),
           exp=unary(torch.exp, -4, 4, 4), log=unary(torch.log, 0.1, 4, 4), sqrt=unary(torch.sqrt, 0.1, 4, 4), abs=unary(torch.abs, -3, 3, 1),
           affine=unary(lambda x, factor, shift: factor * x + shift, -3, 3, 4, factor=-0.7, shift=0.3), pow=power,
           sum=reduction(torch.sum), mean=reduction(torch.mean), permute=permute, softmax=softmax(False), log_softmax=softmax(True),
           bce_with_logits=bce_with_logits, cross_entropy=cross_entropy, sgd_step=sgd_step, adamw_step=adamw_step,
           dilate=morphology(ndimage.binary_dilation), erode=morphology(ndimage.binary_erosion), close=morphology(ndimage.binary_closing),
           connected_components=connected_components)
NO_GRAD = {"sgd_step", "adamw_step", "dilate", "erode", "close", "connected_components"}
