"""Cut a recording that comes in consecutive blocks of any length, in little memory."""

import itertools

import numpy as np


def slices(blocks, spans):
    """Cut spans of samples out of a recording.

    Args:
        blocks: arrays (samples,) one after the other.
        spans: (start, end) in samples, their starts and ends ascending; they may overlap and leave gaps.

    Yields:
        For each span (end - start,), shorter or empty where the recording ends.
    """
    blocks, waiting, first = iter(blocks), np.zeros(0, np.float32), 0  # first: number of the first sample that waits
    for start, end in spans:
        pieces, n_samples = [waiting], len(waiting)
        while first + n_samples < end and (block := next(blocks, None)) is not None:
            if first + n_samples <= start:  # all that waits lies before the span
                pieces, n_samples, first = [], 0, first + n_samples
            pieces.append(block)
            n_samples += len(block)
        waiting = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
        n_past = min(max(start - first, 0), len(waiting))
        waiting, first = waiting[n_past:], first + n_past
        yield waiting[: max(end - first, 0)]


def frames(blocks, length, hop):
    """Cut a recording into frames of ``length`` samples, ``hop`` apart.

    Yields:
        (length,) float32, at least one; the last is zero-padded, and no sample is lost.
    """
    spans = ((start, start + length) for start in itertools.count(0, hop))
    for number, frame in enumerate(slices((np.asarray(block, np.float32) for block in blocks), spans)):
        if number and len(frame) <= max(length - hop, 0):  # all of it was in the frame before
            return
        yield np.pad(frame, (0, length - len(frame)))


def regroup(blocks, length):
    """Turn consecutive arrays of any length into consecutive arrays of ``length`` samples, the last one shorter."""
    spans = ((start, start + length) for start in itertools.count(0, length))
    return itertools.takewhile(len, slices(blocks, spans))
