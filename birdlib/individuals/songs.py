"""Songs without their background, and songs compared sound by sound: is a passage of this song in that recording?

Many songbirds repeat a repertoire of song types, of which each rendition is nearly the same for years, so that an individual is recognised
by whoever has sung these very syllables before. A *contour* is a recording without its background: a spectrogram in ``N_BANDS`` bands
between 1.5 and 10 kHz, evenly spaced in octaves, (bands, frames) float32 in dB above what is loud nowhere else in it. Two recordings are
compared by cross-correlation of contours ("Spectrographic cross-correlation", Clark, Marler & Beeman, "Quantitative analysis of animal vocal
phonology", 1987), but passage by passage, because renditions leave out, repeat and append syllables.
"""

import numpy as np

from birdlib import runtime
from birdlib.individuals import background_swap

VERSION = 2  # of songs, contours and similarities, for caches
N_BANDS = 32
_BAND_HZ = (1500.0, 10000.0)
_FRAME_S, _HOP_S = 0.032, 0.016
_FLOOR_QUANTILE = 0.25  # of a band's levels: its background
_RANGE_DB = 30.0  # below the loudest sound: what is fainter is background or echo
_MIN_DB = 6.0  # above the background
_PASSAGE = 24  # frames, 0.4 s: one or two syllables
_PASSAGE_HOP = 6  # frames between two passages of a query; every frame begins one of a reference
MAX_S = 20.0  # of a longer recording the loudest stretch is compared
_ORDER = 6  # of the filter that limits the band
_ENVELOPE_S = 0.05
_AUDIBLE_DB = 20.0  # below the loud parts (95th percentile) of the envelope
_RMS = 0.1  # of an isolated song


def isolate(waveform, sample_rate_hz):
    """The song alone: limited to its band, without background, cut from the first to the last sound, at equal loudness.

    Args:
        waveform: (samples,) float32; of more than 20 s the loudest 20 s.

    Returns:
        (samples,) float32 in [-1, 1]; zeros where there is no song.
    """
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import butter, sosfiltfilt

    band_hz = _BAND_HZ[0], min(_BAND_HZ[1], 0.45 * sample_rate_hz)
    band = butter(_ORDER, band_hz, "bandpass", fs=sample_rate_hz, output="sos")
    waveform = waveform[loudest(waveform**2, round(MAX_S * sample_rate_hz))]
    padded = np.pad(waveform, (0, max(0, round(_ENVELOPE_S * sample_rate_hz) - len(waveform))))
    song = background_swap.foreground(sosfiltfilt(band, padded).astype(np.float32), sample_rate_hz)
    margin = round(_ENVELOPE_S * sample_rate_hz)
    envelope = uniform_filter1d(song**2, margin)
    audible = np.flatnonzero(envelope > np.quantile(envelope, 0.95) * 10.0 ** (-_AUDIBLE_DB / 10.0))
    if not len(audible):
        return np.zeros_like(song)
    song = song[max(0, audible[0] - margin) : audible[-1] + margin]
    return np.clip(song * (_RMS / max(np.sqrt(np.mean(song**2)), 1e-9)), -1.0, 1.0).astype(np.float32)


def contour(waveform, sample_rate_hz):
    """The song of a recording without its background, (bands, frames) float32, 0 where there is none.

    Levels are relative to the lower quartile of their band, so that neither the frequency response of a microphone nor constant noise
    matters, and limited to the ``_RANGE_DB`` below the loudest.

    Args:
        waveform: (samples,) float32; of more than 20 s the loudest 20 s.
        sample_rate_hz: bands above half of it are 0.
    """
    from scipy.signal import stft

    n = round(_FRAME_S * sample_rate_hz)
    padded = np.pad(waveform, (0, max(0, n - len(waveform))))
    hz, _, spectrum = stft(padded, sample_rate_hz, nperseg=n, noverlap=n - round(_HOP_S * sample_rate_hz))
    power = np.abs(spectrum) ** 2  # (bins, frames)
    edges = np.searchsorted(hz, np.geomspace(*_BAND_HZ, N_BANDS + 1))
    bands = np.stack([power[first : max(last, first + 1)].max(axis=0, initial=0.0) for first, last in zip(edges[:-1], edges[1:], strict=True)])
    bands = bands[:, loudest(bands.sum(axis=0), round(MAX_S / _HOP_S))]
    levels_db = 10.0 * np.log10(bands + 1e-12)
    above_db = levels_db - np.quantile(levels_db, _FLOOR_QUANTILE, axis=1, keepdims=True)
    top_db = np.quantile(above_db, 0.995)
    return np.maximum(above_db - max(_MIN_DB, top_db - _RANGE_DB), 0.0).astype(np.float32)


def similarities(queries, references):
    """How much of each query is in each reference: (queries, references) float32 in [0, 1].

    The normalised cross-correlation of each passage of a query with the best place of the reference, weighted by the loudness of the
    passage. 1: all of its passages are there; 0 for a query without song. Not symmetric: a fragment is in a song, but not the song in the fragment.

    Args:
        queries, references: lists of contours.
    """
    cut = [_passages(query, _PASSAGE_HOP) for query in queries]
    if not cut or not len(references):
        return np.zeros((len(cut), len(references)), np.float32)
    passages, loudness = (np.concatenate(part) for part in zip(*cut, strict=True))
    firsts = np.cumsum([0, *(len(weights) for _, weights in cut[:-1])])
    total = np.maximum(np.add.reduceat(loudness, firsts), 1e-9)  # (queries,)
    found = np.empty((len(cut), len(references)), np.float32)
    for column, reference in enumerate(runtime.progress(references, desc="comparing songs")):
        best = (passages @ _passages(reference, 1)[0].T).max(axis=1)  # (passages,)
        found[:, column] = np.add.reduceat(best * loudness, firsts) / total
    return found


def loudest(powers, length):
    """The slice of ``length`` consecutive powers, or of all if there are fewer, with the largest sum."""
    if len(powers) <= length:
        return slice(None)
    sums = np.concatenate([[0.0], np.cumsum(powers, dtype=np.float64)])
    first = int(np.argmax(sums[length:] - sums[:-length]))
    return slice(first, first + length)


def _passages(contour, hop):
    """(passages, bands * frames) float32 unit vectors, zeros for silence, and their loudness, (passages,)."""
    padded = np.pad(contour, ((0, 0), (0, max(0, _PASSAGE - contour.shape[1]))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _PASSAGE, axis=1)[:, ::hop]  # (bands, passages, frames)
    flat = windows.transpose(1, 0, 2).reshape(windows.shape[1], -1)
    loudness = np.linalg.norm(flat, axis=1)
    return flat / np.maximum(loudness, 1e-9)[:, None], loudness
