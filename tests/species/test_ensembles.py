"""Ensembles: facts of the rules, and of how they are chosen."""

import json

import numpy as np
import pytest

from birdlib.metrics import classification
from birdlib.species import ensembles

TRUTH = np.eye(4)[np.arange(40) % 4]


def member(rng, skill):
    return 1 / (1 + np.exp(-(skill * (TRUTH - 0.5) + rng.standard_normal(TRUTH.shape))))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("rule", ensembles.RULES)
def test_equal_members_keep_the_ranking(rule, rng):
    """Combining a member with itself changes no ranking within a species."""
    alone = member(rng, 2.0)
    kept = json.loads(json.dumps(ensembles.keep([alone, alone], rule)))
    both = ensembles.combine([alone, alone], rule, kept)
    assert np.allclose(classification.roc_auc(TRUTH, both), classification.roc_auc(TRUTH, alone), atol=0.01)
    assert both.min() >= 0.0 and both.max() <= 1.0


@pytest.mark.parametrize("rule", ensembles.RULES)
def test_a_windows_score_does_not_depend_on_other_windows(rule, rng):
    members = [member(rng, 2.0), member(rng, 1.0)]
    kept = ensembles.keep(members, rule)
    alone = ensembles.combine([scores[7:8] for scores in members], rule, kept)
    assert np.array_equal(alone, ensembles.combine(members, rule, kept)[7:8])


def test_rank_gives_members_of_low_scores_equal_weight(rng):
    """Scores divided by a thousand keep their ranks, so only the ends change."""
    first, second = member(rng, 2.0), member(rng, 2.0)
    same = ensembles.combine([first, second], "rank", ensembles.keep([first, second], "rank"))
    scaled = ensembles.combine([first, second / 1000], "rank", ensembles.keep([first, second / 1000], "rank"))
    assert np.allclose(same, scaled, atol=0.02)


def test_rank_keeps_the_order_of_scores_outside_the_validation_range():
    kept = ensembles.keep([np.linspace(0.2, 0.5, 30)[:, None]], "rank")
    ranks = ensembles.combine([np.array([[0.05], [0.1], [0.6], [0.9]])], "rank", kept)
    assert np.all(np.diff(ranks[:, 0]) > 0)


def test_min_takes_the_lowest_score():
    assert ensembles.combine([[[0.9, 0.2]], [[0.1, 0.8]]], "min").tolist() == [[pytest.approx(0.1), pytest.approx(0.2)]]


def test_of_equal_members_the_cheaper_is_chosen_alone(rng):
    cheap = member(rng, 3.0)
    rule, names, table = ensembles.choose({"cheap": cheap, "costly": cheap.copy()}, TRUTH, np.arange(40), rng)
    assert (rule, names) == ("mean", ["cheap"]) and table["is_chosen"].sum() == 1


def test_complementary_members_are_joined(rng):
    """One knows only the first two species, the other the last two: both are needed."""
    half = member(rng, 8.0), member(rng, 8.0)
    half[0][:, 2:], half[1][:, :2] = rng.random((40, 2)), rng.random((40, 2))
    _, names, _ = ensembles.choose({"first": half[0], "last": half[1]}, TRUTH, np.arange(40), rng)
    assert names == ["first", "last"]


def test_a_member_of_noise_is_not_chosen(rng):
    _, names, _ = ensembles.choose(
        {"noise": rng.random(TRUTH.shape), "good": member(rng, 3.0)}, TRUTH, np.arange(40), rng
    )
    assert names == ["good"]


def test_without_positives_the_first_member_is_chosen(rng):
    scores = {"first": rng.random((5, 3)), "second": rng.random((5, 3))}
    assert ensembles.choose(scores, np.zeros((5, 3)), np.arange(5), rng)[:2] == ("mean", ["first"])
    assert ensembles.choose_rule(scores, np.zeros((5, 3)), np.arange(5), rng)[:2] == ("mean", ["first", "second"])


def test_for_fixed_members_only_the_rule_is_chosen(rng):
    """Each member has high wrong scores where the other's are low, so the minimum ranks correctly and the mean does not."""
    is_fooled = rng.random(TRUTH.shape) < 0.5
    scores = {"a": np.where(TRUTH == 1, 0.6, np.where(is_fooled, 1.0, 0.3)), "b": np.where(TRUTH == 1, 0.6, np.where(is_fooled, 0.3, 1.0))}
    rule, names, table = ensembles.choose_rule(scores, TRUTH, np.arange(40), rng)
    assert (rule, names, len(table)) == ("min", ["a", "b"], len(ensembles.RULES))
    good, noise = member(rng, 3.0), rng.random(TRUTH.shape)
    assert ensembles.choose_rule({"noise": noise, "good": good}, TRUTH, np.arange(40), rng)[1] == ["noise", "good"]
    assert ensembles.choose_rule({"good": good}, TRUTH, np.arange(40), rng)[:2] == ("mean", ["good"])


def test_recordings_are_not_ranked_by_quantiles_of_their_own_group(rng):
    """Eight recordings are of one singer: the score of the first changes no rank of the others."""
    groups = np.arange(40) // 8
    folds, scores = ensembles._folds(groups, rng), {name: member(rng, 1.0) for name in "ab"}
    higher = {name: np.where(np.arange(40)[:, None] == 0, 0.999, member) for name, member in scores.items()}
    before, after = (ensembles._together(members, "rank", ["a", "b"], folds) for members in (scores, higher))
    assert np.array_equal(before[1:8], after[1:8]) and not np.allclose(before[8:], after[8:])


@pytest.mark.parametrize(
    ("scores", "rule", "message"),
    [([np.ones((2, 3))], "max", "max"), ([], "mean", "shape"), ([np.ones((2, 3))], "rank", "quantiles")],
)
def test_invalid_combinations_are_rejected(scores, rule, message):
    with pytest.raises(ValueError, match=message):
        ensembles.combine(scores, rule)
