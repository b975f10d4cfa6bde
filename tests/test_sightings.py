"""Films are looked through once; what is amiss with one is told and stops nothing."""

import numpy as np
import pandas as pd
import pytest
from media import film

from birdlib import sightings, tracks, video

DARK, BRIGHT = 60, 220


class Detector:
    """Finds what is bright. Counts the films it looks through."""

    key = "bright"

    def __init__(self):
        self.n_films = 0

    def detect_film(self, path, rate_hz, start_s=0.0, end_s=None):
        self.n_films += 1
        for time_s, image in video.frames(path, rate_hz, start_s, end_s):
            rows, columns = np.nonzero(image[..., 0] > 150)
            box = [[columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1, 0.9]] if len(rows) else np.zeros((0, 5))
            yield time_s, image, np.array(box, np.float32)


def scene(bird=True):
    image = np.full((48, 64, 3), DARK, np.uint8)
    if bird:
        image[20:36, 24:40] = BRIGHT
    return image


def table(*names, **columns):
    rows = {"recording_id": [name.split(".")[0] for name in names], "video_path": names, "start_s": np.nan, "end_s": np.nan}
    return pd.DataFrame({**rows, **columns})


@pytest.fixture
def folder(tmp_path):
    film(tmp_path / "bird.mkv", [scene()] * 20)
    film(tmp_path / "empty.mkv", [scene(bird=False)] * 20)
    (tmp_path / "page.mp4").write_text("<html>not found</html>")
    return tmp_path


def follow(folder, detector, *names, **options):
    return sightings.follow_films(table(*names), folder, detector, folder / "stage", **options)


def test_a_film_without_birds_is_no_fault_and_one_that_is_none_is_told(folder):
    found, crops, skipped = follow(folder, Detector(), "bird.mkv", "empty.mkv", "page.mp4", "lost.mp4")
    assert set(found["recording_id"]) == set(crops["recording_id"]) == {"bird"}
    assert found["track"].nunique() == 1 and len(found) == 10
    assert (folder / "stage" / "tracks" / "empty.txt").read_text() == ""
    assert dict(skipped)["page.mp4"].startswith("is a web page") and dict(skipped)["lost.mp4"] == "No such file or directory"


def test_films_without_a_single_bird_give_empty_tables_with_their_columns(folder):
    found, crops, _ = follow(folder, Detector(), "empty.mkv")
    assert list(found) == tracks.COLUMNS and list(crops) == tracks.CROP_COLUMNS
    assert len(tracks.summary(found)) == 0 and tracks.must_not_link(found).shape == (0, 0)


def test_a_film_is_looked_through_again_only_if_something_changed(folder):
    detector = Detector()
    first, crops, _ = follow(folder, detector, "bird.mkv")
    again, _, _ = follow(folder, detector, "bird.mkv")
    pd.testing.assert_frame_equal(first, again)
    assert detector.n_films == 1
    follow(folder, detector, "bird.mkv", rate_hz=2.0)
    assert detector.n_films == 2, "another rate"
    follow(folder, detector, "bird.mkv", rate_hz=2.0)
    (folder / "stage" / crops["path"].iloc[0]).unlink()
    follow(folder, detector, "bird.mkv", rate_hz=2.0)
    assert detector.n_films == 3, "a crop was gone"


def test_a_photo_is_a_film_of_one_picture(folder):
    import cv2

    cv2.imwrite(str(folder / "photo.jpg"), scene())
    found, crops, _ = follow(folder, Detector(), "photo.jpg", min_detections=1)
    assert len(found) == len(crops) == 1


def test_a_name_is_that_of_the_only_bird_of_a_film():
    """Film a shows two birds at once: its name could be that of either."""
    summary = pd.DataFrame({"recording_id": ["a", "a", "b", "b", "c"], "track": [1, 2, 1, 2, 1]})
    apart = np.zeros((5, 5), bool)
    apart[0, 1] = apart[1, 0] = True
    assert sightings.labels(summary, apart, {"a": "red ring", "b": "blue ring"}).tolist() == ["", "", "blue ring", "blue ring", ""]


def test_a_track_is_the_bird_whose_boxes_it_meets_most():
    """Of five boxes three lie on the wren, one on the tit, one on nobody; a second track meets no bird."""
    at = {"recording_id": "a", "y": 0.0, "width": 10.0, "height": 10.0}
    truth = pd.DataFrame([{**at, "individual_id": name, "time_s": t / 5, "x": x} for t in range(5) for name, x in (("wren", 0.0), ("tit", 50.0))])
    found = pd.DataFrame([{**at, "track": 1, "time_s": t / 5, "x": x, "score": 0.9} for t, x in enumerate((0.0, 1.0, 0.0, 50.0, 25.0))])
    found = pd.concat([found, found[:2].assign(track=2, x=80.0)])
    names, purity = sightings.true_individuals(found, tracks.summary(found), truth)
    assert names.tolist() == ["wren", ""]
    assert purity[0] == 0.75 and np.isnan(purity[1])
