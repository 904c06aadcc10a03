"""Golden values for engine/stats/multiclass.h, multiclass_calibration.h and linear_model.h (one against rest), from scikit-learn.

    pip install -r bench/peers/requirements.txt
    python tests/golden/make_multiclass.py

Writes multiclass.json: labels, probabilities and every figure of some problems with 3 to 6 classes, ties among them; and
one_against_rest.json: logistic regressions of each class against the rest.
"""

import json
import os

import numpy as np
import sklearn.metrics as skm
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = os.path.dirname(os.path.abspath(__file__))


def calibration_error(right, p, bins=10):
    """Mean over the samples of |mean probability - share| of their part, and the largest; parts as calibration_curve has them."""
    observed, predicted = calibration_curve(right, p, n_bins=bins)
    part = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], p)  # calibration_curve's, whose empty parts are left out
    counts = np.bincount(part, minlength=bins)
    counts = counts[counts > 0]
    return float((np.abs(observed - predicted) * counts).sum() / len(p)), float(np.abs(observed - predicted).max())


def calibration(labels, p):
    classes = p.shape[1]
    top, largest = calibration_error(p.argmax(1) == labels, p.max(1))
    each = [calibration_error(labels == c, p[:, c])[0] for c in range(classes)]
    return dict(top_label=top, top_label_largest=largest, class_errors=each, class_wise=float(np.mean(each)),
                # scikit-learn wants rows that sum to 1; its log_loss divides by the sum.
                brier=skm.brier_score_loss(labels, p, labels=range(classes), scale_by_half=False),
                log_loss=skm.log_loss(labels, p, labels=range(classes)))


def one_against_rest(rng, classes, n, columns, c):
    x = rng.normal(size=(n, columns)) * (1 + np.arange(columns)) + np.arange(columns)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    x[:, 0] += labels
    x[:, -1] += labels == 1
    x = np.round(x, 6)
    model = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=c, tol=1e-12, max_iter=10000))).fit(x, labels)
    return dict(classes=classes, columns=columns, l2=1 / c, labels=labels.tolist(), features=x.ravel().tolist(),
                probabilities=model.predict_proba(x).tolist())


def case(rng, k):
    classes, n = 3 + k % 4, 20 + 7 * k
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    logits = rng.normal(size=(n, classes)) * 1.5
    logits[np.arange(n), labels] += (0.0, 1.0, 2.5)[k % 3]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if k % 2:  # probabilities that many images share, in binary fractions so that rows still sum to 1
        p = np.round(p * 16) / 16
        p[:, 0] += 1 - p.sum(1)
        p = np.clip(p, 0, 1)
        p = np.where(p.sum(1, keepdims=True) == 1, p, np.eye(classes)[labels])
    predicted = p.argmax(1)
    recall = skm.recall_score(labels, predicted, average=None, labels=range(classes))
    one = [labels == c for c in range(classes)]
    aucs = [skm.roc_auc_score(one[c], p[:, c]) for c in range(classes)]
    macro = skm.roc_auc_score(labels, p, multi_class="ovr", average="macro")
    assert abs(macro - np.mean(aucs)) < 1e-12
    return dict(
        classes=classes, labels=labels.tolist(), probabilities=p.tolist(),
        confusion=skm.confusion_matrix(labels, predicted, labels=range(classes)).tolist(),
        accuracy=skm.accuracy_score(labels, predicted), balanced_accuracy=skm.balanced_accuracy_score(labels, predicted),
        macro_f1=skm.f1_score(labels, predicted, average="macro", labels=range(classes)), macro_auc=macro,
        sensitivity=recall.tolist(),
        specificity=[skm.recall_score(~one[c], predicted != c) for c in range(classes)],
        # Never predicted: no precision, where scikit-learn says 0.
        ppv=[skm.precision_score(one[c], predicted == c) if (predicted == c).any() else None for c in range(classes)],
        f1=skm.f1_score(labels, predicted, average=None, labels=range(classes)).tolist(), auc=aucs,
        calibration=calibration(labels, p))


def main():
    rng = np.random.default_rng(20)
    cases = [case(rng, k) for k in range(8)]
    path = os.path.join(HERE, "multiclass.json")
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(c, allow_nan=False) for c in cases) + "\n]\n")
    print(f"multiclass.json: {len(cases)} cases, {os.path.getsize(path)} bytes")
    rng = np.random.default_rng(21)
    cases = [one_against_rest(rng, *setting) for setting in ((3, 40, 4, 1.0), (5, 60, 2, 0.25), (4, 50, 6, 4.0))]
    path = os.path.join(HERE, "one_against_rest.json")
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(c, allow_nan=False) for c in cases) + "\n]\n")
    print(f"one_against_rest.json: {len(cases)} cases, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
