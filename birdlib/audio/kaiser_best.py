"""Resampling by resampy with its kernel ``kaiser_best``, the default of resampy and of older librosa, which published recipes rest on.

It is some 150 times slower than soxr, and as good: its use is to repeat such a recipe exactly.
"""

import importlib.util
import math

import numpy as np

from birdlib import runtime, streaming

_BLOCK_S = 10.0  # of the input that is resampled at once
_N_ZEROS = 64  # zero crossings of the windowed sinc on either side, more than ``kaiser_best`` has


class ResamplerError(runtime.BirdlibError):
    """A resampler that this machine lacks."""


def resample(waveform, from_hz, to_hz):
    """Change the sample rate of a waveform, (samples,) float32 → (ceil(samples * to_hz / from_hz),) float32.

    Raises:
        ResamplerError: without the package resampy.
    """
    if importlib.util.find_spec("resampy") is None:
        raise ResamplerError("the resampler kaiser_best needs the package resampy: install it, or run 03_embed with resampler=soxr_hq")
    import resampy

    up, down = _ratio(from_hz, to_hz)
    n_out = -(-len(waveform) * up // down)
    if not n_out:
        return np.zeros(0, np.float32)
    padded = np.pad(waveform, (0, down if len(waveform) * up < down else 0))  # resampy refuses what is too short for a sample
    resampled = resampy.resample(padded, from_hz, to_hz, filter="kaiser_best")[:n_out]
    return np.pad(resampled, (0, n_out - len(resampled))).astype(np.float32, copy=False)


def resample_blocks(pieces, from_hz, to_hz):
    """``resample`` for consecutive pieces of a waveform: the same samples, in pieces of other lengths and in little memory."""
    up, down = _ratio(from_hz, to_hz)  # ``down`` samples in are ``up`` samples out, from where on the phase repeats
    n_context = down * -(-math.ceil(_N_ZEROS * max(1.0, down / up) + 2) // down)
    waiting, n_before = np.zeros(0, np.float32), 0  # n_before of them are done and are only context
    for piece in streaming.regroup(pieces, math.ceil(_BLOCK_S * from_hz)):
        waiting = np.concatenate([waiting, piece])
        end = n_before + down * max(0, (len(waiting) - n_before - n_context) // down)
        if end > n_before:
            yield resample(waiting[: end + n_context], from_hz, to_hz)[n_before * up // down : end * up // down]
            first = max(0, end - n_context)
            waiting, n_before = waiting[first:], end - first
    yield resample(waiting, from_hz, to_hz)[n_before * up // down :]


def _ratio(from_hz, to_hz):
    divisor = math.gcd(from_hz, to_hz)
    return to_hz // divisor, from_hz // divisor
