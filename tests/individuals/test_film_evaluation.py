"""Tracks, identities and counts are compared with the true boxes of birds."""

import numpy as np
import pandas as pd
import pytest

from birdlib.individuals import counts, film_evaluation
from birdlib.video import tracking

BIRDS = [("a", "wren", 0.0), ("a", "tit", 50.0), ("b", "wren", 30.0), ("b", "owl", 90.0)]


@pytest.fixture
def made_truth(tmp_path):
    """Where the sample's truth is: four sightings of three birds in two films, at ten pictures a second, from the file."""
    drawn = [{"video": f"videos/{film}.mp4", "individual_id": name, "label": "7", "time_s": t / 10, "x": x} for film, name, x in BIRDS for t in range(10)]
    (tmp_path / "truth").mkdir()
    pd.DataFrame(drawn).assign(y=0.0, width=10.0, height=10.0).to_csv(tmp_path / "truth" / "video_tracks.csv", index=False)
    return film_evaluation.load_truth(tmp_path)


def seen_tracks(birds):
    """Tracks that are where the birds are, at five pictures a second."""
    numbers = pd.Series([film for film, *_ in birds], dtype=object).groupby([film for film, *_ in birds]).cumcount() + 1
    spots = [(f"video-{film}", number, t / 5, x, 0.0, 10.0, 10.0, 0.9) for (film, _, x), number in zip(birds, numbers, strict=True) for t in range(5)]
    return pd.DataFrame(spots, columns=tracking.COLUMNS)


def scored(found, identities, truth):
    summary = tracking.summary(found)
    films, draws = summary["recording_id"], np.zeros((0, len(summary)), int)
    per_film = counts.per_film(identities, draws, films, np.zeros(len(summary), bool), ["video-a", "video-b"])
    return film_evaluation.evaluate(per_film, found, summary, identities, truth, 5.0)


def test_truth_exists_for_drawn_films_only(made_truth, tmp_path):
    assert film_evaluation.load_truth(tmp_path / "elsewhere") is None
    assert set(made_truth["recording_id"]) == {"video-a", "video-b"} and made_truth["label"].eq("7").all()


def test_perfect_identities_have_perfect_scores(made_truth):
    figures, table = scored(seen_tracks(BIRDS), np.array([0, 1, 0, 2]), made_truth)
    assert table["birds"].tolist() == table["n"].tolist() == [2, 2]
    assert figures.pop("films counted right") == "2 of 2"
    assert figures.pop("mean absolute error of counts") == figures.pop("false tracks") == 0
    assert set(figures) == {"ARI of tracks", "NMI of tracks", "pairwise F1 of tracks", "pairwise F1 across films", "IDF1"}
    assert all(value == pytest.approx(1.0) for value in figures.values())


def test_a_wrong_identity_lowers_f1_and_a_false_track_is_counted(made_truth):
    """The owl of b is taken for the tit of a: counts are right, but one of two matches across films is wrong. Then a false track."""
    figures, _ = scored(seen_tracks(BIRDS), np.array([0, 1, 0, 1]), made_truth)
    assert figures["films counted right"] == "2 of 2" and figures["pairwise F1 across films"] == pytest.approx(2 / 3)
    leaf = seen_tracks([*BIRDS, ("b", "", 200.0)])
    figures, table = scored(leaf, np.array([0, 1, 0, 2, 3]), made_truth)
    assert table["n"].tolist() == [2, 3] and figures["films counted right"] == "1 of 2" and figures["false tracks"] == 1
    assert figures["mean absolute error of counts"] == 0.5
    absent, _ = scored(leaf, np.array([0, 1, 0, 2, counts.UNKNOWN]), made_truth)
    assert absent["false tracks"] == 0 and absent["IDF1"] == pytest.approx(1.0)


def test_no_tracks_are_scored_too(made_truth):
    figures, table = scored(seen_tracks(BIRDS)[:0], np.zeros(0, int), made_truth)
    assert table["n"].tolist() == [0, 0] and figures["films counted right"] == "0 of 2" and figures["IDF1"] == 0.0


def test_the_true_individual_of_a_track_has_most_matching_boxes():
    """Of five boxes three match the wren, one the tit, one nothing; a second track matches no bird."""
    at = {"recording_id": "a", "y": 0.0, "width": 10.0, "height": 10.0}
    truth = pd.DataFrame([{**at, "individual_id": name, "time_s": t / 5, "x": x} for t in range(5) for name, x in (("wren", 0.0), ("tit", 50.0))])
    found = pd.DataFrame([{**at, "track": 1, "time_s": t / 5, "x": x, "score": 0.9} for t, x in enumerate((0.0, 1.0, 0.0, 50.0, 25.0))])
    found = pd.concat([found, found[:2].assign(track=2, x=80.0)])
    names, purity = film_evaluation.true_individuals(found, tracking.summary(found), truth)
    assert names.tolist() == ["wren", ""]
    assert purity[0] == 0.75 and np.isnan(purity[1])
