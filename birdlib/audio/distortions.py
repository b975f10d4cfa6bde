"""Distortions of a song by room, recorder and chance: one function for each, with explicit numbers.

A waveform is mono float32 in [-1, 1], shape (samples,). The result has the same length and lies in [-1, 1]: if it would
overshoot, all of it is turned down, not clipped. Silence stays silence. Within the ranges of ``augment`` none of them
changes the species that one would name.
"""

import numpy as np

_N_FFT = 1024  # of the phase vocoder: 32 ms at 32 kHz, which keeps the notes of a trill apart
_LEVEL_WINDOW_S = 0.01  # of the compressor's level


def reverb(waveform, sample_rate_hz, *, decay_s, wet, rng):
    """Add the reverberation of a room: white noise that decays exponentially, like the late response of halls.

    "About This Reverberation Business" (1979). The loudness (root mean square) is kept.

    Args:
        decay_s: time in which the echo of a click falls by 60 dB.
        wet: share of the echo in [0, 1]; the rest is direct sound, which keeps its time.
        rng: draws the room.
    """
    from scipy.signal import oaconvolve

    n_echo = max(1, round(decay_s * sample_rate_hz))
    echo = rng.standard_normal(n_echo) * 10.0 ** (-3.0 * np.arange(n_echo) / n_echo)
    echo /= np.linalg.norm(echo)  # the echo of white noise is as loud as the noise
    mixed = (1.0 - wet) * waveform.astype(np.float64)
    mixed[1:] += wet * oaconvolve(waveform, echo)[: len(waveform) - 1]
    return _limited(mixed * (rms(waveform) / max(rms(mixed), 1e-12)))


def compress(waveform, sample_rate_hz, *, ratio, below_db=20.0):
    """Compress the dynamic range, as recorders with automatic gain do; the loudest moment keeps its level.

    Differences of level above the threshold shrink by ``ratio``; everything below it is raised by the same gain.
    "Digital Dynamic Range Compressor Design: A Tutorial and Analysis" (2012), hard knee, with look-ahead.

    Args:
        ratio: 1 changes nothing.
        below_db: distance of the threshold from the loudest 10 ms.
    """
    from scipy.ndimage import uniform_filter1d

    window = max(1, round(_LEVEL_WINDOW_S * sample_rate_hz))
    power = uniform_filter1d(np.square(waveform, dtype=np.float64), window, mode="constant")
    level_db = 10.0 * np.log10(np.maximum(power, 1e-12))  # (samples,)
    over_db = np.maximum(level_db - (level_db.max() - below_db), 0.0)
    gain_db = (below_db - over_db) * (1.0 - 1.0 / ratio)
    return _limited(waveform * 10.0 ** (gain_db / 20.0))


def shift(waveform, n_samples):
    """Move the sound later (earlier, if negative), circularly, so that nothing is lost."""
    return np.roll(waveform, n_samples)


def clip(waveform, share_of_peak):
    """Overdrive the microphone: what is louder than ``share_of_peak`` of the loudest sample is clipped to that level."""
    ceiling = share_of_peak * np.abs(waveform).max(initial=0.0)
    return np.clip(waveform, -ceiling, ceiling)


def pitch(waveform, sample_rate_hz, semitones):
    """Multiply every frequency by 2 ** (semitones / 12); the tempo stays."""
    import librosa

    shifted = librosa.effects.pitch_shift(_padded(waveform), sr=sample_rate_hz, n_steps=semitones, n_fft=_N_FFT)
    return _limited(shifted[: len(waveform)])


def volume(waveform, gain):
    """Multiply by ``gain``, at most up to full scale."""
    return _limited(waveform * gain)


def stretch(waveform, rate):
    """Change the tempo by the factor ``rate`` at the same pitch; a shorter result is repeated, a longer one is cut."""
    import librosa

    stretched = librosa.effects.time_stretch(_padded(waveform), rate=rate, n_fft=_N_FFT)
    return _limited(np.resize(stretched[: max(1, round(len(waveform) / rate))], len(waveform)))


def add(waveform, noise, snr_db):
    """Add another sound, (any samples,), repeated or cut to the length of the waveform.

    Args:
        snr_db: level of the waveform above the noise, by root mean squares of the whole. If one of them is silent,
            nothing is added.
    """
    noise = np.resize(noise, len(waveform))
    gain = rms(waveform) / max(rms(noise), 1e-12) * 10.0 ** (-snr_db / 20.0) if noise.any() else 0.0
    return _limited(waveform + gain * noise)


def rms(waveform):
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))


def _limited(waveform):
    """float32 within [-1, 1], turned down as a whole where it overshoots."""
    return (waveform / max(1.0, float(np.abs(waveform).max(initial=0.0)))).astype(np.float32)


def _padded(waveform):
    return np.pad(waveform, (0, max(0, _N_FFT - len(waveform))))
