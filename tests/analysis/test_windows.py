import numpy as np
import pytest

from birdlib.analysis import windows
from birdlib.audio import io as audio_io
from birdlib.data import birdclef

BIRDNET = windows.Grid(3.0, 3.0, 1.5)
OWN = windows.Grid(5.0, 5.0)


def recording(folder, duration_s, rate_hz=8000, name="a.wav"):
    path = folder / name
    audio_io.write(path, (0.1 * np.random.default_rng(0).standard_normal(round(duration_s * rate_hz))).astype(np.float32), rate_hz)
    return path


@pytest.mark.parametrize(("duration_s", "n"), [(0, 0), (1.49, 0), (1.5, 1), (3.0, 1), (4.49, 1), (4.5, 2), (60.0, 20)])
def test_birdnet_leaves_out_a_last_window_that_is_less_than_half_filled(duration_s, n):
    assert BIRDNET.count(duration_s) == n


@pytest.mark.parametrize(("overlap_s", "n"), [(0.0, 3), (1.5, 6), (2.0, 9), (2.7, 29)])
def test_overlapping_windows_of_birdnet_begin_as_long_as_half_a_window_is_left(overlap_s, n):
    """10 s: windows begin at 0, step, ... up to 8.5 s; so do the chunks of BirdNET-Analyzer, by its loop over samples."""
    step_s = 3.0 - overlap_s
    assert windows.Grid(3.0, step_s, 1.5).count(10.0) == n == len([start for start in np.arange(0, 10.0, step_s) if 10.0 - start >= 1.5 - 1e-9])


@pytest.mark.parametrize("duration_s", [0.0, 0.3, 5.0, 5.02, 5.2, 59.9, 60.0, 61.0])
def test_the_windows_of_an_own_model_are_those_of_a_soundscape(duration_s):
    assert OWN.spans(0, OWN.count(duration_s)) == birdclef.windows(duration_s, 5.0)


def test_a_last_overlapping_window_has_sound_that_the_one_before_lacks():
    """10 s in windows of 5 s every 2.5 s: the one at 5 s reaches the end, so none begins at 7.5 s."""
    assert windows.Grid(5.0, 2.5).spans(0, windows.Grid(5.0, 2.5).count(10.0)) == [(0, 5), (2.5, 7.5), (5, 10)]


@pytest.mark.parametrize("duration_s", [0.4, 30.0, 61.7, 200.3])
@pytest.mark.parametrize("grid", [BIRDNET, OWN, windows.Grid(3.0, 0.7, 1.5)])
def test_chunks_hold_every_window_once_with_its_context(tmp_path, duration_s, grid):
    path = recording(tmp_path, duration_s)
    whole, rate_hz = audio_io.read(path)
    reader = windows.Reader(path, grid, context_s=1.3)
    chunks = list(reader)
    assert [span for chunk in chunks for span in chunk.spans] == grid.spans(0, grid.count(duration_s))
    assert reader.duration_s == pytest.approx(duration_s, abs=1e-3)
    for chunk in chunks:
        first, last = max(0, chunk.spans[0][0] - 1.3), min(duration_s, chunk.spans[-1][1] + 1.3)
        begin, end = chunk.excerpt.start_s, chunk.excerpt.start_s + len(chunk.excerpt.waveform) / rate_hz
        assert begin <= first and last <= end + 1e-3
        np.testing.assert_array_equal(chunk.excerpt.waveform, whole[begin * rate_hz :][: len(chunk.excerpt.waveform)])
        assert not chunk.excerpt.is_last or begin * rate_hz + len(chunk.excerpt.waveform) == len(whole)
        assert chunk.excerpt.is_last or end >= chunk.spans[-1][1] + 1.3


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_the_parts_of_a_long_file_have_the_windows_and_the_sound_of_the_whole(tmp_path, monkeypatch, name):
    monkeypatch.setattr(windows, "_MIN_BYTES", 0)
    monkeypatch.setattr(windows, "_PART_S", 120.0)
    path = recording(tmp_path, 400.0, name=name)
    parts = windows.parts(path, BIRDNET)
    assert parts == [(0, 40), (40, 80), (80, None)]
    found = [chunk for first, end in parts for chunk in windows.Reader(path, BIRDNET, 1.0, first, end)]
    whole = list(windows.Reader(path, BIRDNET, 1.0))
    assert [chunk.spans for chunk in found] == [chunk.spans for chunk in whole]
    for part, expected in zip(found, whole, strict=True):
        n = min(len(part.excerpt.waveform), len(expected.excerpt.waveform))
        assert part.excerpt.start_s == expected.excerpt.start_s
        assert n / 8000 >= min(400.0, part.spans[-1][1] + 1.0) - part.excerpt.start_s
        np.testing.assert_allclose(part.excerpt.waveform[:n], expected.excerpt.waveform[:n], atol=1e-6)


def test_a_short_file_one_that_is_no_sound_and_one_that_is_missing_are_one_part(tmp_path, monkeypatch):
    assert windows.parts(recording(tmp_path, 3.0), BIRDNET) == [(0, None)]
    monkeypatch.setattr(windows, "_MIN_BYTES", 0)
    (tmp_path / "b.wav").write_bytes(b"no sound")
    assert windows.parts(tmp_path / "b.wav", BIRDNET) == windows.parts(tmp_path / "c.wav", BIRDNET) == [(0, None)]


def test_memory_does_not_grow_with_the_length(tmp_path):
    """A chunk of a minute at 8 kHz is 2 MB of float32; ten minutes together would be 19 MB."""
    import tracemalloc

    def peak(path):
        tracemalloc.start()
        for _ in windows.Reader(path, BIRDNET, 1.0):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    short, long = recording(tmp_path, 180.0, name="s.wav"), recording(tmp_path, 1200.0, name="l.wav")
    assert peak(long) < 1.2 * peak(short)


def test_samples_beyond_full_scale_are_kept_until_they_are_resampled(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "loud.wav", np.full(8000 * 4, 1.03, np.float32), 8000, subtype="FLOAT")
    [chunk] = windows.Reader(tmp_path / "loud.wav", BIRDNET, 1.0)
    assert chunk.excerpt.waveform.max() == np.float32(1.03)
