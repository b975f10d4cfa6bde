import math

import numpy as np
import pytest
from arrays import at_degrees, cosine, cost, from_config, gradient, half_is_single, multi_similarity_by_hand, rng, unit

from birdlib.losses import base
from birdlib.losses import matching as matching_losses

WITH_VECTOR_TERM = list(matching_losses.LOSSES)[1:]
SURE = 200.0  # a logit whose cross-entropy is 0 in float32


def pairs(audio_categories, video_categories, audio, video, logits=None):
    """(targets, outputs) as of a matcher; without logits, those of a confident correct head, whose loss is 0."""
    audio_categories, video_categories = np.array(audio_categories), np.array(video_categories)
    match = audio_categories == video_categories
    logits = np.where(match, SURE, -SURE) if logits is None else logits
    targets = np.stack([match, audio_categories, video_categories], axis=1).astype(np.float32)
    return targets, np.concatenate([audio, video, np.reshape(logits, (-1, 1))], axis=1).astype(np.float32)


def crowd(n=12, n_categories=3, dim=4, seed=0):
    """Half of the pairs belong together; categories overlap, and the last category is of one pair."""
    centres = rng(seed).normal(size=(n_categories + 1, dim))
    audio_categories = np.arange(n) % n_categories
    video_categories = np.where(np.arange(n) < n // 2, audio_categories, (audio_categories + 1) % n_categories)
    audio_categories[0] = video_categories[0] = n_categories
    noise = rng(seed + 1)
    audio, video = (unit(centres[c] + 0.8 * noise.normal(size=(n, dim))) for c in (audio_categories, video_categories))
    return pairs(audio_categories, video_categories, audio, video, noise.normal(size=n))


def cross_entropy(truth, logits):
    """By its definition, in double precision."""
    said = 1.0 / (1.0 + np.exp(-np.asarray(logits, np.float64)))
    return -np.log(np.where(np.asarray(truth) == 1, said, 1.0 - said)).mean()


def head_cost(targets, outputs):
    return cross_entropy(targets[:, 0], outputs[:, -1])


# Where nothing is left to learn


@pytest.mark.parametrize("name", ["bce", "contrastive", "cross_triplet"])
def test_well_separated_pairs_have_no_loss(name):
    """Matched pairs coincide, others are at 90 degrees: D = 0, and D = 1 is not below the margin; 0 - 1 + 0.2 is below 0."""
    targets, outputs = pairs([0, 1, 0, 1], [0, 1, 1, 0], at_degrees(0, 90, 0, 90), at_degrees(0, 90, 90, 0))
    assert cost(matching_losses.get(name), targets, outputs) == 0.0


def test_cosine_loss_of_well_separated_pairs_vanishes_with_the_scale():
    """They are 0.5 on either side of the bias: log(1 + exp(-scale / 2)) each."""
    targets, outputs = pairs([0, 1, 0, 1], [0, 1, 1, 0], at_degrees(0, 90, 0, 90), at_degrees(0, 90, 90, 0))
    expected = math.log1p(math.exp(-5.0))
    assert cost(matching_losses.get("cosine", scale=10.0), targets, outputs) == pytest.approx(expected, rel=1e-4)
    assert cost(matching_losses.get("cosine", scale=400.0), targets, outputs) == 0.0


def test_a_single_pair_has_no_loss():
    """Softmax over one is 1, its logarithm 0; without negatives there are neither triplets nor relations."""
    targets, outputs = pairs([3], [3], at_degrees(0), at_degrees(70))
    assert cost(matching_losses.get("info_nce"), targets, outputs) == 0.0
    assert cost(matching_losses.get("cross_triplet"), targets, outputs) == 0.0


@pytest.mark.parametrize("name", ["cross_triplet", "info_nce"])
def test_a_batch_without_matches_has_no_gradient_of_vectors(name):
    targets, outputs = pairs([0, 1, 2], [3, 4, 5], at_degrees(0, 10, 20), at_degrees(5, 15, 25), np.zeros(3))
    assert cost(matching_losses.get(name), targets, outputs) == pytest.approx(math.log(2))
    gradients = gradient(matching_losses.get(name), targets, outputs)
    assert (gradients[:, :-1] == 0.0).all() and (gradients[:, -1] > 0).all()


# What each costs


def test_every_loss_contains_the_cross_entropy_of_the_head():
    """Logits of 0 instead of confident correct ones add log 2."""
    targets, outputs = crowd()
    sure, unsure = outputs.copy(), outputs.copy()
    sure[:, -1], unsure[:, -1] = np.where(targets[:, 0] == 1, SURE, -SURE), 0.0
    for name in matching_losses.LOSSES:
        loss = matching_losses.get(name)
        assert cost(loss, targets, unsure) - cost(loss, targets, sure) == pytest.approx(math.log(2), abs=1e-5), name


def test_bce_depends_on_the_logit_only():
    targets, outputs = crowd()
    assert cost(matching_losses.get("bce"), targets, outputs) == pytest.approx(head_cost(targets, outputs), rel=1e-5)
    assert (gradient(matching_losses.get("bce"), targets, outputs)[:, :-1] == 0.0).all()


def test_contrastive_is_the_papers_formula():
    """A matched pair at 60 degrees: 0.5 ** 2 / 2. Others at 60 and 90, margin 0.8: 0.3 ** 2 / 2 and 0."""
    targets, outputs = pairs([0, 0, 0], [0, 1, 1], at_degrees(0, 0, 0), at_degrees(60, 60, 90))
    found = cost(matching_losses.get("contrastive", margin=0.8), targets, outputs)
    assert found == pytest.approx((0.25 + 0.09 + 0.0) / 2 / 3, rel=1e-5)


def test_cosine_is_the_cross_entropy_of_scaled_cosines():
    targets, outputs = pairs([0, 0, 1], [0, 1, 1], at_degrees(0, 0, 0), at_degrees(30, 50, 80))
    expected = cross_entropy([1, 0, 1], 4.0 * (np.array([cosine(30), cosine(50), cosine(80)]) - 0.2))
    assert cost(matching_losses.get("cosine", scale=4.0, bias=0.2), targets, outputs) == pytest.approx(expected, rel=1e-5)


def test_cross_triplet_takes_furthest_positives_and_nearest_negatives_both_ways():
    """Sounds 0 (at 0 degrees), 0 (20), 1 (100); pictures 0 (30), 1 (60), 1 (90). Margin 0.5.

    Sounds: positive 30, negative 60; positive 10, negative 40; positives 40 and 10, negative 70.
    Pictures: positives 30 and 10, negative 70; positive 40, negatives 60 and 40; positive 10, negatives 90 and 70.
    """
    targets, outputs = pairs([0, 0, 1], [0, 1, 1], at_degrees(0, 20, 100), at_degrees(30, 60, 90))
    triplets = [(30, 60), (10, 40), (40, 70), (30, 70), (40, 40), (10, 70)]
    costs = [max(0.0, cosine(negative) - cosine(positive) + 0.5) for positive, negative in triplets]
    found = cost(matching_losses.get("cross_triplet", margin=0.5), targets, outputs)
    assert found == pytest.approx(np.mean(costs), rel=1e-5)


def test_cross_triplet_leaves_out_anchors_without_a_positive():
    """Sound 2 has no pictures: of six anchors five count, and all vectors are equal, so that each costs the margin."""
    targets, outputs = pairs([0, 1, 2], [0, 1, 1], at_degrees(0, 0, 0), at_degrees(0, 0, 0))
    assert cost(matching_losses.get("cross_triplet", margin=0.3), targets, outputs) == pytest.approx(0.3, abs=1e-6)


def info_nce_by_hand(targets, outputs, temperature=0.1):
    """Every anchor and positive one by one."""
    audio, video, _ = (np.asarray(part, np.float64) for part in matching_losses.parts(outputs))
    costs = []
    for anchors, samples, own, others in (
        (audio, video, targets[:, 1], targets[:, 2]),
        (video, audio, targets[:, 2], targets[:, 1]),
    ):
        for i in range(len(anchors)):
            likeness = [math.exp(float(anchors[i] @ sample) / temperature) for sample in samples]
            terms = [-math.log(likeness[k] / sum(likeness)) for k in range(len(samples)) if others[k] == own[i]]
            if terms:
                costs.append(sum(terms) / len(terms))
    return sum(costs) / len(costs)


@pytest.mark.parametrize("seed", range(3))
def test_info_nce_equals_a_loop_over_anchors(seed):
    targets, outputs = crowd(seed=seed)
    targets[1, 1] = 9  # a sound without pictures
    expected = info_nce_by_hand(targets, outputs, 0.2) + head_cost(targets, outputs)
    assert cost(matching_losses.get("info_nce", temperature=0.2), targets, outputs) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("categories", [[0, 1, 2, 3], [0, 0, 1, 1]], ids=["one positive each", "two positives each"])
def test_info_nce_of_collapsed_vectors_is_the_logarithm_of_the_batch(categories):
    """Every sample is as likely as any other: -log(1 / 4), with one positive or with two."""
    same = at_degrees(0, 0, 0, 0)
    assert cost(matching_losses.get("info_nce"), *pairs(categories, categories, same, same)) == pytest.approx(math.log(4))


@pytest.mark.parametrize("seed", range(3))
def test_cross_multi_similarity_equals_a_loop_over_anchors(seed):
    targets, outputs = crowd(seed=seed)
    audio, video, _ = (np.asarray(part, np.float64) for part in matching_losses.parts(outputs))
    sounds, pictures = targets[:, 1], targets[:, 2]
    heard, seen = (audio, sounds), (video, pictures)
    across = [*multi_similarity_by_hand(*heard, *seen)[0], *multi_similarity_by_hand(*seen, *heard)[0]]
    within = [multi_similarity_by_hand(*one)[0] for one in (heard, seen)]
    pair = cross_entropy(targets[:, 0], 10.0 * ((audio * video).sum(axis=1) - 0.5))
    regularising = np.mean([np.mean(costs) for costs in (across, *within)])
    expected = pair + 0.7 * regularising + head_cost(targets, outputs)
    loss = matching_losses.get("cross_multi_similarity", weight=0.7)
    assert cost(loss, targets, outputs) == pytest.approx(expected, rel=1e-5)


def test_cross_multi_similarity_without_weight_is_the_cosine_loss():
    targets, outputs = crowd()
    without = cost(matching_losses.get("cross_multi_similarity", weight=0.0), targets, outputs)
    assert without == pytest.approx(cost(matching_losses.get("cosine"), targets, outputs), rel=1e-6)


@pytest.mark.parametrize("moved", ["audio", "video"])
def test_cross_multi_similarity_depends_on_relations_within_a_modality(moved):
    """Sounds, or pictures, of two categories are level with each other, while every one is at 90 degrees to the other modality."""
    split, level = np.eye(4)[[0, 0, 1, 1]], np.eye(4)[[2, 2, 2, 2]]
    arrays = {"audio": (level, np.eye(4)[[3, 3, 3, 3]]), "video": (np.eye(4)[[3, 3, 3, 3]], level)}[moved]
    apart = {"audio": (split, arrays[1]), "video": (arrays[0], split)}[moved]
    categories, loss = [0, 0, 1, 1], matching_losses.get("cross_multi_similarity")
    assert (
        cost(loss, *pairs(categories, categories, *arrays)) > cost(loss, *pairs(categories, categories, *apart)) + 0.1
    )


# All of them


@pytest.mark.parametrize("name", matching_losses.LOSSES)
def test_losses_ignore_batch_order_and_category_numbers(name):
    targets, outputs = crowd()
    order, loss = rng().permutation(len(targets)), matching_losses.get(name)
    renamed = targets + np.float32([0, 1000, 1000])
    assert cost(loss, renamed[order], outputs[order]) == pytest.approx(cost(loss, targets, outputs), rel=1e-5)


@pytest.mark.parametrize("name", matching_losses.LOSSES)
def test_losses_are_symmetric_in_sounds_and_images(name):
    """No formula prefers a modality."""
    targets, outputs = crowd()
    audio, video, logit = matching_losses.parts(outputs)
    swapped = np.concatenate([video, audio, logit[:, None]], axis=1)
    loss = matching_losses.get(name)
    assert cost(loss, targets[:, [0, 2, 1]], swapped) == pytest.approx(cost(loss, targets, outputs), rel=1e-5)


@pytest.mark.parametrize("name", matching_losses.LOSSES)
@pytest.mark.parametrize(
    "vectors", [unit(np.ones((6, 3))), at_degrees(0, 180, 0, 180, 0, 180), np.zeros((6, 3))], ids=["one", "two", "none"]
)
def test_gradients_are_finite(name, vectors):
    """Collapsed, opposite and zero vectors; a confident wrong logit; sounds without images and the reverse."""
    targets, outputs = pairs([0, 0, 1, 1, 2, 3], [0, 1, 1, 1, 2, 4], vectors, vectors, SURE * np.array([-1, 1] * 3))
    assert np.isfinite(cost(matching_losses.get(name), targets, outputs))
    assert np.isfinite(gradient(matching_losses.get(name), targets, outputs)).all()


@pytest.mark.parametrize("name", matching_losses.LOSSES)
def test_a_gradient_step_lowers_the_loss_and_moves_both_modalities(name):
    targets, outputs = crowd()
    loss = matching_losses.get(name)
    gradients = gradient(loss, targets, outputs)
    assert cost(loss, targets, outputs - 0.003 * gradients) < cost(loss, targets, outputs)
    if name in WITH_VECTOR_TERM:
        audio, video, _ = matching_losses.parts(gradients)
        assert np.abs(audio).max() > 1e-3 and np.abs(video).max() > 1e-3


@pytest.mark.parametrize("name", matching_losses.LOSSES)
def test_half_precision_inputs_are_computed_in_float32(name):
    assert half_is_single(matching_losses.get(name), *crowd())


OPTIONS = {
    "bce": {},
    "contrastive": {"margin": 0.6},
    "cosine": {"scale": 5.0, "bias": 0.1},
    "cross_triplet": {"margin": 0.7},
    "info_nce": {"temperature": 0.3},
    "cross_multi_similarity": {"scale": 5.0, "weight": 0.5, "beta": 40.0, "epsilon": 0.2},
}


@pytest.mark.parametrize("name", matching_losses.LOSSES)
def test_config_round_trip(name):
    loss = matching_losses.get(name, **OPTIONS[name])
    assert cost(from_config(loss), *crowd()) == cost(loss, *crowd())
    assert name == "bce" or cost(loss, *crowd()) != cost(matching_losses.get(name), *crowd())


def test_an_unknown_option_is_an_error():
    with pytest.raises(TypeError, match="margin"):
        matching_losses.get("info_nce", margin=0.2)


def test_parts_of_outputs():
    outputs = np.arange(14.0).reshape(2, 7)
    audio, video, logit = matching_losses.parts(outputs)
    assert audio.tolist() == [[0, 1, 2], [7, 8, 9]] and video.tolist() == [[3, 4, 5], [10, 11, 12]]
    assert logit.tolist() == [6, 13]


def test_an_unknown_loss_is_an_error_that_lists_the_names():
    with pytest.raises(base.LossError, match="'infonce' is unknown: use one of .*info_nce, cross_multi_similarity"):
        matching_losses.get("infonce")
