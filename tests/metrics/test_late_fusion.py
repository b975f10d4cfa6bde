"""Fusion beats single modalities; missing, broken or uninformative ones do no harm."""

import functools
import warnings

import numpy as np
import pytest

from birdlib.metrics import late_fusion, retrieval

N_LABELS = 8
UNINFORMATIVE = None


def world(seed, noises, n_queries=60, n_gallery=120, share_broken=0.0):
    """Unit vectors around a centre of the label, with noise for each modality; an uninformative modality is noise only.

    Returns:
        (gallery_labels, validation, test), the last two (labels, {modality: scores}); for ``share_broken`` of the queries a modality
        is noise only.
    """
    rng = np.random.default_rng(seed)
    gallery_labels = np.arange(n_gallery) % N_LABELS

    def embed(labels, centres, noise, is_broken):
        seen = np.where(is_broken[:, None], 0.0, centres[labels]) + (noise or 1.0) * rng.normal(size=(len(labels), 8))
        return seen / np.linalg.norm(seen, axis=1, keepdims=True)

    modalities = [(rng.normal(size=(N_LABELS, 8)) * (noise is not UNINFORMATIVE), noise) for noise in noises]
    galleries = [embed(gallery_labels, *modality, np.zeros(n_gallery, bool)) for modality in modalities]

    def queries():
        labels = rng.integers(N_LABELS, size=n_queries)
        embedded = [embed(labels, *modality, rng.random(n_queries) < share_broken) for modality in modalities]
        return labels, {name: q @ g.T for name, q, g in zip(("sound", "photo"), embedded, galleries, strict=False)}

    return gallery_labels, queries(), queries()


def searches(seed, noises, **options):
    """(p_at_1, map_at_r) of sound, photo and both, on the test queries."""
    gallery_labels, (labels, scores), (test_labels, test) = world(seed, noises, **options)
    calibrations = {name: late_fusion.calibrate(one, labels, gallery_labels) for name, one in scores.items()}
    found = {**test, "both": late_fusion.fuse(test, gallery_labels, calibrations)}
    tables = {name: retrieval.per_query(one, test_labels, gallery_labels) for name, one in found.items()}
    return {name: table[["p_at_1", "map_at_r"]].mean().tolist() for name, table in tables.items()}


uninformative_searches = functools.cache(lambda seed: searches(seed, [1.0, UNINFORMATIVE]))


def mean_search(search, n_seeds=20):
    drawn = [search(seed) for seed in range(n_seeds)]
    return {name: np.mean([one[name] for one in drawn], axis=0) for name in drawn[0]}


def fitted(seed=0, noises=(1.0, 1.5)):
    gallery_labels, (labels, scores), (_, test) = world(seed, noises)
    return gallery_labels, test, {name: late_fusion.calibrate(one, labels, gallery_labels) for name, one in scores.items()}


@pytest.mark.parametrize("seed", range(20))
def test_an_uninformative_modality_does_not_spoil_the_other(seed):
    """Of sixty queries at most four are lost on noise; the plain sum of the scores loses eight on average."""
    found = uninformative_searches(seed)
    assert found["both"][0] >= found["sound"][0] - 4 / 60
    assert found["both"][1] >= found["sound"][1] - 0.01


def test_on_average_an_uninformative_modality_costs_nothing():
    found = mean_search(uninformative_searches)
    np.testing.assert_allclose(found["both"], found["sound"], atol=0.01)
    assert found["photo"][0] < 0.2


@pytest.mark.parametrize("noises", [(1.0, 1.0), (1.5, 1.5), (0.7, 1.5)])
def test_two_independent_noisy_modalities_are_better_than_either(noises):
    found = mean_search(lambda seed: searches(seed, noises), n_seeds=10)
    assert (found["both"] > np.maximum(found["sound"], found["photo"]) + 0.03).all()


def test_the_gate_weights_modalities_by_query(monkeypatch):
    """Half the queries of each modality are broken, at random: a gate that knows the query beats one that knows the share."""

    def search(seed):
        return searches(seed, [0.5, 0.5], share_broken=0.5)

    gated, learn = mean_search(search, n_seeds=10)["both"], late_fusion.calibrate
    monkeypatch.setattr(late_fusion, "calibrate", lambda *args: learn(*args)._replace(gate_slope=0.0))
    assert (gated > mean_search(search, n_seeds=10)["both"] + 0.02).all()


def test_a_modality_between_two_species_gets_little_weight():
    """The photo is as near to a wren as to a crow; two wrens alike are no such doubt. The gate: 0 at no gap, 1 at a wide one."""
    calibrations = dict.fromkeys(
        ("sound", "photo"), late_fusion.Calibration(1.0, 0.0, gate_slope=100.0, gate_intercept=-10.0)
    )
    torn = {"sound": [[1.0, 1.0, -1.0]], "photo": [[-3.0, 3.0, 3.0]]}
    alone = late_fusion.fuse({"sound": torn["sound"]}, ["wren", "wren", "crow"], calibrations)
    np.testing.assert_allclose(late_fusion.fuse(torn, ["wren", "wren", "crow"], calibrations), alone, atol=1e-3)
    sure = late_fusion.fuse(torn | {"photo": [[3.0, 3.0, -3.0]]}, ["wren", "wren", "crow"], calibrations)
    assert sure[0, 0] > alone[0, 0] + 0.1


@pytest.mark.parametrize("noise", [0.01, 1.0, UNINFORMATIVE])
def test_a_single_modality_keeps_its_ranking(noise):
    """Calibration rises strictly, for one that is nearly perfect (no chance is rounded to 1) and for noise."""
    gallery_labels, test, calibrations = fitted(1, [noise])
    np.testing.assert_array_equal(
        np.argsort(late_fusion.fuse(test, gallery_labels, calibrations), axis=1), np.argsort(test["sound"], axis=1)
    )


def test_a_calibration_that_learnt_the_reverse_keeps_the_ranking_too():
    """The likest were never the same: that is chance or a fault, and is not made a rule."""
    gallery_labels = np.arange(10) % 2
    scores = (np.array([0, 1])[:, None] != gallery_labels) + np.linspace(0, 0.1, 10)
    found = late_fusion.calibrate(scores, [0, 1], gallery_labels)
    fused = late_fusion.fuse({"sound": scores}, gallery_labels, {"sound": found})
    np.testing.assert_array_equal(np.argsort(fused, axis=1), np.argsort(scores, axis=1))


def test_where_a_modality_is_missing_the_other_ranks():
    """Half the queries have no photo: exactly the ranking by sound. With neither there is no score."""
    gallery_labels, test, calibrations = fitted()
    test["photo"][:30] = np.nan
    test["sound"][0] = np.nan
    fused = late_fusion.fuse(test, gallery_labels, calibrations)
    np.testing.assert_array_equal(np.argsort(fused[1:30], axis=1), np.argsort(test["sound"][1:30], axis=1))
    assert np.isnan(fused[0]).all() and not np.isnan(fused[1:]).any()


def test_a_missing_gallery_photo_is_no_dissimilar_photo():
    """Of a gallery sample without a photo, the sound alone speaks."""
    gallery_labels, test, calibrations = fitted()
    test["photo"][:, 5] = np.nan
    fused = late_fusion.fuse(test, gallery_labels, calibrations)
    alone = late_fusion.fuse({"sound": test["sound"]}, gallery_labels, calibrations)
    np.testing.assert_allclose(fused[:, 5], alone[:, 5])


def test_queries_without_scores_or_an_answer_are_left_out():
    gallery_labels, (labels, scores), _ = world(0, [1.0])
    more = np.vstack([scores["sound"], np.full((3, 120), np.nan), np.full((2, 120), 0.99)])
    expected = late_fusion.calibrate(scores["sound"], labels, gallery_labels)
    assert late_fusion.calibrate(more, [*labels, 0, 1, 2, 98, 99], gallery_labels) == expected


def test_the_order_of_modalities_does_not_matter():
    gallery_labels, test, calibrations = fitted()
    test["third"], calibrations["third"] = test["sound"][::-1], calibrations["photo"]
    turned = dict(reversed(test.items()))
    np.testing.assert_array_equal(
        late_fusion.fuse(test, gallery_labels, calibrations), late_fusion.fuse(turned, gallery_labels, calibrations)
    )


def test_the_order_of_the_gallery_does_not_matter():
    gallery_labels, test, calibrations = fitted()
    order = np.random.default_rng(0).permutation(len(gallery_labels))
    shuffled = {name: scores[:, order] for name, scores in test.items()}
    np.testing.assert_array_equal(
        late_fusion.fuse(test, gallery_labels, calibrations)[:, order],
        late_fusion.fuse(shuffled, gallery_labels[order], calibrations),
    )


def test_the_unit_of_the_scores_does_not_matter():
    """Similarities in per cent, and shifted, fuse to the same."""
    gallery_labels, (labels, scores), (_, test) = world(0, [1.0])
    fused = [
        late_fusion.fuse({"sound": change(test["sound"])}, gallery_labels, {"sound": late_fusion.calibrate(change(scores["sound"]), labels, gallery_labels)})
        for change in (lambda x: x, lambda x: 100 * x - 7)
    ]  # fmt: skip
    np.testing.assert_allclose(*fused, atol=1e-6)


def test_few_queries_fit_a_flatter_curve():
    """The same scores, ten times as many queries: the steeper the curve the more there is to go by."""
    gallery_labels, (labels, scores), _ = world(0, [1.0])
    few = late_fusion.calibrate(scores["sound"][:4], labels[:4], gallery_labels)
    many = late_fusion.calibrate(np.tile(scores["sound"][:4], (10, 1)), np.tile(labels[:4], 10), gallery_labels)
    assert 0 < few.slope < many.slope


def share(calibration):
    assert calibration.gate_slope == 0
    return 1 / (1 + np.exp(-calibration.gate_intercept))


def test_where_all_or_none_are_correct_the_gate_is_the_smoothed_share():
    """Six right of six: (6 + 1) / (6 + 2). None: 1 / 8. Nothing to go by: one half."""
    labels = np.arange(6) % 3
    alike = (labels[:, None] == labels) + 0.0
    assert share(late_fusion.calibrate(alike, labels, labels)) == pytest.approx(7 / 8)
    assert share(late_fusion.calibrate(-alike, labels, labels)) == pytest.approx(1 / 8)
    assert share(late_fusion.calibrate(np.empty((0, 6)), [], labels)) == pytest.approx(1 / 2)
    assert share(late_fusion.calibrate(np.full((2, 6), np.nan), [0, 1], labels)) == pytest.approx(1 / 2)


@pytest.mark.parametrize("scores", [np.ones((3, 4)), np.random.default_rng(0).random((3, 4))])
def test_one_label_or_constant_scores_are_no_error_and_keep_the_ranking(scores):
    for gallery_labels in (np.zeros(4, int), np.arange(4) // 2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = late_fusion.calibrate(scores, [0, 0, 0], gallery_labels)
            fused = late_fusion.fuse({"sound": scores}, gallery_labels, {"sound": found})
        assert np.isfinite(found).all() and found.slope > 0
        np.testing.assert_array_equal(np.argsort(fused, axis=1), np.argsort(scores, axis=1))


def test_a_modality_without_calibration_is_an_error_that_names_it():
    with pytest.raises(KeyError, match="video"):
        late_fusion.fuse({"video": np.ones((1, 2))}, [0, 1], {})
