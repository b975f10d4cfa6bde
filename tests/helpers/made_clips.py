"""Songs to clean and to cut into clips, and a stand-in for an embedder of clips."""

import numpy as np
import pandas as pd

from birdlib.audio import io as audio_io

RATE_HZ = 16_000
OPTIONS = {"policy": "remove", "denoise": "none", "threshold": 0.6, "seed": 0, "n_jobs": 1}


def song(duration_s, seed=0):
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    trill = 0.2 * np.sin(2 * np.pi * (3000 + 100 * seed) * time_s) * (time_s % 0.1 < 0.05)
    return (trill + 0.003 * rng.standard_normal(len(time_s))).astype(np.float32)


def manifest_of(paths):
    rows = [(path.split(".")[0], path, np.nan, np.nan) for path in paths]
    return pd.DataFrame(rows, columns=["recording_id", "audio_path", "start_s", "end_s"])


class FakeEmbedder:
    """Replaces an embedder: loudness and pitch of each patch; counts its calls."""

    name, key, sample_rate_hz, patch_s, hop_s, dim = "fake", "f" * 64, 8000, 0.96, 0.48, 3
    resampler = "soxr_hq"
    weights = {"yamnet": {"source": "made for the test", "sha256": "aa", "licence": "none"}}

    def __init__(self):
        self.n_calls = 0

    def embed_stream(self, blocks):
        self.n_calls += 1
        waveform = np.concatenate(list(blocks))
        patches = audio_io.frame(waveform, round(self.patch_s * 8000), round(self.hop_s * 8000))
        crossings = (patches[:, 1:] * patches[:, :-1] < 0).mean(axis=1)
        embeddings = np.stack([np.abs(patches).mean(axis=1), crossings, np.ones(len(patches))], axis=1)
        for start in range(0, len(embeddings), 3):
            part = embeddings[start : start + 3].astype(np.float32)
            yield part, part[:, 1]

    def embed(self, waveform):
        pieces = list(self.embed_stream([waveform]))
        return tuple(np.concatenate(parts) for parts in zip(*pieces, strict=True))
