import numpy as np
import pytest

from birdlib import runtime
from birdlib.data import birdclef
from birdlib.species import site_hour, smoothing

MINUTE = birdclef.windows(60.0)


# Predicted spans


def test_without_overlap_and_shifts_spans_are_the_windows():
    spans, weights = smoothing.spans(MINUTE)
    assert spans == MINUTE and (weights.toarray() == np.eye(12)).all()


def test_half_overlapping_spans_have_weights_of_a_quarter_a_half_and_a_quarter():
    """They share 2.5, 5 and 2.5 s with the window; the first window has no span before it: 5 and 2.5 s."""
    spans, weights = smoothing.spans(MINUTE, hop_s=2.5)
    assert [start_s for start_s, _ in spans] == [2.5 * i for i in range(23)]
    assert weights.toarray()[3, 5:8] == pytest.approx([0.25, 0.5, 0.25]) and weights.toarray()[0, :2] == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize("duration_s", [3.0, 10.0, 61.0])
@pytest.mark.parametrize(("hop_s", "shifts_s"), [(0.0, ()), (2.5, ()), (2.0, (0.7,)), (5.0, (-1.25, 1.25)), (2.5, (-9.0, 9.0))])
def test_constant_scores_stay_constant_with_any_overlap_and_shifts(duration_s, hop_s, shifts_s):
    """Weights of each window sum to 1, and no span begins outside the windows, occurs twice or has another length."""
    windows = birdclef.windows(duration_s)
    spans, weights = smoothing.spans(windows, hop_s, shifts_s)
    assert weights @ np.ones(len(spans)) == pytest.approx(np.ones(len(windows)))
    starts_s, ends_s = np.array(spans).T
    assert (np.diff(starts_s) > 0).all() and starts_s[0] == 0 and starts_s[-1] <= windows[-1][0] and np.allclose(ends_s - starts_s, 5.0)


def test_shifted_spans_have_the_same_weight_as_the_window():
    spans, weights = smoothing.spans(MINUTE, shifts_s=(-1.25, 1.25))
    used = {start_s: weight for (start_s, _), weight in zip(spans, weights.toarray()[4], strict=True) if weight}
    assert used == pytest.approx({18.75: 1 / 3, 20.0: 1 / 3, 21.25: 1 / 3})


def test_weights_of_a_day_of_sound_are_sparse():
    """17,280 windows by 34,559 parts would be 4.8 GB."""
    spans, weights = smoothing.spans(birdclef.windows(86_400.0), 2.5)
    assert len(spans) == 34_559 and weights.nnz < 4 * 17_280


def test_a_hop_longer_than_a_window_is_rejected():
    with pytest.raises(ValueError, match="0 to 5 s"):
        smoothing.spans(MINUTE, hop_s=6.0)


def test_comma_lists_of_numbers_are_parsed():
    assert smoothing.numbers("-1.25, 1.25") == (-1.25, 1.25) and smoothing.numbers("") == ()
    with pytest.raises(ValueError, match="'a bit'"):
        smoothing.numbers("a bit")


# Neighbours


def test_smoothing_spreads_a_call_to_its_neighbours_only():
    scores = np.zeros((5, 1))
    scores[2] = 1.0
    assert smoothing.smooth(scores, (0.2, 0.6, 0.2))[:, 0] == pytest.approx([0, 0.2, 0.6, 0.2, 0])


def test_smoothing_at_the_ends_ignores_missing_neighbours():
    """.6 / (.6 + .2) and .2 / (.6 + .2); a single window stays as it is."""
    first = smoothing.smooth(np.array([[1.0], [0.0], [0.0]]))
    assert first[:, 0] == pytest.approx([0.75, 0.2, 0.0])
    assert smoothing.smooth(np.full((1, 2), 0.3), (0.1, 0.2, 0.4, 0.2, 0.1)) == pytest.approx(np.full((1, 2), 0.3))


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.5, 0.0, 0.5), (-0.1, 1.0, 0.1), ()])
def test_invalid_smoothing_weights_are_rejected(weights):
    with pytest.raises(ValueError, match="odd in number"):
        smoothing.smooth(np.ones((3, 1)), weights)


# TopN


def test_top_n_scales_a_species_by_the_mean_of_its_highest_windows():
    scores = np.array([[0.8, 0.1], [0.4, 0.1], [0.0, 0.1]])
    assert smoothing.top_n(scores, 1) == pytest.approx(scores * [0.8, 0.1])
    assert smoothing.top_n(scores, 2) == pytest.approx(scores * [0.6, 0.1])
    assert smoothing.top_n(scores, 99) == pytest.approx(scores * scores.mean(axis=0))


def test_top_n_keeps_the_order_of_windows_within_a_soundscape():
    scores = np.random.default_rng(0).random((12, 5))
    assert (np.argsort(smoothing.top_n(scores), axis=0) == np.argsort(scores, axis=0)).all()


def test_soundscapes_are_postprocessed_independently():
    """High scores at the end of one and at the start of the next: each is processed as if it were alone."""
    rng = np.random.default_rng(0)
    first, second = rng.random((4, 3)).astype(np.float32), rng.random((3, 3)).astype(np.float32)
    together = smoothing.postprocess(np.concatenate([first, second]), ["a"] * 4 + ["b"] * 3, (0.2, 0.6, 0.2), 2)
    alone = [smoothing.top_n(smoothing.smooth(scores), 2) for scores in (first, second)]
    assert together == pytest.approx(np.concatenate(alone))
    assert (smoothing.postprocess(first, ["a"] * 4) == first).all()


def test_two_windows_2_5_s_apart_count_alike():
    """Shift +2.5 s: each window's score is the mean of its own and that of the span 2.5 s later; the last one has no later span."""
    spans, weights = smoothing.spans(MINUTE, shifts_s=(2.5,))
    scores = np.arange(len(spans), dtype=float)  # span k begins at 2.5 k s
    assert [start_s for start_s, _ in spans] == [2.5 * k for k in range(23)]
    assert (weights @ scores)[:11] == pytest.approx(2 * np.arange(11) + 0.5) and (weights @ scores)[11] == 22


def test_a_tenth_of_each_neighbour_counts():
    scores = np.array([[0.0], [1.0], [0.5]])
    assert smoothing.smooth(scores, (0.1, 0.8, 0.1))[:, 0] == pytest.approx([0.1 / 0.9, 0.85, (0.1 + 0.4) / 0.9])


def test_the_power_of_the_highest_windows_scales_less_or_more():
    """Highest two of 0.9, 0.4 and 0.1: their mean 0.65, to the power 0.5, scales every window."""
    scores = np.array([[0.1], [0.9], [0.4]])
    assert smoothing.top_n(scores, 2, 0.5)[:, 0] == pytest.approx(scores[:, 0] * 0.65**0.5)
    assert smoothing.top_n(scores, 2, 0.0) == pytest.approx(scores)
    with pytest.raises(runtime.ParameterError, match="top_power"):
        smoothing.top_n(scores, 2, -1.0)


def test_prior_smoothing_and_scaling_follow_one_another():
    names = ["S08_20250606_030000"] * 3 + ["S09_20250606_090000"] * 3
    prior = site_hour.fit(names, np.array([[1.0]] * 3 + [[0.0]] * 3), ["owl"], strength=8.0)
    scores = np.random.default_rng(0).random((6, 1)).astype(np.float32)
    settings = smoothing.Postprocessing((0.1, 0.8, 0.1), 2, 0.5, prior, 0.5)
    lit = site_hour.apply(prior, scores, names, 0.5)
    assert np.array_equal(settings.apply(scores, names), smoothing.postprocess(lit, names, (0.1, 0.8, 0.1), 2, 0.5))
    assert np.array_equal(settings.without_scaling().apply(scores, names), smoothing.postprocess(lit, names, (0.1, 0.8, 0.1)))
    assert np.array_equal(smoothing.Postprocessing().apply(scores, names), scores)


# Wrong parameters


@pytest.mark.parametrize("text", ["x", "1,nan", "inf"])
def test_text_that_is_no_list_of_finite_numbers_is_refused(text):
    with pytest.raises(runtime.ParameterError, match="not a list of numbers"):
        smoothing.numbers(text)


@pytest.mark.parametrize(
    "wrong", [{"smoothing": (0.2, 0.8)}, {"smoothing": (0.0, 0.0, 0.0)}, {"n_top": -1}, {"top_power": -1.0}, {"top_power": float("nan")}]
)
def test_wrong_postprocessing_is_refused_before_anything_is_predicted(wrong):
    with pytest.raises(runtime.ParameterError, match="|".join(wrong)):
        smoothing.Postprocessing(**wrong)
