import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib.models import embedders
from birdlib.pipeline import real_voices

RATE_HZ = 24_000


class Embedder:
    """Embeds the energy in ten bands: a patch of half a second."""

    name, key, sample_rate_hz, resampler = "bands", "bands-of-tests", RATE_HZ, "soxr_hq"

    def embed(self, waveform):
        waveform = waveform[: len(waveform) // 12_000 * 12_000] if len(waveform) >= 12_000 else np.pad(waveform, (0, 12_000 - len(waveform)))
        power = np.abs(np.fft.rfft(waveform.reshape(-1, 12_000)))[:, 750:5000]
        bands = np.log(1e-2 + np.stack([part.mean(axis=1) for part in np.array_split(power, 10, axis=1)], axis=1))
        return np.tile(bands, 103)[:, :1024].astype(np.float32), np.ones(len(bands), np.float32)


def song(bird, number, rng):
    """Two whistles of its own in changing order, over the hum of its own place."""
    at = np.arange(RATE_HZ // 2) / RATE_HZ
    whistles = [np.sin(2 * np.pi * hz * at) * np.hanning(len(at)) for hz in (2000 + 500 * bird, 6000 - 400 * bird)]
    waveform = np.concatenate([np.zeros(6000), *whistles[:: (-1) ** number], np.zeros(6000)])
    hum = 0.01 * np.sin(2 * np.pi * (7000 + 300 * bird) * np.arange(len(waveform)) / RATE_HZ)
    return (0.3 * waveform + hum + 0.003 * rng.standard_normal(len(waveform))).astype(np.float32)


def write(folder, n_sessions):
    rng, rows = np.random.default_rng(0), []
    for bird in range(5):
        for number in range(8):
            path = f"bird{bird}_{number}.wav"
            soundfile.write(folder / path, song(bird, number, rng), RATE_HZ, subtype="FLOAT")
            rows.append((f"b{bird}n{number}", "Wren", f"bird{bird}", f"g{bird}{number % n_sessions}", path))
    pd.DataFrame(rows, columns=["recording_id", "species", "individual_id", "group_id", "audio_path"]).to_csv(folder / "individuals.csv", index=False)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(embedders, "load", lambda *_, **__: Embedder())
    monkeypatch.setattr(real_voices, "EMBEDDERS", ("bands",))
    monkeypatch.setattr(real_voices, "_N_PARTITIONS", 1)


def values(folder, cache):
    rows = real_voices.rows(folder, cache, rng=np.random.default_rng(0))
    return {(row.job, row.method, row.figure): row.value for row in rows}


@pytest.mark.slow
def test_birds_of_one_session_are_tested_over_other_backgrounds(tmp_path, quick):
    write(tmp_path, n_sessions=1)
    found = values(tmp_path, tmp_path / "cache")
    job = "5 birds (Wren): other renditions, another bird's background"
    assert found[job, "suite (bands)", "accuracy"] == 1.0 and found[job, "songs alone (bands)", "accuracy"] == 1.0
    assert found["another bird's background", "suite (bands)", "taken for the bird"] == 1.0
    assert found["known or new bird: other renditions of one session", "suite (bands)", "AUROC"] > 0.9
    assert not any("another day" in job for job, _, _ in found)
    assert values(tmp_path, tmp_path / "cache") == found  # from the cache


def test_sessions_and_days_have_rows_of_their_own(tmp_path, quick):
    """Without a date in the names, each session is a day."""
    write(tmp_path, n_sessions=2)
    found = values(tmp_path, tmp_path / "cache")
    assert found["5 birds (Wren): another day", "suite (bands)", "accuracy"] == found["5 birds (Wren): other sessions and days together", "suite (bands)", "accuracy"] == 1.0
    assert "plain reference, nearest mean (bands)" in {method for _, method, _ in found}
    assert not any("renditions" in job for job, _, _ in found)


def test_a_table_without_named_birds_has_no_rows(tmp_path, quick):
    write(tmp_path, n_sessions=1)
    table = pd.read_csv(tmp_path / "individuals.csv")
    table.assign(individual_id="").to_csv(tmp_path / "individuals.csv", index=False)
    assert real_voices.rows(tmp_path, tmp_path / "cache", rng=np.random.default_rng(0)) == []
