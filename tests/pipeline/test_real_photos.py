"""Rows of photos and of photos with sound, on synthetic media: photos in three colours, sounds in three tones."""

import numpy as np
import pandas as pd
import photo_species
import pytest
import soundfile

from birdlib import runtime
from birdlib.models import embedders
from birdlib.multimodal import image_features, photo_features, species_probes
from birdlib.pipeline import real_photos, real_rows

RATE_HZ = 1000


class Embedder:
    """A patch is a second, its embedding the size of a few frequencies."""

    name, sample_rate_hz, resampler, key, dim, weights = "birdnet", RATE_HZ, "soxr_hq", "k" * 20, 6, {}

    def embed(self, waveform):
        patches = waveform[: len(waveform) // RATE_HZ * RATE_HZ].reshape(-1, RATE_HZ)
        embeddings = np.abs(np.fft.rfft(patches)[:, 10:61:10]).astype(np.float32)
        return embeddings, np.ones(len(patches), np.float32)


class Frozen:
    """In place of VGG16: the mean colour of a photo, and the maximum."""

    output_shape, compute_dtype = (None, 6), "float32"

    def predict(self, images, batch_size, verbose):
        return np.concatenate([images.mean(axis=(1, 2)), images.max(axis=(1, 2))], axis=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    photos = photo_species.album(tmp_path, n=5)
    rng, rows = np.random.default_rng(3), []
    for pitch_hz, species in zip((10, 30, 50), photo_species.COLOURS, strict=True):
        for number in range(5):
            seconds = np.arange(3 * RATE_HZ) / RATE_HZ
            waveform = 0.4 * np.sin(2 * np.pi * pitch_hz * seconds) + 0.02 * rng.standard_normal(len(seconds))
            soundfile.write(tmp_path / f"{species}{number}.wav", waveform, RATE_HZ)
            rows.append({"recording_id": f"a {species}{number}", "species": species, "group_id": f"g {species}{number}", "audio_path": f"{species}{number}.wav"})
    table = pd.concat([photos[["recording_id", "species", "group_id", "image_path"]], pd.DataFrame(rows)], ignore_index=True).assign(individual_id="")
    table.to_csv(tmp_path / "species24.csv", index=False)
    monkeypatch.setattr(real_photos, "EMBEDDERS", {"birdnet": "BirdNET"})
    monkeypatch.setattr(species_probes, "PROBES", species_probes.PROBES[:1])
    monkeypatch.setattr(embedders, "load", lambda *_, **__: Embedder())
    monkeypatch.setattr(image_features, "load_backbone", lambda *_: image_features.Backbone(None, Frozen(), "v" * 20, {}))
    monkeypatch.setattr(photo_features, "load", lambda *_, **__: photo_species.extractor())
    return tmp_path


@pytest.mark.slow
def test_each_photo_and_each_pair_is_tested_once_beside_a_plain_reference(folder):
    rows = real_photos.rows(folder, folder / "cache", rng=np.random.default_rng(0))
    table = pd.DataFrame(rows)
    assert table["job"].unique().tolist() == ["3 species by photo", "photo + sound, BirdNET"] and set(table["n"]) == {15}
    values = table.set_index(["job", "method", "figure"])["value"]
    for job in table["job"].unique():
        assert values[job, real_rows.SUITE, "accuracy"] == 1.0 and values[job, real_rows.SUITE, "macro ROC-AUC"] == 1.0
        gain = values[job, real_rows.SUITE, "accuracy"] - values[job, real_rows.PLAIN, "accuracy"]
        assert values[job, f"{real_rows.SUITE} - {real_rows.PLAIN}", "accuracy"] == pytest.approx(gain)


def test_no_group_is_on_both_sides_of_a_fold(folder):
    """Photos and sounds of one group too."""
    table = pd.read_csv(folder / "species24.csv", dtype=str, keep_default_na=False)
    table["group_id"] = table["species"] + np.resize(list("abcde"), len(table))
    media = real_photos._with_folds(table, np.random.default_rng(0))
    together = pd.concat(media.values())
    assert together.groupby("group_id")["fold"].nunique().eq(1).all() and together["fold"].nunique() == 5
    assert {name: len(rows) for name, rows in media.items()} == {"photo": 15, "sound": 15}


def test_photo_that_cannot_be_read_is_named(folder):
    (folder / "jay1.png").write_bytes(b"")
    with pytest.raises(runtime.FileError, match="jay1.png"):
        real_photos.rows(folder, folder / "cache", rng=np.random.default_rng(0))


def test_no_photos_give_no_rows(folder):
    table = pd.read_csv(folder / "species24.csv", dtype=str, keep_default_na=False)
    table[table["audio_path"] != ""].to_csv(folder / "species24.csv", index=False)
    assert real_photos.rows(folder, folder / "cache", rng=np.random.default_rng(0)) == []
