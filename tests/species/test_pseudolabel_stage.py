"""Stage 06 as a user runs it, on soundscapes of which some are bad. Slow: a minute or two."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import __main__, stages
from birdlib.data.synthetic import sample
from birdlib.models import pooling
from birdlib.species import pseudolabels, soundscape_windows

pytestmark = pytest.mark.slow
SPECIES = ["cobflu1", "grebuz1", "grywag1", "9304482"]
QUICK = ["-p", "epochs=2", "-p", "n_rounds=1", "-p", "n_networks=1", "-p", "teachers=yamnet", "-p", "rounds_patience=3"]


def make_data(folder):
    """Four species of the sample, the others being in the taxonomy alone; soundscapes of 10 and 61 s, and two that cannot be read."""
    taken = sample.ensure()
    shutil.copytree(taken, folder, ignore=shutil.ignore_patterns("images", "videos", "train_soundscapes", "test_soundscapes"))
    train = pd.read_csv(taken / "train.csv", dtype=str, keep_default_na=False)
    train[train["primary_label"].isin(SPECIES)].to_csv(folder / "train.csv", index=False)
    (folder / "train_soundscapes").mkdir()
    whole = sorted((taken / "train_soundscapes").iterdir())
    waveform, rate_hz = soundfile.read(whole[0])
    soundfile.write(folder / "train_soundscapes" / "short.flac", waveform[: 10 * rate_hz], rate_hz)
    soundfile.write(folder / "train_soundscapes" / "long.flac", np.resize(waveform, 61 * rate_hz), rate_hz)
    (folder / "train_soundscapes" / "empty.ogg").write_bytes(b"")
    (folder / "train_soundscapes" / "page.ogg").write_text("<html>not found</html>")
    lines = ["filename,start,end,primary_label", "short.flac,00:00:00,00:00:05,grywag1;unknwn1", "short.flac,00:00:05,00:00:10,"]
    (folder / "train_soundscapes_labels.csv").write_text("\n".join(lines))


def run(data, outputs, *options):
    common = ["run", "--data", str(data), "--outputs", str(outputs), *QUICK, *options]
    for number in ("01", "02", "03", "06"):
        assert __main__.main([*common, "--only", number]) == 0
    return stages.receipt(outputs, "06_pseudolabel")["results"], outputs / "06_pseudolabel"


def test_soundscapes_of_any_length_broken_files_annotations_and_a_detector(tmp_path):
    make_data(tmp_path / "data")
    quick = ["-p", "n_detectors=1", "-p", "detector_steps=2", "-p", "detector_epochs=1"]
    results, folder = run(tmp_path / "data", tmp_path / "out", *quick)
    skipped = pd.read_parquet(folder / "skipped.parquet")
    assert set(skipped["path"]) == {"empty.ogg", "page.ogg"} and results["soundscapes"] == 2 and results["windows"] == 15
    labels, classes = pd.read_parquet(folder / "labels.parquet"), sorted(SPECIES)
    assert list(labels.columns) == pseudolabels.COLUMNS
    annotated = labels[labels["kind"] == "human"].set_index(["row_id", "label"])["target"]
    assert annotated["short_5"].to_dict() == {label: float(label == "grywag1") for label in classes} and not annotated["short_10"].any()
    unmatched = pd.read_csv(folder / "unmatched.csv", dtype=str)["label"]
    assert "detectors" in results["teachers"] and len(unmatched) == 8 and set(unmatched).isdisjoint(classes)
    windows = soundscape_windows.read(tmp_path / "out", classes)  # as 07 reads them
    slices = pooling.recording_slices(windows.patches)
    assert slices["recording_id"].tolist() == pd.read_parquet(folder / "windows.parquet")["row_id"].tolist()
    assert {"short_5", "short_10"} <= set(windows.table["row_id"]) and windows.targets.shape[1] == 4


def test_without_readable_soundscapes_recordings_alone_are_used(tmp_path):
    make_data(tmp_path / "data")
    for path in (tmp_path / "data" / "train_soundscapes").glob("*.flac"):
        path.unlink()
    results, folder = run(tmp_path / "data", tmp_path / "out")
    assert results["windows"] == 0 and results["best round"] == 0 and pd.read_parquet(folder / "labels.parquet").empty
    assert soundscape_windows.read(tmp_path / "out", sorted(SPECIES)) is None
    assert np.load(folder / "embeddings.npy").shape[0] == 0
