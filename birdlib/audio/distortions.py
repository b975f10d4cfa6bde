"""What room, recorder and chance do to a song: one function a distortion, each with explicit numbers.

A waveform is mono float32 in [-1, 1], shape (samples,). Every function gives as many samples as it takes, in [-1, 1]: what would
overshoot is turned down, not cut. Silence stays silence. A bird's name stays right under each of them within the ranges of ``augment``.
"""

import numpy as np

_N_FFT = 1024  # of the phase vocoder: 32 ms at 32 kHz, which keeps the notes of a trill apart
_LEVEL_WINDOW_S = 0.01  # over which a compressor takes the level


def reverb(waveform, sample_rate_hz, *, decay_s, wet, rng):
    """Add echoes of a room: white noise that decays exponentially, as the late response of halls does.

    "About This Reverberation Business" (1979).

    Args:
        decay_s: after which the echo of a click is 60 dB weaker than at first.
        wet: share of the echo in [0, 1]; the rest is direct sound, which stays where it was.
        rng: draws the room.

    Returns:
        (samples,) float32, as loud (root mean square) as before.
    """
    from scipy.signal import oaconvolve

    n_echo = max(1, round(decay_s * sample_rate_hz))
    echo = rng.standard_normal(n_echo) * 10.0 ** (-3.0 * np.arange(n_echo) / n_echo)
    echo /= np.linalg.norm(echo)  # so that hiss echoes as loud as it is
    heard = (1.0 - wet) * waveform.astype(np.float64)
    heard[1:] += wet * oaconvolve(waveform, echo)[: len(waveform) - 1]
    return _fitting(heard * (rms(waveform) / max(rms(heard), 1e-12)))


def compress(waveform, sample_rate_hz, *, ratio, below_db=20.0):
    """Even out loud and quiet, as recorders with automatic gain do; the loudest moment stays as loud.

    Above the threshold, levels come ``ratio`` times as near to one another; what is below it is raised as a whole.
    "Digital Dynamic Range Compressor Design: A Tutorial and Analysis" (2012), hard knee, with look-ahead.

    Args:
        ratio: 1 changes nothing.
        below_db: so far the threshold lies below the loudest 10 ms.
    """
    from scipy.ndimage import uniform_filter1d

    window = max(1, round(_LEVEL_WINDOW_S * sample_rate_hz))
    power = uniform_filter1d(np.square(waveform, dtype=np.float64), window, mode="constant")
    level_db = 10.0 * np.log10(np.maximum(power, 1e-12))  # (samples,)
    over_db = np.maximum(level_db - (level_db.max() - below_db), 0.0)
    gain_db = (below_db - over_db) * (1.0 - 1.0 / ratio)
    return _fitting(waveform * 10.0 ** (gain_db / 20.0))


def shift(waveform, n_samples):
    """Move the sound later (earlier, if negative); what leaves at one end comes in at the other, so nothing is lost."""
    return np.roll(waveform, n_samples)


def clip(waveform, share):
    """Overdrive the microphone: the loudest ``share`` of the samples, digital silence apart, is cut to one level."""
    loudness = np.abs(waveform[waveform != 0])
    if not len(loudness):
        return waveform
    ceiling = np.quantile(loudness, 1.0 - share)
    return np.clip(waveform, -ceiling, ceiling)


def pitch(waveform, sample_rate_hz, semitones):
    """Raise (lower, if negative) every frequency by the factor 2 ** (semitones / 12); the tempo stays."""
    import librosa

    padded = _long_enough(waveform)
    moved = librosa.effects.pitch_shift(padded, sr=sample_rate_hz, n_steps=semitones, n_fft=_N_FFT)
    return _fitting(moved[: len(waveform)])


def volume(waveform, gain):
    """Play it ``gain`` times as loud, or as loud as full scale allows."""
    return _fitting(waveform * gain)


def stretch(waveform, rate):
    """Sing ``rate`` times as fast at the same pitch; a song that gets shorter begins anew, one that gets longer is cut."""
    import librosa

    stretched = librosa.effects.time_stretch(_long_enough(waveform), rate=rate, n_fft=_N_FFT)
    return _fitting(np.resize(stretched[: max(1, round(len(waveform) / rate))], len(waveform)))


def add(waveform, noise, snr_db):
    """Lay another sound below a song.

    Args:
        noise: (any samples,); repeated or cut to the length of the waveform.
        snr_db: so much louder is the waveform, by root mean squares of the whole.

    Returns:
        (samples,) float32; the waveform itself, if one of the two is silent.
    """
    noise = np.resize(noise, len(waveform))
    gain = rms(waveform) / max(rms(noise), 1e-12) * 10.0 ** (-snr_db / 20.0) if noise.any() else 0.0
    return _fitting(waveform + gain * noise)


def rms(waveform):
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))


def _fitting(waveform):
    """float32 within [-1, 1], turned down as a whole where it overshoots."""
    return (waveform / max(1.0, float(np.abs(waveform).max(initial=0.0)))).astype(np.float32)


def _long_enough(waveform):
    return np.pad(waveform, (0, max(0, _N_FFT - len(waveform))))
