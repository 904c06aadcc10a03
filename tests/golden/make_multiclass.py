"""Golden values for engine/stats/multiclass.h, from scikit-learn.

    pip install -r bench/peers/requirements.txt
    python tests/golden/make_multiclass.py

Writes multiclass.json: labels, probabilities and every figure of some problems with 3 to 6 classes, ties among them.
"""

import json
import os

import numpy as np
import sklearn.metrics as skm

HERE = os.path.dirname(os.path.abspath(__file__))


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
        f1=skm.f1_score(labels, predicted, average=None, labels=range(classes)).tolist(), auc=aucs)


def main():
    rng = np.random.default_rng(20)
    cases = [case(rng, k) for k in range(8)]
    path = os.path.join(HERE, "multiclass.json")
    with open(path, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(c, allow_nan=False) for c in cases) + "\n]\n")
    print(f"multiclass.json: {len(cases)} cases, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
