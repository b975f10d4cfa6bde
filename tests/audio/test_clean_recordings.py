"""The recordings of a folder are cleaned, and what that does to them."""

import types

import numpy as np
import pandas as pd
import pytest
import soundfile
from made_clips import OPTIONS, RATE_HZ, FakeEmbedder, manifest_of, song

from birdlib import runtime
from birdlib.audio import clips, media_files
from birdlib.audio import io as audio_io


def test_every_recording_is_cleaned_or_skipped_with_a_reason(field, stage):
    folder, cleaned, skipped = stage
    assert cleaned["recording_id"].tolist() == ["song", "stereo", "short", "silence"]
    assert skipped.to_numpy().tolist() == [
        ["empty.wav", "02_clean", "is empty (0 bytes): copy it again, or remove it"],
        ["page.mp3", "02_clean", "is a web page, not sound (a failed download?): download the file itself"],
        ["gone.wav", "02_clean", media_files.NO_SUCH_FILE],
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


@pytest.mark.parametrize(("happens", "reason"), [("vanishes", media_files.NO_SUCH_FILE), ("grows", "changed while it was read: run again when it is complete")])
def test_a_source_that_changes_during_the_run_is_skipped_and_tried_again(tmp_path, monkeypatch, happens, reason):
    root, folder = tmp_path / "field", tmp_path / "02_clean"
    root.mkdir()
    for name in ("a", "b"):
        soundfile.write(root / f"{name}.wav", song(1, seed=ord(name)), RATE_HZ)
    data = (root / "b.wav").read_bytes()
    digest_file, clean = media_files.digest_file, clips.cleaning.clean_recording

    def vanish(path, *arguments):
        if path.name == "b.wav":
            path.unlink()
        return digest_file(path, *arguments)

    def grow(source, *arguments, **options):
        row = clean(source, *arguments, **options)
        if source.name == "b.wav":
            source.write_bytes(data + data[-2000:])
        return row

    with monkeypatch.context() as patched:
        if happens == "vanishes":
            patched.setattr(media_files, "digest_file", vanish)
        else:
            patched.setattr(clips.cleaning, "clean_recording", grow)
        cleaned, skipped = clips.clean_recordings(manifest_of(["a.wav", "b.wav"]), root, folder, **OPTIONS)
    assert cleaned["recording_id"].tolist() == ["a"] and skipped.to_numpy().tolist() == [["b.wav", "02_clean", reason]]
    assert [path.name for path in (folder / "audio").iterdir()] == ["a.flac"]
    (root / "b.wav").write_bytes(data)
    cleaned, skipped = clips.clean_recordings(manifest_of(["a.wav", "b.wav"]), root, folder, **OPTIONS)
    assert cleaned["recording_id"].tolist() == ["a", "b"] and skipped.empty


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


def test_bird_loss_is_measured_on_the_cleaned_part(field, monkeypatch):
    """Spans of speech are in seconds of the part, here the second of its 2 s: it holds half of the energy."""
    embedded = []
    embedder = FakeEmbedder()

    def embed_stream(blocks):
        embedded.append(np.concatenate(list(blocks)))
        yield None, np.ones(3, np.float32)

    monkeypatch.setattr(embedder, "embed_stream", embed_stream)
    monkeypatch.setattr(clips.embedders, "load", lambda *_, **__: embedder)
    with_speech = pd.DataFrame({"recording_id": ["song"], "start_s": 1.0, "end_s": 3.0, "speech_spans": [[[1.0, 2.0]]]})
    loss, weights = clips.bird_losses(with_speech, {"song": "song.wav"}, field[0])
    assert len(embedded[0]) == 2 * embedder.sample_rate_hz
    assert loss.loc[0, "speech_s"] == 1.0 and loss.loc[0, "energy_share"] == pytest.approx(0.5, abs=0.05)
    assert weights == embedder.weights
    nothing, weights = clips.bird_losses(with_speech[:0], {}, field[0])
    assert nothing.columns.tolist() == list(loss) and weights == {}


def test_the_part_with_speech_that_is_drawn_is_short_and_begins_before_it():
    """Of fifteen hours, two minutes from ten seconds before the first word; of a short recording, all of it."""
    long, short = (types.SimpleNamespace(speech_spans=[[3600.0, 3605.0], [3700, 3730], [9000, 9001]], duration_s=54_000.0), types.SimpleNamespace(speech_spans=[[5.0, 6.0]], duration_s=30.0))
    start_s, end_s, spans = clips.speech_excerpt(long)
    assert (start_s, end_s) == (3590.0, 3710.0) and spans.tolist() == [[10, 15], [110, 120]]
    start_s, end_s, spans = clips.speech_excerpt(short)
    assert (start_s, end_s) == (0.0, 30.0) and spans.tolist() == [[5, 6]]


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
