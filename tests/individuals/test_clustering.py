import itertools

import numpy as np
import pytest
from arrays import at_degrees, unit

from birdlib.individuals import clustering
from birdlib.metrics import classification


def rng(seed=0):
    return np.random.default_rng(seed)


def flock(n_birds, n_each, noise, seed=0, dim=32):
    """Sightings of birds that differ, and whose they are; the birds take turns."""
    numbers = rng(seed)
    birds = np.tile(np.arange(n_birds), n_each)
    return unit(unit(numbers.normal(size=(n_birds, dim)))[birds] + noise * numbers.normal(size=(len(birds), dim))), birds


def pairs_apart(n, *pairs):
    apart = np.zeros((n, n), dtype=bool)
    for a, b in pairs:
        apart[a, b] = apart[b, a] = True
    return apart


def together(identities):
    return np.asarray(identities)[:, None] == np.asarray(identities)


# Clustering


def test_birds_that_differ_are_told_apart_and_numbered_as_they_appear():
    vectors, birds = flock(5, 4, noise=0.03)
    assert clustering.cluster(vectors, None, threshold=0.4).tolist() == birds.tolist()


@pytest.mark.parametrize("n", [0, 1])
def test_no_bird_is_none_and_one_is_one(n):
    vectors = at_degrees(*[10] * n)
    assert clustering.cluster(vectors, pairs_apart(n), 0.3).tolist() == [0] * n
    assert clustering.clustered_order(vectors, None).tolist() == [0] * n


@pytest.mark.parametrize("seed", range(6))
def test_who_is_who_does_not_depend_on_the_order_of_the_sightings(seed):
    """Noise as large as the birds' differences makes many close calls; copies of a sighting make ties."""
    vectors, _ = flock(6, 4, noise=0.2, seed=seed)
    vectors = np.concatenate([vectors, vectors[:5]])
    apart = np.triu(rng(seed).random((len(vectors), len(vectors))) < 0.1, k=1)
    apart[-5:] = apart[:, -5:] = apart[:5] = apart[:, :5] = False
    apart |= apart.T
    found = clustering.cluster(vectors, apart, 0.5)
    for shuffle in range(10):
        order = rng(shuffle).permutation(len(vectors))
        again = clustering.cluster(vectors[order], apart[np.ix_(order, order)], 0.5)
        assert again.tolist() == clustering.renumber(found[order]).tolist()


def test_a_bird_half_way_between_two_goes_to_the_same_one_whatever_the_order():
    """The first is 0.4 from either of the others, which are 0.64 apart; with one of them it is 0.52 from the other."""
    vectors = np.array([[1, 0, 0], [0.6, 0.8, 0], [0.6, 0, 0.8]])
    found = clustering.cluster(vectors, None, 0.45)
    assert found.max() == 1
    for order in map(list, itertools.permutations(range(3))):
        assert clustering.cluster(vectors[order], None, 0.45).tolist() == clustering.renumber(found[order]).tolist()


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0, 2.0])
def test_two_birds_seen_at_once_are_never_one(threshold):
    """However alike they are, and however many sightings could join them."""
    vectors, _ = flock(3, 10, noise=0.1)
    apart = np.triu(rng().random((30, 30)) < 0.2, k=1)
    apart |= apart.T
    identities = clustering.cluster(vectors, apart, threshold)
    assert not (together(identities) & apart).any()


def test_twins_seen_at_once_are_two_and_a_third_like_them_is_one_of_the_two():
    identities = clustering.cluster(at_degrees(0, 0, 0), pairs_apart(3, (0, 1)), 0.5)
    assert identities[0] != identities[1] and identities[2] in identities[:2]


def test_a_looser_threshold_never_finds_more_birds():
    vectors, _ = flock(6, 5, noise=0.2)
    counts = [clustering.cluster(vectors, None, threshold).max() + 1 for threshold in np.linspace(0, 2, 21)]
    assert counts == sorted(counts, reverse=True) and counts[0] == 30 and counts[-1] == 1


def test_clusters_join_at_their_mean_distance():
    """Cosines of 60 and 90 degrees are 1/2 and 0: the third is 0.75 from the first two, which are 0.13 apart."""
    vectors = at_degrees(0, 30, 90)
    assert clustering.cluster(vectors, None, 0.74).tolist() == [0, 0, 1]
    assert clustering.cluster(vectors, None, 0.76).tolist() == [0, 0, 0]


def test_in_clustered_order_the_sightings_of_a_bird_stand_side_by_side():
    vectors, birds = flock(5, 6, noise=0.03)
    order = clustering.clustered_order(vectors, None)
    assert sorted(order) == list(range(30)) and (np.diff(birds[order]) != 0).sum() == 4


@pytest.mark.parametrize(
    "vectors, apart, threshold, told",
    [
        (at_degrees(0, 9), None, np.nan, "threshold nan"),
        (2 * at_degrees(0, 9), None, 0.5, "embedding 0 is no unit vector"),
        (np.full((2, 4), np.nan), None, 0.5, "embedding 0 is no unit vector"),
        (at_degrees(0, 9), np.array([[0, 1], [0, 0]], bool), 0.5, "not symmetric"),
        (at_degrees(0, 9), pairs_apart(3), 0.5, "for 2 items"),
    ],
)
def test_what_cannot_be_clustered_is_refused(vectors, apart, threshold, told):
    with pytest.raises(ValueError, match=told):
        clustering.cluster(vectors, apart, threshold)


def test_birds_are_numbered_as_they_appear_and_new_ones_stay_new():
    assert clustering.renumber([7, -1, 3, 7, -1, 5]).tolist() == [0, -1, 1, 0, -1, 2]
    assert clustering.renumber(["wren", "tit", "wren"]).tolist() == [0, 1, 0]


def test_the_mean_of_a_group_is_a_unit_vector_in_its_middle():
    means = clustering.mean_embeddings(at_degrees(0, 90, 20), [0, 0, 1])
    assert np.allclose(means, at_degrees(45, 20)) and means.dtype == np.float32
    with pytest.raises(ValueError, match="group 1"):
        clustering.mean_embeddings(at_degrees(0, 90), [0, 2])


# Two films


def matched(a, b, threshold):
    return clustering.assign(clustering.distances(a, b), threshold)


def test_what_surely_differs_is_not_matched():
    assert clustering.assign(np.array([[np.inf, 0.1]]), 0.5).tolist() == [[0, 1]]
    assert clustering.assign(np.full((1, 2), np.inf), 0.5).shape == (0, 2)


def test_birds_of_two_films_find_each_other_and_a_stranger_stays_alone():
    vectors, _ = flock(4, 2, noise=0.03)
    first, second = vectors[:4], vectors[[6, 4, 5]]  # birds 2, 0, 1; bird 3 is seen in the first film only
    assert matched(first, second, 0.4).tolist() == [[0, 1], [1, 2], [2, 0]]


def test_no_bird_is_given_away_twice():
    """Both birds of the first film are most like the first of the second, but one bird is not two."""
    pairs = matched(at_degrees(0, 5), at_degrees(3, 40), 0.5)
    assert sorted(pairs[:, 1]) == [0, 1]


def test_a_match_is_given_up_rather_than_made_with_one_too_far():
    assert matched(at_degrees(0, 5), at_degrees(3, 90), 0.5).tolist() == [[1, 0]]


@pytest.mark.parametrize("n, m", [(0, 0), (0, 2), (2, 0)])
def test_a_film_without_birds_has_no_matches(n, m):
    assert matched(at_degrees(*range(n)), at_degrees(*range(m)), 0.5).shape == (0, 2)


def test_matching_the_other_way_round_finds_the_same():
    a, b = flock(6, 1, noise=0)[0], flock(6, 2, noise=0.15)[0][3:10]
    forth, back = matched(a, b, 0.6), matched(b, a, 0.6)
    assert 0 < len(forth) and {tuple(pair) for pair in forth} == {tuple(pair[::-1]) for pair in back}


# Thresholds


def test_the_threshold_lies_in_the_middle_of_the_gap():
    assert clustering.choose_threshold([0.1, 0.2, 0.6, 0.9], [1, 1, -1, -1]) == (pytest.approx(0.4), 0.0, (2, 2))


def test_what_is_not_known_does_not_count():
    assert clustering.choose_threshold([0.1, 0.3, 0.5], [1, 0, -1]) == (pytest.approx(0.3), 0.0, (1, 1))


@pytest.mark.parametrize("seed", range(5))
def test_as_large_a_share_of_same_pairs_is_missed_as_of_different_pairs_is_joined(seed):
    """And the share is the equal error rate as it is told elsewhere. There are ties."""
    same, different = rng(seed).normal(0.4, 0.1, 60).round(2), rng(seed + 9).normal(0.6, 0.1, 200).round(2)
    values, relations = np.concatenate([same, different]), np.repeat([1, -1], [60, 200])
    threshold, error_rate, n_pairs = clustering.choose_threshold(values, relations)
    assert n_pairs == (60, 200)
    assert error_rate == pytest.approx(classification.equal_error_rate(relations == 1, -values))
    missed, passed = (same > threshold).mean(), (different <= threshold).mean()
    assert missed == pytest.approx(error_rate, abs=0.06) and passed == pytest.approx(error_rate, abs=0.06)


def test_a_pair_that_weighs_twice_is_as_two_pairs():
    once = clustering.choose_threshold([0.1, 0.5, 0.5, 0.4, 0.7], [1, 1, 1, -1, -1])
    weighed = clustering.choose_threshold([0.1, 0.5, 0.4, 0.7], [1, 1, -1, -1], weights=[1, 2, 1, 1])
    assert weighed[:2] == pytest.approx(once[:2])


def test_without_different_birds_the_threshold_is_handed_in():
    with pytest.raises(clustering.IndividualsError, match="2 pairs .* 0 .* two birds at once"):
        clustering.choose_threshold([0.1, 0.2], [1, 1])
    threshold, error_rate, n_pairs = clustering.choose_threshold([0.1, 0.2], [1, 1], fallback=0.35)
    assert threshold == 0.35 and np.isnan(error_rate) and n_pairs == (2, 0)


def test_halves_of_a_track_are_one_bird_and_birds_seen_at_once_are_two():
    """Track 0 has six crops out of order, track 1 two, track 2 one."""
    vectors, times_s = at_degrees(20, 0, 22, 2, 4, 18, 90, 80, 50), [9, 1, 8, 2, 3, 7, 1, 5, 3]
    halves, relations, tracks = clustering.validation_pairs(vectors, [0] * 6 + [1, 1, 2], times_s, pairs_apart(3, (0, 1)))
    assert tracks.tolist() == [0, 0, 1, 1, 2]
    assert np.allclose(halves, at_degrees(2, 20, 90, 80, 50), atol=1e-5)
    assert relations.tolist() == [
        [1, 1, -1, -1, 0],
        [1, 1, -1, -1, 0],
        [-1, -1, 1, 1, 0],
        [-1, -1, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]


def test_labels_say_who_is_who_unless_a_frame_says_otherwise():
    """Tracks 0 and 1 bear one name but were seen at once: nothing is known of the two."""
    labels = ["bill", "bill", "bill", "jane", ""]
    _, relations, _ = clustering.validation_pairs(at_degrees(*range(5)), range(5), [0] * 5, pairs_apart(5, (0, 1)), labels)
    assert relations[0].tolist() == [1, 0, 1, -1, 0] and relations[4].tolist() == [0, 0, 0, 0, 1]


def test_no_more_newcomers_are_taken_for_known_birds_than_is_stated():
    """Over many draws of 40 others, the share of newcomers of the same kind that come as near as the threshold."""
    numbers = rng()
    for false_accept in (0.05, 0.1, 0.3):
        taken = []
        for _ in range(400):
            threshold = clustering.open_set_threshold(numbers.beta(4, 2, 40), false_accept)
            taken.append((numbers.beta(4, 2, 50) <= threshold).mean())
        assert np.mean(taken) < false_accept * 1.1 and np.mean(taken) > 0.5 * false_accept


def test_few_others_cannot_promise_much():
    """Of three others, none may come as near as the threshold, and without any there is none."""
    threshold = clustering.open_set_threshold([0.7, 0.5, 0.9], 0.01)
    assert threshold < 0.5 and threshold == pytest.approx(0.5)
    assert np.isnan(clustering.open_set_threshold([], 0.05))
    with pytest.raises(ValueError, match="share"):
        clustering.open_set_threshold([0.5], 5)
