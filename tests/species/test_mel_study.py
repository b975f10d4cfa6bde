"""What each part of the recipe birdclef-2026 adds: rows that follow one another, without their trainings."""

import numpy as np
import pytest
import tone_recordings

from birdlib.species import classifiers, experiments, mel_study, mel_training


@pytest.fixture
def outputs(tmp_path):
    outputs = tone_recordings.make(tmp_path)
    truth = outputs / "recordings" / "truth"
    truth.mkdir()
    (truth / "soundscape_labels.csv").write_text("row_id,birds\nhidden_5,low\n")
    return outputs


def test_each_row_adds_a_part_and_is_compared_with_the_one_before(outputs, monkeypatch):
    """Scores get worse row by row; the soundscape of 4 s is one window, in which no species is both present and absent."""
    trained = []

    def run(config, data, folder, inputs, **options):
        folder.mkdir()
        trained.append((config, options))
        noise = np.random.default_rng(0).normal(size=data.truth.shape)
        np.save(folder / "scores.npy", data.truth + len(trained) * noise)
        return {"training_s": 1.0, "note": ""}

    monkeypatch.setattr(experiments, "run", run)
    monkeypatch.setattr(classifiers, "load", lambda _: (None, None, {"sample_rate_hz": 32_000, "window_s": 5.0}))
    monkeypatch.setattr(mel_training, "predict", lambda model, windows, n_rows: np.zeros((n_rows, 2), np.float32))
    table = mel_study.run(outputs, epochs=3, steps=2)
    assert table["name"].tolist() == list(mel_study.PARTS)
    assert table["against"].tolist()[:2] == ["", "mel CNN"]
    assert table["against"].tolist()[-2:] == ["+ distillation", "+ SWA instead of EMA"]
    gains = table["difference"].map(lambda figure: figure[0])
    assert np.isnan(gains[0]) and (gains[1:] <= 0).all() and gains.min() < 0 and np.isnan(table["soundscape_auc"].iloc[0][0])
    first, last = trained[0], trained[-1]
    assert first == (first[0] | {"mixup": False}, {"mel_epochs": 3, "mel_steps": 2, "seed": 0})
    assert last[0]["mixup"] and last[1] | {"frame_share": 0.5, "distillation": 0.1, "averaging": "swa", "self_distillation": 1} == last[1]
    assert list(mel_study.as_text(table)["macro_auc"].str.len() > 15) == [True] * len(table)
