#!/usr/bin/env python3
"""Golden values for engine/stats/temperature.h: SciPy's minimisation of the negative log-likelihood, and the expected calibration
error written a second time. Writes temperature.json.

Needs: pip install numpy scipy (made with scipy 1.17.1).
"""
import json
import os

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

HERE = os.path.dirname(os.path.abspath(__file__))


def ece(p, labels):
    """Bins (low, high] of equal width; of two classes of P(1), of more of the largest probability against being right."""
    claimed, event = (p[:, 1], labels) if p.shape[1] == 2 else (p.max(1), (p.argmax(1) == labels).astype(int))
    bins = np.clip(np.ceil(claimed * 10).astype(int) - 1, 0, 9)
    return sum(abs(claimed[bins == b].sum() - event[bins == b].sum()) for b in range(10)) / len(labels)


def case(rng, outputs, n, sharpness):
    classes = max(outputs, 2)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    z = rng.normal(size=(n, outputs)) * 0.8
    if outputs == 1:
        z[:, 0] += labels - 0.5
    else:
        z[np.arange(n), labels] += 1
    z *= sharpness
    every = np.hstack([np.zeros((n, 1)), z]) if outputs == 1 else z

    def nll(beta):
        return -log_softmax(beta * every, axis=1)[np.arange(n), labels].mean()
    best = minimize_scalar(nll, bounds=(1e-3, 1e3), method="bounded", options=dict(xatol=1e-12))
    best = minimize_scalar(nll, bracket=(best.x * 0.9, best.x, best.x * 1.1), method="brent", options=dict(xtol=1e-12))
    return dict(logits=z.tolist(), labels=labels.tolist(), temperature=1 / best.x, nll_before=nll(1.0), nll_after=nll(best.x),
                ece_before=ece(np.exp(log_softmax(every, axis=1)), labels),
                ece_after=ece(np.exp(log_softmax(every * best.x, axis=1)), labels))


def main():
    rng = np.random.default_rng(7)
    cases = [case(rng, outputs, n, sharpness) for outputs, n, sharpness in
             ((1, 40, 1), (1, 60, 6), (1, 25, 0.2), (2, 30, 3), (3, 50, 4), (5, 80, 0.5))]
    with open(os.path.join(HERE, "temperature.json"), "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(c, allow_nan=False) for c in cases) + "\n]\n")


if __name__ == "__main__":
    main()
