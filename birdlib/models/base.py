"""What embedders that work patch by patch have in common: embeddings and scores of a whole recording or of blocks; see ``embedders``."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd

from birdlib import runtime, streaming

RESAMPLERS = ("soxr_hq", "kaiser_best")  # that bring sound to the sample rate of an embedder, see ``audio.resampling.resample``
PATCH_COLUMNS = ["recording_id", "clip_id", "patch", "start_s", "end_s", "bird_score"]  # of a table of patches


class EmbedderError(runtime.BirdlibError):
    """An embedder that does not exist or cannot run as configured."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A network with its weights.

    Attributes:
        species: table, one row a class, with ``is_wild``: False for the sounds of people and machines.
        predict: (patches, samples) float32 → (logits (patches, classes), embeddings (patches, dim)), NumPy.
        dim: of the embedding.
        blocks: {block: (first, end)}, its columns in the embedding; {} for a network's own embedding, see ``inner_blocks``.
    """

    species: pd.DataFrame
    predict: Callable
    dim: int
    blocks: dict = dataclasses.field(default_factory=dict)


def spans(sizes):
    """{name: (first, end)} of parts that lie side by side.

    Args:
        sizes: {name: numbers}.
    """
    ends = np.cumsum(list(sizes.values())).tolist()
    return {name: (end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}


class PatchwiseEmbedder:
    """Embeds and scores recordings, given whole or in consecutive blocks of any length.

    A subclass has ``_predict_stream(blocks)``, which yields (embeddings, scores of the classes) of consecutive patches, and ``_is_bird``,
    the mask of the classes that are birds or other wildlife.

    ``resampler``, see ``audio.resampling.resample``, is what brings files to ``sample_rate_hz`` for it.
    """

    resampler = "soxr_hq"

    def with_resampler(self, resampler):
        """This embedder for sound resampled otherwise, with another ``key``."""
        if resampler != self.resampler:
            self.resampler, self.key = resampler, runtime.digest({"key": self.key, "resampler": resampler})
        return self

    def embed(self, waveform):
        """Embed a recording.

        Args:
            waveform: (samples,) float32 at ``sample_rate_hz``.

        Returns:
            (embeddings, bird_score): (patches, dim) and (patches,) float32. The score is the highest of the classes that are birds, in
            [0, 1]. There is at least one patch; the last is zero-padded.
        """
        pieces = list(self.embed_stream([waveform]))
        return tuple(np.concatenate(parts) for parts in zip(*pieces, strict=True))

    def embed_stream(self, blocks):
        """Yields ``embed`` of consecutive patches of a recording that comes in blocks, in little memory."""
        for embeddings, scores in self._predict_stream(blocks):
            yield embeddings, scores[:, self._is_bird].max(axis=1)

    def scores(self, waveform):
        """Scores of the classes in ``class_names``, (patches, classes) float32 in [0, 1]."""
        return np.concatenate(list(self.scores_stream([waveform])))

    def scores_stream(self, blocks):
        """Yields ``scores`` of consecutive patches of a recording that comes in blocks, in little memory."""
        for _, scores in self._predict_stream(blocks):
            yield scores


class BatchedEmbedder(PatchwiseEmbedder):
    """Embeds ``batch_size`` patches at a time.

    A subclass has ``sample_rate_hz, patch_s, hop_s``, ``patch_samples, hop_samples, batch_size``, and ``_predict(patches)``, which gives
    (embeddings, scores) of (patches, samples).
    """

    def __init__(self, source, network, backend, class_column="species"):
        """
        Args:
            source: ``weights.Source``, whose name is that of the embedder.
            network: ``Network``.
            backend: for the receipt.
            class_column: of ``network.species``, which names the classes.
        """
        self.name, self.dim, self.species, self._network = source.name, network.dim, network.species, network.predict
        self.class_names, self._is_bird = network.species[class_column].tolist(), network.species["is_wild"].to_numpy()
        self.key = runtime.digest({"name": self.name, "sha256": source.sha256, "hop_s": self.hop_s, "recipe": 1})
        self.weights = {self.name: {**source.receipt(), "backend": backend}}

    def predict(self, patches):
        """(embeddings, scores) of patches (patches, samples): (patches, dim) and (patches, classes) float32."""
        return self._predict(np.asarray(patches, np.float32))

    def _predict_stream(self, blocks):
        patches = streaming.frames(blocks, self.patch_samples, self.hop_samples)
        while batch := list(itertools.islice(patches, self.batch_size)):
            yield self._predict(np.stack(batch))


def patches_of(centres_s, start_s, end_s):
    """The patches of a window: those whose centres lie in it, or the one whose centre is nearest to its middle.

    Args:
        centres_s: (patches,), ascending; at least one.

    Returns:
        (first, end): a range of patch numbers.
    """
    first, end = (int(index) for index in np.searchsorted(centres_s, [start_s, end_s]))
    if first < end:
        return first, end
    nearest = int(np.abs(centres_s - (start_s + end_s) / 2).argmin())
    return nearest, nearest + 1
