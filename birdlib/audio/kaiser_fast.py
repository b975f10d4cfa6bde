"""Resampling with the kernel ``kaiser_fast`` of resampy, with which BirdNET's own tools read sound, some twenty times as fast.

Networks are sensitive to the highest octave: another good resampler changes BirdNET's scores by up to 0.7.
"""

import functools
import importlib.util
import math
from pathlib import Path

import numpy as np

_MAX_WEIGHTS = 4_000_000  # of the matrix of ``_kernel``; rates without a small common ratio go to resampy itself
_MIN_INPUTS = 64  # of a block, so that most of a row is not overlap


def resample(waveform, from_hz, to_hz):
    """Change the sample rate of a waveform.

    Args:
        waveform: (samples,) float32.

    Returns:
        (ceil(samples * to_hz / from_hz),) float32, as ``librosa.load(res_type="kaiser_fast")`` gives.
    """
    if from_hz == to_hz or not len(waveform):
        return np.asarray(waveform, np.float32)
    divisor = math.gcd(from_hz, to_hz)
    up, down = to_hz // divisor, from_hz // divisor
    n_out = -(-len(waveform) * up // down)
    n_whole = max(1, int(len(waveform) * up / down))  # resampy rounds down, librosa pads with zeros
    window, step, _ = _window(up, down)
    n_taps = len(window) // step + 2  # inputs on either side that an output may depend on
    n_blocks = -(-_MIN_INPUTS // down)  # of the least common block of both rates
    if up * n_blocks * (down * n_blocks + 2 * n_taps) > _MAX_WEIGHTS:
        return _by_resampy(waveform, from_hz, to_hz, n_out)
    weights = _kernel(up, down, n_blocks, n_taps)  # (inputs of a block with both wings, outputs of a block)
    n_in, n_done = down * n_blocks, up * n_blocks
    n_rows = -(-n_whole // n_done)
    padded = np.zeros(n_rows * n_in + 2 * n_taps, np.float32)
    n_used = min(len(waveform), len(padded) - n_taps)
    padded[n_taps : n_taps + n_used] = waveform[:n_used]
    rows = np.lib.stride_tricks.sliding_window_view(padded, n_in + 2 * n_taps)[::n_in]
    resampled = np.zeros(n_out, np.float32)
    resampled[:n_whole] = (rows[:n_rows] @ weights).reshape(-1)[:n_whole]
    return resampled


@functools.lru_cache(maxsize=8)
def _kernel(up, down, n_blocks, n_taps):
    """The weight of every input in every output of a block; row ``n_taps`` is the first input of the block."""
    window, step, n_table = _window(up, down)
    slope, scale = np.diff(window, append=window[-1]), min(1.0, up / down)
    weights = np.zeros((down * n_blocks + 2 * n_taps, up * n_blocks))
    for output in range(up * n_blocks):
        nearest, rest = divmod(output * down, up)
        fraction = scale * rest / up
        for share, first, direction in ((fraction, nearest, -1), (scale - fraction, nearest + 1, 1)):  # the left and the right wing
            offset, between = divmod(share * n_table, 1.0)
            places = np.arange(int(offset), len(window), step)[: (len(window) - int(offset)) // step]
            weights[n_taps + first + direction * np.arange(len(places)), output] = window[places] + between * slope[places]
    return weights.astype(np.float32)


@functools.lru_cache(maxsize=8)
def _window(up, down):
    """(half of the windowed sinc, entries from one input to the next, entries of a zero crossing)."""
    [folder] = importlib.util.find_spec("resampy").submodule_search_locations  # importing resampy compiles for seconds
    with np.load(Path(folder) / "data" / "kaiser_fast.npz") as kernel:
        window, n_table = kernel["half_window"], int(kernel["precision"])
    scale = min(1.0, up / down)
    return window * scale, int(scale * n_table), n_table


def _by_resampy(waveform, from_hz, to_hz, n_out):
    import resampy

    resampled = resampy.resample(waveform, from_hz, to_hz, filter="kaiser_fast")[:n_out]
    return np.pad(resampled, (0, n_out - len(resampled))).astype(np.float32)
