"""FilterAugment: spectrograms as another microphone, distance or ground would colour them.

"FilterAugment: An Acoustic Environmental Data Augmentation Method" (2022), its linear filter: gains in dB at a few
random edges of bands, with straight lines between them.
"""

import numpy as np

GAIN_DB = -6.0, 6.0
N_BANDS = 3, 5  # at least, at most
MIN_WIDTH = 6  # bands of the spectrogram in a band of the filter
_UNIT_DB, _LIMITS = 80.0, (0.0, 1.0)  # of the spectrograms of mel models


def filter_augment(spectrograms, chosen=None, *, unit_db=_UNIT_DB, limits=_LIMITS, gain_db=GAIN_DB, n_bands=N_BANDS, min_width=MIN_WIDTH, rng):
    """Give every chosen spectrogram a random filter of its own.

    Args:
        spectrograms: (batch, frames, bands), decibels / ``unit_db``.
        chosen: (batch,) bool; None for all.
        limits: (darkest, brightest) of spectrograms that are relative to their loudest point and cut below, like those of
            ``mel_models``: what is at the darkest stays there, since its level is unknown, and the loudest point stays as loud as it was,
            as if the filtered sound had been analysed. None for spectrograms of absolute level.
        gain_db: (lowest, highest).
        n_bands: (fewest, most).

    Returns:
        (batch, frames, bands) float32.
    """
    filtered = np.array(spectrograms, np.float32)
    chosen = np.ones(len(filtered), bool) if chosen is None else chosen
    for row in np.flatnonzero(chosen):
        gains = random_filter(filtered.shape[2], gain_db=gain_db, n_bands=n_bands, min_width=min_width, rng=rng)
        image = filtered[row] + np.float32(gains / unit_db)
        if limits:
            image += filtered[row].max() - image.max()
            image = np.where(filtered[row] > limits[0], np.clip(image, *limits), limits[0])
        filtered[row] = image
    return filtered


def random_filter(n, *, gain_db=GAIN_DB, n_bands=N_BANDS, min_width=MIN_WIDTH, rng):
    """Gains in dB of ``n`` bands, (n,): straight lines between random gains at the edges of random bands."""
    count = min(int(rng.integers(n_bands[0], n_bands[1] + 1)), max(1, n // min_width))
    free = n - count * min_width  # bands that are distributed at random, beside the smallest width of each
    edges = np.sort(rng.integers(0, max(free, 0) + 1, count - 1)) + min_width * np.arange(1, count)
    edges = np.array([0, *edges, n - 1])
    return np.interp(np.arange(n), edges, rng.uniform(*gain_db, count + 1))
