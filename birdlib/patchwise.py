"""What embedders share: a recording in, one embedding per patch out, with the score that a bird is heard in it."""

import numpy as np


class PatchwiseEmbedder:
    """Base of an embedder that has ``_pieces(blocks)``, which yields (embeddings, scores of all classes) of consecutive patches, and
    ``_birds``, (classes,) bool, the classes that are birds."""

    def embed(self, waveform):
        """Embed a recording.

        Args:
            waveform: (samples,) float32 at ``sample_rate_hz``.

        Returns:
            (embeddings, bird_score): (patches, dim) and (patches,) float32. The score is that of the likeliest of the classes that are birds,
            in [0, 1]. There is at least one patch; the last is zero-padded.
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
        """Scores of the classes in ``class_names``, (patches, classes) float32 in [0, 1]."""
        return np.concatenate([scores for _, scores in self._pieces([waveform])])
