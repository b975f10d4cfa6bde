"""What embedders have in common that hear a recording patch by patch: ways to ask, whole or in blocks; see ``embedders``."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd

from birdlib import runtime, streaming


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that is ready to listen.

    Attributes:
        species: table, one row a class, with ``is_wild``: False for the sounds of people and machines.
        hear: (patches, samples) float32 → (logits (patches, classes), embeddings (patches, dim)), NumPy.
        dim: of the embedding.
    """

    species: pd.DataFrame
    hear: Callable
    dim: int


class PatchwiseEmbedder:
    """Asks an embedder that gives its patches piece by piece.

    A subclass has ``_pieces(blocks)``, which yields (embeddings, scores of the classes) of consecutive patches, and ``_birds``, the
    mask of the classes that are birds or other wildlife.
    """

    def embed(self, waveform):
        """Embed a recording.

        Args:
            waveform: (samples,) float32 at ``sample_rate_hz``.

        Returns:
            (embeddings, bird_score): (patches, dim) and (patches,) float32. The score is that of the likeliest of the classes
            that are birds, in [0, 1]. There is at least one patch; the last is zero-padded.
        """
        pieces = list(self.embed_stream([waveform]))
        return tuple(np.concatenate(parts) for parts in zip(*pieces, strict=True))

    def embed_stream(self, blocks):
        """Embed a recording that comes in consecutive blocks of any length, in little memory.

        Yields:
            (embeddings, bird_score) of consecutive patches; together they are what ``embed`` gives.
        """
        for embeddings, scores in self._pieces(blocks):
            yield embeddings, scores[:, self._birds].max(axis=1)

    def scores(self, waveform):
        """Scores of the classes in ``class_names``, (patches, classes) float32 in [0, 1]: what a teacher says."""
        return np.concatenate(list(self.scores_stream([waveform])))

    def scores_stream(self, blocks):
        """Yields ``scores`` of consecutive patches of a recording that comes in consecutive blocks of any length."""
        for _, scores in self._pieces(blocks):
            yield scores


class BatchedEmbedder(PatchwiseEmbedder):
    """Hears ``at_once`` patches together.

    A subclass has ``sample_rate_hz, patch_s, hop_s``, ``patch_samples, hop_samples, at_once``, and ``_heard(patches)``, which gives what
    ``_pieces`` yields of (patches, samples).
    """

    def __init__(self, name, receipt, dim, class_names, is_bird):
        """
        Args:
            name: of the embedder.
            receipt: of its weights, with their ``sha256``; see ``weights.Source.receipt``.
            dim: of an embedding.
            class_names, is_bird: list of str, and (classes,) bool.
        """
        self.name, self.dim, self.class_names, self._birds = name, dim, class_names, is_bird
        self.key = runtime.digest({"name": name, "sha256": receipt["sha256"], "hop_s": self.hop_s, "recipe": 1})
        self.weights = {name: receipt}

    def _pieces(self, blocks):
        patches = streaming.frames(blocks, self.patch_samples, self.hop_samples)
        while some := list(itertools.islice(patches, self.at_once)):
            yield self._heard(np.stack(some))


def patches_of(centres_s, start_s, end_s):
    """The patches that a window hears: those whose centres lie in it, or the one whose centre is nearest to its middle.

    Args:
        centres_s: (patches,), ascending; one at least.

    Returns:
        (first, last): numbers of the patches, the last not being one of them.
    """
    first, last = (int(place) for place in np.searchsorted(centres_s, [start_s, end_s]))
    if first < last:
        return first, last
    nearest = int(np.abs(centres_s - (start_s + end_s) / 2).argmin())
    return nearest, nearest + 1
