"""Ensembles: the scores of several classifiers of the same species are combined. Members and rule are chosen on validation.

The scores of a member are (windows, classes) in [0, 1]. A rule needs only the members' scores of a window and what was kept when it was
chosen, so a window's score does not depend on which other windows are predicted.
"""

import numpy as np

from birdlib.metrics import bootstrap, classification, resampled

RULES = ("mean", "min", "rank")  # the simplest first
_LEVELS = np.linspace(0.0, 1.0, 21)  # quantiles that are kept for ``rank``
_N_FOLDS = 5  # of groups, so that no row is ranked by quantiles that include it
_N_DRAWS = 200  # of the bootstrap by which two ensembles are compared


def combine(scores, rule, kept=None):
    """Combine the scores of several members.

    Args:
        scores: list of (n, classes) in [0, 1], one a member.
        rule: one of ``RULES``.
            ``mean``: the mean. ``min``: the minimum, so that a species counts as far as all members agree.
            ``rank``: each score becomes the share of *validation* recordings that this member scored lower in this class, and the mean
            of these is taken: members of low and of high scores then have equal weight. The quantiles are those of validation, kept
            when the rule was chosen, with linear interpolation between them and out to the scores 0 and 1, so order is kept.
        kept: from ``keep``; needed by ``rank``.

    Returns:
        (n, classes) float32 in [0, 1].

    Raises:
        ValueError: for an unknown rule, no members, unequal shapes, or quantiles that do not fit.
    """
    scores = [np.asarray(member, np.float64) for member in scores]
    if rule not in RULES:
        raise ValueError(f"the rule of an ensemble is {rule!r}: choose {', '.join(RULES)}")
    if not scores or len({member.shape for member in scores}) > 1:
        raise ValueError(f"the members' scores are {[member.shape for member in scores]}, not all of one shape")
    if rule == "rank":
        quantiles = np.asarray((kept or {}).get("quantiles", []), float)  # (members, classes, levels)
        if quantiles.shape != (len(scores), scores[0].shape[1], len(_LEVELS)):
            raise ValueError(f"quantiles of shape {quantiles.shape} do not fit {len(scores)} members of {scores[0].shape[1]} classes")
        scores = [_ranks(member, own) for member, own in zip(scores, quantiles, strict=True)]
    return (np.min(scores, axis=0) if rule == "min" else np.mean(scores, axis=0)).astype(np.float32)


def keep(scores, rule):
    """What ``combine`` needs at prediction time, JSON-able: {} but for ``rank``.

    Args:
        scores: list of (n, classes), one a member, on validation.
    """
    if rule != "rank":
        return {}
    quantiles = np.stack([np.quantile(member, _LEVELS, axis=0).T for member in scores])  # (members, classes, levels)
    return {"quantiles": [[[float(f"{score:.6g}") for score in own] for own in member] for member in quantiles]}


def choose(scores, truth, groups, rng, rules=RULES):
    """Choose members and rule by macro ROC-AUC on validation: the simplest ensemble that is not significantly worse than the best.

    For each rule, members are added greedily to the best one while the figure rises ("Ensemble Selection from Libraries of Models",
    2004, without repeats). Of all ensembles tried, and every member alone, the one with the fewest and then the earliest members is taken
    whose loss against the best is at most one standard error of that loss over groups (the rule of "Classification and Regression
    Trees", 1984). ``rank`` is evaluated in cross-validation over groups, so that its quantiles never come from the rows that are ranked.

    Args:
        scores: {name: (n, classes)} on validation, the cheapest member first.
        truth: (n, classes) of 0 and 1.
        groups: (n,) rows of one group are not independent.
        rng: of the bootstrap.

    Returns:
        (rule, names, table): the table has a row per ensemble tried, ``rule, members, n_members, macro_auc, is_chosen``. Where no
        ROC-AUC is defined, the first member alone is chosen.
    """
    names, folds = list(scores), _folds(groups, rng)
    tried = {("mean", (name,)): classification.macro_roc_auc(truth, scores[name]) for name in names}
    if np.isnan(list(tried.values())).all():
        return "mean", names[:1], _table(tried, ("mean", (names[0],)))
    best_alone = max(tried, key=tried.get)
    for rule in rules:
        together, figure = best_alone[1], tried[best_alone]
        while len(together) < len(names):
            options = {(rule, _in_order(names, (*together, other))) for other in names if other not in together}
            tried |= {option: classification.macro_roc_auc(truth, _together(scores, *option, folds)) for option in options}
            best = max(sorted(options), key=tried.get)
            if tried[best] <= figure:
                break
            together, figure = best[1], tried[best]
    return _simplest(tried, names, truth, scores, groups, folds, rng)


def choose_rule(scores, truth, groups, rng, rules=RULES):
    """Choose the rule for fixed members: as ``choose`` does, among the ensembles that have all of them."""
    names, folds = list(scores), _folds(groups, rng)
    rules = rules if len(names) > 1 else rules[:1]  # for one member, all rules rank alike
    tried = {(rule, tuple(names)): classification.macro_roc_auc(truth, _together(scores, rule, names, folds)) for rule in rules}
    return _simplest(tried, names, truth, scores, groups, folds, rng)


def _simplest(tried, names, truth, scores, groups, folds, rng):
    """(rule, names, table) of the simplest that is not significantly worse than the best; the first where every figure is NaN."""
    best = max(tried, key=lambda option: np.nan_to_num(tried[option], nan=-1.0))
    for option in sorted(tried, key=lambda option: _cost(option, names)):
        if option == best or tried[best] - tried[option] <= _standard_error(truth, scores, best, option, groups, folds, rng):
            return option[0], list(option[1]), _table(tried, option)


def _ranks(scores, quantiles):
    ranks = np.empty_like(scores)
    for column, own in enumerate(quantiles):  # (levels,)
        ends, levels = np.concatenate([[0.0], own, [1.0]]), np.concatenate([[0.0], _LEVELS, [1.0]])
        # validation has ranks in [0.01, 0.99], so that scores outside its range keep their order
        levels[1:-1] = 0.01 + 0.98 * levels[1:-1]
        at, first, n = np.unique(ends, return_index=True, return_counts=True)
        middles = (levels[first] + levels[first + n - 1]) / 2  # equal scores share their rank
        ranks[:, column] = np.interp(scores[:, column], at, middles)
    return ranks


def _folds(groups, rng):
    """(rows,) int, one fold of ``_N_FOLDS`` for a whole group."""
    number = np.unique(np.asarray(groups), return_inverse=True)[1]
    return rng.permutation(number.max(initial=-1) + 1)[number] % _N_FOLDS


def _together(scores, rule, names, folds):
    """Scores of an ensemble for its evaluation: what is kept for a fold comes from the other folds."""
    chosen = [np.asarray(scores[name]) for name in names]
    if rule != "rank" or len(set(folds)) < 2:
        return combine(chosen, rule, keep(chosen, rule))
    together = np.empty(chosen[0].shape, np.float32)
    for fold in set(folds):
        own = folds == fold
        together[own] = combine([member[own] for member in chosen], rule, keep([member[~own] for member in chosen], rule))
    return together


def _in_order(names, chosen):
    return tuple(name for name in names if name in chosen)


def _cost(option, names):
    rule, members = option
    return len(members), sum(names.index(name) for name in members), RULES.index(rule)


def _standard_error(truth, scores, best, option, groups, folds, rng):
    """Of the difference of two ensembles' macro ROC-AUC, bootstrapped by groups; 0 where it is not defined."""
    first, second = _together(scores, *best, folds), _together(scores, *option, folds)
    differences = bootstrap.samples(resampled.MACRO_ROC_AUC_GAIN, truth, first, second, groups=groups, n=_N_DRAWS, rng=rng)
    return float(differences.std()) if len(differences) else 0.0


def _table(tried, chosen):
    import pandas as pd

    rows = [(rule, " + ".join(names), len(names), figure, (rule, names) == chosen) for (rule, names), figure in tried.items()]
    table = pd.DataFrame(rows, columns=["rule", "members", "n_members", "macro_auc", "is_chosen"])
    return table.sort_values("macro_auc", ascending=False, ignore_index=True)
