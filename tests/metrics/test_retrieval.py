"""Retrieval metrics agree with AccuracyCalculator; ties, unanswerable queries and chance level."""

import itertools
import json

import numpy as np
import pytest

from birdlib import runtime
from birdlib.metrics import identity, retrieval

GOLDEN = json.loads((runtime.repository() / "tests/golden/retrieval.json").read_text())
COLUMNS = ["p_at_1", "recall_at_5", "recall_at_10", "r_precision", "map_at_r"]


def random_case(seed, n_queries=40, n_gallery=90, n_labels=6):
    rng = np.random.default_rng(seed)
    labels = [rng.integers(n_labels, size=n) for n in (n_queries, n_gallery)]
    return rng.normal(size=(n_queries, n_gallery)) + (labels[0][:, None] == labels[1]), *labels


@pytest.mark.parametrize("case", GOLDEN["cases"])
def test_metrics_agree_with_accuracy_calculator(case):
    """Classes of unequal size, two of them only among the queries and one only in the gallery; see golden/make_retrieval.py."""
    query, gallery = np.array(case["query"]), np.array(case["gallery"])
    distance = np.linalg.norm(query[:, None] - gallery, axis=2)
    searched = -distance, case["query_labels"], case["gallery_labels"]
    expected = case["figures"]
    assert retrieval.recall_at_k(*searched, k=1) == pytest.approx(expected["precision_at_1"], abs=1e-6)
    assert retrieval.per_query(*searched)["r_precision"].mean() == pytest.approx(expected["r_precision"], abs=1e-6)
    assert retrieval.map_at_r(*searched) == pytest.approx(expected["mean_average_precision_at_r"], abs=1e-6)
    assert identity.nmi(case["query_labels"], case["clusters"]) == pytest.approx(expected["NMI"], abs=1e-6)


def test_metrics_of_a_ranking_by_hand():
    """Wren, crow, wren, tit, wren: R = 3. R-precision 2/3; MAP@R (1/1 + 2/3) / 3; the crow is second, the robin nowhere."""
    table = retrieval.per_query(
        [[5, 4, 3, 2, 1]] * 3, ["wren", "crow", "robin"], ["wren", "crow", "wren", "tit", "wren"]
    )
    assert list(table.columns) == COLUMNS
    np.testing.assert_allclose(table.iloc[0], [1, 1, 1, 2 / 3, 5 / 9])
    np.testing.assert_allclose(table.iloc[1], [0, 1, 1, 0, 0])
    assert table.iloc[2].isna().all()


def test_mean_reciprocal_rank_by_hand():
    """Third, first, nowhere among the gallery: (1/3 + 1) / 2."""
    scores = [[9, 8, 7, 6], [1, 2, 3, 4], [1, 2, 3, 4]]
    labels = ["wren", "wren", "robin"], ["crow", "tit", "wren", "wren"]
    assert retrieval.mean_reciprocal_rank(scores, *labels) == pytest.approx(2 / 3)


def test_mean_reciprocal_rank_of_many_queries():
    scores, query_labels, gallery_labels = random_case(3)
    hits = gallery_labels[np.argsort(-scores, axis=1)] == query_labels[:, None]
    expected = np.mean(1 / (1 + hits.argmax(axis=1)))
    assert retrieval.mean_reciprocal_rank(scores, query_labels, gallery_labels) == pytest.approx(expected)


def test_mean_reciprocal_rank_of_ties_is_the_expectation():
    """Two hits of four: first with chance 1/2, second 1/3, third 1/6."""
    found = retrieval.mean_reciprocal_rank(np.zeros((1, 4)), ["wren"], ["wren", "tit", "wren", "tit"])
    assert found == pytest.approx(1 / 2 + 1 / 3 / 2 + 1 / 6 / 3)


def test_mean_reciprocal_rank_without_answers_is_nan():
    for shape, gallery in (((1, 0), []), ((1, 2), ["tit", "tit"])):
        assert np.isnan(retrieval.mean_reciprocal_rank(np.zeros(shape), ["wren"], gallery))
    assert np.isnan(retrieval.mean_reciprocal_rank(np.zeros((0, 1)), [], ["wren"]))
    with pytest.raises(ValueError, match="NaN"):
        retrieval.mean_reciprocal_rank([[np.nan, 1.0]], ["wren"], ["wren", "tit"])


def test_recall_at_k_counts_one_hit_or_more():
    scores, query_labels, gallery_labels = random_case(0)
    for k in (1, 3, 10, 500):
        nearest = gallery_labels[np.argsort(-scores, axis=1)[:, :k]]
        expected = np.mean([(label in row) for label, row in zip(query_labels, nearest, strict=True)])
        assert retrieval.recall_at_k(scores, query_labels, gallery_labels, k) == pytest.approx(expected)


def test_ties_count_as_the_mean_over_all_their_orders():
    """Six of a gallery in three levels: all 2! 3! 1! orders, spelled out as scores without ties."""
    level, gallery_labels = np.array([2, 1, 2, 1, 1, 0]), np.array([0, 0, 1, 1, 0, 1])
    orders = [order for order in itertools.permutations(range(6)) if (np.diff(level[list(order)]) <= 0).all()]
    untied = np.zeros((len(orders), 6))
    for row, order in zip(untied, orders, strict=True):
        row[list(order)] = -np.arange(6)
    assert len(orders) == 12
    for label in (0, 1):
        expected = retrieval.per_query(untied, [label] * 12, gallery_labels).mean()
        np.testing.assert_allclose(retrieval.per_query([level], [label], gallery_labels).iloc[0], expected)
        for k in (2, 3):
            expected = retrieval.recall_at_k(untied, [label] * 12, gallery_labels, k)
            assert retrieval.recall_at_k([level], [label], gallery_labels, k) == pytest.approx(expected)


def test_a_collapsed_encoder_is_no_better_than_chance():
    """All alike: the nearest is a wren as often as the gallery has wrens, wherever in the table they are."""
    table = retrieval.per_query(np.ones((1, 40)), ["wren"], ["wren"] * 10 + ["crow"] * 30)
    assert table["p_at_1"][0] == pytest.approx(0.25) and table["r_precision"][0] == pytest.approx(0.25)


def test_perfect_and_reversed_rankings():
    labels = np.repeat(np.arange(4), 12)
    alike = (labels[:, None] == labels).astype(np.uint8)
    assert (retrieval.per_query(alike, labels, labels) == 1).all(axis=None)
    assert (retrieval.per_query(1 - alike, labels, labels) == 0).all(axis=None)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_invariant_to_monotone_transforms_and_gallery_order(seed):
    scores, query_labels, gallery_labels = random_case(seed)
    order = np.random.default_rng(seed).permutation(len(gallery_labels))
    expected = retrieval.per_query(scores, query_labels, gallery_labels)
    found = retrieval.per_query(np.exp(3 * scores[:, order]), query_labels, gallery_labels[order])
    np.testing.assert_allclose(found, expected)


def test_metrics_do_not_depend_on_the_block_size(monkeypatch):
    case = random_case(1)
    table = retrieval.per_query(*case)
    monkeypatch.setattr(retrieval, "BLOCK_SIZE", 300)
    np.testing.assert_array_equal(retrieval.per_query(*case), table)
    found = retrieval.recall_at_k(*case, k=1), retrieval.map_at_r(*case)
    np.testing.assert_allclose(found, table[["p_at_1", "map_at_r"]].mean())


def test_metrics_without_answerable_queries_are_nan():
    for searched in ((np.zeros((2, 3)), ["wren"] * 2, ["crow"] * 3), (np.zeros((0, 3)), [], ["crow"] * 3)):
        assert np.isnan(retrieval.map_at_r(*searched)) and np.isnan(retrieval.recall_at_k(*searched, k=5))
        figures = retrieval.summary(
            retrieval.per_query(*searched), searched[1], searched[1], None, np.random.default_rng(0)
        )
        assert set(figures) == {*COLUMNS, "nmi"} and np.isnan(list(figures.values())).all()
    assert np.isnan(retrieval.map_at_r(np.zeros((2, 0)), [1, 2], []))


def test_nan_scores_and_unequal_shapes_are_an_error():
    with pytest.raises(ValueError, match="NaN, the first of query 1"):
        retrieval.per_query([[1.0], [np.nan]], [0, 0], [0])
    with pytest.raises(ValueError, match="for 1 queries and a gallery of 2"):
        retrieval.per_query([[1.0]], [0], [0, 0])


def test_nmi_of_kmeans_clusters():
    """Three tight clusters far apart; the numbers of the clusters do not matter. NMI is not defined for one species."""
    labels = np.repeat(["wren", "crow", "tit"], 10)
    rng = np.random.default_rng(0)
    embeddings = np.repeat(np.eye(3), 10, axis=0) + 0.01 * rng.normal(size=(30, 3))
    clusters = retrieval.cluster(embeddings, 3, seed=0)
    assert identity.nmi(labels, clusters) == pytest.approx(1.0)
    assert identity.nmi(labels, np.zeros(30)) == pytest.approx(0.0)
    assert np.isnan(identity.nmi(["wren"] * 30, clusters))
    np.testing.assert_array_equal(clusters, retrieval.cluster(embeddings, 3, seed=0))
    assert sorted(retrieval.cluster(embeddings[:2], 3, seed=0)) == [0, 1]


def test_summary_has_each_mean_inside_its_interval():
    scores, query_labels, gallery_labels = random_case(2, n_queries=60)
    query_labels[:5] = 99  # strangers: left out of the means, yet they are in the clusters
    table = retrieval.per_query(scores, query_labels, gallery_labels)
    clusters = np.where(np.arange(60) % 3, query_labels, 0)
    figures = retrieval.summary(table, query_labels, clusters, np.arange(60) // 3, np.random.default_rng(0), n=100)
    assert list(figures) == [*COLUMNS, "nmi"]
    np.testing.assert_allclose([figures[name][0] for name in COLUMNS], table.mean())
    assert figures["nmi"][0] == pytest.approx(identity.nmi(query_labels, clusters))
    for value, low, high in figures.values():
        assert low < value < high


def test_summary_resamples_whole_groups():
    """Ten photos of one bird, all right or all wrong: the interval is that of six birds, wider than that of sixty photos."""
    rng = np.random.default_rng(0)
    labels, groups = np.zeros(60, int), np.repeat(np.arange(6), 10)
    scores = np.where(groups % 2, 1.0, -1.0)[:, None] * [1.0, -1.0]
    table = retrieval.per_query(scores, labels, [0, 1])
    by_bird, by_photo = (retrieval.summary(table, labels, labels, by, rng)["p_at_1"] for by in (groups, None))
    assert by_bird[0] == by_photo[0] == 0.5
    assert by_bird[2] - by_bird[1] > 2 * (by_photo[2] - by_photo[1])


def test_summary_without_clusters_has_the_same_intervals_and_generator_state():
    table = retrieval.per_query(*random_case(2, n_queries=60))
    groups, draws = np.arange(60) // 3, [np.random.default_rng(0) for _ in range(2)]
    whole, less = (retrieval.summary(table, groups % 4, said, groups, draw, n=30) for said, draw in zip((groups, None), draws, strict=True))
    assert whole.pop("nmi") and whole == less
    assert draws[0].random() == draws[1].random()


def test_description_of_a_map_compares_nearest_neighbours_with_chance():
    """Two tight pairs of two species: each nearest neighbour agrees; of the three other points, one is of the same species."""
    points = np.array([[0, 0], [0, 1], [9, 9], [9, 8]])
    assert "100% of the points (random: 33%)" in retrieval.describe_neighbours(points, ["jay", "jay", "owl", "owl"])
    assert "0% of the points" in retrieval.describe_neighbours(points, ["jay", "owl", "jay", "owl"])
    assert "too few" in retrieval.describe_neighbours(points[:1], ["jay"])
