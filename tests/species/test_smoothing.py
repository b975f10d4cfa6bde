import numpy as np
import pytest

from birdlib.data import birdclef
from birdlib.species import smoothing

MINUTE = birdclef.windows(60.0)


# Which parts are listened to


def test_without_overlap_and_shifts_windows_speak_for_themselves():
    parts, shares = smoothing.parts(MINUTE)
    assert parts == MINUTE and (shares.toarray() == np.eye(12)).all()


def test_half_overlapping_parts_count_a_quarter_a_half_and_a_quarter():
    """They share 2.5, 5 and 2.5 s with the window; the first window has no part before it: 5 and 2.5 s."""
    parts, shares = smoothing.parts(MINUTE, hop_s=2.5)
    assert [start_s for start_s, _ in parts] == [2.5 * i for i in range(23)]
    assert shares.toarray()[3, 5:8] == pytest.approx([0.25, 0.5, 0.25]) and shares.toarray()[0, :2] == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize("duration_s", [3.0, 10.0, 61.0])
@pytest.mark.parametrize(("hop_s", "shifts_s"), [(0.0, ()), (2.5, ()), (2.0, (0.7,)), (5.0, (-1.25, 1.25)), (2.5, (-9.0, 9.0))])
def test_whatever_is_listened_to_equal_scores_stay_as_they_are(duration_s, hop_s, shifts_s):
    """Shares of each window sum to 1, and no part begins outside the windows, is there twice or has another length."""
    windows = birdclef.windows(duration_s)
    parts, shares = smoothing.parts(windows, hop_s, shifts_s)
    assert shares @ np.ones(len(parts)) == pytest.approx(np.ones(len(windows)))
    starts_s, ends_s = np.array(parts).T
    assert (np.diff(starts_s) > 0).all() and starts_s[0] == 0 and starts_s[-1] <= windows[-1][0] and np.allclose(ends_s - starts_s, 5.0)


def test_shifts_count_as_much_as_the_window_in_place():
    parts, shares = smoothing.parts(MINUTE, shifts_s=(-1.25, 1.25))
    heard = {start_s: share for (start_s, _), share in zip(parts, shares.toarray()[4], strict=True) if share}
    assert heard == pytest.approx({18.75: 1 / 3, 20.0: 1 / 3, 21.25: 1 / 3})


def test_a_day_of_sound_needs_no_table_of_all_windows_by_all_parts():
    """17,280 windows by 34,559 parts would be 4.8 GB."""
    parts, shares = smoothing.parts(birdclef.windows(86_400.0), 2.5)
    assert len(parts) == 34_559 and shares.nnz < 4 * 17_280


def test_a_hop_longer_than_a_window_would_leave_gaps():
    with pytest.raises(ValueError, match="0 to 5 s"):
        smoothing.parts(MINUTE, hop_s=6.0)


def test_numbers_of_a_parameter():
    assert smoothing.numbers("-1.25, 1.25") == (-1.25, 1.25) and smoothing.numbers("") == ()
    with pytest.raises(ValueError, match="'a bit'"):
        smoothing.numbers("a bit")


# Neighbours


def test_a_call_in_one_window_is_felt_in_its_neighbours_only():
    scores = np.zeros((5, 1))
    scores[2] = 1.0
    assert smoothing.smooth(scores, (0.2, 0.6, 0.2))[:, 0] == pytest.approx([0, 0.2, 0.6, 0.2, 0])


def test_at_the_ends_the_neighbour_that_is_not_there_does_not_count():
    """.6 / (.6 + .2) and .2 / (.6 + .2); a single window stays as it is."""
    first = smoothing.smooth(np.array([[1.0], [0.0], [0.0]]))
    assert first[:, 0] == pytest.approx([0.75, 0.2, 0.0])
    assert smoothing.smooth(np.full((1, 2), 0.3), (0.1, 0.2, 0.4, 0.2, 0.1)) == pytest.approx(np.full((1, 2), 0.3))


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.5, 0.0, 0.5), (-0.1, 1.0, 0.1), ()])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="odd in number"):
        smoothing.smooth(np.ones((3, 1)), weights)


# The surest windows


def test_a_species_is_scaled_by_the_mean_of_its_surest_windows():
    scores = np.array([[0.8, 0.1], [0.4, 0.1], [0.0, 0.1]])
    assert smoothing.top_n(scores, 1) == pytest.approx(scores * [0.8, 0.1])
    assert smoothing.top_n(scores, 2) == pytest.approx(scores * [0.6, 0.1])
    assert smoothing.top_n(scores, 99) == pytest.approx(scores * scores.mean(axis=0))


def test_the_order_of_windows_within_a_soundscape_stays():
    scores = np.random.default_rng(0).random((12, 5))
    assert (np.argsort(smoothing.top_n(scores), axis=0) == np.argsort(scores, axis=0)).all()


def test_no_soundscape_changes_another():
    """A loud bird at the end of one and at the start of the next: each is finished as if it were alone."""
    rng = np.random.default_rng(0)
    first, second = rng.random((4, 3)).astype(np.float32), rng.random((3, 3)).astype(np.float32)
    together = smoothing.finish(np.concatenate([first, second]), ["a"] * 4 + ["b"] * 3, (0.2, 0.6, 0.2), 2)
    alone = [smoothing.top_n(smoothing.smooth(some), 2) for some in (first, second)]
    assert together == pytest.approx(np.concatenate(alone))
    assert (smoothing.finish(first, ["a"] * 4) == first).all()
