"""Ensembles: several classifiers of the same species speak as one. Which of them, and by what rule, is chosen on validation.

The scores of a member are (windows, classes) in [0, 1]. A rule needs nothing but the members' scores of a window and what was kept
when it was chosen, so a window's score does not depend on which other windows are asked for.
"""

import numpy as np

from birdlib.metrics import bootstrap, classification

RULES = ("mean", "min", "rank")  # the simplest first
_LEVELS = np.linspace(0.0, 1.0, 21)  # quantiles that are kept for ``rank``
_N_FOLDS = 5  # of groups, so that no row is ranked by quantiles that it is one of
_N_DRAWS = 200  # of the bootstrap by which two ensembles are compared


def combine(scores, rule, kept=None):
    """The scores of several members as one.

    Args:
        scores: list of (n, classes) in [0, 1], one a member.
        rule: one of ``RULES``.
            ``mean``: the mean. ``min``: the least, so that a species counts as far as all the members hear it.
            ``rank``: each score becomes the share of *validation* recordings that this member scored lower in this class, and the mean
            of these is taken: a shy member then counts as much as a bold one. The quantiles are those of validation, kept when the rule was
            chosen; nothing is learnt from what is asked. Between them, and out to the scores 0 and 1, the line is straight, so order is kept.
        kept: from ``keep``; needed by ``rank``.

    Returns:
        (n, classes) float32 in [0, 1].

    Raises:
        ValueError: for an unknown rule, no members, unequal shapes, or quantiles that do not fit.
    """
    scores = [np.asarray(some, np.float64) for some in scores]
    if rule not in RULES:
        raise ValueError(f"the rule of an ensemble is {rule!r}: choose {', '.join(RULES)}")
    if not scores or len({some.shape for some in scores}) > 1:
        raise ValueError(f"the members' scores are {[some.shape for some in scores]}, not all of one shape")
    if rule == "rank":
        quantiles = np.asarray((kept or {}).get("quantiles", []), float)  # (members, classes, levels)
        if quantiles.shape != (len(scores), scores[0].shape[1], len(_LEVELS)):
            raise ValueError(
                f"quantiles of shape {quantiles.shape} do not fit {len(scores)} members of {scores[0].shape[1]} classes"
            )
        scores = [_ranks(some, own) for some, own in zip(scores, quantiles, strict=True)]
    together = np.min(scores, axis=0) if rule == "min" else np.mean(scores, axis=0)
    return together.astype(np.float32)


def keep(scores, rule):
    """What ``combine`` needs at prediction time, JSON-able: {} but for ``rank``.

    Args:
        scores: list of (n, classes), one a member, on validation.
    """
    if rule != "rank":
        return {}
    quantiles = np.stack([np.quantile(some, _LEVELS, axis=0).T for some in scores])  # (members, classes, levels)
    return {"quantiles": [[[float(f"{score:.6g}") for score in own] for own in member] for member in quantiles]}


def choose(scores, truth, groups, rng, rules=RULES):
    """Choose members and rule by macro ROC-AUC on validation: the simplest ensemble that is as good as the best but for noise.

    For each rule, the best member is joined by whichever raises the figure most, while one does ("Ensemble Selection from Libraries
    of Models", 2004, without repeats). Of all the ensembles met on the way, and every member alone, that with the fewest members is
    taken, then that of the earlier ones, whose loss against the best is not above one standard error of that loss over groups (the rule
    of "Classification and Regression Trees", 1984). ``rank`` is judged in cross-validation over groups, so that it has no better chance for
    having its quantiles from the rows on which it is chosen.

    Args:
        scores: {name: (n, classes)} on validation, the cheapest member first.
        truth: (n, classes) of 0 and 1.
        groups: (n,) what is not independent.
        rng: of the bootstrap.

    Returns:
        (rule, names, table): the table has a row for each ensemble that was tried, ``rule, members, n_members, macro_auc, is_chosen``. Where
        no ROC-AUC is defined, it is the first member alone.
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
    """Choose the rule for members that are settled: as ``choose`` does, among the ensembles that have all of them."""
    names, folds = list(scores), _folds(groups, rng)
    rules = rules if len(names) > 1 else rules[:1]  # alone, every rule ranks alike
    tried = {(rule, tuple(names)): classification.macro_roc_auc(truth, _together(scores, rule, names, folds)) for rule in rules}
    return _simplest(tried, names, truth, scores, groups, folds, rng)


def _simplest(tried, names, truth, scores, groups, folds, rng):
    """(rule, names, table) of the simplest that is as good as the best but for noise; the first where no figure is a number."""
    best = max(tried, key=lambda option: np.nan_to_num(tried[option], nan=-1.0))
    for option in sorted(tried, key=lambda some: _cost(some, names)):
        if option == best or tried[best] - tried[option] <= _standard_error(truth, scores, best, option, groups, folds, rng):
            return option[0], list(option[1]), _table(tried, option)


def _ranks(scores, quantiles):
    ranks = np.empty_like(scores)
    for column, own in enumerate(quantiles):  # (levels,)
        ends, levels = np.concatenate([[0.0], own, [1.0]]), np.concatenate([[0.0], _LEVELS, [1.0]])
        # validation fills [0.01, 0.99], so that what is lower or higher than all of it still has an order
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
    """An ensemble as it is judged: what is kept for a fold comes from the others."""
    chosen = [np.asarray(scores[name]) for name in names]
    if rule != "rank" or len(set(folds)) < 2:
        return combine(chosen, rule, keep(chosen, rule))
    together = np.empty(chosen[0].shape, np.float32)
    for fold in set(folds):
        own = folds == fold
        together[own] = combine([some[own] for some in chosen], rule, keep([some[~own] for some in chosen], rule))
    return together


def _in_order(names, some):
    return tuple(name for name in names if name in some)


def _cost(option, names):
    rule, members = option
    return len(members), sum(names.index(name) for name in members), RULES.index(rule)


def _standard_error(truth, scores, best, option, groups, folds, rng):
    """Of the difference of two ensembles' macro ROC-AUC, bootstrapped by groups; 0 where it cannot be told."""
    first, second = _together(scores, *best, folds), _together(scores, *option, folds)
    differences = bootstrap.samples(classification.macro_roc_auc_gain, truth, first, second, groups=groups, n=_N_DRAWS, rng=rng)
    return float(differences.std()) if len(differences) else 0.0


def _table(tried, chosen):
    import pandas as pd

    rows = [
        (rule, " + ".join(names), len(names), figure, (rule, names) == chosen)
        for (rule, names), figure in tried.items()
    ]
    table = pd.DataFrame(rows, columns=["rule", "members", "n_members", "macro_auc", "is_chosen"])
    return table.sort_values("macro_auc", ascending=False, ignore_index=True)
