"""The embeddings of clips, and the table of their patches."""

import os

import numpy as np
import pandas as pd
import pytest
from made_clips import FakeEmbedder

from birdlib.audio import clips, media_files
from birdlib.audio import io as audio_io
from birdlib.store import EmbeddingStore


def embed(chosen, folder, tmp_path, embedder=None):
    """(embeddings, patches, skipped, calls of the embedder)"""
    embedder = embedder or FakeEmbedder()
    store = EmbeddingStore(tmp_path / "store", embedder.key)
    skipped = clips.embed_clips(chosen, folder, embedder, store)
    patches = clips.assemble(chosen, store, embedder, tmp_path / "embeddings.npy")
    return np.load(tmp_path / "embeddings.npy"), patches, skipped, embedder.n_calls


@pytest.mark.parametrize("recipe", clips.RECIPES)
def test_each_row_of_the_table_is_the_patch_of_its_embedding(stage, tmp_path, recipe):
    folder, cleaned, _ = stage
    chosen = clips.cut_clips(cleaned, recipe, seed=0)
    embeddings, patches, skipped, n_calls = embed(chosen, folder, tmp_path)
    assert len(embeddings) == len(patches) and embeddings.dtype == np.float32 and skipped.empty
    assert list(patches) == clips.PATCH_COLUMNS and n_calls == len(chosen)
    assert patches["clip_id"].drop_duplicates().tolist() == chosen["clip_id"].tolist()
    for clip in chosen[~chosen["is_noise"]].itertuples():
        waveform, _ = audio_io.read(folder / clip.audio_path, 8000, clip.start_s, clip.end_s)
        expected, scores = FakeEmbedder().embed(waveform)
        mine = (patches["clip_id"] == clip.clip_id).to_numpy()
        assert np.allclose(embeddings[mine], expected, atol=1e-5)
        assert np.allclose(patches.loc[mine, "bird_score"], scores, atol=1e-5)
        assert patches.loc[mine, "patch"].tolist() == list(range(len(expected)))
        assert patches.loc[mine, "start_s"].to_numpy() == pytest.approx(clip.start_s + 0.48 * np.arange(len(expected)))


def test_a_second_call_embeds_only_new_clips(stage, tmp_path):
    chosen = clips.cut_clips(stage[1], "random", seed=0)
    first = embed(chosen, stage[0], tmp_path)
    again = embed(chosen, stage[0], tmp_path)
    assert first[3] == len(chosen) and again[3] == 0
    assert np.array_equal(first[0], again[0])
    pd.testing.assert_frame_equal(first[1], again[1])
    assert embed(chosen[:1].assign(start_s=0.25, end_s=2.0), stage[0], tmp_path)[3] == 1


def test_the_order_of_clips_does_not_change_an_embedding(stage, tmp_path):
    chosen = clips.cut_clips(stage[1], "random", seed=0)
    forward = embed(chosen, stage[0], tmp_path / "a")
    backward = embed(chosen[::-1].reset_index(drop=True), stage[0], tmp_path / "b")
    assert not np.array_equal(forward[0], backward[0])
    for clip_id in chosen["clip_id"]:
        assert np.array_equal(*(run[0][(run[1]["clip_id"] == clip_id).to_numpy()] for run in (forward, backward)))


def test_an_unreadable_clip_is_skipped(stage, tmp_path):
    chosen = clips.cut_clips(stage[1], "whole", seed=0)
    chosen.loc[1, "audio_path"] = "audio/gone.flac"
    embeddings, patches, skipped, _ = embed(chosen, stage[0], tmp_path)
    assert skipped.to_numpy().tolist() == [["audio/gone.flac", "03_embed", media_files.NO_SUCH_FILE]]
    assert len(embeddings) == len(patches) and patches["recording_id"].nunique() == len(chosen) - 1


def test_many_clips_do_not_need_many_open_files(tmp_path):
    """28,000 recordings are more than a process may have open at once."""
    resource = pytest.importorskip("resource")
    embedder, names = FakeEmbedder(), [f"r{i}" for i in range(300)]
    chosen = pd.DataFrame({"clip_id": names, "recording_id": names, "audio_path": "", "digest": names})
    chosen = chosen.assign(start_s=0.0, end_s=1.0, is_noise=False)
    store = EmbeddingStore(tmp_path / "store", embedder.key)
    with store:
        for clip in chosen.itertuples():
            store.put(clips._clip_key(clip), np.full((2, 3), clip.Index, np.float32), np.ones(2, np.float32))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 50, limits[1]))
    try:
        patches = clips.assemble(chosen, store, embedder, tmp_path / "embeddings.npy")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(patches) == 600
    assert np.load(tmp_path / "embeddings.npy")[:, 0].tolist() == np.repeat(np.arange(300), 2).tolist()
