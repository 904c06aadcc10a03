"""Random problems for every operation of `thorax op`, with PyTorch (scipy for masks) as the oracle in float64. op_bounds.py says what may differ."""
import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from loss_problems import (adamw_step, bce_with_logits, connected_components, cross_entropy, dice_loss, fill_holes, keep_largest, morphology,
                           segmentation_loss, sgd_step)
from op_bounds import LAMBDA, U, any_shape, evaluate, finish, least, magnitudes, rand, rounded, t64, tol, unit, zero_near_kink


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
    tensors = {"input": rounded(rand(rng, shape) + np.float32(offset)), "weight": rand(rng, (c,)), "bias": rand(rng, (c,))}
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
    # exp(-x) of a rounded argument is off by |x| u relative; 1 - y is off by u where y is near 1. The gradient is that of
    # the stored y.
    stored = (unit() - U) * out + least()
    return ({"input": x, "grad_output": dy}, {},
            {"output": (out, (4 + np.abs(x) * (1 - out)) * U * out + 2.0**-126),
             "grad.input": (grad, ((8 + np.abs(x)) * U * out + stored) * np.abs(dy) + 2.0**-126)})


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
    x, dy = (rounded(rng.uniform(0.5, 1, n).astype(np.float32)) for _ in range(2))
    # Cases 2i and 2i + 1: in every second pair the same seed and stream, else another one of the two.
    pair = k // 2
    changed = k % 2 if pair % 2 else 0
    seed, stream = (1000 + pair + (changed if pair % 4 == 1 else 0), pair + (changed if pair % 4 == 3 else 0))
    return {"input": x, "grad_output": dy}, dict(p=p, seed=seed, stream=stream, training=bool(k % 7)), {}


OPS = dict(conv2d=conv2d, conv_transpose2d=conv_transpose2d, batch_norm=batch_norm, max_pool2d=max_pool2d, avg_pool2d=avg_pool2d,
           global_avg_pool=global_avg_pool, upsample_nearest=upsample_nearest, upsample_bilinear=upsample_bilinear,
           fuse_multires=fuse_multires, concat=concat, linear=linear, relu=relu, sigmoid=sigmoid, dropout=dropout, dice_loss=dice_loss,
           matmul=matmul, add=binary(torch.add), sub=binary(torch.sub), mul=binary(torch.mul), div=binary(torch.div),
           exp=unary(torch.exp, -4, 4, 4), log=unary(torch.log, 0.1, 4, 4), sqrt=unary(torch.sqrt, 0.1, 4, 4), abs=unary(torch.abs, -3, 3, 1),
           affine=unary(lambda x, factor, shift: factor * x + shift, -3, 3, 4, factor=-0.7, shift=0.3), pow=power,
           sum=reduction(torch.sum), mean=reduction(torch.mean), permute=permute, softmax=softmax(False), log_softmax=softmax(True),
           segmentation_loss=segmentation_loss, bce_with_logits=bce_with_logits, cross_entropy=cross_entropy, sgd_step=sgd_step,
           adamw_step=adamw_step,
           dilate=morphology(ndimage.binary_dilation), erode=morphology(ndimage.binary_erosion), close=morphology(ndimage.binary_closing),
           connected_components=connected_components, fill_holes=fill_holes, keep_largest=keep_largest)
# With kernels of 16 bits: activations and their gradients. And the arguments that are parameters, in float32 there.
HALF = ("conv2d", "conv_transpose2d", "batch_norm", "max_pool2d", "avg_pool2d", "global_avg_pool", "upsample_nearest", "upsample_bilinear",
        "fuse_multires", "concat", "linear", "relu", "sigmoid", "dropout")
PARAMETERS = {"weight", "bias", "running_mean", "running_var"}
NO_GRAD = {"sgd_step", "adamw_step", "dilate", "erode", "close", "connected_components", "fill_holes", "keep_largest"}
