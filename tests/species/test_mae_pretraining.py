import numpy as np
import pandas as pd
import pytest
from tiny_mae import N_PATCHES, SIZE, encoder, spectrograms

from birdlib import checkpoints, runtime
from birdlib.audio import io as audio_io
from birdlib.models import fbanks, mae, mae_layers
from birdlib.species import mae_pretraining

RATE_HZ = fbanks.SAMPLE_RATE_HZ


def pretrainer(normalise=True):
    return mae.build_pretrainer(encoder(), SIZE, normalise=normalise)


def test_spectrograms_of_recordings_are_written_to_one_file(tmp_path):
    """12 s are two clips, since 2 s are less than half of one; 3 s are one, since they are all there is; 8 s are two."""
    rng = np.random.default_rng(0)
    sounds = {
        name: np.float32(0.05 * rng.normal(size=seconds * RATE_HZ))
        for name, seconds in {"a": 12, "b": 3, "c": 8}.items()
    }
    for name, waveform in sounds.items():
        audio_io.write(tmp_path / f"{name}.wav", waveform, RATE_HZ)
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    paths = [tmp_path / f"{name}.wav" for name in ("a", "bad", "b", "c")]
    clips, skipped = mae_pretraining.write_spectrograms(paths, tmp_path / "s.npy", "06_pseudolabel")
    written = np.load(tmp_path / "s.npy", mmap_mode="r")
    assert written.shape == (5, 512, 128) and written.dtype == np.float16
    assert list(zip(clips["path"].str[-5:], clips["start_s"], strict=True)) == [
        ("a.wav", 0.0), ("a.wav", 5.0), ("b.wav", 0.0), ("c.wav", 0.0), ("c.wav", 5.0)
    ]  # fmt: skip
    assert skipped["path"].tolist() == [str(tmp_path / "bad.wav")]
    last = np.pad(sounds["c"][5 * RATE_HZ :], (0, 2 * RATE_HZ))
    assert np.allclose(written[4], fbanks.spectrograms(last[None])[0], atol=0.05)


def test_clips_are_sampled_over_all_recordings(tmp_path):
    """3 recordings have 4 clips each; of these at most 5 are kept, at random."""
    for name in "abc":
        audio_io.write(tmp_path / f"{name}.wav", np.float32(0.05 * np.random.default_rng(ord(name)).normal(size=20 * RATE_HZ)), RATE_HZ)
    paths = [tmp_path / f"{name}.wav" for name in "abc"]

    def sample(n, seed):
        clips, _ = mae_pretraining.write_spectrograms(paths, tmp_path / f"{n}.npy", "07_classify", max_clips=n, rng=np.random.default_rng(seed))
        return clips, np.load(tmp_path / f"{n}.npy")

    whole, every = sample(12, 0)
    samples = [sample(5, seed) for seed in range(4)]
    assert len(whole) == len(every) == 12 and sample(5, 0)[0].equals(samples[0][0])
    for clips, written in samples:
        rows = pd.MultiIndex.from_frame(whole).get_indexer(pd.MultiIndex.from_frame(clips))
        assert len(set(rows)) == 5 and np.array_equal(written, every[rows])
    assert len(pd.concat([clips for clips, _ in samples]).drop_duplicates()) > 8


def test_clips_before_a_truncated_end_are_kept(tmp_path):
    whole, path = tmp_path / "whole.flac", tmp_path / "half.flac"
    audio_io.write(whole, np.float32(0.05 * np.random.default_rng(0).normal(size=20 * RATE_HZ)), RATE_HZ)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    clips, skipped = mae_pretraining.write_spectrograms([path], tmp_path / "s.npy", "07_classify")
    assert clips["start_s"].tolist() == [0.0, 5.0] and skipped["path"].tolist() == [str(path)]


def test_patches_are_reassembled_to_the_spectrogram():
    clips = spectrograms(3, np.random.default_rng(0))
    patches = np.asarray(mae_layers.Patches(16)(clips))
    assert np.array_equal(mae_pretraining.to_spectrograms(patches, clips.shape[1:], 16), clips)


def test_epoch_has_every_clip_once_with_new_masks():
    clips = np.arange(12, dtype=np.float32)[:, None, None] * np.ones((1, 64, 32), np.float32)
    batches = mae_pretraining._Batches(clips, N_PATCHES, 4, seed=7)
    epochs = []
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        drawn = [batches[step][0] for step in range(len(batches))]
        assert sorted(np.concatenate([batch["spectrogram"][:, 0, 0] for batch in drawn])) == list(range(12))
        epochs.append(np.concatenate([batch["order"] for batch in drawn]))
        assert (np.sort(epochs[-1], axis=1) == np.arange(N_PATCHES)).all()
    assert (epochs[0] != epochs[1]).any() and np.array_equal(epochs[0], epochs[2])
    assert len(np.unique(epochs[0], axis=0)) > 1  # clips of a batch are not masked alike


def test_pretraining_learns_to_reconstruct_masked_patches():
    """Predicting 0 costs 1, the variance of a normalised patch; each of four steady chords is recognisable from any patch."""
    rng = np.random.default_rng(0)
    model = pretrainer()
    clips, validation = spectrograms(96, rng), spectrograms(32, rng)
    history = mae_pretraining.fit(model, clips, validation=validation, epochs=5, batch_size=16, learning_rate=1e-2, rng=rng)
    assert history["epoch"].tolist() == list(range(1, 6))
    assert history["loss"].iloc[-1] < 0.7 < 0.9 < history["loss"].iloc[0] and history["validation_loss"].iloc[-1] < 0.7


@pytest.mark.slow
def test_pretraining_resumes_after_a_full_disk_with_the_same_figures(tmp_path, monkeypatch):
    """The disk is full when the checkpoint of the third epoch is written: that of the second survives and is resumed."""
    clips = spectrograms(24, np.random.default_rng(0))

    def fit(model, checkpoint=None):
        numbers = {"epochs": 4, "batch_size": 8, "learning_rate": 5e-3}
        return mae_pretraining.fit(model, clips, **numbers, rng=np.random.default_rng(3), checkpoint=checkpoint)

    def until_full(path, key, state, *rest):
        if len(state["history"]) == 3:
            raise runtime.FullDiskError("no space left")
        write(path, key, state, *rest)

    whole, second, write = pretrainer(), pretrainer(), checkpoints.write
    history = fit(whole)
    monkeypatch.setattr(checkpoints, "write", until_full)
    with pytest.raises(runtime.FullDiskError):
        fit(pretrainer(), tmp_path / "it.npz")
    monkeypatch.setattr(checkpoints, "write", write)
    again = fit(second, tmp_path / "it.npz")
    assert again["epoch"].tolist() == [1, 2, 3, 4] and np.allclose(again["loss"], history["loss"], rtol=1e-5)
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(whole.get_weights(), second.get_weights(), strict=True))


@pytest.mark.parametrize("normalise", [True, False])
def test_visible_patches_are_not_changed(normalise):
    rng = np.random.default_rng(0)
    clips, order = spectrograms(3, rng), mae_pretraining.orders(3, N_PATCHES, rng)
    filled, is_masked = mae_pretraining.fill_in(pretrainer(normalise), clips, order)
    assert is_masked.mean() == 0.75 and filled.shape == clips.shape
    assert np.array_equal(filled[~is_masked], clips[~is_masked]) and (filled[is_masked] != clips[is_masked]).mean() > 0.99
    shown = np.asarray(mae_layers.Patches(16)(np.float32(~is_masked))).all(axis=-1)
    assert all(set(np.flatnonzero(row)) == set(places[:2]) for row, places in zip(shown, order, strict=True))


def test_fewer_clips_than_a_batch_are_refused():
    with pytest.raises(runtime.BirdlibError, match="3 clips do not fill a batch of 32"):
        mae_pretraining.fit(None, np.zeros((3, 64, 32)), rng=np.random.default_rng(0))
