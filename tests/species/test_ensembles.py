"""Ensembles: facts of the rules, and of how they are chosen."""

import json

import numpy as np
import pytest

from birdlib.metrics import classification
from birdlib.species import ensembles

TRUTH = np.eye(4)[np.arange(40) % 4]


def listener(rng, skill):
    return 1 / (1 + np.exp(-(skill * (TRUTH - 0.5) + rng.standard_normal(TRUTH.shape))))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("rule", ensembles.RULES)
def test_two_that_agree_keep_their_order(rule, rng):
    """Twins say together what each says alone, so no ranking within a species changes."""
    alone = listener(rng, 2.0)
    kept = json.loads(json.dumps(ensembles.keep([alone, alone], rule)))
    both = ensembles.combine([alone, alone], rule, kept)
    assert np.allclose(classification.roc_auc(TRUTH, both), classification.roc_auc(TRUTH, alone), atol=0.01)
    assert both.min() >= 0.0 and both.max() <= 1.0


@pytest.mark.parametrize("rule", ensembles.RULES)
def test_a_window_does_not_depend_on_the_others(rule, rng):
    members = [listener(rng, 2.0), listener(rng, 1.0)]
    kept = ensembles.keep(members, rule)
    one = ensembles.combine([some[7:8] for some in members], rule, kept)
    assert np.array_equal(one, ensembles.combine(members, rule, kept)[7:8])


def test_by_rank_a_shy_member_counts_as_much(rng):
    """A thousandth of every score is as sure as the whole, only shyer: by rank, nothing changes but for the ends."""
    first, second = listener(rng, 2.0), listener(rng, 2.0)
    bold = ensembles.combine([first, second], "rank", ensembles.keep([first, second], "rank"))
    shy = ensembles.combine([first, second / 1000], "rank", ensembles.keep([first, second / 1000], "rank"))
    assert np.allclose(bold, shy, atol=0.02)


def test_rank_tells_scores_apart_that_validation_never_reached():
    kept = ensembles.keep([np.linspace(0.2, 0.5, 30)[:, None]], "rank")
    asked = ensembles.combine([np.array([[0.05], [0.1], [0.6], [0.9]])], "rank", kept)
    assert np.all(np.diff(asked[:, 0]) > 0)


def test_the_least_is_what_all_hear():
    assert ensembles.combine([[[0.9, 0.2]], [[0.1, 0.8]]], "min").tolist() == [[pytest.approx(0.1), pytest.approx(0.2)]]


def test_of_two_alike_the_cheaper_is_taken_alone(rng):
    cheap = listener(rng, 3.0)
    rule, names, table = ensembles.choose({"cheap": cheap, "dear": cheap.copy()}, TRUTH, np.arange(40), rng)
    assert (rule, names) == ("mean", ["cheap"]) and table["is_chosen"].sum() == 1


def test_members_that_help_each_other_are_joined(rng):
    """One knows only the first two species, the other the last two: neither can be done without."""
    half = listener(rng, 8.0), listener(rng, 8.0)
    half[0][:, 2:], half[1][:, :2] = rng.random((40, 2)), rng.random((40, 2))
    _, names, _ = ensembles.choose({"first": half[0], "last": half[1]}, TRUTH, np.arange(40), rng)
    assert names == ["first", "last"]


def test_noise_is_not_taken_in(rng):
    _, names, _ = ensembles.choose(
        {"noise": rng.random(TRUTH.shape), "ear": listener(rng, 3.0)}, TRUTH, np.arange(40), rng
    )
    assert names == ["ear"]


def test_without_positives_the_first_is_taken(rng):
    scores = {"first": rng.random((5, 3)), "second": rng.random((5, 3))}
    assert ensembles.choose(scores, np.zeros((5, 3)), np.arange(5), rng)[:2] == ("mean", ["first"])
    assert ensembles.choose_rule(scores, np.zeros((5, 3)), np.arange(5), rng)[:2] == ("mean", ["first", "second"])


def test_members_that_are_settled_all_stay_and_the_rule_that_serves_them_is_found(rng):
    """Each of two is sure of what the other doubts, and wrong: what both think likely is there. The least finds it, the mean does not."""
    is_fooled = rng.random(TRUTH.shape) < 0.5
    scores = {"a": np.where(TRUTH == 1, 0.6, np.where(is_fooled, 1.0, 0.3)), "b": np.where(TRUTH == 1, 0.6, np.where(is_fooled, 0.3, 1.0))}
    rule, names, table = ensembles.choose_rule(scores, TRUTH, np.arange(40), rng)
    assert (rule, names, len(table)) == ("min", ["a", "b"], len(ensembles.RULES))
    ear, noise = listener(rng, 3.0), rng.random(TRUTH.shape)
    assert ensembles.choose_rule({"noise": noise, "ear": ear}, TRUTH, np.arange(40), rng)[1] == ["noise", "ear"]
    assert ensembles.choose_rule({"ear": ear}, TRUTH, np.arange(40), rng)[:2] == ("mean", ["ear"])


def test_a_recording_is_not_ranked_among_those_of_its_own_group_when_rules_are_judged(rng):
    """All eight of a morning are of one singer: how bold the first of them is changes nothing for the others."""
    groups = np.arange(40) // 8
    folds, scores = ensembles._folds(groups, rng), {name: listener(rng, 1.0) for name in "ab"}
    bolder = {name: np.where(np.arange(40)[:, None] == 0, 0.999, some) for name, some in scores.items()}
    before, after = (ensembles._together(some, "rank", ["a", "b"], folds) for some in (scores, bolder))
    assert np.array_equal(before[1:8], after[1:8]) and not np.allclose(before[8:], after[8:])


@pytest.mark.parametrize(
    ("scores", "rule", "told"),
    [([np.ones((2, 3))], "max", "max"), ([], "mean", "shape"), ([np.ones((2, 3))], "rank", "quantiles")],
)
def test_what_cannot_be_combined_is_refused(scores, rule, told):
    with pytest.raises(ValueError, match=told):
        ensembles.combine(scores, rule)
