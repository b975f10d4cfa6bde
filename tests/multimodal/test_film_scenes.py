"""Scenes of films: their pictures and their sound."""

import warnings

import numpy as np
import pytest
from made_scene_folder import row
from media import RATE_HZ, by_second, film, tone

from birdlib import runtime
from birdlib.multimodal import scenes


def shown(arrays, row):
    """The levels of a scene's eight pictures, as the second of the film from which they are."""
    return np.round((arrays.pixels(row).mean(axis=(1, 2, 3)) - 10) / 20).astype(int).tolist()


def test_pictures_and_sound_of_a_moment_correspond(folder):
    """The n-th second shows level n and sounds n + 2 kHz; each scene of four seconds shows and sounds four of them."""
    sound = np.concatenate([tone(1, 1000.0 * (n + 2) + 62.5) for n in range(7)])
    name = film(folder.root / "a.mkv", by_second(7), sound=sound)
    (seen, pictures, reasons), (heard, sounds, also_reasons) = folder.pictures(row(video=name)), folder.sounds(row(video=name))
    assert not reasons and not also_reasons
    assert seen["start_s"].tolist() == heard["start_s"].tolist() == [0, 2, 3]
    assert seen["moment"].tolist() == heard["moment"].tolist() == ["r0@0.0", "r0@2.0", "r0@3.0"]
    assert seen["scene_id"].is_unique and (seen["end_s"] - seen["start_s"] == scenes.SCENE_S).all()
    for n, first in enumerate([0, 2, 3]):
        assert shown(pictures, n) == [first + k // 2 for k in range(8)]
        bands = sounds.spectrogram(n)[[5, 40, 70, 110]].argmax(axis=1)
        assert (bands // 8).tolist() == [first + 2 + k for k in range(4)]


def test_arrays_have_their_shape_and_type(folder):
    name = film(folder.root / "a.mkv", by_second(5), sound=tone(5))
    (_, pictures, _), (_, sounds, _) = folder.pictures(row(video=name)), folder.sounds(row(video=name))
    pixels, features, spectrogram = pictures.pixels(1), pictures.features(1), sounds.spectrogram(1)
    assert pixels.shape == (8, 64, 64, 3) and pixels.dtype == np.uint8
    assert features.shape == (8, 2048) and features.dtype == np.float32
    assert spectrogram.shape == (125, 128) and spectrogram.dtype == np.float32
    assert np.allclose(features[:, :3], pixels.mean(axis=(1, 2)), atol=1.0)


def test_distinct_frames_are_computed_once(folder):
    """12 s are 5 scenes of 8 frames, of which 24 differ in time and 12 in what they show."""
    name = film(folder.root / "a.mkv", by_second(12))
    table, _, _ = folder.pictures(row(video=name))
    assert len(table) == 5 and folder.backbone.network.n_pictures == 12


def test_short_film_is_one_scene_that_repeats_its_last_picture(folder):
    name = film(folder.root / "a.mkv", by_second(1.5), sound=tone(1.5))
    (seen, pictures, _), (heard, sounds, reasons) = folder.pictures(row(video=name)), folder.sounds(row(video=name))
    assert len(seen) == len(heard) == 1 and not reasons
    assert shown(pictures, 0) == [0, 0, 1, 1, 1, 1, 1, 1]
    assert sounds.spectrogram(0)[45].max() > 0.9 and sounds.spectrogram(0)[50:].max() < 1e-9


def test_film_of_one_picture_is_used_and_reported(folder):
    """Its sound is that of a whole scene, as of a song with a still."""
    name = film(folder.root / "a.mkv", [90], sound=tone(6))
    (seen, pictures, reasons), (_, sounds, _) = folder.pictures(row(video=name)), folder.sounds(row(video=name))
    assert len(seen) == 1 and shown(pictures, 0) == [4] * 8 and folder.backbone.network.n_pictures == 1
    assert reasons == {"a.mkv": "shows one picture only"}
    assert (sounds.spectrogram(0)[:124].max(axis=1) > 0.9).all()


def test_sound_longer_than_the_film_is_cut(folder):
    name = film(folder.root / "a.mkv", by_second(6), sound=tone(20))
    assert folder.sounds(row(video=name))[0]["start_s"].tolist() == folder.pictures(row(video=name))[0]["start_s"].tolist()


def test_scenes_after_the_end_of_the_sound_have_pictures_only(folder):
    name = film(folder.root / "a.mkv", by_second(12), sound=tone(5))
    seen, _, _ = folder.pictures(row(video=name))
    heard, sounds, reasons = folder.sounds(row(video=name))
    assert seen["start_s"].tolist() == [0, 2, 4, 6, 8] and heard["start_s"].tolist() == [0, 2, 4]
    assert set(heard["moment"]) < set(seen["moment"])
    assert reasons == {"a.mkv": "is silent in 2 of 5 scenes: only their pictures are used"}
    assert sounds.spectrogram(2)[:31].max() > 0.9 and sounds.spectrogram(2)[32:].max() < 1e-9


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (None, "has no sound: only its pictures are used"),
        (np.zeros(6 * RATE_HZ), "is silent in 2 of 2 scenes: only their pictures are used"),
        (tone(6, amplitude=5e-5), "is silent in 2 of 2 scenes: only their pictures are used"),
        (tone(6, amplitude=5e-5) + 0.3, "is silent in 2 of 2 scenes: only their pictures are used"),
    ],
    ids=["none", "zeros", "all but", "DC"],
)
def test_pictures_of_a_film_without_sound_are_used(folder, sound, reason):
    name = film(folder.root / "a.mkv", by_second(6), sound=sound)
    assert len(folder.pictures(row(video=name))[0]) == 2
    for _ in range(2):  # reported again where nothing is computed
        heard, _, reasons = folder.sounds(row(video=name))
        assert heard.empty and reasons == {"a.mkv": reason}


def test_channels_of_a_film_that_cancel_each_other_are_heard(folder):
    name = film(folder.root / "a.mkv", by_second(6), sound=np.stack([tone(6), -tone(6)]))
    heard, _, reasons = folder.sounds(row(video=name))
    assert len(heard) == 2 and "channel 1 alone is used" in reasons["a.mkv"]


def test_scenes_stay_inside_the_part_of_a_film(folder):
    """From 3 s to 5.5 s: one scene, whose pictures and sound end with it."""
    sound = np.concatenate([tone(1, 1000.0 * (n + 2) + 62.5) for n in range(9)])
    one = row(video=film(folder.root / "a.mkv", by_second(9), sound=sound), start_s=3.0, end_s=5.5)
    (seen, pictures, _), (heard, sounds, _) = folder.pictures(one), folder.sounds(one)
    for table in (seen, heard):
        assert table[["start_s", "end_s"]].to_numpy().tolist() == [[3, 5.5]]
    assert shown(pictures, 0) == [3, 3, 4, 4, 5, 5, 5, 5]
    assert (sounds.spectrogram(0)[[5, 40, 70]].argmax(axis=1) // 8).tolist() == [5, 6, 7]
    assert sounds.spectrogram(0)[79:].max() < 1e-9


def test_film_without_species_is_a_category_of_its_own(folder):
    name = film(folder.root / "a.mkv", by_second(5), sound=tone(5))
    for table in (folder.pictures(row("v", "", video=name))[0], folder.sounds(row("v", "", video=name))[0]):
        assert set(table["category"]) == {"film:v"} and set(table["kind"]) == {"film"}


def test_truncated_film_has_scenes_up_to_its_end(folder):
    """Half of 20 s are left, although the header states 20 s. It is reported each time."""
    noise = np.random.default_rng(0).integers(0, 255, (200, 48, 64, 3), np.uint8)
    path = folder.root / "a.mp4"
    film(path, noise, options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            table, arrays, reasons = folder.pictures(row(video="a.mp4"))
        assert 8 < table["end_s"].max() < 12 and list(reasons) == ["a.mp4"]
        assert "before its header says" in reasons["a.mp4"]
        assert len({arrays.pixels(len(table) - 1)[k].tobytes() for k in range(8)}) >= 7


@pytest.mark.slow
def test_two_frames_of_one_film_are_nearer_than_two_films_of_the_sample(folder):
    """With the real weights, neighbouring scenes are similar."""
    videos = runtime.repository() / "data" / "sample" / "videos"
    paths = sorted(videos.glob("*.mp4"))[:2]
    if not paths:
        pytest.skip("there is no sample")
    folder.backbone = scenes.load_backbone()
    for path in paths:
        (folder.root / path.name).write_bytes(path.read_bytes())
    table, arrays, _ = folder.pictures(*(row(path.stem, "", video=path.name) for path in paths))
    vectors = np.array([arrays.features(n).mean(axis=0) for n in range(len(table))])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    same = table["path"].to_numpy()[:, None] == table["path"].to_numpy()
    assert (vectors @ vectors.T)[same].min() > (vectors @ vectors.T)[~same].max()
