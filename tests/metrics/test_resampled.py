"""Figures of many resamples at once are those of the resampled rows."""

import numpy as np
import pytest
from child_process import peak_megabytes

from birdlib.metrics import bootstrap, classification, resampled

N_CLASSES = 5
THRESHOLDS = np.full(N_CLASSES, 0.6)
COUNTED = {  # figures that only count and rank: equal to the last bit
    "macro_auc": resampled.MACRO_ROC_AUC,
    "f1_micro": resampled.f1("micro", THRESHOLDS),
    "f1_macro": resampled.f1("macro", THRESHOLDS),
}
AVERAGED = {"cmap": resampled.CMAP, "f1_samples": resampled.f1("samples", THRESHOLDS)}


def made(n_rows=120, digits=1, seed=0):
    """Truth with rows of two classes, of none, and a class without positives; scores with many ties; groups of several rows."""
    rng = np.random.default_rng(seed)
    truth = np.eye(N_CLASSES)[rng.integers(N_CLASSES - 1, size=n_rows)]
    truth[rng.random((n_rows, N_CLASSES)) < 0.1] = 1
    truth[:10], truth[:, -1] = 0, 0
    return truth, np.round(0.3 * truth + 0.7 * rng.random(truth.shape), digits), rng.integers(n_rows // 4, size=n_rows)


def both(statistic, *arrays, groups):
    """The samples by plain Python, and those of all resamples at once."""
    return [bootstrap.samples(figure, *arrays, groups=groups, n=60, rng=np.random.default_rng(1)) for figure in (statistic.value, statistic)]


@pytest.mark.parametrize("digits", [1, 9])
@pytest.mark.parametrize("name", [*COUNTED, *AVERAGED])
def test_a_figure_of_all_resamples_at_once_is_that_of_each(name, digits):
    truth, scores, groups = made(digits=digits)
    plain, found = both((COUNTED | AVERAGED)[name], truth, scores, groups=groups)
    assert len(plain) == 60 and np.ptp(plain) > 0
    assert np.array_equal(plain, found) if name in COUNTED else found == pytest.approx(plain, abs=1e-12)


def test_gain_accuracy_and_ratio_too():
    truth, scores, groups = made()
    other, labels = made(seed=2)[1], truth.argmax(axis=1)
    for statistic, arrays in (
        (resampled.MACRO_ROC_AUC_GAIN, (truth, scores, other)),
        (resampled.ACCURACY, (labels, scores)),
        (resampled.RATIO, (labels, labels + 1)),
    ):
        plain, found = both(statistic, *arrays, groups=groups)
        assert found == pytest.approx(plain, abs=1e-12) and np.ptp(plain) > 0


def test_resamples_without_the_figure_are_left_out_of_both():
    """One positive among twenty is missing in about a third of the resamples."""
    truth, scores = np.eye(20)[:, :1], np.random.default_rng(0).random((20, 1))
    for statistic in (resampled.MACRO_ROC_AUC, resampled.CMAP, resampled.f1("macro", np.full(1, 0.5))):
        plain, found = both(statistic, truth, scores, groups=None)
        assert len(plain) == len(found) < 60 and found == pytest.approx(plain)


def test_the_generator_goes_on_as_after_plain_resamples(monkeypatch):
    """However many resamples are computed at a time."""
    truth, scores, groups = made()
    monkeypatch.setattr(bootstrap, "_MAX_CELLS", 7 * len(truth))
    generators = [np.random.default_rng(1) for _ in range(2)]
    plain, found = (
        bootstrap.samples(figure, truth, scores, groups=groups, n=60, rng=rng)
        for figure, rng in zip((classification.macro_roc_auc, resampled.MACRO_ROC_AUC), generators, strict=True)
    )
    assert np.array_equal(plain, found) and generators[0].random() == generators[1].random()


def test_nan_scores_are_an_error_and_one_group_has_no_resamples():
    truth, scores, groups = made()
    with pytest.raises(ValueError, match="NaN"):
        bootstrap.samples(resampled.MACRO_ROC_AUC, truth, np.full_like(scores, np.nan), groups=groups, n=3, rng=np.random.default_rng(0))
    assert not len(bootstrap.samples(resampled.MACRO_ROC_AUC, truth, scores, groups=np.zeros(len(truth)), n=3, rng=np.random.default_rng(0)))


@pytest.mark.slow
def test_the_table_of_birdclef_2025_fits_into_memory():
    """28,564 recordings of 206 species, all in one split; their scores alone take 23 MB."""
    code = """
import numpy as np
from birdlib.species import evaluation
rng, (n, classes) = np.random.default_rng(0), (28_564, 206)
labels = rng.integers(classes, size=n)
truth = np.eye(classes, dtype=np.float32)[labels]
scores = (0.3 * truth + 0.7 * rng.random(truth.shape)).astype(np.float32)
figures = evaluation.evaluate(truth, labels, scores, np.full(classes, 0.6), rng.integers(n // 3, size=n), rng)
assert all(low < value < high for value, low, high in figures.values()), figures
"""
    assert peak_megabytes(code) < 1200
