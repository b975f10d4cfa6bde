"""The background test: does a prediction follow the bird or its background? And recordings over other backgrounds, to train with.

After "Automatic acoustic identification of individuals in multiple species: improving identification across recording conditions", 2019:
the song of one bird is mixed with the background of another. A *background* is a recording without its song: location, weather, microphone.
"""

import numpy as np
import pandas as pd

from birdlib.audio import noise
from birdlib.metrics import bootstrap

VERSION = 1  # of the mixing, for caches
OWN, OTHER = "own background", "other background"
KINDS = ("as recorded", OWN, OTHER)
_QUIET_DB = 3.0  # above the quietest tenth of a recording's frames: still background
_ERASED_DB = 20.0  # below the quietest quarter: erased by an editor
_BANDS_HZ = ((1500.0, 3000.0), (3000.0, 4500.0), (4500.0, 6500.0), (6500.0, 10000.0))
_QUIET_FRAMES = 4  # in a row, some 0.1 s: a shorter stretch is a gap between notes, with their reverberation
_SUBTRACTED = 4.0  # times the mean power: one frame in fifty of noise is louder
_FADE_S = 0.01  # between two stretches of background
_N_HOSTS = 8  # recordings at most that give one background
SHARE_COLUMNS = ["kind", "taken_for", "share", "low", "high", "n"]


def choose_hosts(birds, folds, kind, *, rng):
    """Whose background each recording gets.

    Hosts are of the recording's own fold, so that a model that is trained on the other folds knows neither recording, and a model that is
    trained on this fold gets no background of another.

    Args:
        birds, folds: (recordings,), as of ``voices.sessions``.
        kind: ``OWN`` or ``OTHER``.
        rng: samples the other bird and at most ``_N_HOSTS`` of its recordings.

    Returns:
        (hosts, rows): (recordings,) str, the bird of the background, ``""`` where the fold has none; list of (hosts,) int.
    """
    birds, folds = np.asarray(birds), np.asarray(folds)
    hosts, rows_of = np.full(len(birds), "", dtype=object), []
    for row, bird in enumerate(birds):
        candidates = np.flatnonzero((folds == folds[row]) & ((birds == bird) == (kind == OWN)))
        candidates = candidates[candidates != row]
        if len(candidates):
            hosts[row] = rng.choice(np.unique(birds[candidates]))
            candidates = candidates[birds[candidates] == hosts[row]]
        rows_of.append(rng.permutation(candidates)[:_N_HOSTS])
    return hosts, rows_of


def transplant(waveform, hosts, sample_rate_hz, *, rng):
    """The song of a recording over the background of the hosts' recordings, at the level of their songs.

    Args:
        waveform: (samples,) float32.
        hosts: list of waveforms of the other location.

    Returns:
        (samples,) float32 in [-1, 1].
    """
    song = foreground(waveform, sample_rate_hz)
    level = np.median([_song_level(host, sample_rate_hz) for host in hosts])
    gain = np.sqrt(level / max(_song_level(song, sample_rate_hz), 1e-12))
    mixed = gain * song + _background(hosts, sample_rate_hz, len(song), rng=rng)
    return (mixed / max(1.0, np.abs(mixed).max())).astype(np.float32)


def foreground(waveform, sample_rate_hz):
    """The song without its background, by spectral subtraction.

    "Suppression of Acoustic Noise in Speech Using Spectral Subtraction" (1979), of ``_SUBTRACTED`` times the background's spectrum. A gate
    with a smoothed mask, as of ``noise.denoise_blocks``, would attenuate a pure whistle by 10 dB.

    Returns:
        (samples,) float32, as long as the recording.
    """
    from scipy.signal import istft, stft

    def spectrum(x):
        padded = np.pad(x, (0, max(0, noise.FRAME - len(x))))
        return stft(padded, sample_rate_hz, nperseg=noise.FRAME)[2]  # (bins, frames)

    song = spectrum(waveform)
    powers = [np.abs(spectrum(stretch)) ** 2 for stretch in _quiet(waveform, sample_rate_hz)]
    floor = np.concatenate(powers, axis=1).mean(axis=1, keepdims=True)  # (bins, 1)
    gain = np.maximum(0.0, 1.0 - _SUBTRACTED * floor / np.maximum(np.abs(song) ** 2, 1e-20))
    return istft(gain * song, sample_rate_hz, nperseg=noise.FRAME)[1][: len(waveform)].astype(np.float32)


def background_shares(swapped, *, rng):
    """How often each kind of recording is taken for its bird, for the bird of the background, and for a third one.

    Returns:
        DataFrame: ``kind, taken_for`` ("the bird", "the background's bird", "another"), ``share, low, high`` (90 % intervals over sessions)
        and ``n``; "the background's bird" only where it is another one.
    """
    rows = []
    for kind in (kind for kind in KINDS if kind in set(swapped["kind"])):
        table = swapped[swapped["kind"] == kind]
        is_bird = (table["predicted"] == table["bird"]).to_numpy(float)
        is_host = (table["predicted"] == table["host"]).to_numpy(float)
        outcomes = {"the bird": is_bird, "another": 1.0 - np.maximum(is_bird, is_host)}
        if kind == "other background":
            outcomes["the background's bird"] = is_host
        for name, is_outcome in outcomes.items():
            interval = bootstrap.interval(np.mean, is_outcome, groups=table["unit"].to_numpy(), rng=rng)
            rows.append((kind, name, *interval, len(table)))
    return pd.DataFrame(rows, columns=SHARE_COLUMNS)


def _quiet(waveform, sample_rate_hz):
    """The stretches of a recording without song.

    Bands that an editor has erased, to remove another bird say, are no background, and neither is digital silence.

    Returns:
        list of (samples,) float32, in their order; where none lasts 0.1 s, the quietest frames, so there is at least one.
    """
    powers = np.stack([noise.band_powers(waveform, sample_rate_hz, band_hz) for band_hz in _BANDS_HZ])  # (bands, frames)
    is_erased = (powers < np.quantile(powers, 0.25, axis=1, keepdims=True) * 10.0 ** (-_ERASED_DB / 10.0)).any(axis=0)
    is_erased = np.convolve(is_erased, [1, 1, 1])[1:-1] > 0  # frames that overlap an erased one
    powers = powers.sum(axis=0)  # (frames,)
    kept = powers if is_erased.all() else powers[~is_erased]
    is_quiet = powers <= np.quantile(kept, 0.1) * 10.0 ** (_QUIET_DB / 10.0)
    is_quiet &= ~is_erased | is_erased.all()
    runs = np.flatnonzero(np.diff(np.concatenate([[False], is_quiet, [False]]))).reshape(-1, 2)
    long_enough = runs[np.diff(runs, axis=1)[:, 0] >= _QUIET_FRAMES]
    runs = long_enough if len(long_enough) else runs
    return [waveform[first * noise.FRAME : last * noise.FRAME] for first, last in runs]


def _background(recordings, sample_rate_hz, n_samples, *, rng):
    """A background of any length: quiet stretches of recordings in random order, cross-faded.

    Args:
        recordings: list of waveforms of one location.

    Returns:
        (n_samples,) float32.
    """
    stretches = [stretch for waveform in recordings for stretch in _quiet(waveform, sample_rate_hz)]
    fade = min([round(_FADE_S * sample_rate_hz), *(len(stretch) // 2 for stretch in stretches)])
    rise = np.sin(np.linspace(0.0, np.pi / 2, fade, dtype=np.float32))  # squares of rise and fall add up to 1
    found = np.zeros(0, np.float32)
    while len(found) < n_samples + fade:
        stretch = stretches[rng.integers(len(stretches))].copy()
        if len(found):
            stretch[:fade] = stretch[:fade] * rise + found[len(found) - fade :] * rise[::-1]
            found = found[: len(found) - fade]
        found = np.concatenate([found, stretch])
    return found[:n_samples]


def _song_level(waveform, sample_rate_hz):
    """The 95th percentile of the power of frames between 1.5 and 10 kHz."""
    return float(np.quantile(noise.band_powers(waveform, sample_rate_hz), 0.95))
