"""Metrics of identification agree with reference implementations and with counts by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from films_made import read_mot

from birdlib import runtime
from birdlib.metrics import identity as identity_metrics

GOLDEN = runtime.repository() / "tests" / "golden"
TRUTH = np.array(["ada", "ada", "ada", "bo", "bo", "cy"])


def regrouped(rng):
    """A grouping that is not quite the truth."""
    return np.where(rng.random(len(TRUTH)) < 0.3, "bo", TRUTH)


def film(rows):
    """A table of boxes, 20 pixels a side, from (time_s, track, x)."""
    table = pd.DataFrame(rows, columns=["time_s", "track", "x"])
    return table.assign(y=0.0, width=20.0, height=20.0)


def test_idf1_agrees_with_motmetrics():
    """Tracks that lose, swap and invent birds; figures by ``golden/make_idf1.py``."""
    truth, found = (read_mot(GOLDEN / f"idf1_{name}.txt", 5.0).drop(columns="recording_id") for name in ("truth", "found"))
    expected = json.loads((GOLDEN / "idf1.json").read_text())["figures"]
    assert identity_metrics.idf1(truth, found) == pytest.approx(expected, abs=1e-12)


def test_idf1_of_an_identity_switch_halfway_is_a_half():
    """One of the two tracks is the bird: 5 of 10 boxes are right, of 10 found and 10 true."""
    truth = film([(t, "ada", 0.0) for t in range(10)])
    found = film([(t, 1 + (t >= 5), 0.0) for t in range(10)])
    assert identity_metrics.idf1(truth, found) == {"idf1": 0.5, "precision": 0.5, "recall": 0.5}


def test_idf1_needs_the_minimum_overlap():
    """Moved by half its width, a box shares a third of the union: too little at 0.5, enough at 0.3."""
    truth, found = film([(0.0, 1, 0.0)]), film([(0.0, 1, 10.0)])
    assert identity_metrics.idf1(truth, found)["idf1"] == 0.0
    assert identity_metrics.idf1(truth, found, iou=0.3)["idf1"] == 1.0


def test_equal_track_numbers_of_two_films_are_two_tracks():
    truth = pd.concat([film([(0.0, 1, 0.0)]).assign(recording_id=name) for name in "ab"])
    found = truth.assign(track=[1, 1])
    assert identity_metrics.idf1(truth, found)["idf1"] == 1.0
    assert identity_metrics.idf1(truth, found.assign(recording_id="a").iloc[:1])["recall"] == 0.5


def test_idf1_without_birds_is_nan():
    empty = film([])
    assert np.isnan(identity_metrics.idf1(empty, empty)["idf1"])
    assert identity_metrics.idf1(film([(0.0, 1, 0.0)]), empty)["idf1"] == 0.0


@pytest.mark.parametrize(
    "figure",
    [
        identity_metrics.ari,
        identity_metrics.nmi,
        lambda t, f: identity_metrics.pairwise_precision_recall_f1(t, f)["f1"],
    ],
    ids=["ari", "nmi", "pairwise"],
)
def test_clustering_metrics_ignore_names_and_order(figure, rng):
    found = regrouped(rng)
    order = rng.permutation(len(TRUTH))
    renamed = np.array([{"ada": 7, "bo": 3, "cy": 5}[name] for name in found])
    assert figure(TRUTH, TRUTH) == pytest.approx(1.0)
    assert figure(TRUTH[order], renamed[order]) == pytest.approx(figure(TRUTH, found))


def test_pairwise_metrics_by_hand():
    """Ada is 3 pairs and Bo 1; predicted are all 6 pairs of the first four, of which Ada's 3 are correct."""
    found = [0, 0, 0, 0, 1, 2]
    figures = identity_metrics.pairwise_precision_recall_f1(TRUTH, found)
    assert figures == {"precision": 3 / 6, "recall": 3 / 4, "f1": 2 * 3 / (6 + 4)}


def test_pairwise_metrics_across_films():
    """Within each film all pairs are correct; across films, Ada is taken for another bird."""
    truth, found, films = ["ada", "ada", "ada", "bo"], [0, 0, 1, 2], ["x", "x", "y", "y"]
    assert identity_metrics.pairwise_precision_recall_f1(truth, found, films)["recall"] == 0.0
    assert identity_metrics.pairwise_precision_recall_f1(truth, found)["precision"] == 1.0


def test_count_mae():
    assert identity_metrics.count_mae([1, 2, 3], [1, 4, 2]) == 1.0


def test_balanced_accuracy_weighs_individuals_equally():
    """Ada always right (9 photos), Bo never (1): 0.9 of the photos, 0.5 of the birds."""
    truth, found = ["ada"] * 9 + ["bo"], ["ada"] * 10
    assert identity_metrics.accuracy(truth, found) == 0.9
    assert identity_metrics.baks(truth, found, ["ada", "bo"]) == 0.5


def test_calling_everything_unknown_has_baus_1_and_baks_0():
    truth, found, known = ["ada", "bo", "zoe"], [identity_metrics.UNKNOWN] * 3, ["ada", "bo"]
    assert identity_metrics.baks(truth, found, known) == 0.0
    assert identity_metrics.baus(truth, found, known) == 1.0


def test_baus_without_unknown_individuals_is_nan():
    assert np.isnan(identity_metrics.baus(["ada"], ["ada"], ["ada"]))


def test_labels_of_unequal_length_are_an_error():
    with pytest.raises(ValueError, match="not the same"):
        identity_metrics.ari([1, 2], [1])


@pytest.fixture
def rng():
    return np.random.default_rng(3)
