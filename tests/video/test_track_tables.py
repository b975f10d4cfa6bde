"""Tables and files of tracks."""

import pandas as pd
from films_made import read_mot
from made_detections import BLUE, RATE_HZ, film, follow, perched

from birdlib.video import tracking


def test_simultaneous_tracks_must_not_link(tmp_path):
    """The third comes when both have gone."""
    first, second, third = perched(6, x=20), perched(6, x=200), [None] * 20 + perched(6, x=200, colour=BLUE)
    found, _ = follow(film(first, second, third), tmp_path)
    apart = tracking.must_not_link(found)
    assert apart.tolist() == [[False, True, False], [True, False, False], [False, False, False]]
    other = pd.concat([found, found.assign(recording_id="other")])
    both = tracking.must_not_link(other)
    assert not both[:3, 3:].any() and (both[3:, 3:] == apart).all()


def test_the_summary_has_the_longest_span_alone():
    """From 0 to 6 s, others at 1 to 2 and 4.5 to 5.5: alone from 2 to 4.5. They are never alone, nor is half a second."""
    spans = {1: (0.0, 6.0), 2: (1.0, 2.0), 3: (4.5, 5.5), 4: (5.9, 6.5)}
    rows = [("film", track, time_s, 0, 0, 9, 9, 0.5) for track, span in spans.items() for time_s in span]
    summary = tracking.summary(pd.DataFrame(rows, columns=tracking.COLUMNS)).set_index("track")
    assert tuple(summary.loc[1, ["alone_from_s", "alone_until_s"]]) == (2.0, 4.5)
    assert summary.loc[2:, "alone_from_s"].isna().all()
    assert (summary["n_detections"] == 2).all()


def test_mot_files_are_read_back_equal(tmp_path):
    found, _ = follow(film(perched(6), [None] * 2 + perched(6, x=200)), tmp_path)
    tracking.write_mot(found, tmp_path / "film.txt", RATE_HZ)
    assert (tmp_path / "film.txt").read_text().startswith("1,1,100.000,100.000,40.000,40.000,0.900,-1,-1,-1\n")
    pd.testing.assert_frame_equal(read_mot(tmp_path / "film.txt", RATE_HZ), found, atol=1e-3, check_dtype=False)


def test_no_bird_gives_an_empty_mot_file(tmp_path):
    nobody, _ = follow([], tmp_path)
    tracking.write_mot(nobody, tmp_path / "film.txt", RATE_HZ)
    assert (tmp_path / "film.txt").read_text() == ""


def test_no_bird_gives_empty_tables(tmp_path):
    found, crops = follow(film([None] * 5), tmp_path)
    assert list(found.columns) == tracking.COLUMNS and list(crops.columns) == tracking.CROP_COLUMNS
    assert len(found) == len(crops) == 0
    assert list(tracking.summary(found).columns) == tracking.SUMMARY_COLUMNS
    assert tracking.must_not_link(found).shape == (0, 0)
