"""Embeddings of the recordings of ``bench real``: computed once for each content and embedder, and kept in its cache."""

import numpy as np

from birdlib import runtime
from birdlib.audio import io as audio_io
from birdlib.store import EmbeddingStore
from birdlib.video import kinds


def embed(paths, embedder, cache):
    """Embed whole recordings.

    Args:
        paths: of sound files.
        embedder: of ``embedders.load``.
        cache: Path.

    Returns:
        list of (embeddings (patches, dim), bird_scores (patches,)), in the order of the paths.

    Raises:
        FileError: if a file cannot be read.
    """
    found = []
    with EmbeddingStore(cache / "store", embedder.key) as store:
        for path in runtime.progress(paths, desc=f"{embedder.name} embeddings"):
            digest = kinds.digest_file(path)
            if digest not in store:
                waveform, _ = audio_io.read(path, embedder.sample_rate_hz, resampler=embedder.resampler)
                store.put(digest, *embedder.embed(waveform))
            found.append(tuple(np.array(part) for part in store.get(digest)))
    return found
