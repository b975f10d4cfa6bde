import warnings

import numpy as np
import pandas as pd
import pytest
from sounds import RATE_HZ, hiss

from birdlib.audio import backgrounds
from birdlib.audio import io as audio_io


def ramp(duration_s, rate_hz=RATE_HZ):
    """A waveform whose value at second t is t / 100."""
    return (np.arange(round(duration_s * rate_hz)) / rate_hz / 100).astype(np.float32)


def drawn_s(sounds, n_s=1.0, n=25, seed=0):
    """(first, last) second of crops of ``ramp``."""
    rng = np.random.default_rng(seed)
    crops = [sounds.draw(round(n_s * sounds.sample_rate_hz), rng=rng) for _ in range(n)]
    assert all(len(crop) == round(n_s * sounds.sample_rate_hz) for crop in crops)
    return np.array([(crop[0], crop[-1]) for crop in crops]) * 100


def test_parts_are_drawn_from_the_whole_soundscape(tmp_path):
    audio_io.write(tmp_path / "night.flac", ramp(20), RATE_HZ)
    spans = drawn_s(backgrounds.Sounds(backgrounds.from_files([tmp_path / "night.flac"]), RATE_HZ))
    assert np.allclose(spans[:, 1] - spans[:, 0], 1.0, atol=0.01)
    assert spans.min() < 3 and spans.max() > 17


def test_parts_are_drawn_from_the_given_stretch(tmp_path):
    audio_io.write(tmp_path / "night.flac", ramp(20), RATE_HZ)
    table = pd.DataFrame({"path": [tmp_path / "night.flac"], "start_s": [5.0], "end_s": [8.0]})
    spans = drawn_s(backgrounds.Sounds(table, RATE_HZ))
    assert spans.min() >= 5 - 0.01 and spans.max() <= 8 + 0.01 and np.ptp(spans[:, 0]) > 1


def test_a_short_sound_is_repeated(tmp_path):
    audio_io.write(tmp_path / "hm.flac", ramp(0.5), RATE_HZ)
    sounds = backgrounds.Sounds(backgrounds.from_files([tmp_path / "hm.flac"]), RATE_HZ)
    part = sounds.draw(2 * RATE_HZ, rng=np.random.default_rng(0))
    assert np.array_equal(part, np.tile(part[: RATE_HZ // 2], 4)) and part.any()


def test_parts_are_resampled(tmp_path):
    """Half of 16,000 samples are half a second; the ends of a crop ring a little from resampling."""
    audio_io.write(tmp_path / "night.wav", ramp(10, 8000), 8000)
    sounds = backgrounds.Sounds(backgrounds.from_files([tmp_path / "night.wav"]), 16000)
    for seed in range(5):
        crop = sounds.draw(16000, rng=np.random.default_rng(seed))
        assert 100 * (crop[12000] - crop[4000]) == pytest.approx(0.5, abs=0.02)


def test_drawing_is_reproducible_by_seed(tmp_path):
    for name in "abc":
        audio_io.write(tmp_path / f"{name}.flac", hiss(3, level=0.1, seed=ord(name)), RATE_HZ)
    sounds = backgrounds.Sounds(backgrounds.from_files(sorted(tmp_path.iterdir())), RATE_HZ)
    once, again, other = (sounds.draw(100, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(once, again) and not np.array_equal(once, other)


def test_an_unreadable_file_is_reported_once_and_left_out(tmp_path):
    (tmp_path / "broken.ogg").write_bytes(b"OggS not really")
    audio_io.write(tmp_path / "night.flac", ramp(5), RATE_HZ)
    sounds = backgrounds.Sounds(backgrounds.from_files([tmp_path / "broken.ogg", tmp_path / "night.flac"]), RATE_HZ)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        drawn_s(sounds, n=30)
    assert [str(warning.message) for warning in caught if "broken.ogg" in str(warning.message)] == [str(caught[0].message)]
    assert [path for path, _ in sounds.skipped] == [str(tmp_path / "broken.ogg")]


@pytest.mark.filterwarnings("ignore:background left out")
def test_the_error_for_no_readable_file_names_one_and_the_remedy(tmp_path):
    sounds = backgrounds.Sounds(backgrounds.from_files([tmp_path / "gone.flac"]), RATE_HZ)
    with pytest.raises(backgrounds.BackgroundError, match="gone.flac: there is no such file: .*; leave background out"):
        sounds.draw(100, rng=np.random.default_rng(0))
    with pytest.raises(backgrounds.BackgroundError, match="is empty"):
        backgrounds.Sounds(backgrounds.from_files([]), RATE_HZ)


@pytest.mark.filterwarnings("ignore:background left out")
def test_a_stretch_beyond_the_end_of_its_file_is_left_out(tmp_path):
    audio_io.write(tmp_path / "night.flac", ramp(5), RATE_HZ)
    table = pd.DataFrame({"path": [tmp_path / "night.flac"], "start_s": [7.0], "end_s": [9.0]})
    with pytest.raises(backgrounds.BackgroundError, match="nothing starts at 7 s"):
        backgrounds.Sounds(table, RATE_HZ).draw(100, rng=np.random.default_rng(0))


def test_voices_are_located_in_the_source_file(tmp_path):
    """Its times count from where the part of the recording began that it cleaned."""
    rows = [("a", "a.ogg", np.nan), ("b", "b.ogg", 10.0), ("c", "", np.nan)]
    recordings = pd.DataFrame(rows, columns=["recording_id", "audio_path", "start_s"])
    rows = [("b", 1.0, 3.0), ("a", 2.0, 4.5), ("a", 5.0, 5.1), ("c", 0.0, 9.0), ("gone", 0.0, 9.0)]
    segments = pd.DataFrame(rows, columns=["recording_id", "start_s", "end_s"])
    table = backgrounds.from_speech(segments, recordings, tmp_path)
    assert table["path"].tolist() == [str(tmp_path / "b.ogg"), str(tmp_path / "a.ogg")]
    assert table[["start_s", "end_s"]].to_numpy().tolist() == [[11.0, 13.0], [2.0, 4.5]]


def test_excluded_and_too_short_stretches_are_left_out(tmp_path):
    """Of 10 s, 0 to 5 and 5.5 to 8 have labels: 8 to 10 are left, for half a second is too short. A file without labels is there as a whole."""
    for name in ("night", "dawn"):
        audio_io.write(tmp_path / f"{name}.flac", ramp(10), RATE_HZ)
    paths = [tmp_path / "night.flac", tmp_path / "dawn.flac"]
    labelled = pd.DataFrame({"path": [str(paths[0])] * 2, "start_s": [5.5, 0.0], "end_s": [8.0, 5.0]})
    table = backgrounds.from_files(paths, labelled)
    assert table["path"].tolist() == [str(path) for path in paths] and table["start_s"].tolist() == [8.0, 0.0]
    assert table["end_s"].iloc[0] == 10.0 and np.isnan(table["end_s"].iloc[1])
