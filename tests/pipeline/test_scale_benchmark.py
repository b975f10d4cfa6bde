"""The benchmarks of memory and scale: what they are made of, and their rows for little sound."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import __main__, runtime
from birdlib.data import manifest
from birdlib.pipeline import scale_benchmark


def test_the_long_recording_is_stereo_at_192_khz_and_small_on_disk(tmp_path):
    scale_benchmark.write_long(tmp_path / "long.flac", 0.5)
    info = soundfile.info(tmp_path / "long.flac")
    assert (info.samplerate, info.channels, info.duration) == (192_000, 2, 30.0)
    assert (tmp_path / "long.flac").stat().st_size < 0.5 * scale_benchmark._BYTES_PER_MINUTE
    quiet, loud = (soundfile.read(tmp_path / "long.flac", start=second * 192_000, frames=192_000)[0] for second in (2, 3))
    assert np.abs(quiet).max() < 1e-4 < 0.05 < np.abs(loud).max()


def test_an_archive_has_the_hours_of_its_recordings(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(scale=0.1, size=32_000), 32_000)
    table, root = manifest.load(scale_benchmark._write_archive(tmp_path, [tmp_path / "a.wav"], 9))
    infos = [soundfile.info(root / path) for path in table["audio_path"]]
    assert len({info.duration for info in infos}) == 9 and table["group_id"].nunique() == 3
    assert np.mean([info.duration for info in infos]) == pytest.approx(280 * 3600 / 28_564, abs=0.1)


def test_tiny_files_are_no_copies_of_each_other(tmp_path):
    table, root = manifest.load(scale_benchmark._write_tiny(tmp_path, 20))
    assert len({(root / path).read_bytes() for path in table["audio_path"]}) == 20


def test_a_disk_that_is_too_small_is_an_error_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(scale_benchmark.tempfile, "gettempdir", lambda: str(tmp_path))
    with pytest.raises(runtime.FullDiskError, match="set TMPDIR to a larger disk, or measure less"):
        next(scale_benchmark.long_recordings([1e9]))
    assert not list(tmp_path.iterdir())


def test_a_measurement_that_fails_says_why(tmp_path):
    with pytest.raises(runtime.BirdlibError, match="_clean failed: .*no/recording.wav"):
        scale_benchmark._watch(["_clean", "no/recording.wav", str(tmp_path)])


@pytest.mark.slow
def test_a_long_recording_needs_no_more_memory_and_its_patches_are_those_of_its_pieces(capsys):
    """Five minutes more would be 460 MB of samples."""
    assert __main__.main(["bench", "memory", "--minutes", "1", "6", "--rows"]) == 0
    table = _printed(capsys.readouterr().out)
    assert table["minutes"].tolist() == [1, 6] and (table[["clean_mb", "embed_mb"]].diff().iloc[1] < 120).all()
    assert (table["lowest_cosine"] > 0.999).all()


@pytest.mark.slow
def test_an_archive_is_measured_stage_by_stage(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scale_benchmark, "_STAGES", ("01",))
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(scale=0.1, size=32_000), 32_000)
    assert __main__.main(["bench", "scale", str(tmp_path / "a.wav"), "--recordings", "12"]) == 0
    [row] = _printed(capsys.readouterr().out).to_dict("records")
    assert row["stage"] == 1 and row["recordings"] == 12 and row["peak_mb"] > 100
    assert row["archive_hours"] == pytest.approx(row["cpu_s"] * 28_564 / 12 / 7200, rel=0.01)


def _printed(text):
    """The rows of ``bench`` below the title, numbers."""
    lines = [line.split() for line in text.splitlines() if line.startswith(" ")]
    return pd.DataFrame(lines[1:], columns=lines[0]).map(lambda value: float(value.replace(",", "")))
