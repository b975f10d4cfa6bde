"""Tracking: a track goes on while the bird is unambiguous, and holds one bird."""

import numpy as np
import pandas as pd
import pytest
from films_made import read_mot

from birdlib import runtime
from birdlib.data.synthetic import sample
from birdlib.video import boxes as geometry
from birdlib.video import detectors, images, reassociation, track_crops, tracking

RATE_HZ = 5.0
WIDTH, HEIGHT = 320, 240
RED, BLUE = (200, 60, 50), (60, 80, 210)


def picture(birds):
    """A grey picture with a rectangle for each (x, y, width, height, colour)."""
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for x, y, width, height, colour in birds:
        image[max(0, int(y)) : int(y + height), max(0, int(x)) : int(x + width)] = colour
    return image


def film(*paths, score=0.9):
    """Detections of birds; a path gives the bird (x, y, width, height, colour) of each time, or None."""
    for k in range(max(len(path) for path in paths)):
        birds = [path[k] for path in paths if k < len(path) and path[k] is not None]
        boxes = np.array([[*bird[:4], score] for bird in birds], np.float32).reshape(-1, 5)
        yield k / RATE_HZ, picture(birds), boxes


def perched(n, x=100, y=100, size=40, colour=RED):
    return [(x + k % 2, y, size, size, colour) for k in range(n)]


def follow(detections, folder, **parameters):
    """(tracks, crops)."""
    return tracking.follow(detections, "film", folder, rate_hz=RATE_HZ, **parameters)[:2]


def n_tracks(detections, folder, **parameters):
    return follow(detections, folder, **parameters)[0]["track"].nunique()


@pytest.mark.parametrize("seed", range(3))
def test_a_track_holds_one_bird(seed, tmp_path):
    """Four birds of two colours sit, flit to perches that have long been free, and are now and then not seen."""
    rng = np.random.default_rng(seed)
    perches = [(x, y) for x in (15, 90, 165, 240) for y in (15, 90, 165)]
    free_from, at, paths = np.zeros(len(perches)), [0, 5, 7, 11], [[] for _ in range(4)]
    free_from[at] = 7
    for k in range(60):
        for bird, path in enumerate(paths):
            if rng.random() < 0.1:
                at[bird] = int(rng.choice(np.flatnonzero(free_from <= k)))
            free_from[at[bird]] = k + 7
            place = perches[at[bird]] + rng.normal(0, 2, 2)
            path.append(None if rng.random() < 0.1 else (*place, 40, 34, (RED, BLUE)[bird % 2]))
    found, _ = follow(film(*paths), tmp_path)
    names = []
    for time_s, x, y in found[["time_s", "x", "y"]].to_numpy():
        seen = [(path[round(time_s * RATE_HZ)], bird) for bird, path in enumerate(paths)]
        names.append(min((np.hypot(box[0] - x, box[1] - y), bird) for box, bird in seen if box)[1])
    birds_of = found.assign(bird=names).groupby("track")["bird"]
    assert birds_of.ngroups >= 4
    assert (birds_of.nunique() == 1).all()
    assert len(found) > 0.8 * sum(box is not None for path in paths for box in path)


def test_a_track_includes_the_first_detection(tmp_path):
    found, _ = follow(film([None] * 3 + perched(10)), tmp_path)
    assert list(found.columns) == tracking.COLUMNS
    np.testing.assert_allclose(found["time_s"], np.arange(3, 13) / RATE_HZ)
    assert set(found["track"]) == {1}


@pytest.mark.parametrize("unseen, expected", [(1, 1), (4, 1), (6, 2), (20, 2)])
def test_gaps_up_to_the_maximum_are_bridged(unseen, expected, tmp_path):
    """5 images a second and max_gap_s=1: detected again after 5 images is in time."""
    path = perched(5) + [None] * unseen + perched(5)
    assert n_tracks(film(path), tmp_path, max_gap_s=1.0) == expected


def test_other_colours_on_the_same_perch_begin_a_new_track(tmp_path):
    path = perched(5) + [None] * 3 + perched(5, colour=BLUE)
    assert n_tracks(film(path), tmp_path) == 2


def test_ambiguous_reassociations_are_not_made(tmp_path):
    left, right, between = perched(5, x=90), perched(5, x=140), [None] * 7 + perched(5, x=115)
    assert n_tracks(film(left, right, between), tmp_path) == 3


def test_birds_at_the_edge_are_not_reassociated(tmp_path):
    """The same displacement away from the edge is bridged."""

    def came_back(x):
        return perched(5, x=x) + [None] * 3 + perched(5, x=x + 34)

    assert n_tracks(film(came_back(0)), tmp_path) == 2
    assert n_tracks(film(came_back(100)), tmp_path) == 1


def test_a_box_around_two_birds_is_in_neither_track(tmp_path):
    """The detector gives one box for two close birds: afterwards each begins a new track."""
    both = [(100, 100, 82, 40, RED)] * 2
    found, _ = follow(film(perched(5) + both + perched(5, x=142)), tmp_path)
    assert found["track"].nunique() == 2
    assert found["width"].max() < 50


def test_a_track_does_not_switch_to_a_bird_that_was_hidden(tmp_path):
    """One is hidden by another as large, whose box overlaps the last of the first."""
    found, _ = follow(film(perched(6) + perched(6, x=118, colour=BLUE)), tmp_path)
    assert found.groupby("track")["time_s"].agg(["min", "max"]).to_numpy().tolist() == [[0.0, 1.0], [1.2, 2.2]]


def test_low_scores_extend_tracks_but_do_not_begin_them(tmp_path):
    sure, faint = list(film(perched(6))), list(film(perched(12), score=0.3))[6:]
    found, _ = follow([*sure, *faint], tmp_path)
    assert len(found) == 12 and found["track"].nunique() == 1
    assert n_tracks(faint, tmp_path) == 0


@pytest.mark.parametrize("n, expected", [(2, 0), (3, 1)])
def test_tracks_of_few_detections_are_dropped(n, expected, tmp_path):
    assert n_tracks(film([None] + perched(n) + [None] * 3), tmp_path, min_detections=3) == expected


def test_no_bird_gives_empty_tables(tmp_path):
    found, crops = follow(film([None] * 5), tmp_path)
    assert list(found.columns) == tracking.COLUMNS and list(crops.columns) == tracking.CROP_COLUMNS
    assert len(found) == len(crops) == 0
    assert list(tracking.summary(found).columns) == tracking.SUMMARY_COLUMNS
    assert tracking.must_not_link(found).shape == (0, 0)


def test_a_single_image_can_be_a_track(tmp_path):
    found, crops = follow(film(perched(1)), tmp_path, min_detections=1)
    assert len(found) == len(crops) == 1
    assert n_tracks(film(perched(1)), tmp_path) == 0


def test_crops_are_few_and_spread_over_the_track(tmp_path):
    path = perched(20) + [None] * 20 + perched(40, x=30, y=30, colour=BLUE)
    _, crops = follow(film(path), tmp_path, n_crops=4)
    assert (crops.groupby("track").size() == 4).all()
    assert (crops.groupby("track")["quality"].diff().dropna() <= 0).all()
    for track, colour in ((1, RED), (2, BLUE)):
        mine = crops[crops["track"] == track]
        for path in mine["path"]:
            image = images.read_image(tmp_path / path)
            np.testing.assert_allclose(image[image.shape[0] // 2, image.shape[1] // 2], colour, atol=12)
        assert mine["time_s"].max() - mine["time_s"].min() > 2.0


def test_crops_of_an_earlier_run_are_deleted(tmp_path):
    follow(film(perched(20)), tmp_path, n_crops=8)
    _, crops = follow(film(perched(20)), tmp_path, n_crops=2)
    assert sorted(crops["path"]) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))


def test_crops_in_memory_do_not_grow_with_the_track():
    best = track_crops.BestCrops(n_crops=4)
    for k in range(2000):
        best.add(k / RATE_HZ, np.zeros((2, 2, 3), np.uint8), 1.0 if k in (300, 1700) else 0.5)
        assert len(best.kept) <= 8
    chosen = best.select()
    assert len(chosen) == 4
    assert {time_s for worth, time_s, _ in chosen if worth == 1.0} == {300 / RATE_HZ, 1700 / RATE_HZ}


def test_sharp_large_and_whole_crops_have_higher_quality(rng):
    sharp = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    blurred = np.full_like(sharp, 128)
    size, box = (HEIGHT, WIDTH), (100, 100, 96, 96)
    best = track_crops.quality(sharp, box, size)
    assert best > track_crops.quality(blurred, box, size)
    assert best > track_crops.quality(sharp, (100, 100, 48, 48), size)
    assert best > track_crops.quality(sharp, (0, 100, 96, 96), size)
    assert best > track_crops.quality(sharp, box, size, occlusion=0.5)


def test_crops_have_a_margin_and_stay_inside():
    image = picture([])
    assert track_crops.crop(image, (100, 100, 40, 20)).shape == (28, 48, 3)
    assert track_crops.crop(image, (300, 220, 20, 20)).shape == (22, 22, 3)
    assert max(track_crops.crop(np.zeros((2000, 3000, 3), np.uint8), (0, 0, 3000, 2000)).shape) == 320


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


@pytest.mark.parametrize("wrong", [{"n_crops": 0}, {"min_detections": 0}, {"max_gap_s": -1.0}])
def test_invalid_numbers_raise_an_error(wrong, tmp_path):
    with pytest.raises(ValueError, match="positive"):
        follow(film(perched(3)), tmp_path, **wrong)


def test_colour_distance_is_0_for_one_bird_and_1_for_other_colours():
    red, blue = (
        reassociation.colour_histogram(picture(perched(1, colour=colour)), (100, 100, 40, 40)) for colour in (RED, BLUE)
    )
    assert reassociation.colour_distance(red, red) == pytest.approx(0.0, abs=1e-6)
    assert reassociation.colour_distance(red, blue) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
def test_tracks_of_the_sample_are_pure(tmp_path):
    """By a real detector: every bird has a track, and a box in fifty at most is of another bird than its track."""
    folder = sample.ensure()
    truth = pd.read_csv(folder / "truth" / "video_tracks.csv")
    detector, wrong, total = detectors.load("efficientdet_lite2", min_score=0.2), 0, 0
    for video, boxes in truth.groupby("video"):
        found, _ = follow(detector.detect_film(folder / video, RATE_HZ), tmp_path)
        names = []
        for row in found.itertuples():
            near = boxes[(boxes["time_s"] - row.time_s).abs() < 0.034]
            box = np.array([row.x, row.y, row.width, row.height])
            overlaps = geometry.iou(box, near[["x", "y", "width", "height"]].to_numpy(float))
            names.append(near["individual_id"].iloc[int(np.argmax(overlaps))])
        found["bird"] = names
        counts = found.groupby("track")["bird"].value_counts().unstack(fill_value=0)
        wrong, total = wrong + int((counts.sum(axis=1) - counts.max(axis=1)).sum()), total + len(found)
        assert set(counts.idxmax(axis=1)) == set(boxes["individual_id"]), video
    assert wrong <= total / 50


def test_a_full_disk_raises_an_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(runtime.FullDiskError, match="disk is full"):
        follow(film(perched(5)), tmp_path)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# Birds that run, leave, or are in another scene


def test_a_bird_that_moves_more_than_half_its_length_between_images_is_tracked(tmp_path):
    running = [(10 + 26 * k, 100, 40, 40, RED) for k in range(10)]
    found, _ = follow(film(running), tmp_path)
    assert found["track"].nunique() == 1 and len(found) == 10


def test_running_birds_that_cross_keep_their_tracks(tmp_path):
    right, left = [(10 + 26 * k, 60, 40, 40, RED) for k in range(10)], [(250 - 26 * k, 120, 40, 40, BLUE) for k in range(10)]
    found, _ = follow(film(right, left), tmp_path)
    assert found.groupby("track")["y"].nunique().tolist() == [1, 1] and len(found) == 20


def test_a_perch_that_a_bird_has_left_is_not_the_bird(tmp_path):
    """The perch has a lower score and another box; the bird sits elsewhere meanwhile, so that two birds at once would be counted."""
    perch = (112, 122, 26, 20, RED)
    sits = list(film(perched(8)))
    away = [(time_s + 1.6, image, boxes) for time_s, image, boxes in film([perch] * 10, score=0.35)]
    found, crops = follow([*sits, *away], tmp_path)
    assert found["time_s"].max() == pytest.approx(1.4) and crops["time_s"].max() <= 1.4


def test_a_perch_to_which_a_bird_comes_is_not_the_bird(tmp_path):
    perch = (112, 122, 26, 20, RED)
    before = list(film([perch] * 10, score=0.5))
    sits = [(time_s + 2.0, image, boxes) for time_s, image, boxes in film(perched(8))]
    found, crops = follow([*before, *sits], tmp_path, min_score=0.6)
    assert found["track"].nunique() == 1 and found["time_s"].min() == pytest.approx(2.0) and crops["time_s"].min() >= 2.0


def test_a_faint_bird_that_moves_before_it_is_confirmed_is_tracked_from_the_beginning(tmp_path):
    walks = [(20 + 5 * k, 100, 40, 40, RED) for k in range(20)]
    faint, sure = list(film(walks, score=0.5))[:10], list(film(walks))[10:]
    found, _ = follow([*faint, *sure], tmp_path, min_score=0.6)
    assert found["time_s"].min() == 0.0 and len(found) == 20


def test_faint_tracks_are_those_that_move(tmp_path):
    walks, sits = [(20 + 8 * k, 40, 40, 40, RED) for k in range(10)], perched(10, y=160)
    found, _, frames = tracking.follow(film(walks, sits, score=0.5), "film", tmp_path, rate_hz=RATE_HZ, min_score=0.6)
    assert not len(found) and frames["n_faint"].tolist() == [1] + [0] * 9
    _, _, frames = tracking.follow(film(walks, sits), "film", tmp_path, rate_hz=RATE_HZ, min_score=0.6)
    assert not frames["n_faint"].any()


def test_no_track_goes_on_over_a_cut(tmp_path):
    detections = [(time_s, image if time_s < 1.5 else shaded(image), boxes) for time_s, image, boxes in film(perched(16))]
    assert n_tracks(detections, tmp_path) == 2
    assert n_tracks(film(perched(16)), tmp_path) == 1


def shaded(image):
    """Another place around the same bird."""
    other = np.tile(np.linspace(0, 90, WIDTH), (HEIGHT, 1)).astype(np.uint8)
    return np.where((image == 128).all(axis=2)[..., None], np.stack([other, other // 2, 60 + other], axis=2), image)
