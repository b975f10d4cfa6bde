"""Soundscapes mixed from real recordings, so that it is known which species sings when, and how loud.

Of a recording only the stretches are mixed in where its bird stands out of its own background (``audio.activity``); between them the recording is faded
out. So the truth is where the bird is in the mixture, and not merely where a recording was laid.
"""

import dataclasses

import numpy as np
import pandas as pd

from birdlib.audio import activity
from birdlib.audio import io as audio_io

SAMPLE_RATE_HZ = 32_000
MAX_SOURCE_S = 60.0  # of a recording are used
MIN_OVERLAP_S = 0.25  # of a song in a window that counts as one with the species; half of a shorter song is enough
EVENT_COLUMNS = ["soundscape", "kind", "species", "recording_id", "start_s", "end_s", "snr_db"]
_MAX_BOUT_S = 8.0
_PAD_S, _FADE_S = 0.1, 0.05  # around the songs of a bout
_LOOP_FADE_S = 0.1
_PEAK = 0.95
_RECORDER_DB = -20.0


@dataclasses.dataclass(frozen=True)
class Source:
    """A stretch of a sound file that can be mixed in, ``start_s`` to ``end_s``, and what is active in it. ``species`` is "" for a voice."""

    path: str
    recording_id: str
    species: str
    start_s: float
    end_s: float
    active: activity.Activity | None = None

    def read(self):
        """(samples,) float32 at ``SAMPLE_RATE_HZ``."""
        return audio_io.read(self.path, SAMPLE_RATE_HZ, self.start_s, self.end_s)[0]


@dataclasses.dataclass(frozen=True)
class Bout:
    """Songs of one source in a soundscape: the source's seconds from ``from_s`` to ``to_s``, laid at ``at_s``, at ``snr_db`` over the background."""

    source: Source
    from_s: float
    to_s: float
    at_s: float
    snr_db: float

    @property
    def spans(self):
        """The songs, as list of (start_s, end_s) in the soundscape."""
        clipped = [(max(start_s, self.from_s), min(end_s, self.to_s)) for start_s, end_s in self.source.active.spans]
        return [(start_s - self.from_s + self.at_s, end_s - self.from_s + self.at_s) for start_s, end_s in clipped if start_s < end_s]


def analyse(source):
    """The source with its activity; AudioError if it cannot be read."""
    return dataclasses.replace(source, active=activity.find(source.read(), SAMPLE_RATE_HZ))


def bout(source, soundscape_s, snr_db, rng):
    """A random Bout of a source: from the beginning of a song on, at most ``_MAX_BOUT_S``, at a random time of the soundscape."""
    max_s = min(_MAX_BOUT_S, soundscape_s)
    spans = source.active.spans
    start_s, end_s = spans[rng.integers(len(spans))]
    from_s = start_s + rng.random() * max(0.0, end_s - start_s - max_s)  # a song that is longer than a bout
    to_s = max(min(end_s, from_s + max_s) for start_s, end_s in spans if start_s < from_s + max_s and end_s > from_s)
    return Bout(source, from_s, to_s, rng.random() * max(0.0, soundscape_s - (to_s - from_s)), snr_db)


def mix(background, bouts):
    """A soundscape.

    The level of a bout is that of the loud frames of its songs in the frequencies of its bird, relative to the background in the same frequencies.

    Args:
        background: (samples,) at ``SAMPLE_RATE_HZ``.
        bouts: list of Bout.

    Returns:
        (samples,) float32, its peak at most ``_PEAK``.
    """
    soundscape = np.array(background, np.float32)
    for item in bouts:
        song = _faded(item)
        active = item.source.active
        ratio = activity.band_power(background, SAMPLE_RATE_HZ, active.bins) / active.power
        first = round((item.at_s - _PAD_S) * SAMPLE_RATE_HZ)
        song = song[max(0, -first) :][: len(soundscape) - max(0, first)]
        soundscape[max(0, first) : max(0, first) + len(song)] += np.float32(np.sqrt(ratio) * 10 ** (item.snr_db / 20)) * song
    return soundscape * np.float32(min(1.0, _PEAK / max(np.abs(soundscape).max(initial=0.0), 1e-9)))


def _faded(item):
    """The seconds of a bout with ``_PAD_S`` before and after, faded out between its songs: (samples,)."""
    waveform = item.source.read()
    times_s = item.from_s - _PAD_S + np.arange(round((item.to_s - item.from_s + 2 * _PAD_S) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    first = round(times_s[0] * SAMPLE_RATE_HZ)
    padded = np.pad(waveform, (max(0, -first), len(times_s)))
    song = padded[max(0, first) :][: len(times_s)]
    gain = np.zeros(len(times_s))
    for start_s, end_s in item.spans:
        inside_s = np.minimum(times_s - (start_s - item.at_s + item.from_s), end_s - item.at_s + item.from_s - times_s)
        gain = np.maximum(gain, np.clip((inside_s + _PAD_S) / _FADE_S, 0.0, 1.0))
    return (gain * song).astype(np.float32)


def loop(waveform, n_samples, first=0):
    """A background of ``n_samples`` from the sample ``first`` on; a shorter one is repeated, each end faded into the beginning."""
    n_fade = min(round(_LOOP_FADE_S * SAMPLE_RATE_HZ), len(waveform) // 4)
    if n_fade and len(waveform) < first + n_samples:
        rise = np.linspace(0.0, np.pi / 2, n_fade)
        joint = np.cos(rise) * waveform[-n_fade:] + np.sin(rise) * waveform[:n_fade]  # equal power
        waveform = np.concatenate([joint, waveform[n_fade:-n_fade]])
    return np.take(waveform, np.arange(first, first + n_samples), mode="wrap").astype(np.float32)


def pink_noise(n_samples, rng):
    """Noise whose power falls by 3 dB an octave, as that of wind and water roughly does: (samples,) float32 of RMS 1. It is synthetic."""
    spectrum = np.fft.rfft(rng.normal(size=n_samples))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 20.0 * n_samples / SAMPLE_RATE_HZ))  # flat below 20 Hz
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum, n_samples)
    return (noise / noise.std()).astype(np.float32)


def at_level(noise, level_db, rng):
    """A background at ``level_db`` re full scale, over white recorder noise ``_RECORDER_DB`` below it, without which a band might be empty."""
    rms = 10 ** (level_db / 20)
    noise = noise * (rms / max(float(np.sqrt(np.mean(np.square(noise)))), 1e-9))
    return (noise + rng.normal(size=len(noise)) * rms * 10 ** (_RECORDER_DB / 20)).astype(np.float32)


# The truth


def events(stem, bouts):
    """A row of ``EVENT_COLUMNS`` for each song and each stretch of voice; ``kind`` is ``bird`` or ``speech``."""
    rows = []
    for item in bouts:
        source = item.source
        kind = "bird" if source.species else "speech"
        rows += [(stem, kind, source.species, source.recording_id, start_s, end_s, item.snr_db) for start_s, end_s in item.spans]
    return pd.DataFrame(rows, columns=EVENT_COLUMNS).astype({"start_s": float, "end_s": float, "snr_db": float})


def window_species(table, windows):
    """The species of each window.

    Args:
        table: of ``events``, of one soundscape.
        windows: list of (start_s, end_s).

    Returns:
        list of sorted lists: species with a song that is in the window for ``MIN_OVERLAP_S``, or for half of its length.
    """
    birds = table[table["kind"] == "bird"]
    needed_s = np.minimum(MIN_OVERLAP_S, (birds["end_s"] - birds["start_s"]) / 2)
    found = []
    for start_s, end_s in windows:
        overlap_s = np.minimum(birds["end_s"], end_s) - np.maximum(birds["start_s"], start_s)
        found.append(sorted(set(birds["species"][overlap_s >= needed_s])))
    return found
