"""Synthetic songs: a grammar for each species, a voice for each individual.

Nothing here is a recording. A species has a grammar (phrases of syllables); an individual is a ``Voice``, a fixed
offset from its species (pitch, tempo, brightness, one syllable of its own); every song varies a little around its
voice. Waveforms are mono float32 in [-1, 1], shape (samples,), with their rate beside them.

Some species are similar on purpose: ``grywag1`` and ``yelsin1`` trill the same syllable, one steadily and one faster
and faster; ``ruflut1`` slurs down where ``cobflu1`` slurs up; ``9304117`` and ``9304482`` differ in pulse rate.
"""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class _Syllable:
    """One sound: its pitch contour (evenly spaced points, Hz) and modulation."""

    duration_s: float
    contour_hz: tuple
    harmonics: tuple = (1.0, 0.12)
    flutter_hz: float = 0.0  # frequency modulation ...
    flutter_share: float = 0.0  # ... and its depth as a share of the pitch
    pulse_hz: float = 0.0  # amplitude modulation, from 0 to 1
    hiss: float = 0.0  # share of breath noise
    gain: float = 1.0


@dataclass(frozen=True)
class _Phrase:
    """A syllable repeated: how often, how far apart, and what changes from one to the next."""

    syllable: _Syllable
    repeats: tuple  # fewest, most
    gap_s: float
    quickening: float = 1.0  # factor from each gap to the next
    drift: float = 1.0  # factor from each pitch to the next
    chance: float = 1.0  # that it is part of a song


@dataclass(frozen=True)
class Voice:
    """What stays the same in every song of one individual."""

    pitch: float
    tempo: float
    brightness: float
    signature: _Syllable
    signature_after: int  # the phrase it follows


_NOTE, _SWEEP = _Syllable(0.16, (4100, 4400, 4150)), _Syllable(0.045, (5300, 4700, 3500))
_CHAT = _Syllable(0.06, (1250, 1600, 1150), (0.7, 1.0, 0.8, 0.45, 0.25), hiss=0.15)
_ZEE = _Syllable(0.20, (4700, 4900, 4800), (1.0, 0.1), flutter_hz=75, flutter_share=0.05, hiss=0.06)
_TURN = {"harmonics": (1.0, 0.15), "flutter_hz": 28, "flutter_share": 0.03}

_GRAMMARS = {  # the phrases of a song, in order
    "grywag1": (_Phrase(_NOTE, (1, 3), 0.11, chance=0.8), _Phrase(_SWEEP, (13, 22), 0.050)),
    "yelsin1": (_Phrase(_NOTE, (1, 3), 0.13, chance=0.7), _Phrase(_SWEEP, (12, 20), 0.150, quickening=0.86)),
    "ruflut1": (
        _Phrase(_Syllable(0.30, (2750, 2600, 2150), (1.0, 0.10, 0.03)), (2, 4), 0.14, drift=0.94),
        _Phrase(_Syllable(0.22, (2000, 2500, 1900), **_TURN), (1, 2), 0.08, chance=0.7),
    ),
    "cobflu1": (
        _Phrase(_Syllable(0.30, (2150, 2600, 2750), (1.0, 0.10, 0.03)), (2, 4), 0.14, drift=1.05),
        _Phrase(_Syllable(0.22, (2500, 1900, 2400), **_TURN), (1, 2), 0.08, chance=0.7),
    ),
    "grebuz1": (
        _Phrase(_ZEE, (2, 3), 0.07),
        _Phrase(replace(_ZEE, duration_s=0.55, contour_hz=(3900, 4300, 3700), harmonics=(1.0, 0.2), flutter_hz=130,
                        flutter_share=0.11, hiss=0.12), (1, 1), 0.05),
        _Phrase(_ZEE, (1, 1), 0.04, chance=0.4),
    ),
    "redcha1": (
        _Phrase(_CHAT, (5, 12), 0.055),
        _Phrase(_Syllable(0.24, (1500, 1700, 1400), (0.6, 1.0, 0.6, 0.4), flutter_hz=55, flutter_share=0.06), (1, 2),
                0.06, chance=0.6),
        _Phrase(_CHAT, (1, 4), 0.09),
    ),
    "12050063": (  # a frog
        _Phrase(_Syllable(0.34, (1000, 1150, 1100), (0.8, 1.0, 0.35, 0.12), pulse_hz=34, hiss=0.10), (2, 5), 0.22,
                drift=0.985),
    ),
    "9304117": (  # a cricket
        _Phrase(_Syllable(0.52, (5900, 6000, 5950), (1.0, 0.06), pulse_hz=44, gain=0.7), (1, 4), 0.16),
    ),
    "blkwhi1": (
        _Phrase(_Syllable(0.62, (3050, 3060, 3060), (1.0, 0.05)), (1, 2), 0.10, drift=1.06),
        _Phrase(_Syllable(0.34, (3100, 3150, 3900), (1.0, 0.05)), (1, 1), 0.06),
    ),
    "goltri1": (
        _Phrase(_Syllable(0.04, (6600, 5600), (1.0,)), (3, 6), 0.09),
        _Phrase(_Syllable(0.075, (4300, 5400, 6300), (1.0, 0.05)), (6, 10), 0.06, drift=0.97),
    ),
    "tawcuc1": (
        _Phrase(_Syllable(0.20, (900, 960, 920), (1.0, 0.25, 0.10)), (1, 2), 0.09),
        _Phrase(_Syllable(0.36, (760, 770, 720), (1.0, 0.30, 0.10)), (1, 2), 0.14),
    ),
    "9304482": (  # another cricket
        _Phrase(_Syllable(0.58, (6150, 6250, 6200), (1.0, 0.06), pulse_hz=25, gain=0.7), (1, 4), 0.16),
    ),
}  # fmt: skip
_PAUSES_S = {  # between songs, shortest and longest
    "grywag1": (0.9, 2.4), "yelsin1": (0.9, 2.4), "ruflut1": (0.8, 2.2), "cobflu1": (0.8, 2.2), "grebuz1": (1.0, 2.8),
    "redcha1": (0.7, 2.0), "12050063": (0.9, 2.2), "9304117": (0.5, 1.3), "blkwhi1": (1.2, 2.6), "goltri1": (0.9, 2.4),
    "tawcuc1": (0.7, 1.6), "9304482": (0.5, 1.3),
}  # fmt: skip


def voice(label, rng):
    """Sample an individual of a species: the offsets that all its songs share.

    The signature is the species' first syllable with a changed contour and duration: it identifies individuals, not
    species.
    """
    model = _GRAMMARS[label][0].syllable
    bend = rng.uniform(0.84, 1.19, len(model.contour_hz) + 1)
    along = np.interp(np.linspace(0, 1, len(bend)), np.linspace(0, 1, len(model.contour_hz)), model.contour_hz)
    signature = replace(
        model, duration_s=max(0.09, model.duration_s * rng.uniform(0.9, 1.5)), contour_hz=tuple(along * bend)
    )
    return Voice(
        pitch=float(2 ** rng.uniform(-0.16, 0.16)),
        tempo=float(2 ** rng.uniform(-0.22, 0.22)),
        brightness=float(rng.uniform(0.5, 1.6)),
        signature=signature,
        signature_after=int(rng.integers(0, len(_GRAMMARS[label]))),
    )


def sing(label, voice, *, duration_s, sample_rate_hz, rng):
    """Songs of one individual with pauses between them.

    Args:
        label: of the species.
        voice: of the individual.

    Returns:
        waveform: (samples,) float32, peak at most 1, silence between the notes.
        notes: (n, 2) float64, start and end of every syllable in seconds.
    """
    waveform = np.zeros(round(duration_s * sample_rate_hz), np.float32)
    notes = []
    shortest, longest = _PAUSES_S[label]
    start_s = rng.uniform(0.1, max(0.2, min(shortest, 0.3 * duration_s)))
    while True:
        song, song_notes = compose(label, voice, sample_rate_hz=sample_rate_hz, rng=rng)
        if start_s + len(song) / sample_rate_hz > duration_s - 0.05 and notes:
            break
        first = round(start_s * sample_rate_hz)
        song = song[: len(waveform) - first]
        waveform[first : first + len(song)] += song
        notes.append(start_s + song_notes)
        start_s += len(song) / sample_rate_hz + rng.uniform(shortest, longest)
        if start_s > duration_s - 0.3:
            break
    notes = np.concatenate(notes)
    return waveform, np.minimum(notes[notes[:, 0] < duration_s], duration_s)


def compose(label, voice, *, sample_rate_hz, rng):
    """One song of one individual: (waveform, notes), as in ``sing``, without a pause at either end."""
    pitch = voice.pitch * 2 ** rng.normal(0, 0.012)
    tempo = voice.tempo * 2 ** rng.normal(0, 0.04)
    pieces, notes, now_s = [], [], 0.0

    def add(syllable, factor, gap_s):
        nonlocal now_s
        sound = _synthesize(syllable, pitch=pitch * factor, tempo=tempo, brightness=voice.brightness,
                          sample_rate_hz=sample_rate_hz, rng=rng)  # fmt: skip
        pieces.append((round(now_s * sample_rate_hz), sound * 2 ** rng.normal(0, 0.25)))
        notes.append((now_s, now_s + len(sound) / sample_rate_hz))
        now_s += len(sound) / sample_rate_hz + max(0.008, gap_s * 2 ** rng.normal(0, 0.08)) / tempo

    for index, phrase in enumerate(_GRAMMARS[label]):
        if rng.random() < phrase.chance:
            fewest, most = phrase.repeats
            for repeat in range(rng.integers(fewest, most + 1)):
                gap_s = phrase.gap_s * phrase.quickening**repeat
                add(phrase.syllable, phrase.drift**repeat, gap_s)
        if index == voice.signature_after:
            add(voice.signature, 1.0, 0.06)

    waveform = np.zeros(max(first + len(sound) for first, sound in pieces), np.float32)
    for first, sound in pieces:
        waveform[first : first + len(sound)] += sound
    return waveform / max(1.0, np.abs(waveform).max()), np.array(notes)


def _synthesize(syllable, *, pitch, tempo, brightness, sample_rate_hz, rng):
    """One syllable as a waveform; harmonics above 95 % of the Nyquist frequency are omitted.

    Args:
        pitch, tempo: factors on the syllable's frequencies and speed.
        brightness: factor on every harmonic above the first.
    """
    n = max(32, round(syllable.duration_s / tempo * sample_rate_hz))
    along = np.linspace(0, 1, n)
    seconds = np.arange(n) / sample_rate_hz
    points = np.asarray(syllable.contour_hz) * pitch * 2 ** rng.normal(0, 0.008, len(syllable.contour_hz))
    hz = np.exp(np.interp(_ease(along, len(points)), np.linspace(0, 1, len(points)), np.log(points)))
    if syllable.flutter_hz:
        hz *= 1 + syllable.flutter_share * np.sin(2 * np.pi * syllable.flutter_hz * tempo * seconds)
    phase = 2 * np.pi * np.cumsum(hz) / sample_rate_hz
    sound = np.zeros(n)
    for order, weight in enumerate(syllable.harmonics, start=1):
        if order * hz.max() < 0.475 * sample_rate_hz:
            sound += weight * (brightness if order > 1 else 1.0) * np.sin(order * phase)
    if syllable.hiss:
        breath = np.interp(np.arange(n), np.arange(0, n + 12, 12), rng.standard_normal(len(range(0, n + 12, 12))))
        sound += 2 * syllable.hiss * breath * np.sin(phase)  # noise about 2 kHz wide, around the pitch
    if syllable.pulse_hz:
        sound *= np.sin(np.pi * syllable.pulse_hz * tempo * seconds) ** 2
    edge = min(n // 2, round(max(0.006, 0.12 * n / sample_rate_hz) * sample_rate_hz))
    fade = np.sin(0.5 * np.pi * np.arange(edge) / edge) ** 2
    sound[:edge] *= fade
    sound[n - edge :] *= fade[::-1]
    return (0.6 * syllable.gain * sound / max(1.0, np.sum(syllable.harmonics))).astype(np.float32)


def _ease(along, n_points):
    """Smooth a contour: slow at each point, fast between points, values stay in [0, 1]."""
    segment = along * (n_points - 1)
    start = np.minimum(np.floor(segment), n_points - 2)
    share = segment - start
    return (start + 0.5 * share + 0.5 * share**2 * (3 - 2 * share)) / (n_points - 1)
