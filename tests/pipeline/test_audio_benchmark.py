"""The benchmark of stages 02 and 03 beside the plain way of a notebook."""

import numpy as np
import pytest
import soundfile

from birdlib import __main__
from birdlib.audio import io as audio_io
from birdlib.pipeline import audio_benchmark


@pytest.mark.slow
def test_each_step_and_the_whole_are_compared_with_the_plain_way(tmp_path, capsys):
    """Every figure is there, but the plain way has no octave below. How fast a machine is, is no fact for a test."""
    pytest.importorskip("resampy")
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", np.random.default_rng(number).normal(scale=0.01, size=3 * 44_100), 44_100)
    assert __main__.main(["bench", "audio", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.rsplit(None, 3) for line in lines[2:-1] if "octave" not in line and "default" not in line]
    assert len(rows) == 7 and all(float(figure) > 0 for row in rows for figure in row[1:])
    assert lines[0] == "Multiples of real time" and lines[-1].startswith("2 files, 0.1 minutes. A second run on what is stored:")


def test_both_ways_clean_the_same_sound(tmp_path, monkeypatch):
    """Speech that Silero finds is cut out of what the plain way embeds."""
    plain = audio_benchmark._Plain.__new__(audio_benchmark._Plain)
    monkeypatch.setattr(plain, "speech", lambda waveform: [{"start": 16_000, "end": 32_000}], raising=False)
    monkeypatch.setattr(plain, "embed", lambda waveform: waveform, raising=False)
    audio_io.write(tmp_path / "a.wav", np.full(96_000, 0.25, np.float32), 32_000)
    assert len(plain.clean_and_embed(tmp_path / "a.wav", denoise=False)) == 2 * 16_000


def test_the_default_files_are_three_minutes_of_the_sample():
    assert 180 <= sum(audio_io.duration(path) for path in audio_benchmark.sample_files()) < 240
