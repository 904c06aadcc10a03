#!/usr/bin/env python3
"""Golden files of single pieces, made once by PyTorch and scikit-learn. Values are float64, rounded once where the file
holds float32. Layout: README.md."""
import json
import math
import os
import sys

import numpy as np
import sklearn.metrics as skm
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../bench/peers"))
import hashfill  # noqa: E402
import torch_models  # noqa: E402


class Cases:
    """Tensors `case<k>/<name>` and options `case<k>/<name>` in the metadata, as `thorax op` reads them."""

    def __init__(self, file):
        self.path, self.tensors, self.meta, self.count = os.path.join(HERE, file), {}, {"torch": torch.__version__}, 0

    def add(self, tensors, **options):
        prefix = f"case{self.count}/"
        for name, value in tensors.items():
            value = value.detach().numpy() if torch.is_tensor(value) else np.asarray(value)
            self.tensors[prefix + name] = np.ascontiguousarray(value.astype(np.float32) if value.dtype == np.float64 else value)
        self.meta.update((prefix + k, str(v).lower() if isinstance(v, bool) else str(v)) for k, v in options.items())
        self.count += 1

    def write(self):
        save_file(self.tensors, self.path, self.meta)
        os.chmod(self.path, 0o644)
        print(f"{os.path.basename(self.path):28} {self.count} cases, {os.path.getsize(self.path)} bytes")


def values(name, shape, a=1.0):
    return torch.from_numpy(hashfill.uniform(name, shape, a)).double()


def resize():
    cases = Cases("resize.safetensors")
    for k, (h, w, oh, ow) in enumerate([(7, 5, 3, 4), (16, 16, 8, 8), (33, 17, 64, 40), (100, 80, 32, 32), (1, 1, 4, 3), (5, 9, 5, 9),
                                        (12, 8, 1, 1), (40, 30, 64, 7), (9, 64, 20, 16), (64, 48, 63, 47), (3, 200, 2, 3)]):
        channels = 1 + 2 * (k % 2)
        x = values(f"resize.{k}", (1, channels, h, w)) / 2 + 0.5
        mask = torch.from_numpy((hashfill.bits(f"resize.mask.{k}", h * w) % np.uint64(4)).astype(np.uint8).reshape(1, 1, h, w))
        cases.add({"input": x, "output": F.interpolate(x, (oh, ow), mode="bilinear", antialias=True, align_corners=False),
                   "mask": mask, "mask_output": F.interpolate(mask, (oh, ow), mode="nearest-exact")}, height=oh, width=ow)
    cases.write()


def upsample():
    cases = Cases("upsample.safetensors")
    for k, (n, c, h, w, oh, ow) in enumerate([(2, 3, 4, 5, 8, 10), (1, 18, 7, 7, 28, 28), (1, 1, 1, 1, 8, 8), (1, 2, 5, 3, 13, 4), (1, 2, 6, 8, 3, 5)]):
        for mode in ("nearest", "bilinear"):
            if mode == "nearest" and (oh % h or ow % w or oh // h != ow // w):
                continue
            x = values(f"upsample.{k}", (n, c, h, w)).requires_grad_()
            y = F.interpolate(x, (oh, ow), mode=mode, **(dict(align_corners=False) if mode == "bilinear" else {}))
            dy = values(f"upsample.dy.{k}", y.shape)
            y.backward(dy)
            cases.add({"input": x, "output": y, "grad_output": dy, "grad.input": x.grad}, mode=mode, height=oh, width=ow)
    cases.write()


def losses():
    cases = Cases("losses.safetensors")
    for k, (shape, scale) in enumerate([((1, 1, 8, 8), 2.0), ((3, 1, 7, 5), 6.0), ((2, 2, 4, 4), 0.1), ((2, 1, 6, 6), 60.0)]):
        for per_image in (False, True):
            x = values(f"dice.{k}", shape, scale).requires_grad_()
            target = torch.from_numpy(hashfill.mask(shape, f"dice.target.{k}")).double()
            if k == 1:
                target[1] = 0  # an image without foreground
            loss = torch_models.dice_loss(x, target, per_image, 1e-6)
            loss.backward()
            cases.add({"input": x, "target": target, "output": loss.reshape(1), "grad.input": x.grad},
                      op="dice_loss", per_image=per_image, epsilon=1e-6)
    for k, (shape, scale, weight) in enumerate([((8, 1), 3.0, 1.0), ((5, 4), 100.0, 1.0), ((2, 1, 5, 5), 8.0, 2.5), ((3,), 0.01, 0.3)]):
        x = values(f"bce.{k}", shape, scale).requires_grad_()
        target = torch.from_numpy(hashfill.mask(shape, f"bce.target.{k}")).double() if k != 3 else values("bce.soft", shape) / 2 + 0.5
        loss = F.binary_cross_entropy_with_logits(x, target, pos_weight=torch.tensor(weight, dtype=torch.float64))
        loss.backward()
        cases.add({"input": x, "target": target, "output": loss.reshape(1), "grad.input": x.grad}, op="bce_with_logits", pos_weight=weight)
    for k, (rows, classes, scale, smoothing) in enumerate([(8, 2, 3.0, 0.0), (5, 10, 100.0, 0.0), (4, 1000, 4.0, 0.1), (1, 3, 0.1, 0.5)]):
        x = values(f"ce.{k}", (rows, classes), scale).requires_grad_()
        target = torch.from_numpy(hashfill.classes(rows, classes, f"ce.target.{k}"))
        loss = F.cross_entropy(x, target, label_smoothing=smoothing)
        loss.backward()
        cases.add({"input": x, "target": target, "output": loss.reshape(1), "grad.input": x.grad}, op="cross_entropy", label_smoothing=smoothing)
    # CheXpert's way: of each image some findings are known; mean over the known ones. The last: a weight for every element.
    for k, (shape, scale, weight) in enumerate([((4, 14), 3.0, 1.0), ((6, 5), 40.0, 1.7), ((3, 2), 1.0, 0.5)]):
        x = values(f"bce.weighted.{k}", shape, scale).requires_grad_()
        target = torch.from_numpy(hashfill.mask(shape, f"bce.weighted.target.{k}")).double()
        known = torch.from_numpy(hashfill.mask(shape, f"bce.weighted.known.{k}")).double()
        each = known / known.sum() if k < 2 else values("bce.weighted.each", shape) ** 2
        loss = F.binary_cross_entropy_with_logits(x, target, each, reduction="sum", pos_weight=torch.tensor(weight, dtype=torch.float64))
        loss.backward()
        cases.add({"input": x, "target": target, "weight": each, "output": loss.reshape(1), "grad.input": x.grad},
                  op="bce_with_logits", pos_weight=weight)
    cases.write()


def optimizers():
    cases = Cases("optimizers.safetensors")
    shape, steps = (5, 7), 5
    settings = [("sgd", dict(lr=0.1)), ("sgd", dict(lr=0.1, momentum=0.8, weight_decay=1e-4)), ("sgd", dict(lr=0.05, momentum=0.9, nesterov=True)),
                ("sgd", dict(lr=0.05, momentum=0.9, dampening=0.5, weight_decay=0.01)), ("sgd", dict(lr=0.5, weight_decay=0.1)),
                ("sgd", dict(lr=0.01, momentum=0.99, nesterov=True, weight_decay=0.05)), ("adamw", dict(lr=1e-3)),
                ("adamw", dict(lr=0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1)), ("adamw", dict(lr=0.1, weight_decay=0.0))]
    for k, (kind, setting) in enumerate(settings):
        p = values(f"optim.{k}", shape).requires_grad_()
        options = dict(weight_decay=0.0, **({"momentum": 0.0} if kind == "sgd" else {"betas": (0.9, 0.999), "eps": 1e-8}))
        options.update(setting)
        optimizer = (torch.optim.SGD if kind == "sgd" else torch.optim.AdamW)([p], **options)
        tensors = {"param0": p.detach().clone()}
        for step in range(steps):
            p.grad = values(f"optim.grad.{k}.{step}", shape)
            tensors[f"grad{step}"] = p.grad.clone()
            optimizer.step()
            tensors[f"param{step + 1}"] = p.detach().clone()
        if kind == "adamw":
            options["beta1"], options["beta2"] = options.pop("betas")
            options["epsilon"] = options.pop("eps")
        cases.add(tensors, op=kind, **options)
    cases.write()


def ratio(numerator, denominator):
    return numerator / denominator if denominator else None


def metrics():
    rng = np.random.default_rng(0)
    rows = []
    for k in range(40):
        n = int(rng.integers(1, 60))
        labels = rng.integers(0, 2, n)
        scores = np.round(np.clip(rng.normal(0.45 + 0.15 * labels, 0.25), 0, 1), int(rng.integers(1, 6)))  # one digit: many ties
        if k in (0, 1):
            labels[:] = k  # one class only
        if k in (2, 3):
            scores[:] = 0.5 if k == 2 else 0.25  # one score only
        if k == 4:
            scores = labels.astype(float)  # perfect
        if k == 5:
            scores = 1.0 - labels  # perfectly wrong
        predicted = (scores >= 0.5).astype(int)
        tn, fp, fn, tp = (int(v) for v in skm.confusion_matrix(labels, predicted, labels=[0, 1]).ravel())
        both = len(set(labels.tolist())) == 2
        rows.append(dict(
            labels=labels.tolist(), scores=scores.tolist(), threshold=0.5, tp=tp, fn=fn, fp=fp, tn=tn,
            accuracy=skm.accuracy_score(labels, predicted),
            sensitivity=skm.recall_score(labels, predicted) if tp + fn else None,
            specificity=skm.recall_score(labels, predicted, pos_label=0) if tn + fp else None,
            ppv=skm.precision_score(labels, predicted) if tp + fp else None,
            npv=skm.precision_score(labels, predicted, pos_label=0) if tn + fn else None,
            f1=skm.f1_score(labels, predicted) if 2 * tp + fp + fn else None,
            balanced_accuracy=skm.balanced_accuracy_score(labels, predicted) if both else None,
            auc=skm.roc_auc_score(labels, scores) if both else None))
    multi = []
    for classes in (2, 3, 5):
        labels, predicted = rng.integers(0, classes, 50), rng.integers(0, classes, 50)
        if classes == 5:
            labels[labels == 4] = 0  # a class that never occurs but is predicted
        names = list(range(classes))
        multi.append(dict(classes=classes, labels=labels.tolist(), predicted=predicted.tolist(),
                          matrix=skm.confusion_matrix(labels, predicted, labels=names).tolist(), accuracy=skm.accuracy_score(labels, predicted),
                          recall=[ratio(int(((labels == c) & (predicted == c)).sum()), int((labels == c).sum())) for c in names],
                          precision=[ratio(int(((labels == c) & (predicted == c)).sum()), int((predicted == c).sum())) for c in names],
                          f1=skm.f1_score(labels, predicted, labels=names, average=None).tolist(),
                          balanced_accuracy=float(np.mean([skm.recall_score(labels, predicted, labels=[c], average=None)[0]
                                                           for c in names if (labels == c).any()]))))
    write_json("metrics.json", dict(binary=rows, multiclass=multi))


def schedules():
    rows = []
    for kind, more in (("constant", {}), ("step", dict(factor=0.1, milestones=[6, 9, 14])), ("step", dict(factor=0.5, milestones=[4])),
                       ("cosine", dict(final_lr=0.001)), ("cosine", {}), ("poly", dict(power=0.9)), ("poly", dict(power=2.0, final_lr=0.002))):
        for warmup, start in ((0, 0.0), (3, 0.0), (4, 0.1)):
            lr, total, final = 0.02, 20, more.get("final_lr", 0.0)

            def full(position):
                t = min(max((position - warmup) / (total - warmup), 0.0), 1.0)
                if kind == "step":
                    return lr * more["factor"] ** sum(m <= position for m in more["milestones"])
                if kind == "cosine":
                    return final + (lr - final) * (1 + math.cos(math.pi * t)) / 2
                if kind == "poly":
                    return final + (lr - final) * (1 - t) ** more["power"]
                return lr

            rate = [full(p) * (start + (1 - start) * (p + 1) / warmup if p < warmup else 1.0) for p in range(total + 1)]
            rows.append(dict(name=kind, lr=lr, total=total, warmup=warmup, warmup_start=start, **more, rate=rate))
    # PyTorch agrees where it has the schedule: cosine and poly without warm-up.
    for row in rows:
        if row["warmup"] == 0 and row["name"] in ("cosine", "poly") and not (row["name"] == "poly" and row.get("final_lr")):
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=row["lr"])
            peer = (torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, row["total"], eta_min=row.get("final_lr", 0.0)) if row["name"] == "cosine"
                    else torch.optim.lr_scheduler.PolynomialLR(optimizer, row["total"], row["power"]))
            for rate in row["rate"]:
                assert abs(optimizer.param_groups[0]["lr"] - rate) < 1e-12, row
                optimizer.step()
                peer.step()
    write_json("schedules.json", rows)


def write_json(file, document):
    path = os.path.join(HERE, file)
    with open(path, "w") as f:
        if isinstance(document, list):
            f.write("[\n" + ",\n".join(json.dumps(row) for row in document) + "\n]\n")
        else:
            parts = (f'"{key}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]" for key, rows in document.items())
            f.write("{\n" + ",\n".join(parts) + "\n}\n")
    json.load(open(path))
    print(f"{file:28} {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    import warnings
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for make in (resize, upsample, losses, optimizers, metrics, schedules):
        make()
