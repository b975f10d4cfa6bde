import itertools

import numpy as np
import pytest
from arrays import at_degrees, unit

from birdlib.individuals import clustering
from birdlib.metrics import classification


def rng(seed=0):
    return np.random.default_rng(seed)


def flock(n_birds, n_each, noise, seed=0, dim=32):
    """Embeddings of different birds, and the bird of each; the birds alternate."""
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


def test_different_birds_are_separated_and_numbered_by_first_appearance():
    vectors, birds = flock(5, 4, noise=0.03)
    assert clustering.cluster(vectors, None, threshold=0.4).tolist() == birds.tolist()


@pytest.mark.parametrize("n", [0, 1])
def test_no_item_gives_no_cluster_and_one_item_gives_one(n):
    vectors = at_degrees(*[10] * n)
    assert clustering.cluster(vectors, pairs_apart(n), 0.3).tolist() == [0] * n
    assert clustering.clustered_order(vectors, None).tolist() == [0] * n


@pytest.mark.parametrize("seed", range(6))
def test_clusters_do_not_depend_on_the_order_of_the_items(seed):
    """Noise as large as the birds' differences; copies of items make ties."""
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


def test_ties_are_resolved_alike_in_any_order():
    """The first is 0.4 from either of the others, which are 0.64 apart; with one of them it is 0.52 from the other."""
    vectors = np.array([[1, 0, 0], [0.6, 0.8, 0], [0.6, 0, 0.8]])
    found = clustering.cluster(vectors, None, 0.45)
    assert found.max() == 1
    for order in map(list, itertools.permutations(range(3))):
        assert clustering.cluster(vectors[order], None, 0.45).tolist() == clustering.renumber(found[order]).tolist()


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0, 2.0])
def test_must_not_link_pairs_are_never_in_one_cluster(threshold):
    """At any similarity, and with any number of items between them."""
    vectors, _ = flock(3, 10, noise=0.1)
    apart = np.triu(rng().random((30, 30)) < 0.2, k=1)
    apart |= apart.T
    identities = clustering.cluster(vectors, apart, threshold)
    assert not (together(identities) & apart).any()


def test_identical_items_that_must_not_link_are_separate_and_a_third_joins_one_of_them():
    identities = clustering.cluster(at_degrees(0, 0, 0), pairs_apart(3, (0, 1)), 0.5)
    assert identities[0] != identities[1] and identities[2] in identities[:2]


def test_a_larger_threshold_never_gives_more_clusters():
    vectors, _ = flock(6, 5, noise=0.2)
    counts = [clustering.cluster(vectors, None, threshold).max() + 1 for threshold in np.linspace(0, 2, 21)]
    assert counts == sorted(counts, reverse=True) and counts[0] == 30 and counts[-1] == 1


def test_clusters_merge_at_their_mean_distance():
    """Cosines of 60 and 90 degrees are 1/2 and 0: the third is 0.75 from the first two, which are 0.13 apart."""
    vectors = at_degrees(0, 30, 90)
    assert clustering.cluster(vectors, None, 0.74).tolist() == [0, 0, 1]
    assert clustering.cluster(vectors, None, 0.76).tolist() == [0, 0, 0]


def test_in_clustered_order_items_of_a_bird_are_neighbours():
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
def test_invalid_clustering_input_raises(vectors, apart, threshold, told):
    with pytest.raises(ValueError, match=told):
        clustering.cluster(vectors, apart, threshold)


def test_renumbering_follows_first_appearance_and_keeps_unknown():
    assert clustering.renumber([7, -1, 3, 7, -1, 5]).tolist() == [0, -1, 1, 0, -1, 2]
    assert clustering.renumber(["wren", "tit", "wren"]).tolist() == [0, 1, 0]


def test_group_means_are_unit_vectors():
    means = clustering.mean_embeddings(at_degrees(0, 90, 20), [0, 0, 1])
    assert np.allclose(means, at_degrees(45, 20)) and means.dtype == np.float32
    with pytest.raises(ValueError, match="group 1"):
        clustering.mean_embeddings(at_degrees(0, 90), [0, 2])


# Two films


def matched(a, b, threshold):
    return clustering.assign(clustering.distances(a, b), threshold)


def test_infinite_distances_are_not_matched():
    assert clustering.assign(np.array([[np.inf, 0.1]]), 0.5).tolist() == [[0, 1]]
    assert clustering.assign(np.full((1, 2), np.inf), 0.5).shape == (0, 2)


def test_birds_of_two_films_are_matched_and_an_additional_bird_is_not():
    vectors, _ = flock(4, 2, noise=0.03)
    first, second = vectors[:4], vectors[[6, 4, 5]]  # birds 2, 0, 1; bird 3 is seen in the first film only
    assert matched(first, second, 0.4).tolist() == [[0, 1], [1, 2], [2, 0]]


def test_matching_is_one_to_one():
    """Both birds of the first film are most like the first of the second, but one bird is not two."""
    pairs = matched(at_degrees(0, 5), at_degrees(3, 40), 0.5)
    assert sorted(pairs[:, 1]) == [0, 1]


def test_no_match_is_made_beyond_the_threshold():
    assert matched(at_degrees(0, 5), at_degrees(3, 90), 0.5).tolist() == [[1, 0]]


@pytest.mark.parametrize("n, m", [(0, 0), (0, 2), (2, 0)])
def test_a_film_without_birds_has_no_matches(n, m):
    assert matched(at_degrees(*range(n)), at_degrees(*range(m)), 0.5).shape == (0, 2)


def test_matching_is_symmetric():
    a, b = flock(6, 1, noise=0)[0], flock(6, 2, noise=0.15)[0][3:10]
    forth, back = matched(a, b, 0.6), matched(b, a, 0.6)
    assert 0 < len(forth) and {tuple(pair) for pair in forth} == {tuple(pair[::-1]) for pair in back}


# Thresholds


def test_the_threshold_is_in_the_middle_of_the_gap():
    assert clustering.choose_threshold([0.1, 0.2, 0.6, 0.9], [1, 1, -1, -1]) == (pytest.approx(0.4), 0.0, (2, 2))


def test_unknown_pairs_do_not_count_for_the_threshold():
    assert clustering.choose_threshold([0.1, 0.3, 0.5], [1, 0, -1]) == (pytest.approx(0.3), 0.0, (1, 1))


@pytest.mark.parametrize("seed", range(5))
def test_miss_rate_equals_false_accept_rate_at_the_threshold(seed):
    """And both equal ``classification.equal_error_rate``. There are ties."""
    same, different = rng(seed).normal(0.4, 0.1, 60).round(2), rng(seed + 9).normal(0.6, 0.1, 200).round(2)
    values, relations = np.concatenate([same, different]), np.repeat([1, -1], [60, 200])
    threshold, error_rate, n_pairs = clustering.choose_threshold(values, relations)
    assert n_pairs == (60, 200)
    assert error_rate == pytest.approx(classification.equal_error_rate(relations == 1, -values))
    missed, passed = (same > threshold).mean(), (different <= threshold).mean()
    assert missed == pytest.approx(error_rate, abs=0.06) and passed == pytest.approx(error_rate, abs=0.06)


def test_a_pair_of_weight_two_equals_two_pairs():
    once = clustering.choose_threshold([0.1, 0.5, 0.5, 0.4, 0.7], [1, 1, 1, -1, -1])
    weighed = clustering.choose_threshold([0.1, 0.5, 0.4, 0.7], [1, 1, -1, -1], weights=[1, 2, 1, 1])
    assert weighed[:2] == pytest.approx(once[:2])


def test_without_different_pairs_the_fallback_threshold_is_used():
    with pytest.raises(clustering.IndividualsError, match="2 pairs .* 0 .* two birds at once"):
        clustering.choose_threshold([0.1, 0.2], [1, 1])
    threshold, error_rate, n_pairs = clustering.choose_threshold([0.1, 0.2], [1, 1], fallback=0.35)
    assert threshold == 0.35 and np.isnan(error_rate) and n_pairs == (2, 0)


def test_track_halves_are_same_pairs_and_tracks_in_one_frame_are_different_pairs():
    """Track 0 has six crops out of order, track 1 two, track 2 one."""
    vectors, times_s = at_degrees(20, 0, 22, 2, 4, 18, 90, 80, 50), [9, 1, 8, 2, 3, 7, 1, 5, 3]
    halves, relations, tracks = clustering.validation_pairs(vectors, [0] * 6 + [1, 1, 2], times_s, pairs_apart(3, (0, 1)))
    assert tracks.tolist() == [0, 0, 1, 1, 2]
    assert np.allclose(halves, at_degrees(2, 20, 90, 80, 50), atol=1e-5)
    assert relations.tolist() == [[1, 1, -1, -1, 0]] * 2 + [[-1, -1, 1, 1, 0]] * 2 + [[0, 0, 0, 0, 1]]


def test_labels_give_relations_unless_a_shared_frame_contradicts():
    """Tracks 0 and 1 have one label but are in one frame: their relation is unknown."""
    labels = ["bill", "bill", "bill", "jane", ""]
    _, relations, _ = clustering.validation_pairs(at_degrees(*range(5)), range(5), [0] * 5, pairs_apart(5, (0, 1)), labels)
    assert relations[0].tolist() == [1, 0, 1, -1, 0] and relations[4].tolist() == [0, 0, 0, 0, 1]


def test_description_of_a_threshold_warns_of_overlap_and_of_missing_pairs():
    assert clustering.describe_threshold(0.4, 0.01, (5, 6)) == "Threshold 0.400; equal error 0.010 of 5 same and 6 different pairs."
    assert "overlap" in clustering.describe_threshold(0.4, 0.2, (5, 6))
    assert "a default, as 5 same and 0 different pairs" in clustering.describe_threshold(0.3, float("nan"), (5, 0))


# Greedy counting


def test_greedy_counting_takes_the_nearest_bird_within_the_threshold_or_a_new_one():
    """At 0, 40, 15 and 30 degrees; 1 - cos 25 = .094: the third is near the first, the fourth near the second, though the third is nearer."""
    assert clustering.greedy(plane(0, 40, 15, 30), None, 0.094).tolist() == [0, 1, 0, 1]
    assert clustering.greedy(plane(0, 40, 15, 30), None, 0.01).tolist() == [0, 1, 2, 3]
    assert clustering.greedy(plane(), None, 0.1).tolist() == []


def test_greedy_counting_depends_on_the_order_and_clustering_does_not():
    """Three birds in a chain: from an end there are two individuals, from the middle one."""
    chain, threshold = (0, 20, 40), 1 - np.cos(np.radians(25))
    n = {order: len(set(clustering.greedy(plane(*(chain[i] for i in order)), None, threshold))) for order in ((0, 1, 2), (1, 0, 2))}
    assert n == {(0, 1, 2): 2, (1, 0, 2): 1}
    found = {len(set(clustering.cluster(plane(*(chain[i] for i in order)), None, threshold))) for order in n}
    assert len(found) == 1


def test_greedy_counting_may_merge_birds_of_one_frame():
    together = np.array([[False, True], [True, False]])
    assert clustering.greedy(plane(0, 1), together, 0.1).tolist() == [0, 0]
    assert clustering.cluster(plane(0, 1), together, 0.1).tolist() == [0, 1]


def plane(*degrees):
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)]).reshape(-1, 2)
