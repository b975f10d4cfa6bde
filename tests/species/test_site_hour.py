import numpy as np
import pytest

from birdlib import runtime
from birdlib.metrics import classification
from birdlib.species import site_hour

CLASSES = ["heron", "owl", "wren"]


def name(site, hour, number=1):
    return f"BC2026_Train_{number:04d}_{site}_20250606_{hour:02d}0007"


def fitted(strength=8.0):
    """At S08 owls call at 3 h in 6 of 12 windows and not at 9 h; at S09 there are wrens at 9 h only."""
    names = [name("S08", 3)] * 12 + [name("S08", 9)] * 12 + [name("S09", 9)] * 12
    truth = np.zeros((36, 3))
    truth[:6, 1], truth[24:, 2] = 1, 1
    return site_hour.fit(names, truth, CLASSES, strength)


def probability(prior, soundscape, score=0.5):
    return site_hour.apply(prior, np.full((1, 3), score), [soundscape], 1.0)[0]


# Site and hour


def test_site_and_hour_are_those_of_the_name():
    assert site_hour.site_and_hour("BC2026_Train_0001_S08_20250606_030007.ogg") == ("S08", 3)
    assert site_hour.site_and_hour("H12_20250606") == ("H12", -1) and site_hour.site_and_hour("soundscape_17") == ("", -1)


# The prior


def test_shares_are_smoothed_towards_all_windows_by_the_strength():
    """Of 36 windows 6 have owls: (6 + .5) / 37 everywhere, at the site (6 + 8 p) / (24 + 8), at the hour (6 + 8 p) / (12 + 8)."""
    everywhere = 6.5 / 37
    site, hour = (6 + 8 * everywhere) / 32, (6 + 8 * everywhere) / 20
    log_odds = lambda p: np.log(p / (1 - p))  # noqa: E731
    together = log_odds(site) + log_odds(hour) - log_odds(everywhere)
    both = (6 + 8 / (1 + np.exp(-together))) / 20
    assert fitted().shift([name("S08", 3)])[0, 1] == pytest.approx(log_odds(both) - log_odds(everywhere))


def test_a_new_site_has_the_prior_of_the_hour_and_a_new_hour_that_of_the_site():
    prior = fitted()
    at_night, at_nine = prior.shift([name("S77", 3)])[0], prior.shift([name("S77", 9)])[0]
    assert at_night[1] > 0 > at_nine[1] and at_nine[2] > 0 > at_night[2]
    assert prior.shift([name("S09", 20)])[0, 2] > 0 > prior.shift([name("S08", 20)])[0, 2]


@pytest.mark.parametrize("soundscape", [name("S77", 20), "recording_17", "S77_20250606"])
def test_where_nothing_is_known_scores_stay(soundscape):
    scores = np.array([[0.0, 0.3, 1.0]])
    assert site_hour.apply(fitted(), scores, [soundscape], 1.0) == pytest.approx(scores, abs=1e-5)


def test_a_stronger_prior_strength_trusts_the_windows_less():
    shifts = [fitted(strength).shift([name("S08", 3)])[0, 1] for strength in (1.0, 8.0, 100.0)]
    assert shifts[0] > shifts[1] > shifts[2] > 0
    with pytest.raises(runtime.ParameterError, match="choose one above 0"):
        fitted(0.0)


def test_windows_without_annotation_teach_nothing():
    prior = fitted()
    truth = np.full((12, 3), np.nan)
    more = site_hour.fit([name("S08", 3)] * 24, np.concatenate([np.tile([0, 1, 0], (12, 1)), truth]), CLASSES)
    assert more.cells["n_windows"].sum() == 12 and prior.cells["n_windows"].sum() == 36


def test_the_weight_scales_the_log_odds():
    """At score 1/2 the log-odds are 0, so those of the result are weight * shift."""
    prior, soundscape = fitted(), name("S08", 3)
    shift = prior.shift([soundscape])[0]
    for weight in (0.25, 1.0):
        found = site_hour.apply(prior, np.full((1, 3), 0.5), [soundscape], weight)[0]
        assert np.log(found / (1 - found)) == pytest.approx(weight * shift, rel=1e-4)
    assert (site_hour.apply(prior, np.full((1, 3), 0.5), [soundscape], 0.0) == 0.5).all()


# Cross-validation


def night_and_day(n_soundscapes, is_informative, seed=0):
    """Soundscapes of 12 windows: owls at night and wrens by day, or at random; scores are noise."""
    rng = np.random.default_rng(seed)
    hours = np.where(np.arange(n_soundscapes) % 2, 3, 9)
    names = np.repeat([name("S08", hour, number) for number, hour in enumerate(hours)], 12)
    is_night = np.repeat(hours == 3, 12) if is_informative else rng.random(12 * n_soundscapes) < 0.5
    truth = np.stack([np.zeros_like(is_night), is_night, ~is_night], axis=1) & (rng.random((len(names), 1)) < 0.6)
    return rng.random(truth.shape), names, truth.astype(float), rng


def test_a_prior_that_helps_on_other_soundscapes_gets_the_highest_weight():
    scores, names, truth, rng = night_and_day(20, is_informative=True)
    weight, table = site_hour.choose_weight(scores, names, truth, CLASSES, rng)
    assert weight == 1.0 and table["weight"].tolist() == list(site_hour.WEIGHTS)
    assert table["change"].iloc[0] == [0.0, 0.0, 0.0] and table["change"].iloc[-1][1] > 0.1
    assert table["macro_auc"].iloc[0][0] == pytest.approx(classification.macro_roc_auc(truth, scores))


def test_each_soundscape_is_predicted_without_its_own_labels():
    """Each soundscape is alone at its site and hour with a species of its own: a prior that had seen it would be perfect."""
    names = np.repeat([name(f"S{i:02d}", i) for i in range(10)], 12)
    truth = np.repeat(np.eye(10), 12, axis=0)
    rng = np.random.default_rng(0)
    _, table = site_hour.choose_weight(rng.random(truth.shape), names, truth, [f"c{i}" for i in range(10)], rng)
    assert abs(table["change"].iloc[-1][0]) < 0.05


def test_too_few_annotated_soundscapes_teach_no_prior():
    scores, names, truth, rng = night_and_day(3, is_informative=True)
    prior, table = site_hour.learn(scores, names, truth, CLASSES, rng)
    assert prior is None and table.empty and "too few" in site_hour.describe(prior, table)
    with pytest.raises(site_hour.PriorError, match="3 soundscapes have labels"):
        site_hour.choose_weight(scores, names, truth, CLASSES, rng)


def test_without_strength_there_is_no_prior():
    scores, names, truth, rng = night_and_day(8, is_informative=True)
    assert site_hour.learn(scores, names, truth, CLASSES, rng, strength=0.0)[0] is None
    prior, table = site_hour.learn(scores, names, truth, CLASSES, rng)
    assert prior.weight in site_hour.WEIGHTS and f"weight {prior.weight:g} by cross-validation" in site_hour.describe(prior, table)


# Files and parameters


def test_a_saved_prior_is_the_same(tmp_path):
    site_hour.save(fitted(), tmp_path)
    found, soundscapes = site_hour.load(tmp_path, CLASSES), [name("S08", 3), name("S09", 9), "none"]
    assert np.array_equal(found.shift(soundscapes), fitted().shift(soundscapes)) and found.strength == 8.0
    with pytest.raises(site_hour.PriorError, match="other species"):
        site_hour.load(tmp_path, CLASSES[:2])
    site_hour.save(None, tmp_path)
    assert site_hour.load(tmp_path, CLASSES) is None and not list(tmp_path.iterdir())


def test_the_weight_is_a_number_or_the_cross_validated_one():
    prior = fitted()
    object.__setattr__(prior, "weight", 0.75)
    assert [site_hour.parse_weight(text, prior) for text in ("", "auto", "0.5")] == [0.0, 0.75, 0.5]
    assert site_hour.parse_weight("auto", None) == 0.0
    with pytest.raises(site_hour.PriorError, match="annotate soundscapes"):
        site_hour.parse_weight("0.5", None)
    for text in ("much", "-1"):
        with pytest.raises(runtime.ParameterError, match="give a number"):
            site_hour.parse_weight(text, prior)
