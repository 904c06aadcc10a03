"""Golden values for engine/stats and the metrics of engine/train, from scikit-learn, SciPy, statsmodels and MONAI.

    pip install -r bench/peers/requirements.txt statsmodels==0.15.0 && pip install --no-deps monai==1.6.1
    python tests/golden/make_stats.py

Writes stats.json. What is undefined is null. DeLong's variance is computed from its definition, pair by pair; the bootstrap's
draws from the Philox generator written a second time.
"""

import json
import os
import warnings

import numpy as np
import scipy.ndimage
import scipy.optimize
import scipy.special
import scipy.stats
import sklearn.metrics as skm
import statsmodels.api as sm
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

HERE = os.path.dirname(os.path.abspath(__file__))
warnings.simplefilter("ignore")


def plain(value):
    """JSON types; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, (np.integer, np.bool_)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value


def binary_cases():
    rng = np.random.default_rng(1)
    cases = []
    for k in range(22):
        n = int(rng.integers(2, 45))
        labels = rng.integers(0, 2, n)
        digits = int(rng.integers(1, 5))  # 1: heavy ties
        scores = np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.25), 0, 1), digits)
        if k in (0, 1):
            labels[:] = k
        if k in (2, 3, 4):
            scores[:] = (0.5, 0.25, 1.0)[k - 2]
        if k == 5:
            scores = labels.astype(float)
        if k == 6:
            scores = 1.0 - labels
        if k in (7, 8):
            labels, scores = np.array([k - 7]), np.array([0.3])
        if k == 9:
            labels, scores = np.array([], dtype=int), np.array([])
        if k == 10:  # probabilities of a network that is sure of itself
            scores = scipy.special.expit(np.round(rng.normal(12 * labels - 6, 10), 2))
        if k == 11:  # one positive, one negative, the rest ties
            labels, scores = np.array([1, 0]), np.array([0.7, 0.2])
        if k == 12:  # 0 and 1, some of them wrong
            scores = np.where(rng.random(n) < 0.2, 1.0 - labels, labels)
        cases.append((labels.astype(int), scores))
    return cases


def divided(a, b):
    return a / b if b else None


def metrics(labels, scores):
    predicted = (scores >= 0.5).astype(int)
    tn, fp, fn, tp = (int(v) for v in skm.confusion_matrix(labels, predicted, labels=[0, 1]).ravel()) if len(labels) else (0, 0, 0, 0)
    both = len(set(labels.tolist())) == 2
    return dict(tp=tp, fn=fn, fp=fp, tn=tn, accuracy=skm.accuracy_score(labels, predicted) if len(labels) else None,
                sensitivity=skm.recall_score(labels, predicted) if tp + fn else None,
                specificity=skm.recall_score(labels, predicted, pos_label=0) if tn + fp else None,
                ppv=skm.precision_score(labels, predicted) if tp + fp else None,
                npv=skm.precision_score(labels, predicted, pos_label=0) if tn + fn else None,
                f1=skm.f1_score(labels, predicted) if 2 * tp + fp + fn else None,
                balanced_accuracy=skm.balanced_accuracy_score(labels, predicted) if both else None,
                auc=skm.roc_auc_score(labels, scores) if both else None)


def curves(labels, scores):
    result = dict(precision_recall=[], average_precision=None, roc=[], youden=None, sensitivity_at={})
    if labels.sum():
        precision, recall, thresholds = skm.precision_recall_curve(labels, scores)
        result["precision_recall"] = list(zip(precision, recall, list(thresholds) + [np.inf]))
        result["average_precision"] = skm.average_precision_score(labels, scores)
    if len(set(labels.tolist())) == 2:
        fpr, tpr, thresholds = skm.roc_curve(labels, scores, drop_intermediate=False)
        result["roc"] = list(zip(fpr, tpr, thresholds))
        positives, negatives = int(labels.sum()), int((1 - labels).sum())
        points = []  # threshold, TP, FP in whole numbers, so that ties are ties
        for t in thresholds:
            points.append((t, int(((scores >= t) & (labels == 1)).sum()), int(((scores >= t) & (labels == 0)).sum())))
        t, tp, fp = max(points[1:], key=lambda p: p[1] * negatives - p[2] * positives)
        result["youden"] = [t, tp / positives, (negatives - fp) / negatives]
        for wanted in (0.0, 0.5, 0.8, 0.9, 1.0):
            t, tp, fp = max((p for p in points if (negatives - p[2]) / negatives >= wanted), key=lambda p: p[1])
            result["sensitivity_at"][str(wanted)] = [t, tp / positives, (negatives - fp) / negatives]
    return result


def overlap(labels, probabilities):
    """True where the regression of label on logit has a finite slope."""
    zero, one = probabilities[labels == 0], probabilities[labels == 1]
    return len(zero) and len(one) and zero.min() < one.max() and one.min() < zero.max()


def calibration(labels, probabilities):
    result = dict(brier=None, log_loss=None, bins={}, ece=None, slope=None, intercept=None, slope_error=None, intercept_error=None,
                  in_the_large=None, in_the_large_error=None)
    if not len(labels):
        return result
    result["brier"] = skm.brier_score_loss(labels, probabilities, pos_label=1)
    result["log_loss"] = skm.log_loss(labels, probabilities, labels=[0, 1])
    for strategy, count in (("uniform", 10), ("uniform", 3), ("quantile", 5), ("quantile", 4)):
        if len(set(labels.tolist())) == 2:
            observed, predicted = calibration_curve(labels, probabilities, n_bins=count, strategy=strategy)
        else:  # scikit-learn refuses one class; its bins do not depend on the labels
            one = np.concatenate([probabilities, probabilities])
            twice = np.concatenate([np.zeros(len(labels), int), np.ones(len(labels), int)])
            _, predicted = calibration_curve(twice, one, n_bins=count, strategy=strategy) if strategy == "uniform" else (None, None)
            observed = None if predicted is None else np.full(len(predicted), float(labels[0]))
        if predicted is not None:
            result["bins"][f"{strategy}{count}"] = [list(observed), list(predicted)]
    edges = np.linspace(0, 1, 11)
    place = np.searchsorted(edges[1:-1], probabilities)
    result["ece"] = sum(abs(probabilities[place == b].sum() - labels[place == b].sum()) for b in range(10)) / len(labels)
    if len(set(labels.tolist())) == 2:
        p = np.clip(probabilities, np.finfo(float).eps, 1 - np.finfo(float).eps)
        logit = np.log(p) - np.log1p(-p)
        if np.abs(logit).max() < 20:  # statsmodels does not get through saturated ones
            fit = sm.GLM(labels, np.ones((len(labels), 1)), sm.families.Binomial(), offset=logit).fit(tol=1e-14, maxiter=200)
            result["in_the_large"], result["in_the_large_error"] = fit.params[0], fit.bse[0]
        else:
            equation = lambda a: (scipy.special.expit(a + logit) - labels).sum()
            a = scipy.optimize.brentq(equation, -80, 80, xtol=1e-13, rtol=1e-15)
            q = scipy.special.expit(a + logit)
            result["in_the_large"], result["in_the_large_error"] = a, (q * scipy.special.expit(-a - logit)).sum() ** -0.5
        if overlap(labels, p):
            fit = sm.Logit(labels, np.column_stack([np.ones_like(logit), logit])).fit(disp=0, tol=1e-14, maxiter=500)
            (result["intercept"], result["slope"]), (result["intercept_error"], result["slope_error"]) = fit.params, fit.bse
    for name in ("slope", "intercept", "in_the_large"):
        error = result[name + "_error"]
        if error is not None and error > 1000:  # not determined: rounding's, not the samples'
            result[name] = result[name + "_error"] = None
    return result


def placements(labels, scores):
    """V10 and V01 of DeLong et al. by their definition."""
    wins = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in scores[labels == 0]] for x in scores[labels == 1]])
    return wins.mean(axis=1), wins.mean(axis=0)


def delong_covariance(a, b):
    if len(a[0]) < 2 or len(a[1]) < 2:
        return None
    return float(np.cov(a[0], b[0])[0, 1] / len(a[0]) + np.cov(a[1], b[1])[0, 1] / len(a[1]))


def delong(labels, first, second):
    result = dict(auc=[None, None], variance=[None, None], interval=None, covariance=None, difference_variance=None, z=None, p=None)
    if len(set(labels.tolist())) < 2:
        return result
    a, b = placements(labels, first), placements(labels, second)
    result["auc"] = [a[0].mean(), b[0].mean()]
    result["variance"] = [delong_covariance(a, a), delong_covariance(b, b)]
    result["covariance"] = delong_covariance(a, b)
    if result["covariance"] is None:
        return result
    reach = scipy.stats.norm.ppf(0.975) * np.sqrt(result["variance"][0])
    result["interval"] = [max(0.0, a[0].mean() - reach), min(1.0, a[0].mean() + reach)]
    apart = a[0] - b[0], a[1] - b[1]
    variance = delong_covariance(apart, apart)
    assert abs(variance - (sum(result["variance"]) - 2 * result["covariance"])) < 1e-15
    result["difference_variance"] = variance
    if variance > 1e-25:
        result["z"] = (a[0].mean() - b[0].mean()) / np.sqrt(variance)
        result["p"] = 2 * scipy.stats.norm.sf(abs(result["z"]))
    return result


def delong_cases():
    rng = np.random.default_rng(2)
    rows = []
    for k in range(14):
        n = int(rng.integers(4, 40))
        labels = rng.integers(0, 2, n)
        labels[:2] = 0, 1
        digits = 1 if k % 2 else 3
        first = np.round(rng.normal(0.7 * labels, 0.6), digits)
        second = np.round(0.5 * first + rng.normal(0.3 * labels, 0.5), digits)
        if k == 0:
            second = first.copy()
        if k == 1:
            second = 3 * first + 1  # the same ranking
        if k == 2:
            first = labels.astype(float)
        if k == 3:
            first[:] = 0.5
        if k == 4:
            labels[:] = 1
        if k == 5:
            labels[:] = 0
            labels[0] = 1  # one positive only
        if k == 6:
            first, second = labels.astype(float), 1.0 - labels
        rows.append(dict(labels=labels, first=first, second=second, **delong(labels, first, second)))
    return rows


def philox(seed, stream):
    """The words of philox4x32-10 as engine/runtime/philox.h hands them out."""
    mask, index = 0xFFFFFFFF, 0
    while True:
        c = [index & mask, index >> 32, stream & mask, stream >> 32]
        k0, k1 = seed & mask, seed >> 32
        for _ in range(10):
            p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(p1 >> 32) ^ c[1] ^ k0, p1 & mask, (p0 >> 32) ^ c[3] ^ k1, p0 & mask]
            k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
        yield from c
        index += 1


def below(words, bound):
    threshold = (2**64 - bound) % bound
    while True:
        value = next(words) << 32
        value |= next(words)
        if value >= threshold:
            return value % bound


def bootstrap_cases():
    rng = np.random.default_rng(3)
    rows = []
    for n, patients, stratified, level in ((40, 18, False, 0.95), (40, 18, True, 0.9), (9, 4, False, 0.95), (12, 12, True, 0.8), (5, 1, False, 0.95)):
        groups = rng.integers(0, patients, n) * 3 - 5
        label_of = {g: int(rng.integers(0, 2)) for g in sorted(set(groups.tolist()))}
        labels = np.array([label_of[g] for g in groups.tolist()])
        scores = np.round(rng.normal(0.5 * labels, 0.5), 1)
        resamples, seed, values = 150, 2**33 + 17, []
        for r in range(resamples):
            words, drawn = philox(seed, r), []
            strata = [[g for g in sorted(label_of) if label_of[g] == s] for s in (0, 1)] if stratified else [sorted(label_of)]
            for names in strata:
                for _ in names:
                    drawn += np.flatnonzero(groups == names[below(words, len(names))]).tolist()
            some = labels[drawn]
            values.append(skm.roc_auc_score(some, scores[drawn]) if len(set(some.tolist())) == 2 else np.nan)
        good = np.array([v for v in values if not np.isnan(v)])
        low, high = np.percentile(good, [50 * (1 - level), 50 * (1 + level)]) if len(good) else (None, None)
        rows.append(dict(groups=groups, labels=labels, scores=scores, stratified=stratified, level=level, resamples=resamples, seed=seed, low=low,
                         high=high, undefined=resamples - len(good), standard_error=good.std(ddof=1) if len(good) > 1 else None))
    return rows


def proportion_cases():
    rows = []
    for successes, trials in ((0, 1), (1, 1), (0, 50), (50, 50), (49, 50), (39, 41), (3, 7), (500, 1000), (1, 100000), (7, 12)):
        for level in (0.95, 0.99, 0.5):
            rows.append(dict(successes=successes, trials=trials, level=level,
                             wilson=proportion_confint(successes, trials, 1 - level, method="wilson"),
                             clopper_pearson=proportion_confint(successes, trials, 1 - level, method="beta")))
    return rows


def mcnemar_cases():
    rows = []
    for a, b in ((0, 1), (1, 0), (5, 5), (0, 10), (13, 4), (30, 55), (200, 150), (1, 60), (3, 1000)):
        table = [[3, a], [b, 4]]
        exact, chi = mcnemar(table, exact=True), mcnemar(table, exact=False, correction=True)
        rows.append(dict(only_first=a, only_second=b, exact_p=exact.pvalue, chi_square=chi.statistic, chi_square_p=chi.pvalue))
    return rows


def holm_cases():
    rng = np.random.default_rng(4)
    lists = [[0.04], [0.01, 0.04, 0.03], [0.5, 0.9, 1.0, 0.0], [0.02, 0.02, 0.02], rng.random(12).tolist(), (rng.random(9) ** 4).tolist()]
    return [dict(p=p, adjusted=multipletests(p, method="holm")[1]) for p in lists]


def linear_cases():
    rng = np.random.default_rng(5)
    rows = []
    for k, l2 in enumerate((1.0, 0.1, 10.0, 1.0, 1e-3, 1.0, 1.0, 2.0)):
        n, d = 12 + 3 * k, 1 + k % 4
        x = np.round(rng.normal(size=(n, d)) * rng.uniform(0.1, 100, d) + rng.normal(size=d) * 50, 3)
        y = (x @ rng.normal(size=d) / (np.abs(x).max() + 1) + rng.normal(size=n) * 0.5 > 0.2).astype(int)
        y[:2] = 0, 1
        if k == 3:  # a constant feature, and one twice
            x = np.column_stack([x, np.full(n, 0.1), x[:, 0]])
        if k == 4:  # separable, hardly any penalty
            x[:, 0] = 3 * y + np.round(rng.random(n), 3)
        if k == 5:  # nothing but a constant
            x = np.full((n, 1), 7.3)
        if k == 6:  # large numbers that hardly differ
            x[:, 0] = 1e6 + np.round(rng.normal(size=n) + y, 3)
        scaler = StandardScaler().fit(x)
        z = scaler.transform(x)
        fit = LogisticRegression(C=1 / l2, solver="newton-cholesky", tol=1e-13, max_iter=10000).fit(z, y)
        w, b = fit.coef_[0], fit.intercept_[0]
        # scikit-learn stops early: one Newton step of our own, and the gradient must be 0.
        for _ in range(3):
            p = scipy.special.expit(z @ w + b)
            full = np.column_stack([np.ones(n), z])
            gradient = full.T @ (p - y) + l2 * np.r_[0, w]
            hessian = full.T @ (full * (p * (1 - p))[:, None]) + l2 * np.diag(np.r_[0, np.ones(len(w))])
            step = np.linalg.solve(hessian, gradient)
            assert np.abs(step).max() < 1e-5, step
            w, b = w - step[1:], b - step[0]
        rows.append(dict(columns=x.shape[1], l2=l2, features=x.ravel(), labels=y, mean=scaler.mean_, scale=scaler.scale_, weights=w, intercept=b,
                         probabilities=scipy.special.expit(z @ w + b)))
    return rows


def surface(a, b, spacing):
    """Distances from the outline of a to that of b."""
    edge = [m & ~scipy.ndimage.binary_erosion(m) for m in (a, b)]
    return scipy.ndimage.distance_transform_edt(~edge[1], sampling=spacing)[edge[0]]


def monai_agrees(a, b, spacing, row):
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
    one_hot = [torch.from_numpy(np.stack([~m, m]).astype(np.float32))[None] for m in (a, b)]
    values = [compute_hausdorff_distance(*one_hot, spacing=spacing), compute_hausdorff_distance(*one_hot, percentile=95, spacing=spacing),
              compute_average_surface_distance(*one_hot, symmetric=True, spacing=spacing)]
    for value, name in zip(values, ("hausdorff", "hausdorff95", "average_symmetric")):
        assert abs(float(value[0, 0]) - row[name]) <= 1e-5 * (1 + row[name]), (name, value, row[name])


def mask_cases():
    rng = np.random.default_rng(6)
    rows = []
    for k in range(14):
        h, w = int(rng.integers(1, 26)), int(rng.integers(1, 26))
        if k == 0:
            h, w = 40, 48
        if k == 7:
            h, w = 1, 1
        y, x = np.mgrid[:h, :w]
        a, b = rng.random((h, w)) < 0.3, rng.random((h, w)) < 0.1
        if k == 0:  # two lungs and a stray spot
            a = ((y - 20) / 14) ** 2 + ((x - 12) / 8) ** 2 <= 1
            a |= ((y - 19) / 15) ** 2 + ((x - 35) / 9) ** 2 <= 1
            b = np.roll(a, (2, -1), (0, 1))
            b[38, 46] = True
        if k == 1:
            b = a.copy()
        if k == 2:
            a[:], b[:] = True, False
            b[h // 2, w // 3] = True
        if k == 3:
            b[:] = False
        if k == 4:
            a[:] = b[:] = False
        if k == 5:
            a[:] = b[:] = True
        if k == 7:
            a[:] = b[:] = True
        spacing = (1.0, 1.0) if k < 9 else tuple(np.round(rng.uniform(0.1, 3, 2), 3).tolist())
        row = dict(height=h, width=w, spacing=spacing, first="".join("01"[v] for v in a.ravel().astype(int)),
                   second="".join("01"[v] for v in b.ravel().astype(int)), dice=None, iou=None, hausdorff=None, hausdorff95=None, average_symmetric=None)
        if a.any() or b.any():
            row["dice"] = skm.f1_score(b.ravel(), a.ravel())
            row["iou"] = skm.jaccard_score(b.ravel(), a.ravel())
        if a.any():
            squares = scipy.ndimage.distance_transform_edt(~a, sampling=spacing) ** 2
            row["squared"] = [squares.sum(), squares.max()]
        if a.any() and b.any():
            forth, back = surface(a, b, spacing), surface(b, a, spacing)
            row["hausdorff"] = max(forth.max(), back.max())
            row["hausdorff95"] = max(np.percentile(forth, 95), np.percentile(back, 95))
            row["average_symmetric"] = np.concatenate([forth, back]).mean()
            monai_agrees(a, b, spacing, row)
        rows.append(row)
    return rows


def main():
    rows = []
    for labels, scores in binary_cases():
        rows.append(dict(labels=labels, scores=scores, metrics=metrics(labels, scores), curves=curves(labels, scores),
                         calibration=calibration(labels, scores)))
    sections = dict(binary=rows, delong=delong_cases(), bootstrap=bootstrap_cases(), proportions=proportion_cases(), mcnemar=mcnemar_cases(),
                    holm=holm_cases(), linear=linear_cases(), masks=mask_cases())
    path = os.path.join(HERE, "stats.json")
    with open(path, "w") as file:
        parts = []
        for name, cases in sections.items():
            lines = ",\n".join(json.dumps(plain(case), allow_nan=False) for case in cases)
            parts.append(f'"{name}": [\n{lines}\n]')
        file.write("{\n" + ",\n".join(parts) + "\n}\n")
    print(f"stats.json: {', '.join(f'{len(v)} {k}' for k, v in sections.items())}, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
