import numpy as np
import pytest
from sounds import RATE_HZ, hiss, song

from birdlib.audio import activity
from birdlib.audio import io as audio_io
from birdlib.data import mixtures


@pytest.fixture
def source(tmp_path):
    """Six seconds of hiss with songs of 0.75 s at 1 and at 4 s."""
    waveform = hiss(6.0)
    for start_s in (1.0, 4.0):
        waveform[round(start_s * RATE_HZ) :][: len(song(0.75))] += song(0.75)
    audio_io.write(tmp_path / "a.wav", waveform, RATE_HZ)
    return mixtures.analyse(mixtures.Source(str(tmp_path / "a.wav"), "a", "wren", 0.0, 6.0))


def test_a_bout_begins_with_a_song_and_lies_in_the_soundscape(source):
    starts = set()
    for seed in range(20):
        item = mixtures.bout(source, 10.0, 6.0, np.random.default_rng(seed))
        starts.add(round(item.from_s))
        assert all(0 <= start_s < end_s <= 10.0 for start_s, end_s in item.spans)
    assert starts == {1, 4}


def test_a_bout_ends_with_a_song_and_not_between_two(source):
    """In a soundscape of two seconds, the first song alone fits, without the pause of two seconds behind it."""
    lengths = {round(item.to_s - item.from_s, 1) for item in (mixtures.bout(source, 2.0, 0.0, np.random.default_rng(seed)) for seed in range(9))}
    assert lengths == {0.8}


@pytest.mark.parametrize("snr_db", [0.0, 12.0])
def test_songs_have_the_level_that_was_asked_for(source, snr_db):
    """Powers of independent sounds add up: song / background = mixture / background - 1. The trill pauses for half of the time: 3 dB less than its notes."""
    background = mixtures.at_level(hiss(10.0, seed=3), -40.0, np.random.default_rng(1))
    item = mixtures.Bout(source, 0.9, 4.9, 3.0, snr_db)
    mixed, bins = mixtures.mix(background, [item]), source.active.bins
    (first_s, first_end_s), (second_s, second_end_s) = item.spans
    stretch = lambda waveform, start_s, end_s: waveform[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]  # noqa: E731
    for start_s, end_s in item.spans:
        ratio = activity.band_power(stretch(mixed, start_s, end_s), RATE_HZ, bins) / activity.band_power(background, RATE_HZ, bins) - 1
        assert 10 * np.log10(ratio) == pytest.approx(snr_db - 3.0, abs=1.5)
    np.testing.assert_array_equal(stretch(mixed, first_end_s + 0.3, second_s - 0.3), stretch(background, first_end_s + 0.3, second_s - 0.3))
    np.testing.assert_array_equal(mixed[: round((first_s - 0.3) * RATE_HZ)], background[: round((first_s - 0.3) * RATE_HZ)])
    assert second_end_s < 10


def test_a_loud_bird_does_not_clip(source):
    mixed = mixtures.mix(mixtures.at_level(hiss(5.0), -10.0, np.random.default_rng(0)), [mixtures.Bout(source, 0.9, 1.8, 0.0, 60.0)])
    assert 0.9 < np.abs(mixed).max() < 1.0


def test_windows_have_the_species_that_sing_in_them(source):
    """Songs of 0.75 s from 4.8 and 7.9 s on: the first is in the window before 5 s for 0.2 s only."""
    item = mixtures.Bout(source, source.active.spans[0][0], 4.9, 4.8, 6.0)
    table = mixtures.events("s", [item])
    assert table["kind"].tolist() == ["bird", "bird"] and np.allclose(table["start_s"].diff().iloc[1], 3.0, atol=0.05)
    assert mixtures.window_species(table, [(0.0, 5.0), (5.0, 10.0), (10.0, 15.0)]) == [[], ["wren"], []]
    short = table.assign(end_s=table["start_s"] + 0.3)  # half of it is enough
    assert mixtures.window_species(short, [(0.0, 5.0), (5.0, 10.0)]) == [["wren"], ["wren"]]
    assert mixtures.window_species(table.assign(kind="speech"), [(5.0, 10.0)]) == [[]]


def test_a_short_background_is_repeated_without_a_jump():
    """A tone of whole periods, cut anywhere: a hard joint would jump by its amplitude."""
    tone = np.sin(2 * np.pi * 100 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)[: RATE_HZ - 130]
    looped = mixtures.loop(tone, 5 * RATE_HZ)
    assert len(looped) == 5 * RATE_HZ and np.abs(np.diff(looped)).max() < 0.05
    np.testing.assert_array_equal(mixtures.loop(tone, 100, first=7), tone[7:107])


def test_pink_noise_falls_by_three_decibels_an_octave():
    noise = mixtures.pink_noise(20 * RATE_HZ, np.random.default_rng(0))
    power = np.square(np.abs(np.fft.rfft(noise)))
    octaves = [power[low * 20 : 2 * low * 20].mean() for low in (500, 1000, 2000, 4000)]
    assert np.diff(10 * np.log10(octaves)) == pytest.approx([-3.0] * 3, abs=0.3)
    assert mixtures.at_level(noise, -40.0, np.random.default_rng(1)).std() == pytest.approx(0.01, rel=0.02)
