"""Change of the sample rate: by soxr, or by resampy to repeat older recipes.

A waveform in pieces gives the same samples as in one: ceil(samples * to_hz / from_hz) of them.
"""

import numpy as np

from birdlib.audio import kaiser_best
from birdlib.models.base import RESAMPLERS


def resample(waveform, from_hz, to_hz, resampler="soxr_hq"):
    """Change the sample rate; the result has ceil(samples * to_hz / from_hz) samples.

    ``soxr_hq`` is 150 times faster than ``kaiser_best`` (resampy), which serves to repeat older recipes.
    """
    _require_resampler(resampler)
    if from_hz == to_hz:
        return waveform
    if resampler == "kaiser_best":
        return kaiser_best.resample(waveform, from_hz, to_hz)
    import librosa

    resampled = librosa.resample(waveform, orig_sr=from_hz, target_sr=to_hz, res_type=resampler, fix=False)
    resampled = librosa.util.fix_length(resampled, size=_n_resampled(len(waveform), from_hz, to_hz))
    return resampled.astype(np.float32, copy=False)


def resample_blocks(pieces, from_hz, to_hz, resampler="soxr_hq"):
    """``resample`` for consecutive pieces of a waveform: the same samples, in pieces of other lengths."""
    _require_resampler(resampler)
    if from_hz == to_hz:
        return (yield from pieces)
    if resampler == "kaiser_best":
        return (yield from kaiser_best.resample_blocks(pieces, from_hz, to_hz))
    import soxr

    converter = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="soxr_hq")
    n_in = n_out = 0
    for piece in pieces:
        resampled = converter.resample_chunk(piece)
        n_in, n_out = n_in + len(piece), n_out + len(resampled)
        yield resampled
    n_last = _n_resampled(n_in, from_hz, to_hz) - n_out
    last = converter.resample_chunk(np.zeros(0, np.float32), last=True)[:n_last]
    yield np.pad(last, (0, n_last - len(last)))  # soxr rounds the length, resample() gives its ceiling


def _require_resampler(resampler):
    if resampler not in RESAMPLERS:
        raise ValueError(f"resampler is {resampler!r}: choose one of {', '.join(RESAMPLERS)}")


def _n_resampled(n_samples, from_hz, to_hz):
    return -(-n_samples * to_hz // from_hz)
