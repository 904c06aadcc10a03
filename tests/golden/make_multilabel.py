"""Golden values for engine/stats/multilabel.h, from scikit-learn.

    pip install -r bench/peers/requirements.txt
    python tests/golden/make_multilabel.py

Writes multilabel.json: labels (1, 0, -1 not known), probabilities, thresholds and every figure of some problems with 1 to 5 findings,
ties among them. scikit-learn knows no unknown labels: of each finding it is given the known ones, for micro figures all known pairs.
"""

import json
import os

import numpy as np
import sklearn.metrics as skm

HERE = os.path.dirname(os.path.abspath(__file__))


def figures(labels, called, p):
    tn, fp, fn, tp = skm.confusion_matrix(labels, called, labels=[0, 1]).ravel().tolist()
    return dict(
        counts=[tp, fn, fp, tn], sensitivity=skm.recall_score(labels, called), specificity=skm.recall_score(1 - labels, 1 - called),
        # Never called: no precision, where scikit-learn says 0.
        ppv=skm.precision_score(labels, called) if called.any() else None,
        f1=skm.f1_score(labels, called), auc=skm.roc_auc_score(labels, p), average_precision=skm.average_precision_score(labels, p))


def case(rng, k):
    findings, n = 1 + k % 5, 24 + 9 * k
    labels = (rng.random((n, findings)) < rng.uniform(0.15, 0.6, findings)).astype(int)
    labels[0], labels[1] = 1, 0
    p = 1 / (1 + np.exp(-(rng.normal(size=(n, findings)) + (0.0, 1.5, 3.0)[k % 3] * (labels - 0.5))))
    if k % 2:
        p = np.round(p * 8) / 8
    thresholds = np.full(findings, 0.5) if k < 4 else np.round(rng.uniform(0.2, 0.8, findings), 3)
    known = np.ones_like(labels, bool) if k % 4 == 0 else rng.random(labels.shape) < 0.7
    known[:2] = True
    called = (p >= thresholds).astype(int)
    of = [figures(labels[known[:, f], f], called[known[:, f], f], p[known[:, f], f]) for f in range(findings)]
    micro = figures(labels[known], called[known], p[known])
    names = [name for name in micro if name != "counts"]
    macro = {name: None if any(o[name] is None for o in of) else float(np.mean([o[name] for o in of])) for name in names}
    if known.all():  # where scikit-learn has the figures of all findings at once, they are these
        if findings > 1:
            assert [[c[1, 1], c[1, 0], c[0, 1], c[0, 0]] for c in skm.multilabel_confusion_matrix(labels, called)] == [o["counts"] for o in of]
        for average, mine in (("macro", macro), ("micro", micro)):
            squeeze = (lambda a: a.ravel()) if findings == 1 else (lambda a: a)
            assert abs(skm.roc_auc_score(squeeze(labels), squeeze(p), average=average) - mine["auc"]) < 1e-12
            assert abs(skm.average_precision_score(squeeze(labels), squeeze(p), average=average) - mine["average_precision"]) < 1e-12
            if findings > 1:
                assert abs(skm.f1_score(labels, called, average=average) - mine["f1"]) < 1e-12
                assert abs(skm.recall_score(labels, called, average=average) - mine["sensitivity"]) < 1e-12
    return dict(findings=findings, labels=np.where(known, labels, -1).tolist(), probabilities=p.tolist(), thresholds=thresholds.tolist(),
                of=of, macro=macro, micro=micro)


def main():
    rng = np.random.default_rng(14)
    cases = [case(rng, k) for k in range(10)]
    path = os.path.join(HERE, "multilabel.json")
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(c, allow_nan=False) for c in cases) + "\n]\n")
    print(f"multilabel.json: {len(cases)} cases, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
