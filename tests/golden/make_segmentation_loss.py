"""segmentation_loss.json: the losses of kernels/segmentation_loss and their gradients by PyTorch in float64.

    python3 tests/golden/make_segmentation_loss.py

Logits 2 x 2 x 3 x C are ((7 i) % 11 - 5) / 2, labels (5 i) % C, masks (5 i) % 7 < 3; i counts elements.
Each loss is written down as its paper has it, with autograd for the gradient.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

N, H, W = 2, 2, 3


def logits(c):
    i = torch.arange(N * H * W * c)
    return (((7 * i) % 11 - 5).double() / 2).reshape(-1, c).requires_grad_()


def dice(p, g, squared, epsilon):
    """Mean over columns, sums over the batch (Milletari et al. 2016; nnU-Net's has no squares)."""
    share = (lambda t: t * t) if squared else (lambda t: t)
    d = (2 * (p * g).sum(0) + epsilon) / (share(p).sum(0) + share(g).sum(0) + epsilon)
    return 1 - d.mean()


def generalised(p, g):
    """Sudre et al. 2017, over all columns."""
    w = 1 / g.sum(0) ** 2
    return 1 - 2 * (w * (p * g).sum(0)).sum() / (w * (p + g).sum(0)).sum()


def cases():
    for c in (2, 3):
        x = logits(c)
        labels = (5 * torch.arange(N * H * W)) % c
        g = F.one_hot(labels, c).double()
        p = x.softmax(1)
        entropy = F.cross_entropy(x, labels)
        yield dict(softmax=True, loss="dice"), x, dice(p[:, 1:], g[:, 1:], True, 1e-6)
        yield dict(softmax=True, loss="generalised"), x, generalised(p, g)
        yield dict(softmax=True, loss="dice+ce"), x, dice(p[:, 1:], g[:, 1:], False, 1e-5) + entropy
        x = logits(c)
        i = torch.arange(N * H * W * c)
        g = ((5 * i) % 7 < 3).double().reshape(-1, c)
        p = x.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(x, g)
        yield dict(softmax=False, loss="dice"), x, dice(p, g, True, 1e-6)
        two = [torch.stack((1 - t, t), 1) for k in range(c) for t in (p[:, k], g[:, k])]
        whole = torch.stack([generalised(two[2 * k], two[2 * k + 1]) for k in range(c)]).mean()
        yield dict(softmax=False, loss="generalised"), x, whole
        yield dict(softmax=False, loss="dice+ce"), x, dice(p, g, False, 1e-5) + entropy


def main():
    out = []
    for case, x, loss in cases():
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        case.update(classes=x.shape[1], value=loss.item(), gradient=gradient.flatten().tolist())
        out.append(case)
    path = pathlib.Path(__file__).with_name("segmentation_loss.json")
    path.write_text(json.dumps({"torch": torch.__version__.split("+")[0], "cases": out}, indent=1) + "\n")


main()
