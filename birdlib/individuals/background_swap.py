"""Does identity follow the bird or its background? The song of one bird is put over the background of another, and judged again.

After the confound test of "Automatic acoustic identification of individuals in multiple species: improving identification across
recording conditions" (2019). A *background* is what is left of a recording where nobody sings: place, weather, microphone, tape.
"""

import numpy as np
import pandas as pd

from birdlib.audio import noise
from birdlib.individuals import voices
from birdlib.metrics import bootstrap

_QUIET_DB = 3.0  # above the quietest tenth of a recording's frames: still background
_ERASED_DB = 20.0  # below the quietest quarter: no background but a hole that an editor left
_BANDS_HZ = ((1500.0, 3000.0), (3000.0, 4500.0), (4500.0, 6500.0), (6500.0, 10000.0))
_QUIET_FRAMES = 4  # in a row, some 0.1 s: less is the gap between two notes, and rings with them
_SUBTRACTED = 4.0  # times the mean: one moment in fifty of a hiss is louder
_FADE_S = 0.01  # where two stretches of background meet
KINDS = ("as recorded", "own background", "other background")


def quiet(waveform, sample_rate_hz):
    """The stretches of a recording in which nobody sings.

    What somebody has cut out of a band, to be rid of another bird say, is no background, and neither is digital silence.

    Returns:
        list of (samples,) float32, in their order; where none lasts 0.1 s, the quietest moments, so there is at least one.
    """
    powers = np.stack([noise.band_powers(waveform, sample_rate_hz, band_hz) for band_hz in _BANDS_HZ])  # (bands, frames)
    is_erased = (powers < np.quantile(powers, 0.25, axis=1, keepdims=True) * 10.0 ** (-_ERASED_DB / 10.0)).any(axis=0)
    is_erased = np.convolve(is_erased, [1, 1, 1])[1:-1] > 0  # frames that the hole reaches into
    powers = powers.sum(axis=0)  # (frames,)
    kept = powers if is_erased.all() else powers[~is_erased]
    is_quiet = powers <= np.quantile(kept, 0.1) * 10.0 ** (_QUIET_DB / 10.0)
    is_quiet &= ~is_erased | is_erased.all()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_quiet, [False]])))
    runs = edges.reshape(-1, 2)
    long_enough = runs[np.diff(runs, axis=1)[:, 0] >= _QUIET_FRAMES]
    runs = long_enough if len(long_enough) else runs
    return [waveform[first * noise.FRAME : last * noise.FRAME] for first, last in runs]


def foreground(waveform, sample_rate_hz):
    """The song without its background, by spectral subtraction.

    "Suppression of Acoustic Noise in Speech Using Spectral Subtraction" (1979), of ``_SUBTRACTED`` times the background's spectrum. Gates
    that smooth their mask, as ``noise.denoise_blocks`` does, would damp a pure whistle by 10 dB.

    Returns:
        (samples,) float32, as long as the recording.
    """
    from scipy.signal import istft, stft

    def spectrum(x):
        padded = np.pad(x, (0, max(0, noise.FRAME - len(x))))
        return stft(padded, sample_rate_hz, nperseg=noise.FRAME)[2]  # (bins, frames)

    song = spectrum(waveform)
    powers = [np.abs(spectrum(stretch)) ** 2 for stretch in quiet(waveform, sample_rate_hz)]
    floor = np.concatenate(powers, axis=1).mean(axis=1, keepdims=True)  # (bins, 1)
    gain = np.maximum(0.0, 1.0 - _SUBTRACTED * floor / np.maximum(np.abs(song) ** 2, 1e-20))
    return istft(gain * song, sample_rate_hz, nperseg=noise.FRAME)[1][: len(waveform)].astype(np.float32)


def background(recordings, sample_rate_hz, n_samples, *, rng):
    """A background of any length: quiet stretches of recordings in random order, one faded into the next.

    Args:
        recordings: list of waveforms of one place.
        n_samples: how long.

    Returns:
        (n_samples,) float32.
    """
    stretches = [stretch for waveform in recordings for stretch in quiet(waveform, sample_rate_hz)]
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


def song_level(waveform, sample_rate_hz):
    """How loud a bird sings: the 95th percentile of the power of frames between 1.5 and 10 kHz."""
    return float(np.quantile(noise.band_powers(waveform, sample_rate_hz), 0.95))


def transplant(waveform, hosts, sample_rate_hz, *, rng):
    """The recording as it would be in another place: its song over the background of the hosts' recordings, as loud as they sing.

    Args:
        waveform: (samples,) float32.
        hosts: list of waveforms recorded in the other place.

    Returns:
        (samples,) float32 in [-1, 1].
    """
    song = foreground(waveform, sample_rate_hz)
    level = np.median([song_level(host, sample_rate_hz) for host in hosts])
    gain = np.sqrt(level / max(song_level(song, sample_rate_hz), 1e-12))
    mixed = gain * song + background(hosts, sample_rate_hz, len(song), rng=rng)
    return (mixed / max(1.0, np.abs(mixed).max())).astype(np.float32)


def swap(read, hear, vectors, birds, sessions, sample_rate_hz, n_most=None, n_hosts=8, *, rng):
    """Judge recordings again, over another bird's background and, to see what the cutting does by itself, over their own.

    Backgrounds are those of recordings that were learnt from, so whoever goes by the background is sure to be lured. A recording's own
    background is taken from them too, not from itself.

    Args:
        read: function of a row → its waveform, (samples,) float32.
        hear: function of a waveform → its vector, (dim,), see ``voices.hear``.
        vectors, birds, sessions: as in ``voices.closed_set``; the vectors are what ``hear`` gives for the recordings as they are.
        n_most: judge so many recordings at most, chosen at random; None for all.
        n_hosts: so many recordings of the other place at most, chosen at random, give the background.
        rng: draws them, the other bird and the stretches.

    Returns:
        DataFrame: ``bird, host`` (whose background it is), ``kind`` (one of ``KINDS``), ``said, unit``; the index is the recording's row.

    Raises:
        VoicesError: if no recording can be judged.
    """
    vectors, birds = np.asarray(vectors), np.asarray(birds)
    folds, units = sessions["fold"].to_numpy(), sessions["unit"].to_numpy()
    chosen = np.sort(rng.permutation(len(birds))[:n_most])
    rows = []
    for fold in np.unique(folds):
        known = folds != fold
        if len(np.unique(birds[known])) < 2:
            continue
        space = voices.fit_space(vectors[known], birds[known])
        for row in chosen[(folds == fold)[chosen] & np.isin(birds[chosen], space.birds)]:
            waveform = read(row)
            other = rng.choice(space.birds[space.birds != birds[row]])
            for kind, host in zip(KINDS, (birds[row], birds[row], other), strict=True):
                vector = vectors[row]
                if kind != "as recorded":
                    hosts = rng.permutation(np.flatnonzero(known & (birds == host)))[:n_hosts]
                    vector = hear(transplant(waveform, [read(one) for one in hosts], sample_rate_hz, rng=rng))
                said = space.nearest(vector[None])[0][0]
                rows.append(
                    {"row": row, "bird": birds[row], "host": host, "kind": kind, "said": said, "unit": units[row]}
                )
    if not rows:
        raise voices.VoicesError("no bird was recorded in two sessions or twice: no background can be swapped")
    return pd.DataFrame(rows).set_index("row")


def shares(swapped, *, rng):
    """How often each kind of recording is taken for the bird, for the host of the background, and for a third one.

    Returns:
        DataFrame: ``kind, taken_for`` ("the bird", "the background's bird", "another"), ``share, low, high`` (90 % intervals over sessions)
        and ``n``; where the background is the bird's own there is no host to be taken for.
    """
    rows = []
    for kind in KINDS:
        table = swapped[swapped["kind"] == kind]
        is_bird = (table["said"] == table["bird"]).to_numpy(float)
        is_host = (table["said"] == table["host"]).to_numpy(float)
        answers = {"the bird": is_bird, "another": 1.0 - np.maximum(is_bird, is_host)}
        if kind == "other background":
            answers["the background's bird"] = is_host
        for name, is_so in answers.items():
            interval = bootstrap.interval(np.mean, is_so, groups=table["unit"].to_numpy(), rng=rng)
            rows.append((kind, name, *interval, len(table)))
    return pd.DataFrame(rows, columns=["kind", "taken_for", "share", "low", "high", "n"])


def bars(table, n_birds, ax=None):
    """What recordings are taken for, from ``shares``, with intervals; the dotted line is guessing among ``n_birds``."""
    from birdlib import plots

    ax = ax or plots.new_axes(7, 3)
    colours = {"the bird": "#4c78a8", "the background's bird": "#b4464b", "another": "#bbbbbb"}
    for place, kind in enumerate(KINDS):
        for step, (name, colour) in enumerate(colours.items()):
            row = table[(table["kind"] == kind) & (table["taken_for"] == name)]
            if len(row):
                share, low, high = row[["share", "low", "high"]].to_numpy()[0]
                where = place + 0.26 * (step - 1)
                ax.bar(where, share, 0.24, color=colour, label=name if kind == KINDS[-1] else None)
                if np.isfinite(low):
                    ax.plot([where, where], [low, high], color="black", linewidth=1.2)
    ax.axhline(1.0 / n_birds, color="black", linestyle=":", linewidth=1)
    ax.set(
        xticks=range(len(KINDS)),
        xticklabels=KINDS,
        ylim=(0, 1),
        ylabel="share of recordings",
        title="What the recording is taken for",
    )
    ax.legend(frameon=False)
    return ax
