"""What the store of scenes holds is not computed again."""

import numpy as np
import pandas as pd
import pytest
from made_scene_folder import row
from media import backbone, by_second, film, recording, tone
from PIL import Image

from birdlib.multimodal import scenes
from birdlib.store import EmbeddingStore


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
