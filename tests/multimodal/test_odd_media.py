"""Every film and photo of a folder of odd ones is used, or is a row of the skipped table."""

import numpy as np
import pandas as pd
import pytest
from films_made import clicks, film, grey, steady
from media import backbone
from odd_films import joined, shifted, with_tracks
from PIL import Image

from birdlib.individuals import film_tracks, track_sounds
from birdlib.multimodal import image_features, scene_video, scenes
from birdlib.store import EmbeddingStore
from birdlib.video import detectors, images, squares, tiles, track_crops, tracking


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """(folder, split table)."""
    folder = tmp_path_factory.mktemp("odd")
    whole = steady(folder / "whole.mkv", 30, sound=clicks(0.5, 1.5, duration_s=3.0))
    shifted(whole, folder / "jump.mkv", 1.5, 36_000)
    (folder / "half.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    no_sound = steady(folder / "no sound.mp4")
    data = bytearray(no_sound.read_bytes())
    at, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[at:end] = bytes(end - at)
    (folder / "damaged.mp4").write_bytes(data)
    (folder / "no index.mp4").write_bytes(data[:end])
    joined(folder / "joined.ts", *[steady(folder / f"part {k}.ts", sound=clicks(0.5), codecs=("libx264", "mp2"), rate_hz=16_000) for k in range(2)])
    film(folder / "one picture.mp4", grey(1), (0,))
    film(folder / "small.mkv", grey(20, 2, 2), range(0, 2000, 100))
    tone = np.sin(np.arange(16_000) / 3)[None]
    with_tracks(folder / "tracks.mkv", [0 * tone, tone])
    with_tracks(folder / "opposite.mkv", [np.concatenate([tone, -tone])])
    (folder / "empty.mp4").touch()
    (folder / "page.mp4").write_text("<html>not found</html>")
    (folder / "noise.avi").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "folder.mp4").mkdir()
    images.register_heif()
    for name, kind in (("a.heic", "HEIF"), ("b.jpg", "HEIF"), ("c.avif", "AVIF"), ("d.tga", "TGA"), ("e.gif", "GIF")):
        Image.new("RGB", (64, 48), "green").save(folder / name, kind)
    Image.new("RGB", (1, 1)).save(folder / "point.png")
    Image.new("RGB", (4000, 3)).save(folder / "strip.png")
    (folder / "torn.jpg").write_bytes((folder / "strip.png").read_bytes()[:60])
    films = sorted(path.name for path in folder.iterdir() if path.suffix in (".mkv", ".mp4", ".ts", ".avi")) + ["lost.mp4"]
    photos = sorted(path.name for path in folder.iterdir() if path.name not in films)
    rows = [{"recording_id": f"r{n}", "video_path": name} for n, name in enumerate(films)]
    rows += [{"recording_id": f"p{n}", "image_path": name} for n, name in enumerate(photos)]
    columns = ["recording_id", "species", "group_id", "split", "individual_id", "audio_path", "image_path", "video_path"]
    table = pd.DataFrame(rows, columns=columns).fillna("")
    return folder, table.assign(is_repeated=False, start_s=np.nan, end_s=np.nan)


def test_scenes_account_for_every_file(odd, tmp_path):
    folder, table = odd
    with EmbeddingStore(tmp_path, scenes.STORE_KEY) as store:
        pictures, skipped = scenes.picture_scenes(table, folder, backbone(), store)
        sounds, without_sound = scenes.sound_scenes(table, folder, store)
    refused = {"damaged.mp4", "no index.mp4", "empty.mp4", "page.mp4", "noise.avi", "folder.mp4", "lost.mp4", "torn.jpg"}
    paths = set(table["video_path"]) | set(table["image_path"]) - {""}
    assert set(pictures["path"]) == paths - refused - {""} and refused <= set(skipped["path"])
    assert pictures["end_s"].max() < 9
    assert {"whole.mkv", "jump.mkv", "joined.ts", "tracks.mkv", "opposite.mkv"} <= set(sounds["path"])
    assert set(table["video_path"]) - {""} <= set(sounds["path"]) | set(without_sound["path"])
    reasons = dict(zip(skipped["path"], skipped["reason"], strict=True))
    assert "times jump" in reasons["jump.mkv"] and "is a folder" in reasons["folder.mp4"] and "before its header says" in reasons["half.mkv"]


def test_tracks_account_for_every_film(odd, tmp_path):
    folder, table = odd
    films = film_tracks.select_films(table)
    tracks, crops, skipped = film_tracks.track_films(films, folder, detectors.load("motion"), tmp_path)
    used = {film.video_path for film in films.itertuples() if (tmp_path / "tracks" / f"{film.recording_id}.tracks.parquet").is_file()}
    assert set(films["video_path"]) == used | {path for path, _ in skipped} and "half.mkv" in used
    summary = tracking.summary(tracks)
    for kind in ("alone", "crop"):
        track_sounds.extract(kind, summary, crops, {film.recording_id: folder / film.video_path for film in films.itertuples()})
    film_tracks.annotate(films, folder, tracks, summary, np.zeros(len(summary), int), tmp_path / "annotated", 30)


@pytest.mark.parametrize("size", [(1, 1), (4000, 3), (3, 4000), (2, 1)])
def test_points_and_strips_can_be_used(tmp_path, size):
    width, height = size
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(tmp_path / "a.png")
    image = images.read_image(tmp_path / "a.png")
    assert image.shape == (height, width, 3)
    assert image_features.as_input(image).shape == scene_video.as_frame(image).shape == (224, 224, 3)
    assert squares.as_square(image, 224).shape == (224, 224, 3)
    assert scene_video.crop_motion(image, np.zeros((120, 160, 3))).size
    for x, y, tile_width, tile_height in tiles.layout(width, height, 4):
        assert image[y : y + tile_height, x : x + tile_width].size
    crop = track_crops.crop(image, (0, 0, width, height, 0.9))
    assert 0 <= track_crops.quality(crop, (0, 0, width, height), (height, width)) < 1
