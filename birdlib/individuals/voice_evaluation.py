"""Voices of named birds, evaluated on the recordings of a run, and the background test: does a prediction follow the bird or its background?

In the background test (after "Automatic acoustic identification of individuals in multiple species: improving identification across
recording conditions", 2019) the song of one bird is mixed with the background of another, and predicted again. A *background* is a
recording without its song: location, weather, microphone.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import stages
from birdlib.audio import io as audio_io
from birdlib.audio import noise
from birdlib.individuals import voices
from birdlib.metrics import bootstrap
from birdlib.models import embedders

KINDS = ("as recorded", "own background", "other background")
_MIN_BIRDS = 4  # of a species, with two recordings or more
_QUIET_DB = 3.0  # above the quietest tenth of a recording's frames: still background
_ERASED_DB = 20.0  # below the quietest quarter: erased by an editor
_BANDS_HZ = ((1500.0, 3000.0), (3000.0, 4500.0), (4500.0, 6500.0), (6500.0, 10000.0))
_QUIET_FRAMES = 4  # in a row, some 0.1 s: a shorter stretch is a gap between notes, with their reverberation
_SUBTRACTED = 4.0  # times the mean power: one frame in fifty of noise is louder
_FADE_S = 0.01  # between two stretches of background
_SHARE_COLUMNS = ["kind", "taken_for", "share", "low", "high", "n"]


def select_singers(splits):
    """Recordings of the species with the most named birds.

    Args:
        splits: the table of stage 01.

    Returns:
        its rows with sound and ``individual_id``, of birds with two recordings or more; empty for fewer than ``_MIN_BIRDS`` birds.
    """
    named = splits[(splits["audio_path"] != "") & (splits["individual_id"] != "") & ~splits["is_repeated"]].drop_duplicates("recording_id")
    named = _recorded_twice(named)
    n_birds = named.groupby("species")["individual_id"].nunique()
    if not len(n_birds) or n_birds.max() < _MIN_BIRDS:
        return named[:0]
    return named[named["species"] == n_birds.idxmax()].reset_index(drop=True)


def evaluate(singers, outputs_dir, *, false_accept, n_swapped, weights_dir="", rng):
    """Closed set, open set, clusters of unknown birds, and the background test.

    Args:
        singers: from ``select_singers``.
        outputs_dir: of stages 02 and 03.
        false_accept: as in ``voices.open_set``.
        n_swapped: recordings of the background test; 0 for none.
        weights_dir: of the embedder, as in ``weights.find``.

    Returns:
        (figures, shares, shares_background): tables of ``voices.figures`` and ``background_shares``, the latter empty without background test,
        both if there are too few birds, or too few are left after stages 02 and 03; and whether every bird was recorded in one session only, so that
        background may be mistaken for voice.

    Raises:
        MissingStageError: if stage 03 is not finished.
        VoicesError: as of ``voices``.
    """
    nothing = pd.DataFrame(columns=["figure", "value", "low", "high", "n"]), pd.DataFrame(columns=_SHARE_COLUMNS), False
    if not len(singers):
        return nothing
    parameters = stages.receipt(outputs_dir, "03_embed")["parameters"]
    embedded = Path(outputs_dir) / "03_embed"
    names, vectors = voices.vectors(np.load(embedded / "embeddings.npy", mmap_mode="r"), pd.read_parquet(embedded / "patches.parquet"))
    rows = pd.Index(names).get_indexer(singers["recording_id"])
    singers = _recorded_twice(singers.assign(row=rows)[rows >= 0]).reset_index(drop=True)
    shares = pd.DataFrame(columns=_SHARE_COLUMNS)
    if singers["individual_id"].nunique() < _MIN_BIRDS:
        return nothing
    vectors = vectors[singers["row"]]
    birds, sessions = singers["individual_id"].to_numpy(), voices.sessions(singers)
    closed = voices.closed_set(vectors, birds, sessions)
    opened = voices.open_set(vectors, birds, sessions, false_accept, rng=rng)
    if n_swapped:
        chosen = {name: parameters[name] for name in ("octave_down", "backend", "resampler")}
        embedder = embedders.load(parameters["embedder"], weights_dir, **chosen)
        cleaned = pd.read_parquet(Path(outputs_dir) / "02_clean" / "recordings.parquet").set_index("recording_id")["audio_path"]
        rate_hz = embedder.sample_rate_hz

        def read(row):
            return audio_io.read(Path(outputs_dir) / "02_clean" / cleaned[singers["recording_id"][row]], rate_hz, resampler=embedder.resampler)[0]

        def embed(waveform):
            return voices.embed(waveform, embedder)

        swapped = swap_backgrounds(read, embed, vectors, birds, sessions, rate_hz, n_swapped, rng=rng)
        shares = background_shares(swapped, rng=rng)
    clustered = voices.cluster_unknown(vectors, birds, sessions, rng=rng)
    return voices.figures(closed, opened, clustered, rng=rng), shares, bool(sessions["shares_background"].all())


def swap_backgrounds(read, embed, vectors, birds, sessions, sample_rate_hz, n_max=None, n_hosts=8, *, rng):
    """Predict recordings again with another bird's background and, to measure the effect of mixing itself, with their own.

    Backgrounds are of recordings that the space was fitted on, so a model of backgrounds is sure to follow them. A recording's own
    background is taken from those recordings of its bird, not from itself.

    Args:
        read: function of a row → its waveform, (samples,) float32.
        embed: function of a waveform → its vector, (dim,), see ``voices.embed``.
        vectors, birds, sessions: as in ``voices.closed_set``; the vectors are those that ``embed`` gives for the original recordings.
        n_max: recordings at most, sampled at random; None for all.
        n_hosts: recordings at most, sampled at random, that give the background.
        rng: samples those, the other bird and the stretches.

    Returns:
        DataFrame: ``bird, host`` (the bird of the background), ``kind`` (one of ``KINDS``), ``predicted, unit``; the index is the recording's row.

    Raises:
        VoicesError: if no recording can be predicted.
    """
    vectors, birds = np.asarray(vectors), np.asarray(birds)
    folds, units = sessions["fold"].to_numpy(), sessions["unit"].to_numpy()
    chosen = np.sort(rng.permutation(len(birds))[:n_max])
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
                    vector = embed(_transplant(waveform, [read(host_row) for host_row in hosts], sample_rate_hz, rng=rng))
                predicted = space.nearest(vector[None])[0][0]
                rows.append({"row": row, "bird": birds[row], "host": host, "kind": kind, "predicted": predicted, "unit": units[row]})
    if not rows:
        raise voices.VoicesError("no bird was recorded in two sessions or twice: no background can be swapped")
    return pd.DataFrame(rows).set_index("row")


def background_shares(swapped, *, rng):
    """How often each kind of recording is taken for its bird, for the bird of the background, and for a third one.

    Returns:
        DataFrame: ``kind, taken_for`` ("the bird", "the background's bird", "another"), ``share, low, high`` (90 % intervals over sessions)
        and ``n``; "the background's bird" only where it is another one.
    """
    rows = []
    for kind in KINDS:
        table = swapped[swapped["kind"] == kind]
        is_bird = (table["predicted"] == table["bird"]).to_numpy(float)
        is_host = (table["predicted"] == table["host"]).to_numpy(float)
        outcomes = {"the bird": is_bird, "another": 1.0 - np.maximum(is_bird, is_host)}
        if kind == "other background":
            outcomes["the background's bird"] = is_host
        for name, is_outcome in outcomes.items():
            interval = bootstrap.interval(np.mean, is_outcome, groups=table["unit"].to_numpy(), rng=rng)
            rows.append((kind, name, *interval, len(table)))
    return pd.DataFrame(rows, columns=_SHARE_COLUMNS)


def describe(figures, shares, shares_background):
    """Sentences about ``evaluate``: whether birds were recorded in several sessions, and whether their names follow the background."""
    if not len(figures):
        return "Fewer than four birds of one species have an individual_id and two recordings, so voices are not evaluated."
    text = "Test recordings are of other sessions than those of training."
    if shares_background:
        text = "Every bird was recorded in one session, so place and microphone may pass for its voice: record each bird on several days."
    swapped = shares[shares["kind"] == "other background"].set_index("taken_for")["share"]
    if {"the bird", "the background's bird"} <= set(swapped.index):
        own, host = swapped["the bird"], swapped["the background's bird"]
        text += f" Over another bird's background, {own:.0%} of recordings are taken for the bird and {host:.0%} for the bird of the background"
        text += ": identity follows the background." if host > own else ": identity follows the voice."
    return text


def plot_shares(table, n_birds, ax=None):
    """Bars of ``background_shares`` with intervals; the dotted line is chance among ``n_birds``."""
    from birdlib import plots

    ax = ax or plots.new_axes(7, 3)
    colours = {"the bird": "#4c78a8", "the background's bird": "#b4464b", "another": "#bbbbbb"}
    for group, kind in enumerate(KINDS):
        for step, (name, colour) in enumerate(colours.items()):
            row = table[(table["kind"] == kind) & (table["taken_for"] == name)]
            if len(row):
                share, low, high = row[["share", "low", "high"]].to_numpy()[0]
                x = group + 0.26 * (step - 1)
                ax.bar(x, share, 0.24, color=colour, label=name if kind == KINDS[-1] else None)
                if np.isfinite(low):
                    ax.plot([x, x], [low, high], color="black", linewidth=1.2)
    ax.axhline(1.0 / n_birds, color="black", linestyle=":", linewidth=1)
    ax.set(xticks=range(len(KINDS)), xticklabels=KINDS, ylim=(0, 1), ylabel="share of recordings", title="Bird that the recording is identified as")
    ax.legend(frameon=False)
    return ax


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


def _foreground(waveform, sample_rate_hz):
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


def _transplant(waveform, hosts, sample_rate_hz, *, rng):
    """The song of a recording over the background of the hosts' recordings, at the level of their songs.

    Args:
        waveform: (samples,) float32.
        hosts: list of waveforms of the other location.

    Returns:
        (samples,) float32 in [-1, 1].
    """
    song = _foreground(waveform, sample_rate_hz)
    level = np.median([_song_level(host, sample_rate_hz) for host in hosts])
    gain = np.sqrt(level / max(_song_level(song, sample_rate_hz), 1e-12))
    mixed = gain * song + _background(hosts, sample_rate_hz, len(song), rng=rng)
    return (mixed / max(1.0, np.abs(mixed).max())).astype(np.float32)


def _recorded_twice(table):
    """The recordings of birds that have two or more; a name is of a species."""
    return table[table.groupby(["species", "individual_id"])["recording_id"].transform("size") > 1]
