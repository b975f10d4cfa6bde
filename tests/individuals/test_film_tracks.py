"""Films are tracked once; a faulty film is reported and does not stop the others."""

import films_made
import numpy as np
import pandas as pd
import pillow_heif
import pytest
from media import film
from PIL import Image

from birdlib.individuals import counts, film_tracks
from birdlib.video import detectors, tracking
from birdlib.video import io as video_io

DARK, BRIGHT = 60, 220


class Detector:
    """Detects bright pixels and counts its films."""

    key = "bright"

    def __init__(self):
        self.n_films = 0

    def detect(self, images):
        self.n_films += 1
        return [self._detect(image) for image in images]

    def detect_film(self, path, rate_hz, start_s=0.0, end_s=None):
        self.n_films += 1
        for time_s, image in video_io.frames(path, rate_hz, start_s, end_s):
            yield time_s, image, self._detect(image)

    def _detect(self, image):
        rows, columns = np.nonzero(image[..., 0] > 150)
        box = [[columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1, 0.9]] if len(rows) else np.zeros((0, 5))
        return np.array(box, np.float32)


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
    return film_tracks.track_films(table(*names), folder, detector, folder / "stage", **options)


def test_a_film_without_birds_is_valid_and_an_unreadable_one_is_skipped_with_a_reason(folder):
    found, crops, skipped = follow(folder, Detector(), "bird.mkv", "empty.mkv", "page.mp4", "lost.mp4")
    assert set(found["recording_id"]) == set(crops["recording_id"]) == {"bird"}
    assert found["track"].nunique() == 1 and len(found) == 10
    assert (folder / "stage" / "tracks" / "empty.txt").read_text() == ""
    assert dict(skipped)["page.mp4"].startswith("is a web page") and dict(skipped)["lost.mp4"].startswith("there is no such file: ")


def test_films_without_birds_give_empty_tables_with_columns(folder):
    found, crops, _ = follow(folder, Detector(), "empty.mkv")
    assert list(found) == tracking.COLUMNS and list(crops) == tracking.CROP_COLUMNS
    assert len(tracking.summary(found)) == 0 and tracking.must_not_link(found).shape == (0, 0)


def test_a_film_is_tracked_again_only_if_something_changed(folder):
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


def test_a_photo_is_a_film_of_one_frame(folder):
    import cv2

    cv2.imwrite(str(folder / "photo.jpg"), scene())
    found, crops, _ = follow(folder, Detector(), "photo.jpg", min_detections=1)
    assert len(found) == len(crops) == 1


def test_labels_and_constraints_come_from_the_manifest_and_shared_frames():
    """Film a shows two birds at once, so its label is ambiguous; the species of c is unknown."""
    spots = [("a", 1, 0.0), ("a", 2, 0.0), ("b", 1, 0.0), ("b", 2, 1.0), ("c", 1, 0.0)]
    tracks = pd.DataFrame([(film, track, time_s, 0.0, 0.0, 9.0, 9.0, 0.9) for film, track, time_s in spots], columns=tracking.COLUMNS)
    splits = pd.DataFrame({"recording_id": list("abc"), "individual_id": ["red ring", "blue ring", ""], "species": ["gull", "chicken", ""]})
    names, must_not_link = film_tracks.labels_and_constraints(tracking.summary(tracks), tracks, splits)
    assert names.tolist() == ["", "", "blue ring", "blue ring", ""]
    assert (must_not_link == must_not_link.T).all()
    assert np.argwhere(np.triu(must_not_link)).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3]]


def test_crops_are_matched_to_tracks_in_any_order():
    summary = pd.DataFrame({"recording_id": "film", "track": [1, 2]})
    crops = pd.DataFrame({"recording_id": "film", "track": [2, 1, 2, 1, 1], "path": list("abcde")})
    assert film_tracks.track_rows(summary, crops).tolist() == [1, 0, 1, 0, 0]
    with pytest.raises(ValueError, match="crop b belongs to no track"):
        film_tracks.track_rows(summary.iloc[1:], crops)


def rows(**columns):
    """Rows of the split table with defaults."""
    text = dict.fromkeys(["individual_id", "audio_path", "image_path", "video_path"], "")
    return pd.DataFrame({**text, "start_s": np.nan, "end_s": np.nan, **columns})


def test_films_and_photos_of_named_birds_are_selected():
    """Recording a has two rows; b is a photo of Anna, c one of nobody, d a sound; e has a photo beside its film."""
    splits = rows(
        recording_id=list("aabcde"), video_path=["a.mp4", "a.mp4", "", "", "", "e.mp4"],
        image_path=["", "", "b.jpg", "c.jpg", "", "e.jpg"], individual_id=["", "", "anna", "", "berta", "clara"],
    )  # fmt: skip
    assert film_tracks.select_films(splits)["recording_id"].tolist() == ["a", "e"]
    portraits = film_tracks.select_portraits(splits)
    assert portraits["recording_id"].tolist() == ["b"] and portraits["video_path"].tolist() == ["b.jpg"]


def test_portraits_are_tracked_like_films_and_films_are_not_tracked_again(folder):
    import cv2

    cv2.imwrite(str(folder / "anna.jpg"), scene())
    portraits = film_tracks.select_portraits(rows(recording_id=["anna"], image_path=["anna.jpg"], individual_id=["anna"]))
    detector = Detector()
    for _ in range(2):
        follow(folder, detector, "bird.mkv")
        known, crops, skipped = film_tracks.track_films(portraits, folder, detector, folder / "stage", min_detections=1)
    assert known["recording_id"].tolist() == crops["recording_id"].tolist() == ["anna"] and skipped == []
    assert detector.n_films == 2


@pytest.mark.parametrize(("name", "options"), [("anna.tga", {}), ("anna.webp", {"save_all": True}), ("anna.tif", {}), ("anna.gif", {"save_all": True}), ("anna.heic", {})])
def test_portraits_are_photos_of_any_kind(tmp_path, name, options):
    """TGA and animated WebP are kinds that the reader of films does not know."""
    pillow_heif.register_heif_opener()
    image = Image.fromarray(scene())
    others = {"append_images": [Image.fromarray(scene(bird=False))]} if options else {}
    image.save(tmp_path / name, **options, **others)
    portraits = film_tracks.select_portraits(rows(recording_id=["anna"], image_path=[name], individual_id=["anna"]))
    known, crops, skipped = film_tracks.track_films(portraits, tmp_path, Detector(), tmp_path / "stage", min_detections=1)
    assert len(known) == len(crops) == 1 and skipped == [] and known["x"].item() == pytest.approx(24, abs=1)


def test_a_portrait_is_skipped_with_the_reason_where_only_motion_is_detected(tmp_path):
    Image.fromarray(scene()).save(tmp_path / "anna.png")
    portraits = film_tracks.select_portraits(rows(recording_id=["anna"], image_path=["anna.png"], individual_id=["anna"]))
    known, _, skipped = film_tracks.track_films(portraits, tmp_path, detectors.load("motion"), tmp_path / "stage", min_detections=1)
    assert known.empty and "for photos, download the weights" in dict(skipped)["anna.png"]


@pytest.fixture
def two_films(folder):
    """(films, found, summary): two tracks in one film, three in another, one in a third, none in a fourth."""
    names = ["few", "many", "one", "empty"]
    for name in names:
        film(folder / f"{name}.mkv", [scene(bird=False)] * 10)
    spots = [("few", 1), ("few", 2), ("many", 1), ("many", 2), ("many", 3), ("one", 1)]
    found = pd.DataFrame([(name, track, t / 5, 20.0 * track - 15, 20.0, 14.0, 14.0, 0.9) for name, track in spots for t in range(5)], columns=tracking.COLUMNS)
    return table(*[f"{name}.mkv" for name in names]), found, tracking.summary(found)


def test_films_with_most_individuals_are_annotated_first_and_old_ones_deleted(folder, two_films):
    """By individuals, not by tracks: in "many" there is but one bird that counts, in "few" two."""
    films, found, summary = two_films
    (folder / "annotated").mkdir()
    (folder / "annotated" / "old.mp4").write_bytes(b"old")
    identities = np.array([0, 1, 2, 2, counts.UNKNOWN, 2])
    paths = film_tracks.annotate(films, folder, found, summary, identities, folder / "annotated", 2)
    assert [path.name for path in paths] == ["few.mp4", "many.mp4"] and set((folder / "annotated").iterdir()) == set(paths)
    assert all(list(video_io.frames(path)) for path in paths)
    assert film_tracks.annotate(films, folder, found[:0], summary[:0], identities[:0], folder / "annotated", 9) == []
    assert list((folder / "annotated").iterdir()) == []


def test_annotations_count_from_one_and_omit_unknown_tracks(folder, two_films, monkeypatch):
    films, found, summary = two_films
    given = {}

    def annotate_film(source, path, found, labels):
        path.write_bytes(b"film")
        given[source.name] = found, labels

    monkeypatch.setattr(film_tracks.annotations, "annotate_film", annotate_film)
    film_tracks.annotate(films, folder, found, summary, np.array([0, 1, 2, 2, counts.UNKNOWN, counts.UNKNOWN]), folder / "annotated", 9)
    assert {name: labels for name, (_, labels) in given.items()} == {"few.mkv": {1: 1, 2: 2}, "many.mkv": {1: 3, 2: 3}}
    assert set(given["few.mkv"][0]["recording_id"]) == {"few"}


def test_only_films_whose_boxes_or_numbers_changed_are_annotated_again(folder, two_films):
    films, found, summary = two_films
    identities = np.arange(6)
    paths = film_tracks.annotate(films, folder, found, summary, identities, folder / "annotated", 9)
    before = {path.name: path.stat().st_mtime_ns for path in paths}
    film_tracks.annotate(films, folder, found, summary, np.array([0, 9, 2, 3, 4, 5]), folder / "annotated", 9)
    after = {path.name: path.stat().st_mtime_ns for path in paths}
    assert {name for name in before if before[name] != after[name]} == {"few.mp4"}
    (folder / "annotated" / "one.mp4").unlink()
    assert film_tracks.annotate(films, folder, found, summary, identities, folder / "annotated", 9) == paths and all(path.is_file() for path in paths)


def test_a_film_with_undecodable_sound_is_not_annotated_and_others_are(folder, two_films):
    """Samples that are no numbers, as a broken encoder writes them."""
    films, found, summary = two_films
    codecs = "libx264", "pcm_f32le"
    films_made.film(folder / "few.mkv", [scene()] * 10, range(0, 1000, 100), sound=np.full((1, 8000), np.nan), codecs=codecs)
    with pytest.warns(video_io.VideoWarning, match="few.mkv.*NaN.*not annotated"):
        paths = film_tracks.annotate(films, folder, found, summary, np.arange(6), folder / "annotated", 9)
    assert [path.name for path in paths] == ["many.mp4", "one.mp4"] and set((folder / "annotated").iterdir()) == set(paths)


def test_a_film_is_embedded_in_the_notebook_unless_it_is_too_large(folder, monkeypatch):
    from IPython.display import Video

    assert isinstance(film_tracks.show(folder / "bird.mkv"), Video)
    monkeypatch.setattr(film_tracks, "_MAX_EMBEDDED_BYTES", 100)
    assert "bird.mkv" in film_tracks.show(folder / "bird.mkv").data
