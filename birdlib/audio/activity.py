"""Where a recording is really loud: the stretches in which a bird stands out of the background, and its frequencies.

Most of a recording of one bird is background: a label by file, or by the place where it was mixed into another sound, is wrong for half of its seconds.
"""

import dataclasses

import numpy as np

_WINDOW_S, _HOP_S = 0.032, 0.008
_MIN_HZ = 250.0  # wind and handling are below it
_TIMES_MEDIAN = 3.0
_SIZE = (2, 4)  # frequency bins (two: a pure whistle has hardly more) and frames of erosion and dilation
_RANGE_DB = 20.0  # fainter sounds than this below the loud ones are of other, distant birds
_LOUD_QUANTILE = 0.95
_MAX_GAP_S, _MIN_SPAN_S = 0.5, 0.05
_MIN_BIN_SHARE = 0.1  # of the share that the commonest bin has in the active frames


@dataclasses.dataclass(frozen=True)
class Activity:
    """Where a sound is, and how strong.

    ``spans``: list of (start_s, end_s), ascending, apart by more than ``_MAX_GAP_S``. ``bins``: (frequencies,) bool, the frequency bins of the sound.
    ``power``: the mean power in these bins during the spans, comparable with ``band_power``.
    """

    spans: list
    bins: np.ndarray
    power: float


def find(waveform, sample_rate_hz):
    """The stretches in which a sound stands out of its own background.

    Points of the spectrogram above three times the median of their row and of their column, eroded and dilated, after "Audio Based Bird Species
    Identification using Deep Learning Techniques" (2016). Frames that are ``_RANGE_DB`` below the loud ones do not count.

    Args:
        waveform: (samples,).

    Returns:
        Activity, without spans where nothing stands out: silence, or a sound that never pauses.
    """
    from scipy import ndimage

    stft, power = _spectrogram(waveform, sample_rate_hz)  # (bins, frames)
    magnitude = np.sqrt(power)
    is_loud = magnitude > _TIMES_MEDIAN * np.median(magnitude, axis=1, keepdims=True)
    is_loud &= magnitude > _TIMES_MEDIAN * np.median(magnitude, axis=0, keepdims=True)
    is_loud[stft.f < _MIN_HZ] = False
    is_sound = ndimage.binary_dilation(ndimage.binary_erosion(is_loud, np.ones(_SIZE)), np.ones(_SIZE))
    energy = np.where(is_sound, power, 0.0).sum(axis=0)  # (frames,)
    is_active = energy > 0
    if not is_active.any():
        return Activity([], np.zeros(len(power), bool), 0.0)
    is_active &= energy >= np.quantile(energy[is_active], _LOUD_QUANTILE) * 10 ** (-_RANGE_DB / 10)
    spans = _spans(is_active, stft.t(max(len(waveform), stft.m_num)), len(waveform) / sample_rate_hz)
    shares = is_sound[:, is_active].mean(axis=1)  # (bins,)
    bins = shares >= _MIN_BIN_SHARE * shares.max()
    return Activity(spans, bins, float(power[bins][:, is_active].sum(axis=0).mean()) if spans else 0.0)


def band_power(waveform, sample_rate_hz, bins):
    """The mean power of a sound in some frequency bins of ``Activity``."""
    return float(_spectrogram(waveform, sample_rate_hz)[1][bins].sum(axis=0).mean())


def _spectrogram(waveform, sample_rate_hz):
    """(scipy's ShortTimeFFT, power (bins, frames) float32), at least one frame."""
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    n = round(_WINDOW_S * sample_rate_hz)
    stft = ShortTimeFFT(hann(n, sym=False), round(_HOP_S * sample_rate_hz), sample_rate_hz)
    waveform = np.pad(np.asarray(waveform, np.float32), (0, max(0, n - len(waveform))))
    return stft, np.square(np.abs(stft.stft(waveform))).astype(np.float32)


def _spans(is_active, centres_s, duration_s):
    """Spans of active frames: short gaps are closed, then short spans are dropped."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_active.astype(int), [0]]))).reshape(-1, 2)
    spans = []
    for first, last in edges:
        start_s, end_s = max(0.0, centres_s[first] - _HOP_S / 2), min(duration_s, centres_s[last - 1] + _HOP_S / 2)
        if spans and start_s - spans[-1][1] <= _MAX_GAP_S:
            spans[-1] = (spans[-1][0], end_s)
        else:
            spans.append((start_s, end_s))
    return [(float(start_s), float(end_s)) for start_s, end_s in spans if end_s - start_s >= _MIN_SPAN_S]
