"""Windows: five seconds of sound at a time, for networks trained on waveforms. The one place where sound is cut.

A *part* is a stretch of a sound file whose species are known: a clip of stage 02, or a window of a soundscape with
pseudo-labels. Windows are read from the parts when they are needed, so memory does not grow with the recordings.
"""

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.audio import io as audio_io

PART_COLUMNS = ["recording_id", "audio_path", "start_s", "end_s", "row"]


class WindowError(runtime.BirdlibError):
    """Sound that a network cannot be trained on."""


def parts(clips, recordings):
    """The parts of recordings.

    Args:
        clips: of stage 02; clips of white noise are left out.
        recordings: rows of the splits of stage 01.

    Returns:
        DataFrame ``PART_COLUMNS``; ``row`` is the number of the row of ``recordings``.

    Raises:
        WindowError: if none of the recordings has a clip.
    """
    row = pd.Series(np.arange(len(recordings)), index=recordings["recording_id"])
    found = clips[clips["recording_id"].isin(row.index) & ~clips["is_noise"]]
    if found.empty:
        raise WindowError("no recording has a clip of cleaned audio: run notebooks/02_clean.ipynb, or choose others")
    return found.assign(row=row[found["recording_id"]].to_numpy())[PART_COLUMNS].reset_index(drop=True)


def oversampling(labels, power):
    """Sampling probability of each recording, proportional to (1 / recordings of its class) ** power.

    Args:
        labels: (n,) int, the primary species.
        power: 0 samples recordings uniformly, 1 species uniformly; 0.5 lies between.

    Returns:
        (n,) float64, sum 1.
    """
    labels = np.asarray(labels)
    shares = (1.0 / np.bincount(labels)[labels]) ** power
    return shares / shares.sum()


def one_against_rest(truth, column, positive_share=0.5):
    """Labels and sampling probabilities for a detector of one species.

    Args:
        truth: (n, classes); above 0 is a positive.
        column: of the species.
        positive_share: share of the positives in what is sampled.

    Returns:
        (truth, shares): (n, 1) float32, and (n,) sampling probability of each recording, sum 1.

    Raises:
        WindowError: if the species is in none of the recordings, or in all.
    """
    own = np.asarray(truth)[:, column : column + 1].astype(np.float32)
    is_positive = own[:, 0] > 0
    n_positives, n = is_positive.sum(), len(is_positive)
    if n_positives in (0, n):
        raise WindowError(f"a detector needs recordings with its species and without: {n_positives} of {n} have it")
    return own, np.where(is_positive, positive_share / n_positives, (1.0 - positive_share) / (n - n_positives))


def part_probabilities(table, shares):
    """(parts,) sampling probability of each part; parts of one recording share its ``shares`` by their length.

    Raises:
        WindowError: if all are 0.
    """
    row, length_s = table["row"].to_numpy(), (table["end_s"] - table["start_s"]).to_numpy()
    chances = shares[row] * length_s / np.bincount(row, weights=length_s, minlength=len(shares))[row]
    if not chances.sum() > 0:
        raise WindowError("there is nothing to draw windows from: every part has the share 0")
    return chances


def consecutive(table, window_s, n_windows=0):
    """Cut parts into windows that cover them; the last ends where its part ends.

    Args:
        table: from ``parts``.
        n_windows: maximum per recording, spread over it; 0 for all.

    Returns:
        DataFrame ``audio_path, start_s, end_s, row``, a row per window; ``end_s`` is that of the part.
    """
    rows = []
    for part in table.itertuples():
        last_s = max(part.start_s, part.end_s - window_s)
        n = max(1, int(np.ceil((part.end_s - part.start_s) / window_s - 0.1)))  # a tenth more is no window of its own
        rows += [(part.audio_path, start_s, part.end_s, part.row) for start_s in np.linspace(part.start_s, last_s, n)]
    found = pd.DataFrame(rows, columns=["audio_path", "start_s", "end_s", "row"])
    if n_windows:
        number, size = found.groupby("row").cumcount(), found.groupby("row")["start_s"].transform("size")
        steps = np.minimum(size, n_windows)
        found = found[(number * steps) // size != ((number - 1) * steps) // size]
    return found.reset_index(drop=True)


def mean_of_windows(scores, table, n_rows):
    """Mean of the windows of each recording.

    Args:
        scores: (windows, classes).
        table: from ``consecutive``, or some of its rows with their scores.
        n_rows: number of recordings.

    Returns:
        (recordings, classes) float32; NaN for a recording without windows.
    """
    sums = np.zeros((n_rows, scores.shape[1]))
    np.add.at(sums, table["row"].to_numpy(), scores)
    counts = np.bincount(table["row"], minlength=n_rows)[:, None]
    return np.where(counts, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


def read_window(path, start_s, end_s, rate_hz, window_s):
    """The window that starts at ``start_s``; sound that ends before, at ``end_s`` say, is repeated by ``fill``.

    Returns:
        (samples,) float32, always ``window_s`` long.

    Raises:
        AudioError: if the file cannot be read.
    """
    waveform, _ = audio_io.read(path, rate_hz, start_s, min(end_s, start_s + window_s))
    return fill(waveform, round(window_s * rate_hz))


def fill(waveform, n_samples):
    """Repeat or cut a sound to ``n_samples``, in training as at the end of a soundscape; zeros if it has no samples.

    No recording has silence of zeros, and it would halve the mean over time of a bird that sings in half a window.
    """
    return np.resize(waveform, n_samples)
