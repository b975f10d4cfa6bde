"""Birds of films are counted without any training, and as stage 09 counts where it is finished; bad files are rows with a reason."""

import cv2
import films_made
import numpy as np
import pandas as pd
import pytest
import soundfile
from media import film

from birdlib import stages
from birdlib.analysis import detections, films
from birdlib.individuals import (
    backbones,
    clustering,
    counts,
    film_tracks,
    identification,
    track_embeddings,
    track_encoder,
)
from birdlib.metrics.identity import UNKNOWN
from birdlib.video import detectors, tracking
from birdlib.video import io as video_io

RED, BLUE, DARK = (250, 60, 60), (60, 60, 250), 40


class Detector:
    """Detects connected bright regions; counts its films."""

    key, name, weights = "bright", "bright regions", {}

    def __init__(self):
        self.n_films = 0

    def detect_film(self, path, rate_hz, start_s=0.0, end_s=None):
        self.n_films += 1
        for time_s, image in video_io.frames(path, rate_hz, start_s, end_s):
            _, _, stats, _ = cv2.connectedComponentsWithStats((image.max(axis=2) > 100).astype(np.uint8))
            yield time_s, image, np.array([[*row[:4], 0.9] for row in stats[1:]], np.float32).reshape(-1, 5)


class Network:
    """In place of a backbone: the mean colour, and the colours of four places."""

    n_crops = 0

    def predict(self, squares, **_):
        self.n_crops += len(squares)
        return squares.mean(axis=(1, 2)), squares[:, ::64, ::64]


def scene(*colours):
    """A dark picture with a square of each colour, from left to right."""
    image = np.full((64, 128, 3), DARK, np.uint8)
    for number, colour in enumerate(colours):
        image[16:48, 8 + 56 * number : 40 + 56 * number] = colour
    return image


@pytest.fixture
def folder(tmp_path):
    """Films: a red bird; a red and a blue one; a red one that leaves for two seconds; none. And a photo, a sound, a web page."""
    film(tmp_path / "red.mkv", [scene(RED)] * 20)
    film(tmp_path / "both.mkv", [scene(BLUE, RED)] * 20)
    film(tmp_path / "back.mkv", [scene(RED)] * 20 + [scene()] * 30 + [scene(RED)] * 20)
    film(tmp_path / "none.mkv", [scene()] * 20)
    cv2.imwrite(str(tmp_path / "photo.png"), scene(RED))
    soundfile.write(tmp_path / "song.wav", np.zeros(8000), 8000)
    (tmp_path / "page.mp4").write_text("<html>not found</html>")
    return tmp_path


@pytest.fixture
def network(monkeypatch):
    """Stand-ins for the networks; the detector's and the backbone's work is counted."""
    detector, backbone = Detector(), Network()
    monkeypatch.setattr(detectors, "load", lambda *_, **__: detector)
    monkeypatch.setattr(backbones, "load", lambda *_, **__: backbones.Backbone(backbone, 3, (2, 2, 3), "colours", {"colours": {"licence": "MIT"}}))
    backbone.detector = detector
    return backbone


FILMS = ("red.mkv", "both.mkv", "back.mkv", "none.mkv")


def count(folder, *names, n_annotated=0, **options):
    return films.count([folder / name for name in names], folder / "analysis", folder / "outputs", n_annotated=n_annotated, **options)


def test_each_film_is_a_row_and_a_bird_that_comes_back_is_one_bird(folder, network):
    table, tracks, skipped, note = count(folder, *FILMS)
    assert list(table) == detections.COUNT_COLUMNS and list(tracks) == films.TRACK_COLUMNS
    assert table["path"].tolist() == [str(folder / name) for name in FILMS] and skipped.empty
    assert table[["n", "low", "high", "at_once", "n_tracks"]].to_numpy().tolist() == [[1, 1, 1, 1, 1], [2, 2, 2, 2, 2], [1, 1, 2, 1, 2], [0, 0, 0, 0, 0]]
    assert table["certainty"].tolist() == ["certain", "certain", "likely", "certain"] and set(table["method"]) == {"tracks"}
    assert "2 individuals in all films [2, 3], 1 of them in several films" in note
    assert "not trained on individuals" in note and "09_count is not finished: run notebooks/09_count.ipynb" in note and "colours (MIT)" in note


def test_identities_hold_over_all_films_and_are_drawn_into_them(folder, network):
    table, tracks, _, _ = count(folder, *FILMS, n_annotated=9)
    red = tracks.loc[tracks["path"] == str(folder / "red.mkv"), "identity"].unique()
    of_both = tracks[tracks["path"] == str(folder / "both.mkv")].groupby("identity")["x"].mean()
    assert len(red) == 1 and of_both[red[0]] > of_both.drop(red[0]).item() and UNKNOWN not in set(tracks["identity"])
    assert table["annotated"].tolist() == ["annotated/red.mp4", "annotated/both.mp4", "annotated/back.mp4", ""]
    for name in table["annotated"][:3]:
        assert list(video_io.frames(folder / "analysis" / name))


def test_files_that_are_no_films_are_rows_with_a_reason(folder, network):
    table, tracks, skipped, note = count(folder, "photo.png", "song.wav", "page.mp4", "lost.mp4")
    assert table.empty and tracks.empty and note == "" and list(table) == detections.COUNT_COLUMNS
    reasons = skipped.set_index("path")["reason"]
    for name, reason in (("photo.png", "is a photo"), ("song.wav", "is a sound"), ("page.mp4", "is a web page"), ("lost.mp4", "no such file")):
        assert reason in reasons[str(folder / name)]


def test_a_film_that_breaks_off_is_skipped_and_one_with_a_flaw_is_counted(folder, network):
    (folder / "torn.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    times_ms = [*range(0, 1000, 100), *range(61_000, 62_000, 100)]
    films_made.film(folder / "jump.mkv", [scene(RED)] * 20, times_ms)
    table, _, skipped, _ = count(folder, "torn.mp4", "jump.mkv", "red.mkv")
    assert table["path"].tolist() == [str(folder / "jump.mkv"), str(folder / "red.mkv")]
    assert set(skipped["path"]) == {str(folder / "torn.mp4"), str(folder / "jump.mkv")} and (skipped["reason"].str.len() > 20).all()


def test_a_second_run_does_not_detect_or_embed_again(folder, network):
    first = count(folder, "red.mkv", "both.mkv")
    done = network.detector.n_films, network.n_crops
    second = count(folder, "red.mkv", "both.mkv", "back.mkv")
    assert network.detector.n_films == done[0] + 1 and done[1] < network.n_crops
    pd.testing.assert_frame_equal(first[0], second[0][:2])
    third = count(folder, "red.mkv", "both.mkv", "back.mkv")
    assert network.detector.n_films == done[0] + 1
    pd.testing.assert_frame_equal(second[0], third[0])
    pd.testing.assert_frame_equal(second[1], third[1])


def test_a_name_that_is_no_text_is_written_in_a_readable_form(folder, network):
    name = b"r\xff.mkv".decode("utf-8", "surrogateescape")
    (folder / "red.mkv").rename(folder / name)
    for _ in range(2):
        table, tracks, skipped, _ = count(folder, name, n_annotated=1)
        assert table["path"].tolist() == [str(folder / "r\\xff.mkv")] == tracks["path"].unique().tolist() and skipped.empty
        assert table["n"].tolist() == [1] and (folder / "analysis" / table["annotated"][0]).is_file()


def test_films_of_one_name_in_two_folders_are_two_films(folder, network):
    for name in ("a", "b"):
        (folder / name).mkdir()
        film(folder / name / "film.mkv", [scene(RED)] * 20)
    table, tracks, _, _ = count(folder, "a/film.mkv", "b/film.mkv", "a/film.mkv", n_annotated=2)
    assert table["n"].tolist() == [1, 1] and tracks["recording_id"].nunique() == 2 and table["annotated"].nunique() == 2


def test_more_tracks_than_fit_are_clustered_film_by_film(folder, network, monkeypatch):
    together, _, _, _ = count(folder, *FILMS)
    monkeypatch.setattr(films, "MAX_TRACKS", 3)
    table, tracks, _, note = count(folder, *FILMS)
    pd.testing.assert_frame_equal(table, together)
    assert "a bird in several films is counted in each" in note and "in all films" not in note
    assert tracks.groupby("path")["identity"].nunique().sum() == tracks["identity"].nunique() == 4


def test_no_films_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(detectors, "load", None)
    table, tracks, skipped, note = films.count([], tmp_path)
    assert table.empty and tracks.empty and skipped.empty and note == "" and not list(tmp_path.iterdir())


def test_films_without_birds_need_no_backbone(folder, network, monkeypatch):
    monkeypatch.setattr(backbones, "load", None)
    table, tracks, _, note = count(folder, "none.mkv")
    assert table[["n", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]] and tracks.empty and "0 individuals" in note


# With stage 09


HOW = {"backbone": "resnet50", "parts": "marks,looks", "detector": "auto", "n_tiles": 1, "rate_hz": 5.0, "min_score": 0.6, "n_crops": 4}


@pytest.fixture
def stage(folder, network):
    """A finished stage 09 with an untrained encoder of the colours."""
    import keras

    keras.utils.set_random_seed(0)
    encoder = track_encoder.encoder(3, (2, 2, 3), out_dim=8)
    stages.finish(stages.start("01_split", folder / "outputs"), {"root": "."})
    stage = stages.start("09_count", folder / "outputs")
    track_embeddings.save(stage.folder, "early_fusion", encoder, 0.05, threshold_draws=[0.04, 0.05, 0.06], **HOW)
    stages.finish(stage, {})
    return encoder


def test_counts_are_those_of_the_functions_of_stage_09(folder, network, stage):
    """The cells of the notebook, on the same films."""
    table, tracks, _, note = count(folder, *FILMS)
    splits = pd.DataFrame({"recording_id": [name[:-4] for name in FILMS], "video_path": FILMS, "start_s": np.nan, "end_s": np.nan})
    found, crops, _ = film_tracks.track_films(splits, folder, Detector(), folder / "stage", rate_hz=5.0, min_score=0.6, n_crops=4)
    summary = tracking.summary(found)
    images = [cv2.imread(str(folder / "stage" / path))[..., ::-1] for path in crops["path"]]
    vectors = track_encoder.embed_crops(stage, backbones.extract_features(images, backbones.load()))
    of_track, rng = film_tracks.track_rows(summary, crops), np.random.default_rng(0)
    identities, draws, at_once = identification.identify_with_draws(
        vectors, of_track, tracking.must_not_link(found), found, summary, 0.05, np.array([0.04, 0.05, 0.06]), rng
    )
    expected = counts.per_film(identities, draws, summary["recording_id"], at_once, list(splits["recording_id"]))
    assert table[["n", "low", "high", "at_once"]].to_numpy().tolist() == expected[["n", "low", "high", "at_once"]].to_numpy().tolist()
    by_track = tracks.drop_duplicates(["recording_id", "track"]).set_index(["recording_id", "track"])["identity"]
    assert by_track.loc[list(summary[["recording_id", "track"]].itertuples(index=False, name=None))].tolist() == identities.tolist()
    assert "distance of 0.05" in note and "not trained" not in note


def test_a_stage_of_an_older_version_has_thresholds_drawn_by_the_films(folder, network, stage):
    path = folder / "outputs" / "09_count" / "embedder.json"
    path.write_text(path.read_text().replace('"threshold_draws"', '"other"'))
    table, _, _, _ = count(folder, *FILMS, n_draws=5)
    assert (table["low"] <= table["n"]).all() and (table["n"] <= table["high"]).all()


def test_the_pretrained_embedder_gives_unit_vectors(network):
    embedder = track_embeddings.Pretrained(backbones.load())
    vectors = embedder.embed([scene(RED)[16:48, 8:40], scene(BLUE)[16:48, 8:40], np.zeros((8, 8, 3), np.uint8)])
    assert np.allclose(np.linalg.norm(vectors[:2], axis=1), 1) and np.isfinite(vectors).all()
    assert clustering.distances(vectors[:2])[0, 1] > clustering.FALLBACK_THRESHOLD
