"""Ears: sound files as classifiers take them, patch by patch through an embedder, or cut into waveforms."""

import numpy as np

from birdlib.audio import io as audio_io
from birdlib.audio import noise, windowing
from birdlib.models import pooling

_BLOCK_S = 20.0  # of a file at a time


class Ear:
    """An embedder that remembers the last file it heard, for all the members that share it."""

    def __init__(self, listener):
        self.listener, self.certificate = listener, None
        self.forget()

    def forget(self):
        """Hear the next file anew, whichever it is."""
        self._heard, self._patches = None, None

    def hear(self, path, denoise, end_s=None, again=False):
        """The patches of a file, or of its beginning: dict of ``embeddings`` (patches, dim), ``weights`` and ``centres_s`` (patches,), ``duration_s``.

        Raises:
            AudioError: if it cannot be read.
        """
        if again or self._heard != (path, denoise, end_s):
            self.forget()
            self._patches = _embed(self.listener, path, denoise, end_s)
            self._heard = path, denoise, end_s
        return self._patches


def blocks(path, sample_rate_hz, denoise="none", end_s=None):
    """A file in consecutive blocks, denoised as the recordings of stage 02 were; it is read twice for that."""

    def read():
        return audio_io.stream(path, block_s=_BLOCK_S, sample_rate_hz=sample_rate_hz, end_s=end_s)

    if denoise == "none":
        return read()
    measures = noise.Measures(sample_rate_hz)
    for _ in measures.watch(read()):
        pass
    return noise.denoise_blocks(read(), sample_rate_hz, denoise, measures.noise())


def cut(pieces, starts, length):
    """Cut parts out of a recording that comes in consecutive blocks, in little memory; they may overlap.

    Args:
        pieces: blocks of samples.
        starts: first sample of each part, in any order.
        length: of a part, in samples.

    Yields:
        (row, (length,) float32), in the order of the starts; where the recording ends within a part, the part is repeated
            (``crops.fill``), and one that begins behind the end is silent.
    """
    pieces, waiting, first = iter(pieces), np.zeros(0, np.float32), 0
    for row in np.argsort(starts, kind="stable"):
        start = int(starts[row])
        while first + len(waiting) < start + length and (piece := next(pieces, None)) is not None:
            done = min(len(waiting), max(0, start - first))
            waiting, first = np.concatenate([waiting[done:], piece]), first + done
        yield row, windowing.fill(waiting[start - first : start - first + length], length)


def _embed(listener, path, denoise, end_s):
    n_samples = 0

    def counted():
        nonlocal n_samples
        for block in blocks(path, listener.sample_rate_hz, denoise, end_s):
            n_samples += len(block)
            yield block

    pieces = list(listener.embed_stream(counted()))
    embeddings, bird_scores = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return {
        "embeddings": embeddings,
        "weights": pooling.patch_weights(bird_scores),
        "centres_s": np.arange(len(embeddings)) * listener.hop_s + listener.patch_s / 2,
        "duration_s": n_samples / listener.sample_rate_hz,
    }
