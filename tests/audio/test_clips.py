import os

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import runtime
from birdlib.audio import clips, decoding
from birdlib.audio import io as audio_io
from birdlib.store import EmbeddingStore

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


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A folder of recordings such as people upload them, and its manifest."""
    root = tmp_path_factory.mktemp("field")
    soundfile.write(root / "song.wav", song(4), RATE_HZ)
    soundfile.write(root / "stereo.wav", np.stack([song(3), np.zeros(3 * RATE_HZ)], axis=1), RATE_HZ)
    soundfile.write(root / "short.wav", song(0.04), RATE_HZ)
    soundfile.write(root / "silence.wav", np.zeros(2 * RATE_HZ), RATE_HZ)
    (root / "empty.wav").write_bytes(b"")
    (root / "page.mp3").write_text("<!DOCTYPE html><html>not found</html>")
    names = ["song.wav", "stereo.wav", "short.wav", "silence.wav", "empty.wav", "page.mp3", "gone.wav"]
    table = manifest_of(names)
    photo = table.iloc[:1].assign(recording_id="photo", audio_path="")
    repeated = table.iloc[:1]  # of a rare species: in two splits
    return root, pd.concat([table, repeated, photo], ignore_index=True)


@pytest.fixture(scope="module")
def stage(field, tmp_path_factory):
    """(folder, cleaned, skipped) of the stage as it was first run."""
    folder = tmp_path_factory.mktemp("outputs") / "02_clean"
    return folder, *clips.clean_recordings(field[1], field[0], folder, **OPTIONS)


# Cleaning a folder


def test_every_recording_is_cleaned_or_skipped_with_a_reason(field, stage):
    folder, cleaned, skipped = stage
    assert cleaned["recording_id"].tolist() == ["song", "stereo", "short", "silence"]
    assert skipped.to_numpy().tolist() == [
        ["empty.wav", "02_clean", "is empty (0 bytes): copy it again, or remove it"],
        ["page.mp3", "02_clean", "is a web page, not sound (a failed download?): download the file itself"],
        ["gone.wav", "02_clean", decoding.NO_SUCH_FILE],
    ]
    for row in cleaned.itertuples():
        assert audio_io.duration(folder / row.audio_path) == pytest.approx(row.cleaned_s)
        assert runtime.digest_file(folder / row.audio_path) == row.digest


def test_a_very_short_recording_is_padded_and_silence_is_flagged(stage):
    rows = stage[1].set_index("recording_id")
    assert rows.loc["short", "is_padded"] and rows.loc["short", "cleaned_s"] >= 0.96
    assert rows["is_silent"].to_dict() == {"song": False, "stereo": False, "short": False, "silence": True}
    assert rows.loc["stereo", ["start_s", "end_s", "cleaned_s"]].tolist() == [0, 3, 3]


def clean_again(field, folder, table=None, **options):
    """(recording_ids whose file was written, cleaned, skipped) of another run in the same folder."""
    before = {path.stem: path.stat().st_mtime_ns for path in (folder / "audio").iterdir()}
    table = field[1] if table is None else table
    cleaned, skipped = clips.clean_recordings(table, field[0], folder, **OPTIONS | options)
    after = {path.stem: path.stat().st_mtime_ns for path in (folder / "audio").iterdir()}
    return {name for name in after if after[name] != before.get(name)}, cleaned, skipped


def test_a_second_run_writes_no_file_and_gives_the_same_tables(field, stage):
    written, cleaned, skipped = clean_again(field, stage[0])
    assert written == set()
    pd.testing.assert_frame_equal(cleaned, stage[1])
    pd.testing.assert_frame_equal(skipped, stage[2])


def test_a_killed_run_continues_and_another_policy_starts_over(field, tmp_path):
    """The first recordings, then all of them: what was there is not done again, and the result is that of one run."""
    clips.clean_recordings(field[1][:2], field[0], tmp_path, **OPTIONS)
    (tmp_path / "audio" / "stereo.flac").unlink()
    with open(tmp_path / ".journal.jsonl", "a") as journal:
        journal.write('{"name": "short", "key"')
    written, cleaned, _ = clean_again(field, tmp_path)
    assert written == {"stereo", "short", "silence"}
    assert cleaned["recording_id"].tolist() == ["song", "stereo", "short", "silence"]
    written, cleaned, _ = clean_again(field, tmp_path, field[1][:2], policy="keep")
    assert written == {"song", "stereo"} and set(cleaned["policy"]) == {"keep"}


def test_changed_and_new_sources_are_cleaned(tmp_path):
    root, folder = tmp_path / "field", tmp_path / "02_clean"
    root.mkdir()
    soundfile.write(root / "a.wav", song(1), RATE_HZ)
    soundfile.write(root / "b.wav", song(1, seed=1), RATE_HZ)
    table = manifest_of(["a.wav", "b.wav", "c.wav"])
    clips.clean_recordings(table, root, folder, **OPTIONS)
    soundfile.write(root / "b.wav", song(2), RATE_HZ)
    soundfile.write(root / "c.wav", song(1, seed=2), RATE_HZ)
    written, cleaned, skipped = clean_again((root, table), folder)
    assert written == {"b", "c"} and skipped.empty
    assert cleaned["duration_s"].tolist() == [1, 2, 1]


def test_only_the_part_of_a_row_is_cleaned(field, tmp_path):
    table = field[1][:1].assign(start_s=1.0, end_s=2.5)
    cleaned, _ = clips.clean_recordings(table, field[0], tmp_path, **OPTIONS)
    assert cleaned.loc[0, ["start_s", "end_s", "duration_s"]].tolist() == [1, 2.5, 1.5]
    waveform, _ = audio_io.read(tmp_path / cleaned.loc[0, "audio_path"])
    assert np.allclose(waveform, song(4)[RATE_HZ : round(2.5 * RATE_HZ)], atol=1e-4)


def test_the_error_for_no_usable_recording_gives_an_example(field, tmp_path):
    with pytest.raises(runtime.BirdlibError, match="none of 2 recordings.*empty.wav: is empty"):
        clips.clean_recordings(field[1][4:6], field[0], tmp_path, **OPTIONS)


def test_speech_segments_has_a_row_per_span():
    said = [[[0.5, 1.0], [2.0, 3.0]], [], [[0.0, 0.2]]]
    cleaned = pd.DataFrame({"recording_id": ["a", "b", "c"], "policy": "remove", "speech_spans": said})
    spans = clips.speech_segments(cleaned)
    assert (spans["policy"] == "remove").all()
    assert spans.drop(columns="policy").to_numpy().tolist() == [["a", 0.5, 1.0], ["a", 2.0, 3.0], ["c", 0.0, 0.2]]
    assert clips.speech_segments(cleaned[1:2]).columns.tolist() == spans.columns.tolist()


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


def test_bird_loss_is_measured_on_the_cleaned_part(field, monkeypatch):
    """Spans of speech are in seconds of the part, here the second of its 2 s: it holds half of the energy."""
    embedded = []
    embedder = FakeEmbedder()
    monkeypatch.setattr(embedder, "embed", lambda waveform: embedded.append(waveform) or (None, np.ones(3, np.float32)))
    monkeypatch.setattr(clips.embedders, "load", lambda *_, **__: embedder)
    with_speech = pd.DataFrame({"recording_id": ["song"], "start_s": 1.0, "end_s": 3.0, "speech_spans": [[[1.0, 2.0]]]})
    loss, weights = clips.bird_losses(with_speech, {"song": "song.wav"}, field[0])
    assert len(embedded[0]) == 2 * embedder.sample_rate_hz
    assert loss.loc[0, "speech_s"] == 1.0 and loss.loc[0, "energy_share"] == pytest.approx(0.5, abs=0.05)
    assert weights == embedder.weights
    nothing, weights = clips.bird_losses(with_speech[:0], {}, field[0])
    assert nothing.columns.tolist() == list(loss) and weights == {}


# Clips


def test_a_whole_clip_is_the_recording(stage):
    chosen = clips.cut_clips(stage[1], "whole", seed=0)
    assert chosen["recording_id"].tolist() == stage[1]["recording_id"].tolist() and chosen["clip_id"].is_unique
    assert (chosen["end_s"] - chosen["start_s"]).tolist() == stage[1]["cleaned_s"].tolist()
    assert not chosen["is_noise"].any()


def test_three_random_clips_and_noise_where_there_is_too_little(stage):
    """4 s and 3 s give three clips; one second of padded sound gives one, with two of noise; 2 s of silence two."""
    chosen = clips.cut_clips(stage[1], "random", seed=0)
    assert (chosen.groupby("recording_id").size() == 3).all() and chosen["clip_id"].is_unique
    noisy = chosen.groupby("recording_id")["is_noise"].sum().to_dict()
    assert noisy == {"song": 0, "stereo": 0, "short": 2, "silence": 1}
    pd.testing.assert_frame_equal(chosen, clips.cut_clips(stage[1], "random", seed=0))
    turned = clips.cut_clips(stage[1][::-1], "random", seed=0)  # the order of recordings changes nothing
    pd.testing.assert_frame_equal(*(table.set_index("clip_id").sort_index() for table in (chosen, turned)))
    assert not chosen["start_s"].equals(clips.cut_clips(stage[1], "random", seed=1)["start_s"])


def test_an_unknown_recipe_is_refused_and_no_recordings_give_no_clips(stage):
    with pytest.raises(runtime.BirdlibError, match="whole or random"):
        clips.cut_clips(stage[1], "all", seed=0)
    assert clips.cut_clips(stage[1][:0], "whole", seed=0).empty


# Embeddings


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
    assert skipped.to_numpy().tolist() == [["audio/gone.flac", "03_embed", decoding.NO_SUCH_FILE]]
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


# The map


@pytest.mark.parametrize(("n", "is_alike"), [(1, False), (4, False), (5, False), (12, False), (8, True)])
def test_every_recording_has_a_point_on_the_map(n, is_alike):
    """Also those that all sound the same."""
    patches = pd.DataFrame({"recording_id": np.repeat([f"r{i:02}" for i in range(n)], 3)})
    embeddings = np.random.default_rng(0).random((3 * n, 8), dtype=np.float32)
    points, names = clips.recording_map(np.ones_like(embeddings) if is_alike else embeddings, patches, seed=0)
    assert points.shape == (n, 2) and np.isfinite(points).all() and names.tolist() == sorted(set(names))
    assert set(names) == set(patches["recording_id"])


def test_a_map_is_limited_to_a_number_of_recordings():
    patches = pd.DataFrame({"recording_id": [f"r{i:03}" for i in range(300)]})
    points, names = clips.recording_map(np.random.default_rng(0).random((300, 4)), patches, seed=0, max_recordings=5)
    assert len(points) == len(set(names)) == 5


def test_files_that_are_not_used_as_they_stand_are_noted(tmp_path):
    waveform = song(3)
    soundfile.write(tmp_path / "opposite.wav", np.stack([waveform, -waveform], axis=1), RATE_HZ)
    soundfile.write(tmp_path / "good.wav", waveform, RATE_HZ)
    data = (tmp_path / "good.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 3])
    table = pd.DataFrame({"recording_id": ["a", "b", "c"], "audio_path": ["opposite.wav", "good.wav", "cut.wav"], "start_s": np.nan, "end_s": np.nan})
    cleaned, skipped = clips.clean_recordings(table, tmp_path, tmp_path / "02_clean", policy="keep", denoise="none", threshold=0.6, seed=0, n_jobs=1)
    assert skipped.empty and not cleaned["is_silent"].any()
    noted = clips.notes(cleaned, table).set_index("path")["reason"]
    assert set(noted.index) == {"opposite.wav", "cut.wav"} and "channels cancel each other" in noted["opposite.wav"]
    assert noted["cut.wav"] == "used, but it ends 2.0 s before its header states"


def test_descriptions_of_noise_and_bird_sound_state_what_to_check():
    cleaned = pd.DataFrame({"snr_db": [3.0, 20.0, 30.0], "is_silent": [True, False, False]})
    assert clips.describe_noise(cleaned).startswith("The median signal is 20 dB above the floor; 1 of 3 recordings have less than 6 dB. 1 are silent")
    patches = pd.DataFrame({"recording_id": ["a", "a", "b"], "bird_score": [0.0, 0.9, 0.05]})
    assert "0.05. In 1 of 2 recordings no patch exceeds 0.1: check by ear" in clips.describe_bird_scores(patches)
    losses = pd.DataFrame({"bird_score_share": [0.0, 0.5]})
    assert "25% of the bird score" in clips.describe_bird_losses(losses) and "soften" in clips.describe_bird_losses(losses)
    assert "soften" not in clips.describe_bird_losses(losses[:1])
    assert all(describe(table[:0]) for describe, table in (
        (clips.describe_noise, cleaned), (clips.describe_bird_scores, patches), (clips.describe_bird_losses, losses)
    ))  # fmt: skip
