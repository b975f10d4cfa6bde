"""Evaluation of classifiers: headline figures with intervals, with and without repeated recordings."""

import numpy as np
import pandas as pd

from birdlib.metrics import bootstrap, classification, resampled


def evaluate(truth, labels, scores, thresholds, groups, rng):
    """Headline figures with 90 % intervals, bootstrapped by groups.

    Args:
        truth: (n, classes) of 0 and 1.
        labels: (n,) int, the primary species.
        scores: (n, classes).
        thresholds: (classes,), chosen on validation; for the F1s.
        groups: (n,) resampled whole.

    Returns:
        dict: ``macro_auc, accuracy, cmap, f1_macro, f1_micro, f1_samples``, each [value, low, high]; NaN without rows.
    """
    figures = {"macro_auc": resampled.MACRO_ROC_AUC, "accuracy": resampled.ACCURACY, "cmap": resampled.CMAP}
    figures |= {f"f1_{average}": resampled.f1(average, thresholds) for average in ("macro", "micro", "samples")}
    if not len(truth):
        return {name: [np.nan] * 3 for name in figures}
    return {
        name: bootstrap.interval(figure, labels if name == "accuracy" else truth, scores, groups=groups, n=300, rng=rng)
        for name, figure in figures.items()
    }


def scores_table(scores, splits, truth, labels, thresholds, rng):
    """Evaluate several classifiers on the test split, with and without repeated rows.

    Args:
        scores: {name: (n, classes)}.
        splits: row-aligned with the arrays; ``split``, ``is_repeated``, ``group_id``.
        thresholds: {name: (classes,)}.

    Returns:
        DataFrame: ``classifier, rows, n`` and the figures of ``evaluate``.
    """
    is_test = (splits["split"] == "test").to_numpy()
    chosen = {"test": is_test, "test without repeated rows": is_test & ~splits["is_repeated"].to_numpy()}
    rows = []
    for name in scores:
        for which, mask in chosen.items():
            groups = splits["group_id"].to_numpy()[mask]
            figures = evaluate(truth[mask], labels[mask], scores[name][mask], thresholds[name], groups, rng)
            rows.append({"classifier": name, "rows": which, "n": int(mask.sum()), **figures})
    return pd.DataFrame(rows)


def validation_thresholds(scores, data):
    """{name: (classes,)}: the thresholds with the best F1 on validation, for each classifier of ``scores``."""
    truth = data.truth[data.is_validation]
    return {name: classification.best_thresholds(truth, of_classifier[data.is_validation]) for name, of_classifier in scores.items()}


def describe(table):
    """Sentences about ``scores_table``: the best classifier on rows that are not repeated, and what repeated rows add."""
    own = table[(table["rows"] == "test without repeated rows") & (table["n"] > 0)].set_index("classifier")
    aucs = own["macro_auc"].str[0].dropna()
    if not len(aucs):
        return "Test has no recording of its own: none of these figures can be trusted. Add recordings from more places."
    best, width = aucs.idxmax(), np.ptp(own.loc[aucs.idxmax(), "macro_auc"][1:])
    text = f"On the {own['n'].iloc[0]} test recordings that are not repeated, {best} has the best macro ROC-AUC ({aucs[best]:.3f}; chance: 0.5)."
    if width > 0.1:
        text += f" Its interval is {width:.2f} wide: too few groups of recordings to rank classifiers by small differences."
    whole = table[table["rows"] == "test"].set_index("classifier")["macro_auc"].str[0]
    if (excess := whole[best] - aucs[best]) > 0.01:
        text += f" Repeated rows would raise it by {excess:.3f}, as they are in training, too."
    return text


def describe_species(table, max_f1=0.5, n_listed=8):
    """Sentences about ``classification.per_species_table``: species below an F1, and those without test recordings."""
    weak = table[table["f1"] < max_f1].sort_values("f1")["species"].tolist()
    absent = table.loc[table["n_positives"] == 0, "species"].tolist()
    listed = ", ".join(weak[:n_listed]) + (" and others" if len(weak) > n_listed else "")
    text = f"F1 below {max_f1:g}: {listed}. Check their recordings in the confusion matrix first." if weak else f"No species has an F1 below {max_f1:g}."
    return text + (f" Not evaluated, as without test recordings: {len(absent)} species." if absent else "")
