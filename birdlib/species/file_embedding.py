"""Sound files as classifiers take them: embedded patch by patch, or cut into waveforms."""

import numpy as np

from birdlib import streaming
from birdlib.audio import io as audio_io
from birdlib.audio import noise, windowing
from birdlib.models import pooling

_BLOCK_S = 20.0  # of a file at a time


class FileEmbedder:
    """An embedder that remembers the patches of the last file, for all the members that share it."""

    def __init__(self, embedder):
        self.embedder, self.certificate = embedder, None
        self.forget()

    def forget(self):
        """Forget the last file."""
        self._last, self._patches = None, None

    def embed(self, path, denoise, end_s=None, again=False):
        """Patches of a file, or of its beginning: dict of ``embeddings`` (patches, dim), ``weights`` and ``centres_s`` (patches,), ``duration_s``.

        Raises:
            AudioError: if it cannot be read.
        """
        if again or self._last != (path, denoise, end_s):
            self.forget()
            self._patches = _embed(self.embedder, path, denoise, end_s)
            self._last = path, denoise, end_s
        return self._patches


def read_blocks(path, sample_rate_hz, denoise="none", end_s=None):
    """A file in consecutive blocks, denoised as the recordings of stage 02 were; it is read twice for that."""

    def read():
        return audio_io.stream(path, block_s=_BLOCK_S, sample_rate_hz=sample_rate_hz, end_s=end_s)

    if denoise == "none":
        return read()
    measures = noise.Measures(sample_rate_hz)
    for _ in measures.update(read()):
        pass
    return noise.denoise_blocks(read(), sample_rate_hz, denoise, measures.noise())


def cut(blocks, starts, length):
    """Cut windows out of a recording that comes in consecutive blocks, in little memory; they may overlap.

    Args:
        blocks: arrays of samples.
        starts: first sample of each window, in any order.
        length: of a window, in samples.

    Yields:
        (row, (length,) float32), in the order of the starts; a window that reaches beyond the end is filled by ``windowing.fill``, and
            one that begins behind it is silent.
    """
    rows = np.argsort(starts, kind="stable")
    spans = [(int(starts[row]), int(starts[row]) + length) for row in rows]
    for row, part in zip(rows, streaming.slices(blocks, spans), strict=True):
        yield row, windowing.fill(part, length)


def _embed(embedder, path, denoise, end_s):
    n_samples = 0

    def counted():
        nonlocal n_samples
        for block in read_blocks(path, embedder.sample_rate_hz, denoise, end_s):
            n_samples += len(block)
            yield block

    embeddings, bird_scores = (np.concatenate(parts) for parts in zip(*embedder.embed_stream(counted()), strict=True))
    return {
        "embeddings": embeddings,
        "weights": pooling.patch_weights(bird_scores),
        "centres_s": np.arange(len(embeddings)) * embedder.hop_s + embedder.patch_s / 2,
        "duration_s": n_samples / embedder.sample_rate_hz,
    }
