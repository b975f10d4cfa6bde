import warnings

import numpy as np
import pandas as pd
import pytest
from media import RATE_HZ, backbone, by_second, film, recording, tone
from PIL import Image

from birdlib import runtime
from birdlib.multimodal import scene_audio, scene_video, scenes
from birdlib.store import EmbeddingStore


def row(recording_id="r0", species="wren", start_s=np.nan, end_s=np.nan, split="train", is_repeated=False, **paths):
    paths = {f"{kind}_path": paths.get(kind, "") for kind in ("audio", "image", "video")}
    own = {"recording_id": recording_id, "species": species, "group_id": f"group of {recording_id}"}
    return own | {"split": split, "is_repeated": is_repeated, "start_s": start_s, "end_s": end_s} | paths


class Folder:
    """A folder with its store; ``pictures`` and ``sounds`` return (scenes, arrays, reasons by path)."""

    def __init__(self, root):
        self.root, self.backbone = root, backbone()

    def pictures(self, *rows):
        return self._extract(lambda *given: scenes.picture_scenes(*given[:2], self.backbone, given[2]), rows)

    def sounds(self, *rows):
        return self._extract(scenes.sound_scenes, rows)

    def _extract(self, make, rows):
        with EmbeddingStore(self.root / "store", scenes.STORE_KEY) as store:
            table, skipped = make(pd.DataFrame(rows, columns=list(row())), self.root, store)
            assert list(table) == list(scenes.COLUMNS) and list(skipped) == ["path", "stage", "reason"]
            return table, scenes.Arrays(store, table), dict(zip(skipped["path"], skipped["reason"], strict=True))


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def shown(arrays, row):
    """The levels of a scene's eight pictures, as the second of the film from which they are."""
    return np.round((arrays.pixels(row).mean(axis=(1, 2, 3)) - 10) / 20).astype(int).tolist()


# Times


def test_frames_of_a_scene_last_as_long_as_its_sound():
    assert scene_video.N_FRAMES * scene_video.FRAME_S == scene_audio.SCENE_S == scenes.SCENE_S == 4.0


@pytest.mark.parametrize(
    ("until_s", "starts_s"),
    [
        (0.1, [0]),
        (4.0, [0]),
        (4.4, [0]),  # no more than a frame is left over
        (4.7, [0, 0.7]),
        (6.0, [0, 2]),
        (11.0, [0, 2, 4, 6, 7]),
        (12.0, [0, 2, 4, 6, 8]),
    ],
)
def test_scenes_start_every_two_seconds_and_the_last_is_flush_with_the_end(until_s, starts_s):
    assert scenes.windows(0.0, until_s, 2.0) == pytest.approx(starts_s)
    assert scenes.windows(30.0, 30.0 + until_s, 2.0) == pytest.approx(np.add(starts_s, 30))


def test_scenes_cover_all_of_a_film_but_a_frame():
    for until_s in np.random.default_rng(0).uniform(4.0, 40.0, 200):
        starts_s = scenes.windows(0.0, until_s, 2.0)
        ends_s = starts_s + scenes.SCENE_S
        assert starts_s[0] == 0 and until_s - scene_video.FRAME_S <= ends_s[-1] <= until_s + 1e-6
        assert (np.diff(starts_s) > scene_video.FRAME_S).all() and (np.diff(starts_s) <= 2.0).all()


# Films


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


def test_unreadable_films_and_photos_are_reported_and_the_others_used(folder):
    good = film(folder.root / "good.mkv", by_second(5), sound=tone(5))
    (folder.root / "empty.mp4").touch()
    (folder.root / "torn.mp4").write_bytes((folder.root / "good.mkv").read_bytes()[:300])
    (folder.root / "sound.mp4").write_bytes(b"this is no film" * 99)
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(folder.root / "good.png")
    (folder.root / "torn.png").write_bytes((folder.root / "good.png").read_bytes()[:50])
    names = [good, "empty.mp4", "torn.mp4", "sound.mp4", "missing.mp4"]
    rows = [row(f"f{n}", video=name) for n, name in enumerate(names)]
    rows += [row(f"p{n}", image=name) for n, name in enumerate(["torn.png", "good.png", "missing.png"])]
    seen, _, reasons = folder.pictures(*rows)
    assert seen["recording_id"].tolist() == ["f0", "f0", "p1"]
    assert set(reasons) == {*names[1:], "torn.png", "missing.png"} and reasons["empty.mp4"].startswith("is empty (0 bytes): ")
    heard, _, reasons = folder.sounds(*rows)
    assert heard["recording_id"].tolist() == ["f0", "f0"] and set(reasons) == set(names[1:])


# Photos


def test_photo_is_repeated_for_a_scene(folder):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30] = (250, 100, 10)
    Image.fromarray(image).save(folder.root / "a.png")
    table, arrays, reasons = folder.pictures(row(image="a.png"))
    assert table["kind"].tolist() == ["photo"] and table["moment"].tolist() == [""] and not reasons
    assert table["category"].tolist() == ["wren"] and table["path"].tolist() == ["a.png"]
    pixels = arrays.pixels(0)
    assert (pixels == pixels[0]).all() and pixels[0, 0, 0].tolist() == [250, 100, 10]
    assert arrays.features(0)[:, :3] == pytest.approx(np.tile([125, 50, 5], (8, 1)), abs=1)


def test_photos_are_computed_once_by_content_in_batches(folder):
    for n in range(20):
        Image.fromarray(np.full((9, 9, 3), 10 * n, np.uint8)).save(folder.root / f"{n:02d}.png")
    (folder.root / "again.png").write_bytes((folder.root / "03.png").read_bytes())
    rows = [row(f"r{n:02d}", image=f"{n:02d}.png") for n in range(20)]
    rows += [row("r03", image="03.png", split="test", is_repeated=True), row("again", image="again.png")]
    table, arrays, _ = folder.pictures(*rows)
    assert folder.backbone.network.sizes == [16, 4] and len(table) == 22
    assert table.loc[table["split"] == "test", "is_repeated"].tolist() == [True]
    levels = [arrays.pixels(n)[0, 0, 0, 0] for n in range(22)]
    assert levels == [*range(0, 200, 10), 30, 30]


# Recordings


def test_unusable_recordings_are_reported(folder):
    silent, good = np.zeros(6 * RATE_HZ, np.float32), tone(4)
    names = [recording(folder.root / "silent.wav", silent), recording(folder.root / "good.wav", good), "none.wav"]
    (folder.root / "text.wav").write_text("no sound")
    rows = [row(f"r{n}", audio=name) for n, name in enumerate([*names, "text.wav"])]
    rows.append(row("late", audio="good.wav", start_s=9.0))
    table, _, reasons = folder.sounds(*rows)
    assert table["recording_id"].tolist() == ["r1"] and set(reasons) == {"silent.wav", "none.wav", "text.wav", "good.wav"}
    assert reasons["silent.wav"] == "is silent" and "nothing starts at 9 s" in reasons["good.wav"]


def test_recording_and_film_both_give_sound_scenes(folder):
    name = film(folder.root / "a.mkv", by_second(4), sound=tone(4))
    table, _, _ = folder.sounds(row(video=name, audio=recording(folder.root / "a.wav", tone(4))))
    assert table["kind"].tolist() == ["film", "recording"] and table["scene_id"].is_unique
    assert table["moment"].tolist() == ["r0@0.0", ""]


# The store


def test_second_run_decodes_and_computes_nothing(folder, monkeypatch):
    Image.fromarray(np.full((9, 9, 3), 70, np.uint8)).save(folder.root / "a.png")
    rows = [row("f", video=film(folder.root / "a.mkv", by_second(7), sound=tone(7))), row("p", image="a.png")]
    rows.append(row("s", audio=recording(folder.root / "a.wav", tone(9))))
    first = folder.pictures(*rows), folder.sounds(*rows)

    def never(*_, **__):
        raise AssertionError("decoded again")

    for name in ("video.io.frames", "video.io.soundtrack", "video.io.probe", "audio.io.stream", "video.images.read_image"):
        monkeypatch.setattr(f"birdlib.{name}", never)
    n_pictures = folder.backbone.network.n_pictures
    again = folder.pictures(*rows), folder.sounds(*rows)
    assert folder.backbone.network.n_pictures == n_pictures
    for (before, arrays, _), (after, same, _) in zip(first, again, strict=True):
        pd.testing.assert_frame_equal(before, after)
        read = ("pixels", "features") if "photo" in set(before["kind"]) else ("spectrogram",)
        for n in range(len(before)):
            assert all(np.array_equal(getattr(arrays, what)(n), getattr(same, what)(n)) for what in read)


def test_new_weights_and_new_content_are_computed_anew(folder):
    name = film(folder.root / "a.mkv", by_second(5))
    folder.pictures(row(video=name))
    folder.backbone = backbone(key="b")
    folder.pictures(row(video=name))
    assert folder.backbone.network.n_pictures == 5
    film(folder.root / "a.mkv", [200] * 50)
    _, arrays, _ = folder.pictures(row(video=name))
    assert folder.backbone.network.n_pictures == 6 and arrays.pixels(0).mean() == pytest.approx(200, abs=3)


def test_killed_run_resumes(folder):
    """The first film is done, the second is interrupted."""
    rows = [row("a", video=film(folder.root / "a.mkv", by_second(5)))]
    rows.append(row("b", video=film(folder.root / "b.mkv", [200 - level for level in by_second(5)])))
    whole = folder.pictures(*rows)[1].features(3)
    folder.root, folder.backbone = folder.root / "again", backbone(dies_at=1)
    folder.root.mkdir()
    for name in ("a.mkv", "b.mkv"):
        (folder.root / name).write_bytes((folder.root.parent / name).read_bytes())
    with pytest.raises(KeyboardInterrupt):
        folder.pictures(*rows)
    folder.backbone = backbone()
    assert np.array_equal(folder.pictures(*rows)[1].features(3), whole) and folder.backbone.network.n_pictures == 5


def test_an_empty_table_needs_no_network(folder):
    folder.backbone = None
    no_pictures = folder.pictures(), folder.pictures(row(audio="unread.wav"))
    for table, _, reasons in (*no_pictures, folder.sounds(), folder.sounds(row(image="a.png"))):
        assert table.empty and not reasons


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


def test_the_kind_of_spectrogram_does_not_change_the_scenes(folder):
    """Both kinds are in one store, under keys of their own; a tone of 4 kHz is in band 32 and bin 64."""
    recording(folder.root / "a.wav", tone(9, 4062.5))
    film(folder.root / "b.mkv", by_second(5), sound=tone(5, 4062.5))
    table = pd.DataFrame([row("r0", audio="a.wav"), row("r1", video="b.mkv")])
    found = {}
    with EmbeddingStore(folder.root / "store", scenes.STORE_KEY) as store:
        for kind, peak in (("bands", 32), ("stft", 65)):
            found[kind], skipped = scenes.sound_scenes(table, folder.root, store, spectrogram=kind)
            arrays = scenes.Arrays(store, found[kind], kind)
            assert not len(skipped) and all(arrays.spectrogram(n)[60].argmax() == peak for n in range(len(found[kind])))
    same = [name for name in scenes.COLUMNS if name != "key"]
    pd.testing.assert_frame_equal(found["bands"][same], found["stft"][same])
    assert not set(found["bands"]["key"]) & set(found["stft"]["key"])
