"""Sound files as classifiers take them: embedded patch by patch, or cut into waveforms; whole, or an excerpt that is in memory."""

import dataclasses

import numpy as np

from birdlib import streaming
from birdlib.audio import io as audio_io
from birdlib.audio import noise, resampling, windowing
from birdlib.models import pooling

_BLOCK_S = 20.0  # of a file at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Excerpt:
    """A part of a sound file that is in memory, so that long files can be predicted part by part, with the scores of the whole file.

    Attributes:
        waveform: (samples,) float32, at ``sample_rate_hz``, not clipped to [-1, 1].
        start_s: of the part in its file, in whole seconds, so that any two rates have a sample there.
        is_last: whether the file ends with it.
        noise: {sample rate: (samples,)} of the file, for members that denoise, see ``measure_noise``.
    """

    waveform: np.ndarray
    sample_rate_hz: int
    start_s: int
    is_last: bool
    noise: dict = dataclasses.field(default_factory=dict)

    def read(self, sample_rate_hz, denoise="none", resampler="soxr_hq"):
        """The waveform as ``read_blocks`` gives it for the whole file, but for the edges, where the part lacks its context."""
        waveform = np.clip(resampling.resample(self.waveform, self.sample_rate_hz, sample_rate_hz, resampler), -1.0, 1.0)
        if denoise == "none":
            return waveform
        return np.concatenate(list(noise.denoise_blocks([waveform], sample_rate_hz, denoise, self.noise[sample_rate_hz])))


def measure_noise(path, sample_rate_hz):
    """The noise of a file at a sample rate, to denoise its excerpts alike."""
    return _noise_of(audio_io.stream(path, block_s=_BLOCK_S, sample_rate_hz=sample_rate_hz), sample_rate_hz)


def _noise_of(blocks, sample_rate_hz):
    measures = noise.Measures(sample_rate_hz)
    for _ in measures.update(blocks):
        pass
    return measures.noise()


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

    def embed_excerpt(self, excerpt, denoise, start_s, end_s):
        """Patches of the file of an Excerpt, as ``embed`` has them, of which the centres lie between two times, and one before and behind."""
        key = excerpt, denoise, start_s, end_s
        if self._last != key:
            self.forget()
            self._patches = _embed_excerpt(self.embedder, excerpt, denoise, start_s, end_s)
            self._last = key
        return self._patches


def read_blocks(path, sample_rate_hz, denoise="none", end_s=None, resampler="soxr_hq"):
    """A file in consecutive blocks, denoised as the recordings of stage 02 were; it is read twice for that."""

    def read():
        return audio_io.stream(path, block_s=_BLOCK_S, sample_rate_hz=sample_rate_hz, end_s=end_s, resampler=resampler)

    if denoise == "none":
        return read()
    return noise.denoise_blocks(read(), sample_rate_hz, denoise, _noise_of(read(), sample_rate_hz))


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
        for block in read_blocks(path, embedder.sample_rate_hz, denoise, end_s, embedder.resampler):
            n_samples += len(block)
            yield block

    patches = _patches(embedder, counted(), 0)
    return {**patches, "duration_s": n_samples / embedder.sample_rate_hz}


def _embed_excerpt(embedder, excerpt, denoise, start_s, end_s):
    """A patch more on either side is embedded and dropped: filters that run over the waveform begin and end in it."""
    rate_hz, hop_s, half_s = embedder.sample_rate_hz, embedder.hop_s, embedder.patch_s / 2
    waveform = excerpt.read(rate_hz, denoise, embedder.resampler)
    first = max(0, int((start_s - half_s) // hop_s) - 1)  # the numbers of patches in the file
    end = int((end_s - half_s) // hop_s) + 2
    n_before = min(first, 1)
    begin = round((first - n_before) * hop_s * rate_hz) - excerpt.start_s * rate_hz
    stop = round((end * hop_s + 2 * half_s) * rate_hz) - excerpt.start_s * rate_hz
    if begin < 0 or (stop > len(waveform) and not excerpt.is_last):
        raise ValueError(f"an excerpt from {excerpt.start_s} s lacks the context of {start_s:g} to {end_s:g} s")
    patches = _patches(embedder, [waveform[begin:stop]], first - n_before)
    return {name: values[n_before : n_before + end - first] for name, values in patches.items()}


def _patches(embedder, blocks, first):
    """The patches of consecutive blocks, numbered from ``first``."""
    embeddings, bird_scores = (np.concatenate(parts) for parts in zip(*embedder.embed_stream(blocks), strict=True))
    centres_s = np.arange(first, first + len(embeddings)) * embedder.hop_s + embedder.patch_s / 2
    return {"embeddings": embeddings, "weights": pooling.patch_weights(bird_scores), "centres_s": centres_s}
