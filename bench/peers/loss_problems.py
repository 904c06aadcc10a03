"""Random problems of losses, optimizers and masks, for op_problems.py."""
import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from op_bounds import any_shape, rand, t64, tol


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


def segmentation_loss(rng, k):
    """Dice or generalised Dice of several classes, with a cross entropy: kernels/segmentation_loss/segmentation_loss.h."""
    n, classes, h, w = int(rng.integers(1, 4)), int(rng.integers(2, 7)), int(rng.integers(1, 20)), int(rng.integers(1, 20))
    softmax, generalised, squared = (bool(rng.random() < 0.5) for _ in range(3))
    entropy, epsilon = float(rng.choice([0.0, 1.0, 0.5])), float(rng.choice([1e-6, 1e-3, 1.0]))
    x = rand(rng, (n, classes, h, w), float(rng.choice([1, 4, 12])))
    axes = (0, 2, 3)
    if softmax:
        target = rng.integers(0, classes, (n, h, w))
        target.flat[:classes] = np.arange(classes)[:target.size]  # mostly every class has a pixel
        g = F.one_hot(torch.from_numpy(target), classes).permute(0, 3, 1, 2).double()
    else:
        target = (rng.random(x.shape) < 0.4).astype(np.float32)
        target[0, :, 0, 0] = 1
        g = t64(target)
    leaf = t64(x).requires_grad_()
    p = leaf.softmax(1) if softmax else leaf.sigmoid()

    def weighted(part, truth):
        """Generalised Dice over the channels, and d/dp as a bound. A class without a pixel weighs what the smallest one does."""
        area = truth.sum(axes)
        area = torch.where(area > 0, area, area[area > 0].min())
        weight = (1 / area**2).reshape(1, -1, 1, 1)
        whole = (weight * (part + truth)).sum()
        return 1 - 2 * (weight * part * truth).sum() / whole, weight * (2 * truth + 2) / whole

    if not generalised:
        first = 1 if softmax else 0  # without the background
        sums = ((p * p + g * g) if squared else (p + g)).sum(axes)[first:] + epsilon
        loss = 1 - ((2 * (p * g).sum(axes)[first:] + epsilon) / sums).mean()
        slope = (2 * g + (2 * p if squared else 1))[:, first:] / sums.reshape(1, -1, 1, 1) / len(sums)
        slope = F.pad(slope, (0, 0, 0, 0, first, 0))
    elif softmax:
        loss, slope = weighted(p, g)
    else:
        pairs = [weighted(torch.stack((1 - p[:, c], p[:, c]), 1), torch.stack((1 - g[:, c], g[:, c]), 1)) for c in range(classes)]
        loss = torch.stack([value for value, _ in pairs]).mean()
        slope = torch.stack([bound.sum(1) for _, bound in pairs], 1) / classes
    pixels = n * h * w
    share = entropy / (pixels if softmax else pixels * classes)
    if entropy and softmax:
        loss = loss + entropy * F.cross_entropy(leaf, torch.from_numpy(target))
    elif entropy:
        loss = loss + entropy * F.binary_cross_entropy_with_logits(leaf, g)
    loss.backward()
    p, g, slope = (v.detach().numpy() for v in (p, g, slope))
    # d/dx: p (d - sum p d) of a softmax, p (1 - p) d of a sigmoid; p - g of a cross entropy.
    size = p * (slope + (p * slope).sum(1, keepdims=True) if softmax else slope) + share * (p + g)
    reach = 2 * np.abs(x).max()
    return ({"input": x, "target": target}, dict(softmax=softmax, generalised=generalised, squared=squared, cross_entropy=entropy, epsilon=epsilon),
            {"output": (loss.detach().reshape(1).numpy(), tol(pixels, 2 + entropy * (reach + np.log(classes)), 8 + reach)),
             "grad.input": (leaf.grad.numpy(), tol(pixels, size, 16 + 2 * reach) + 2.0**-120)})


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


def fill_holes(rng, k):
    mask = random_mask(rng)
    return {"input": mask}, {}, {"output": (np.stack([[ndimage.binary_fill_holes(m[0])] for m in mask]).astype(np.uint8), 0.0)}


def keep_largest(rng, k):
    mask, connectivity, count = random_mask(rng), int(rng.choice([4, 8])), int(rng.integers(1, 4))
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)

    def largest(one):
        labels, found = ndimage.label(one, structure)
        areas = np.bincount(labels.ravel(), minlength=found + 1)[1:]
        kept = np.argsort(-areas, kind="stable")[:count] + 1  # of equal areas the one met first
        return np.isin(labels, kept)

    return {"input": mask}, dict(count=count, connectivity=connectivity), {"output": (np.stack([[largest(m[0])] for m in mask]).astype(np.uint8), 0.0)}
