"""Rows of films: the truth by eye, what an interval covers, and birds of halves that the uncut clip tells."""

import types

import numpy as np
import pandas as pd
import pytest

from birdlib.analysis import films
from birdlib.pipeline import real_films, real_rows
from birdlib.video import detectors, images, io, tracking, writer

RED, BLUE = (200, 40, 40), (40, 60, 200)


@pytest.mark.parametrize(
    ("individuals", "note", "truth"),
    [
        (4, "rooster and three hens", (4, 4)),
        (np.nan, "5-7 pigeons near camera at any time, more far away", (5, 7)),
        (np.nan, "about 10-12 soaring birds", (10, 12)),
        (np.nan, "disjoint time part 0-6.5s of chickens_lawn", None),
        (np.nan, "birds everywhere", None),
        (np.nan, np.nan, None),
    ],
)
def test_the_truth_is_the_count_or_a_range_that_the_note_begins_with(individuals, note, truth):
    found = real_films.truth_of(individuals, note)
    assert found == truth if truth else np.isnan(found).all()


class Detector:
    """Finds red and blue birds."""

    name, key, weights = "colours", "colours", {}

    def detect_film(self, path, rate_hz=5.0, start_s=0.0, end_s=None):
        for time_s, image in io.frames(path, rate_hz, start_s, end_s):
            boxes = []
            for channel in (0, 2):
                ys, xs = np.nonzero(image[..., channel].astype(int) - image[..., 2 - channel] > 80)
                if len(xs):
                    boxes.append([xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1, 0.9])
            yield time_s, image, np.array(boxes, np.float32).reshape(-1, 5)


def scene(k, width=160):
    """A red bird that walks and a blue one that sits, which leaves after 30 images."""
    image = np.full((width * 3 // 4, width, 3), 110, np.uint8)
    scale = width / 160
    birds = [(10 + k, 20, RED), *([(100, 70, BLUE)] if k < 30 else [])]
    for x, y, colour in birds:
        image[round(y * scale) : round((y + 24) * scale), round(x * scale) : round((x + 30) * scale)] = colour
    return image


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An uncut clip of 6 s at 10 Hz, and its halves, twice as wide."""
    monkeypatch.setattr(detectors, "load", lambda *_, **__: Detector())
    rows, known = [], [("pair", 2, "a red and a blue bird")]
    for name, start, end, width in (("pair", 0, 60, 160), ("cut-A", 0, 30, 320), ("cut-B", 34, 60, 320)):
        writer.write(tmp_path / f"{name}.mp4", (scene(k, width) for k in range(start, end)), rate_hz=10, crf=10)
        rows.append((name, "g1", f"{name}.mp4"))
        if name != "pair":
            known.append((name, None, f"disjoint time part {start / 10}-{end / 10}s of pair: same birds"))
    pd.DataFrame(rows, columns=["recording_id", "group_id", "video_path"]).to_csv(tmp_path / "videos.csv", index=False)
    pd.DataFrame(known, columns=["recording_id", "individuals", "note"]).to_csv(tmp_path / "video_counts.csv", index=False)
    return tmp_path


@pytest.fixture
def embedded(monkeypatch):
    """Crops are embedded by their colour."""

    def embed(found, _, folder, *__):
        vectors = {}
        for name, (_, crops) in found.items():
            colours = [images.read_image(folder / path).mean(axis=(0, 1)) - 110 for path in crops["path"]]
            vectors[name] = np.array([colour / np.linalg.norm(colour) for colour in colours], np.float32).reshape(-1, 3)
        return vectors, {}

    monkeypatch.setattr(films, "_embed", embed)


def test_rows_have_the_suite_beside_the_plain_reference_and_the_halves(folder, embedded, tmp_path):
    rows = real_films.rows(folder, tmp_path / "cache", rng=np.random.default_rng(0))
    by_name = {(row.method, row.figure): row for row in rows}
    count = by_name[real_rows.SUITE, "birds in pair"]
    assert (count.value, count.low, count.high) == (2, 2, 2) and "by eye 2, in the interval" in count.note and "certainty certain" in count.note
    assert by_name[real_rows.PLAIN, "birds in pair"].value in (1, 2)
    assert by_name[real_rows.SUITE, "share of films whose interval holds the count by eye"].value == 1.0
    f1 = by_name[real_rows.SUITE, "pairwise F1 of tracks across halves"]
    assert f1.value == 1.0 and "1 birds" in f1.note  # the red one is in both halves
    assert by_name[real_rows.SUITE, "birds of cut in both halves, 2 |A and B| / (|A| + |B|)"].value == pytest.approx(2 / 3)


def test_tracks_of_halves_are_named_by_the_uncut_clip(folder):
    """Boxes of the half are twice as large and begin 3.4 s later in the uncut clip."""
    times = np.arange(10) / 5

    def boxes_of(name, track, x, start_s, scale):
        return pd.DataFrame({"recording_id": name, "track": track, "time_s": times + start_s, "x": x * scale, "y": 20.0 * scale, "width": 30.0 * scale, "height": 24.0 * scale, "score": 0.9})[tracking.COLUMNS]

    uncut = pd.concat([boxes_of("pair", 4, 10.0, 3.4, 1), boxes_of("pair", 5, 90.0, 3.4, 1)]).assign(identity=0)
    halves = pd.concat([boxes_of("cut-B", 1, 91.0, 0.0, 2), boxes_of("cut-B", 2, 50.0, 0.0, 2)]).assign(identity=[7] * 10 + [8] * 10)
    counts = pd.DataFrame({"recording_id": ["pair"], "group_id": "g1", "width_px": 160})
    half = types.SimpleNamespace(recording_id="cut-B", group_id="g1", clip="cut", half="B", from_s=3.4, width_px=320)
    names = real_films._names(half, halves, counts, uncut)
    assert names[["track", "identity", "bird"]].to_numpy().tolist() == [[1, 7, "cut:5"]]
