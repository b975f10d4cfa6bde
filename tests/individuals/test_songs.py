import numpy as np
import pytest

from birdlib.individuals import songs

RATE_HZ = 24_000


def song(*sounds_hz, seed=0, noise=0.003, before_s=0.3, level=0.3):
    """Whistles of a quarter of a second, each from one frequency to another, between stretches of noise."""
    at = np.arange(RATE_HZ // 4) / RATE_HZ
    whistles = [np.sin(2 * np.pi * (first * at + (last - first) * at**2 * 2)) * np.hanning(len(at)) for first, last in sounds_hz]
    silence = np.zeros(round(before_s * RATE_HZ))
    waveform = level * np.concatenate([silence, *whistles, silence])
    return (waveform + noise * np.random.default_rng(seed).standard_normal(len(waveform))).astype(np.float32)


TRILL = [(2000, 3000), (6000, 4000), (3000, 3000), (7000, 8000)]
OTHER = [(5000, 6500), (2500, 2200), (8500, 5000), (4000, 4500)]


def similarity(query, reference):
    contours = [songs.contour(waveform, RATE_HZ) for waveform in (query, reference)]
    return float(songs.similarities(contours[:1], contours[1:])[0, 0])


def test_another_rendition_is_similar_and_another_song_is_not():
    assert similarity(song(*TRILL), song(*TRILL, seed=1, before_s=0.7)) > 0.85
    assert similarity(song(*TRILL), song(*OTHER, seed=1)) < 0.4


def test_loudness_constant_noise_and_the_microphone_hardly_matter():
    from scipy.signal import lfilter

    reference = song(*TRILL)
    muffled = lfilter([0.4, 0.3], [1.0], reference).astype(np.float32)  # 20 dB from the lowest to the highest band
    for changed in (0.05 * reference, song(*TRILL, seed=2, noise=0.02), muffled):
        assert similarity(changed, reference) > 0.75


def test_a_passage_is_in_the_song_but_the_song_is_not_in_the_passage():
    passage = song(*TRILL[:2], seed=1)
    assert similarity(passage, song(*TRILL)) > 0.8
    assert similarity(song(*TRILL), passage) < similarity(passage, song(*TRILL)) - 0.1


def test_renditions_that_append_syllables_or_change_their_order_remain_similar():
    reordered = song(*TRILL[2:], *TRILL[:2], seed=1)
    assert similarity(song(*TRILL), reordered) > similarity(song(*TRILL), song(*OTHER, seed=1)) + 0.3


def test_similarities_are_in_0_to_1_and_0_without_song():
    contours = [songs.contour(waveform, RATE_HZ) for waveform in (song(*TRILL), np.zeros(RATE_HZ, np.float32), np.ones(10, np.float32))]
    found = songs.similarities(contours, contours)
    assert found.shape == (3, 3) and (found >= 0).all() and (found <= 1.0 + 1e-5).all()
    assert found[0, 0] == pytest.approx(1.0, abs=1e-3) and (found[1] == 0).all()
    assert songs.similarities([], contours).shape == (0, 3)


def test_bands_above_half_the_sample_rate_are_empty():
    contour = songs.contour(song(*TRILL)[::2], RATE_HZ // 2)
    assert contour.shape[0] == songs.N_BANDS and contour[:-8].any() and not contour[-8:].any()  # 6 kHz is in band 23 of 0 to 31


def test_an_isolated_song_has_neither_background_nor_edges_and_a_fixed_loudness():
    at = np.arange(len(song(*TRILL))) / RATE_HZ
    humming = song(*TRILL) + (0.2 * np.sin(2 * np.pi * 300 * at)).astype(np.float32)  # traffic below the band
    for waveform in (song(*TRILL), song(*TRILL, before_s=2.0), 0.1 * song(*TRILL), humming):
        isolated = songs.isolate(waveform, RATE_HZ)
        assert len(isolated) == pytest.approx(RATE_HZ, abs=0.25 * RATE_HZ)  # four quarters of a second
        assert np.sqrt(np.mean(isolated**2)) == pytest.approx(0.1, rel=0.05)
        spectrum = np.abs(np.fft.rfft(isolated))
        hz = np.fft.rfftfreq(len(isolated), 1 / RATE_HZ)
        assert spectrum[hz < 1000].max() < 0.02 * spectrum.max()


def test_silence_has_no_song():
    for n in (1, 100, RATE_HZ):
        assert not songs.isolate(np.zeros(n, np.float32), RATE_HZ).any()


def test_of_a_long_recording_the_loudest_20_seconds_are_used():
    waveform = np.concatenate([np.zeros(RATE_HZ * 30, np.float32), song(*TRILL), np.zeros(RATE_HZ * 30, np.float32)])
    contour = songs.contour(waveform, RATE_HZ)
    assert contour.shape[1] == 1250 and contour.any()
    assert songs.loudest(np.array([1.0, 5.0, 5.0, 1.0]), 2) == slice(1, 3)
