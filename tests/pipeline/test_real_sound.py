"""Rows of species by sound, on tones made at test time and an embedder that measures their pitch."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib.models import embedders, zero_shot
from birdlib.pipeline import real_rows, real_sound
from birdlib.species import classifier_choice, train_heads

RATE = 16_000


class PitchEmbedder:
    """Two patches a recording: how much of its spectrum is in each of 16 bands."""

    name, key, sample_rate_hz, resampler, weights, dim = "birdnet", "pitch" * 8, RATE, "soxr_hq", {}, 16

    def embed(self, waveform):
        halves = np.split(waveform[: len(waveform) // 2 * 2], 2)
        bands = [np.array_split(np.abs(np.fft.rfft(half)), self.dim) for half in halves]
        return np.float32([[part.mean() for part in half] for half in bands]), np.float32([0.9, 0.5])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three species of tones in noise, each in six groups of two recordings."""
    rng, rows = np.random.default_rng(0), []
    for i in range(36):
        species, pitch_hz = [("jay", 1000), ("owl", 3000), ("tit", 6000)][i % 3]
        wave = 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(RATE // 4) / RATE) + 0.1 * rng.standard_normal(RATE // 4)
        soundfile.write(tmp_path / f"{i}.wav", wave.astype(np.float32), RATE)
        rows.append({"recording_id": f"r{i}", "species": species, "secondary_species": "", "group_id": f"g{i % 3}-{i // 6}", "audio_path": f"{i}.wav", "image_path": ""})
    rows.append(rows[0] | {"recording_id": "photo", "audio_path": "", "image_path": "x.jpg"})
    pd.DataFrame(rows).to_csv(tmp_path / "species24.csv", index=False)
    monkeypatch.setattr(embedders, "load", lambda name, folder, n_threads: PitchEmbedder())
    last = zero_shot.LastLayer(np.zeros((16, 3), np.float32), np.zeros(3, np.float32), pd.DataFrame({"species": ["owl", "jay", "tit"]}))
    monkeypatch.setattr(zero_shot, "LAST_LAYERS", {"birdnet": lambda weights_dir: last})
    monkeypatch.setattr(classifier_choice, "_network_scores", lambda inputs, rows, folds, rng: (np.full((1, len(rows), 3), 1 / 3, np.float32), [1]))
    return tmp_path


def rows_of(folder):
    options = train_heads.Options(window_patches=0, hidden="4", epochs=1)
    return real_sound.rows(folder, folder / "cache", rng=np.random.default_rng(0), names=("birdnet",), options=options)


def test_each_method_has_both_figures_and_the_suite_its_paired_difference(folder):
    rows = rows_of(folder)
    found = {(row.method, row.figure): row for row in rows}
    assert {row.job for row in rows} == {"3 species by sound, BirdNET"} and {row.n for row in rows} == {36}
    assert {method for method, _ in found} == {real_rows.PLAIN, real_rows.SUITE, "zero-shot", "suite - plain reference"}
    assert found[real_rows.SUITE, "accuracy"].value > 0.9 and found[real_rows.PLAIN, "macro ROC-AUC"].value > 0.99
    assert found["zero-shot", "macro ROC-AUC"].value == pytest.approx(0.5)  # its layer of zeros knows nothing
    assert found["suite - plain reference", "accuracy"].value == pytest.approx(
        found[real_rows.SUITE, "accuracy"].value - found[real_rows.PLAIN, "accuracy"].value
    )
    assert found[real_rows.SUITE, "accuracy"].note.startswith("chosen in 5 folds: on birdnet 5, ")
    assert all(row.low <= row.value <= row.high for row in rows)


def test_labels_of_a_fold_do_not_change_its_own_scores(folder, monkeypatch):
    """With species at random no method can know them: scores near chance, and none of the tested labels leaks."""
    table = pd.read_csv(folder / "species24.csv", keep_default_na=False)
    table["species"] = np.random.default_rng(1).permutation(table["species"])
    table.to_csv(folder / "species24.csv", index=False)
    found = {(row.method, row.figure): row.value for row in rows_of(folder)}
    assert found[real_rows.SUITE, "accuracy"] < 0.65 and found[real_rows.PLAIN, "accuracy"] < 0.65


def test_one_group_gives_no_rows(folder):
    table = pd.read_csv(folder / "species24.csv", keep_default_na=False).assign(group_id="one")
    table.to_csv(folder / "species24.csv", index=False)
    assert rows_of(folder) == []
