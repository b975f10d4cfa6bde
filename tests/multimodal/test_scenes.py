"""Scenes of photos and recordings, and files of which there are none."""

import numpy as np
import pytest
from made_scene_folder import row
from media import RATE_HZ, by_second, film, recording, tone
from PIL import Image


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


def test_an_empty_table_needs_no_network(folder):
    folder.backbone = None
    no_pictures = folder.pictures(), folder.pictures(row(audio="unread.wav"))
    for table, _, reasons in (*no_pictures, folder.sounds(), folder.sounds(row(image="a.png"))):
        assert table.empty and not reasons
