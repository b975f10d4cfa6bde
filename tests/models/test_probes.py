"""Probes on made-up features: what is fitted, what cross-validation chooses, and what is saved."""

import warnings

import keras
import numpy as np
import pytest

from birdlib.models import probe_fits, probes
from birdlib.models.probe_fits import KINDS, PROTOTYPES, STANDARDISED, UNIT, UNSCALED, Probe

N_CLASSES, DIM = 4, 20
FEW = {"probes": [Probe(PROTOTYPES, 10.0), Probe(STANDARDISED, 0.1), Probe(UNIT, 30.0)], "n_repeats": 1}


def made(n=120, noise=0.7, seed=0, scales=1.0):
    """Classes that differ in one number each: (features, one-hot targets, groups of two rows)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) // 2 % N_CLASSES
    features = np.pad(2.0 * np.eye(N_CLASSES)[labels], ((0, 0), (0, DIM - N_CLASSES))) + noise * rng.standard_normal((n, DIM))
    return (features * scales).astype(np.float32), np.eye(N_CLASSES)[labels], np.arange(n) // 2


def several(n=160, seed=0):
    """Any number of classes a row, each seen in a number of its own."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, N_CLASSES)) < 0.4).astype(float)
    return np.hstack([3.0 * targets, np.zeros((n, 4))]) + rng.standard_normal((n, N_CLASSES + 4)), targets, np.arange(n) // 2


# Fitting


@pytest.mark.parametrize("n", [12, 120], ids=["fewer rows than numbers", "more"])
def test_standardised_logistic_regression_is_scikit_learns(n):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, targets, _ = made(n)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, tol=1e-8)).fit(features, targets.argmax(axis=1))
    ours = probe_fits.fit_linear(Probe(STANDARDISED, 0.1), features, targets, "single")
    other, _, _ = made(50, seed=1)
    assert ours.predict(other) == pytest.approx(theirs.predict_proba(other), abs=2e-3)


def test_unit_length_probes_do_not_depend_on_the_level_of_a_row():
    features, targets, _ = made()
    for kind in (UNIT, PROTOTYPES):
        fitted = probe_fits.fit_linear(Probe(kind, 10.0), features, targets, "single")
        assert fitted.predict(features * 7.0) == pytest.approx(fitted.predict(features), abs=1e-6)
    fitted = probe_fits.fit_linear(Probe(STANDARDISED, 10.0), features, targets, "single")
    assert np.abs(fitted.predict(features * 7.0) - fitted.predict(features)).max() > 0.1


def test_the_nearest_prototype_has_the_highest_score():
    """Two orthogonal classes: rows on the axis of one are of that one, and a strength of 0.001 makes all alike."""
    features, targets = np.array([[1.0, 0, 0], [2.0, 0, 0.1], [0, 1.0, 0], [0, 3.0, 0]]), np.repeat(np.eye(2), 2, axis=0)
    scores = probe_fits.fit_linear(Probe(PROTOTYPES, 20.0), features, targets, "single").predict(np.array([[5.0, 0, 0], [0, 0.2, 0]]))
    assert scores.argmax(axis=1).tolist() == [0, 1] and scores.max(axis=1).min() > 0.99
    assert probe_fits.fit_linear(Probe(PROTOTYPES, 1e-3), features, targets, "single").predict(features) == pytest.approx(0.5, abs=1e-2)


@pytest.mark.parametrize("mode", ["single", "multi"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_keras_model_equals_the_fitted_arrays_and_is_saved_with_its_scaling(kind, mode, tmp_path):
    features, targets, _ = made() if mode == "single" else several()
    if mode == "single":
        targets[:9] = 0.0  # background
    fitted = probe_fits.fit_linear(Probe(kind, 10.0), features, targets, mode)
    fitted.as_keras().save(tmp_path / "probe.keras")
    again = keras.saving.load_model(tmp_path / "probe.keras", compile=False)
    expected = fitted.predict(features)
    assert again.predict(features.astype(np.float32), verbose=0) == pytest.approx(expected, abs=1e-4)
    assert expected.shape == targets.shape and (expected >= 0).all() and (expected <= 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_without_rows_has_probability_0_and_the_others_keep_their_columns(kind):
    features, targets, _ = made()
    wider = np.insert(targets, 1, 0.0, axis=1)
    for mode in ("single", "multi"):
        scores = probe_fits.fit_linear(Probe(kind, 10.0), features, wider, mode).predict(features)
        assert not scores[:, 1].any() and np.mean(scores.argmax(axis=1) == wider.argmax(axis=1)) > 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_a_class_are_background(kind):
    rng = np.random.default_rng(0)
    features, targets = np.zeros((90, 6)), np.repeat(np.eye(3), 30, axis=0)
    features[np.arange(90), np.arange(90) // 30] = 1.0
    features += 0.1 * rng.standard_normal(features.shape)
    scores = probe_fits.fit_linear(Probe(kind, 100.0), features, targets[:, :2], "single").predict(features)
    assert scores[60:].sum(axis=1).max() < 0.2 and scores[:60].sum(axis=1).min() > 0.8


def test_what_cannot_be_fitted_is_refused():
    features, targets, groups = made()
    with pytest.raises(probe_fits.ProbeError, match="one class"):
        probes.choose(features, targets[:, :1], groups, rng=np.random.default_rng(0))
    with pytest.raises(probe_fits.ProbeError, match="choose"):
        probe_fits.fit_linear(Probe("nearest", 1.0), features, targets, "single")
    with pytest.raises(probe_fits.ProbeError, match="single or multi"):
        probe_fits.fit_linear(Probe(UNIT, 1.0), features, targets, "both")


# Folds


def test_folds_never_divide_a_group_and_repeats_differ():
    features, targets, groups = made()
    folds = probes.assign_folds(targets, groups, np.random.default_rng(0))
    assert folds.shape == (probes.N_REPEATS, len(groups)) and set(folds.ravel()) == set(range(probes.N_FOLDS))
    for numbers in folds:
        assert all(len(set(numbers[groups == group])) == 1 for group in set(groups))
        assert all(targets[numbers != number].any(axis=0).all() for number in range(probes.N_FOLDS))
    assert (folds[0] != folds[1]).any()


def test_few_groups_give_fewer_folds_and_one_group_none():
    targets = np.eye(2)[[0, 1, 0, 1, 0, 1]]
    assert set(probes.assign_folds(targets, np.arange(6) // 2, np.random.default_rng(0)).ravel()) == {0, 1, 2}
    assert probes.assign_folds(targets, np.zeros(6), np.random.default_rng(0)) is None
    choice = probes.choose(np.eye(6), targets, np.zeros(6), rng=np.random.default_rng(0))
    assert choice.parts == {probes.PLAIN: 1.0} and choice.scores is None and not len(choice.table)
    assert probes.fit(choice, np.eye(6), targets).output_shape == (None, 2)


def test_a_row_is_scored_by_what_was_fitted_without_its_group():
    """The score is whether any fitted row is of the same group: never."""
    _, targets, groups = made()
    folds = probes.assign_folds(targets, groups, np.random.default_rng(0))
    scores = probes.out_of_fold(lambda fitted, scored: np.isin(groups[scored], groups[fitted])[:, None].astype(float) + 0.5, folds)
    assert scores.shape == (*folds.shape, 1) and (scores == 0.5).all()


# Choosing


def test_the_scaling_that_separates_the_classes_is_chosen():
    """The numbers that tell the classes apart are tiny beside the others: only standardised features show them."""
    scales = np.logspace(-2, 2, DIM)
    features, targets, groups = made(scales=scales)
    choice = probes.choose(features, targets, groups, rng=np.random.default_rng(0), **FEW)
    assert {probe.kind for probe in choice.parts} == {STANDARDISED}
    best = choice.table.groupby(choice.table["candidate"].str.split(",").str[0])["accuracy"].max()
    assert best[STANDARDISED] > best[UNIT] + 0.3
    fresh, truth, _ = made(seed=5, scales=scales)
    assert np.mean(probes.fit(choice, features, targets).predict(fresh, verbose=0).argmax(axis=1) == truth.argmax(axis=1)) > 0.8


def test_the_choice_is_never_below_the_plain_probe_and_has_a_table():
    features, targets, groups = made(noise=2.0)
    choice = probes.choose(features, targets, groups, rng=np.random.default_rng(0), **FEW)
    table = choice.table.set_index("candidate")
    assert table.loc[choice.name, "quality"] >= table.loc[str(probes.PLAIN), "quality"]
    assert table["is_chosen"].sum() == 1 and table["share_best"].sum() == pytest.approx(1.0)
    assert table["quality"].is_monotonic_decreasing and choice.scores.shape == targets.shape


def test_the_simplest_of_equals_is_chosen_and_never_one_below_the_baseline():
    """``first`` has two rows of 40 wrong, ``second`` a third one alone; ``worse`` has half of the rows wrong."""
    targets, groups = np.eye(2)[np.arange(40) % 2], np.arange(40) // 2
    right = np.where(targets > 0, 0.9, 0.1)
    first, second, worse = right.copy(), right.copy(), right.copy()
    first[[0, 20]], second[11], worse[::2] = right[1], right[0], right[1::2]
    folds = probes.assign_folds(targets, groups, np.random.default_rng(0), n_repeats=1)
    scores = {name: values[None] for name, values in (("worse", worse), ("first", first), ("second", second))}
    name, table = probes.compare(scores, targets, folds, groups, rng=np.random.default_rng(0))
    assert name == "first" and table["candidate"].tolist() == ["second", "first", "worse"]
    assert probes.compare(scores, targets, folds, groups, baseline="second", rng=np.random.default_rng(0))[0] == "second"


def test_several_classes_a_row_are_learned_one_against_the_rest():
    features, targets, groups = several()
    choice = probes.choose(features, targets, groups, mode="multi", rng=np.random.default_rng(0), **FEW)
    fresh, truth, _ = several(seed=7)
    scores = probes.fit(choice, features, targets).predict(fresh, verbose=0)
    assert np.mean((scores > 0.5) == (truth > 0)) > 0.85 and (scores > 0.5).sum(axis=1).max() > 1


def test_background_rows_are_fitted_in_every_fold_and_never_scored():
    features, targets, groups = made()
    folds = probes.assign_folds(targets, groups, np.random.default_rng(0), n_repeats=1)
    plain, _ = probes.cross_validate([Probe(UNSCALED, 1.0)], features, targets, folds, "single")
    given, _ = probes.cross_validate([Probe(UNSCALED, 1.0)], features, targets, folds, "single", background=features[::3] * 0.0)
    [(before, after)] = zip(plain.values(), given.values(), strict=True)
    assert before.shape == after.shape and before.sum(axis=2) == pytest.approx(1.0, abs=1e-5) and after.sum(axis=2).min() < 1.0 - 1e-4


def test_tiny_sets_give_no_warnings():
    """Two rows a class: some folds have one class only, or no ROC-AUC."""
    targets = np.eye(2)[[0, 0, 1, 1]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choice = probes.choose(np.eye(4), targets, np.arange(4), rng=np.random.default_rng(0))
    assert choice.scores.shape == (4, 2)
