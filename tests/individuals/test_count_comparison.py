import copy

import numpy as np
import pandas as pd
import pytest

from birdlib import runtime
from birdlib.individuals import clustering, count_comparison, identification
from birdlib.individuals.count_comparison import KnownCountsError
from birdlib.metrics.identity import UNKNOWN

FILMS = ["a", "b", "c"]


def at(*degrees):
    """Unit vectors in the plane."""
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def tables(films, n=40):
    """(tracks, summary) of long tracks, one a film, in the order given."""
    rows = [(film, track, t / 5, 0.9) for track, film in enumerate(films) for t in range(n)]
    tracks = pd.DataFrame(rows, columns=["recording_id", "track", "time_s", "score"])
    summary = pd.DataFrame({"recording_id": films, "track": range(len(films)), "n_detections": n, "score": 0.9})
    return tracks, summary


@pytest.fixture
def two_birds_at_once():
    """Film a shows two birds at once that are 10 degrees apart, film b one of them, film c nothing: tracks, as ``identify`` takes them."""
    tracks, summary = tables(["a", "a", "b"])
    must_not_link = np.zeros((3, 3), bool)
    must_not_link[0, 1] = must_not_link[1, 0] = True
    return at(0, 10, 0), np.arange(3), must_not_link, tracks, summary


def test_both_countings_have_the_same_crops_and_clustering_is_that_of_the_stage(two_birds_at_once):
    embeddings, of_track, must_not_link, tracks, summary = two_birds_at_once
    thresholds = {"clustering": (0.1, np.full(20, 0.1)), "greedy": (0.2, np.full(20, 0.2))}
    rng = np.random.default_rng(3)
    own_rng = copy.deepcopy(rng)
    found, at_once = count_comparison.identify(embeddings, of_track, must_not_link, tracks, summary, thresholds, rng)
    expected = identification.identify_with_draws(embeddings, of_track, must_not_link, tracks, summary, *thresholds["clustering"], own_rng)
    assert found["clustering"][0].tolist() == expected[0].tolist() == [0, 1, 0] and np.array_equal(found["clustering"][1], expected[1])
    assert rng.random() == own_rng.random(), "the draws of greedy counting change nothing that comes after"
    assert found["greedy"][0].tolist() == [0, 0, 0] and (found["greedy"][1] == 0).all()
    assert at_once.tolist() == expected[2].tolist() == [True, True, True]  # all are in the fullest frame of their film


def test_the_table_has_counts_errors_and_merged_birds_of_both(two_birds_at_once):
    """Greedy counting merges the two birds of film a: 1 for 2."""
    embeddings, of_track, must_not_link, tracks, summary = two_birds_at_once
    thresholds = {"clustering": (0.1, np.full(20, 0.1)), "greedy": (0.2, np.full(20, 0.2))}
    rng = np.random.default_rng(3)
    countings, _ = count_comparison.identify(embeddings, of_track, must_not_link, tracks, summary, thresholds, rng)
    known, names = {"a": 2, "b": 1, "c": 0}, np.array(["anna", "berta", "anna"])
    table = count_comparison.compare(countings, summary, must_not_link, FILMS, known=known, names=names, rng=rng)
    assert table.columns.tolist() == count_comparison.COLUMNS
    value = table.set_index("figure")[["greedy", "clustering", "difference"]]
    assert value.loc["a"].tolist() == [1, 2, 1] and value.loc["b"].tolist() == [1, 1, 0] and value.loc["c"].tolist() == [0, 0, 0]
    assert value.loc["individuals in all films"].tolist() == [1, 2, 1]
    assert value.loc["individuals in several films"].tolist() == [1, 1, 0]
    assert value.loc["pairs of different birds with one number"].tolist() == [1, 0, -1]
    assert value.loc["films counted right"].tolist() == [2, 3, 1]
    assert np.allclose(value.loc["mean absolute error of counts"], [1 / 3, 0, -1 / 3])
    assert np.allclose(value.loc["pairwise F1 of tracks"], [0.5, 1, 0.5])  # greedy: one true pair of three
    assert np.allclose(value.loc["pairwise F1 across films"], [2 / 3, 1, 1 / 3])  # one true pair of two
    for side in ("greedy", "clustering", "difference"):
        assert (table[f"{side}_low"] <= table[side]).all() and (table[side] <= table[f"{side}_high"]).all()
    text = count_comparison.describe(table, thresholds)
    assert "greedy (threshold 0.200) 1 [1, 1]" in text and "one number to 1 pairs" in text


def test_without_known_counts_and_names_there_are_no_errors_and_without_tracks_no_birds():
    nothing = np.array([], int), np.zeros((4, 0), int)
    summary = pd.DataFrame({"recording_id": np.array([], object)})
    table = count_comparison.compare(
        {"greedy": nothing, "clustering": nothing}, summary, np.zeros((0, 0), bool), ["a"], known={}, rng=np.random.default_rng(0)
    )
    assert table["figure"].tolist() == ["a", "individuals in all films", "individuals in several films", "pairs of different birds with one number"]
    assert (table.iloc[:, 1:] == 0).all(axis=None)


def test_tracks_that_are_not_counted_are_in_no_figure():
    identities = np.array([0, UNKNOWN, 1])
    countings = {side: (identities, identities[None]) for side in ("greedy", "clustering")}
    summary = pd.DataFrame({"recording_id": ["a", "a", "a"]})
    apart = ~np.eye(3, dtype=bool)
    table = count_comparison.compare(
        countings, summary, apart, ["a"], known={}, names=np.array(["anna", "anna", "anna"]), rng=np.random.default_rng(0)
    ).set_index("figure")
    assert table.loc["a", "clustering"] == 2 and table.loc["pairs of different birds with one number", "clustering"] == 0
    assert np.isnan(table.loc["pairwise F1 across films", "clustering"])


def test_the_count_falls_as_the_threshold_rises_and_the_best_one_is_named(two_birds_at_once):
    """One film of two birds at 0 and 10 degrees, 1 - cos = .0152: greedy counting is right up to .0152 only, clustering always."""
    embeddings, _, must_not_link, _, summary = two_birds_at_once
    is_counted, of_film = np.array([True, True, False]), summary["recording_id"].to_numpy()
    table = count_comparison.over_thresholds(embeddings, must_not_link, of_film, is_counted, {"a": 2})
    n = table.set_index(["counting", "threshold"])["individuals"].unstack(0)
    assert (n["clustering"] == 2).all() and (n["greedy"] == 1).all() and n.index.min() == 0.025
    text = count_comparison.describe_thresholds(table)
    assert text.endswith("clustering 0.00 at 40 of 40 thresholds, 0.025 to 1.000; greedy 1.00 at 40 of 40 thresholds, 0.025 to 1.000.")
    unknown = count_comparison.over_thresholds(embeddings, must_not_link, of_film, is_counted, {})
    assert unknown["error"].isna().all() and count_comparison.describe_thresholds(unknown) == ""


def test_an_unknown_counting_raises_with_the_known_ones():
    with pytest.raises(runtime.ParameterError, match="clustering or greedy"):
        count_comparison.require("union")
    for counting in clustering.COUNTINGS:
        count_comparison.require(counting)


# Known counts


def test_films_without_a_number_are_left_out(tmp_path):
    path = tmp_path / "known.csv"
    path.write_text("recording_id,individuals,note\nfilm-1,4,exact\nfilm-2,,5 to 7\n007,0,\n")
    known = count_comparison.read_known(path)
    assert known == {"film-1": 4, "007": 0}
    table = pd.DataFrame({"recording_id": ["film-1", "film-2", "007"], "n": [3, 5, 0]})
    figures, table = count_comparison.known_figures(table, known)
    assert figures == {"films counted right": "1 of 2", "mean absolute error of counts": 0.5}
    assert table["birds"].isna().tolist() == [False, True, False] and table["birds"].iloc[0] == 4
    assert count_comparison.known_figures(table.drop(columns="birds"), {"other": 1})[0] == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("recording_id,birds\na,1\n", "has no column individuals"),
        ("recording_id,individuals\na,5-7\n", "has '5-7' individuals for a: give a whole number"),
        ("recording_id,individuals\na,1.5\n", "has '1.5' individuals"),
        ("recording_id,individuals\na,-1\n", "has '-1' individuals"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_table_that_cannot_be_used_raises_with_its_name_and_a_remedy(tmp_path, text, reason):
    path = tmp_path / "known.csv"
    path.write_text(text)
    with pytest.raises(KnownCountsError, match=f"known.csv: {reason}"):
        count_comparison.read_known(path)
    with pytest.raises(KnownCountsError, match="give a CSV file"):
        count_comparison.read_known(tmp_path / "nothing.csv")


@pytest.mark.parametrize(("thresholds", "n_draws"), [((0.0, -1.0), 1), ((5.0, 0.2), 1), ((0.0, float("nan")), 1), ((0.0, 0.2), 0)])
def test_thresholds_that_are_no_distances_and_no_draws_are_refused(thresholds, n_draws):
    with pytest.raises(runtime.ParameterError, match="choose"):
        count_comparison.require("greedy", thresholds, n_draws)
