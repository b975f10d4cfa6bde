import json
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile
from sounds import RATE_HZ, hiss, song

from birdlib.audio import cleaning, noise, resampling, vad
from birdlib.audio import io as audio_io
from birdlib.data.synthetic import acoustics


@pytest.fixture(scope="module")
def announced():
    """Six seconds of song, an announcement of at least three, two seconds of hiss; and when the words begin and end."""
    words = "This was a song thrush, recorded in the morning, near the river, at the edge of the forest."
    words = 0.3 * acoustics.speak(words, voice="Andy", pitch=50, words_per_minute=150)
    assert len(words) > 3 * RATE_HZ
    waveform = np.concatenate([song(6), words, np.zeros(2 * RATE_HZ, np.float32)])
    return waveform + hiss(len(waveform) / RATE_HZ), 6.0, 6.0 + len(words) / RATE_HZ


@pytest.fixture
def recording(tmp_path, announced):
    path = tmp_path / "thrush.flac"
    audio_io.write(path, announced[0], RATE_HZ)
    return path


def clean(source, target, seed=0, **parameters):
    return cleaning.clean_recording(source, target, np.random.default_rng(seed), **parameters)


# Speech


def test_speech_is_detected_and_song_is_not(announced):
    waveform, begin_s, end_s = announced
    spans = vad.speech_spans(resampling.resample(waveform, RATE_HZ, 16000))
    assert spans[0, 0] == pytest.approx(begin_s, abs=0.4)
    assert spans[-1, 1] == pytest.approx(end_s, abs=0.4)
    assert (spans[:, 1] - spans[:, 0]).sum() > 0.8 * (end_s - begin_s)
    assert len(vad.speech_spans(resampling.resample(song(6) + hiss(6), RATE_HZ, 16000))) == 0
    assert len(vad.speech_spans(np.zeros(640, np.float32))) == 0  # 0.04 s


def test_speech_probabilities_do_not_depend_on_blocks(announced):
    waveform = np.tile(resampling.resample(announced[0], RATE_HZ, 16000), 3)
    pieces = np.split(waveform, [1, 5000, 5001, 200000])
    assert np.array_equal(vad.speech_probabilities(pieces), vad.speech_probabilities([waveform]))


@pytest.mark.slow
def test_spans_equal_those_of_silero(announced):
    """With its own figures, get_speech_timestamps gives the same spans from Silero's TorchScript model."""
    import torch

    n_threads = torch.get_num_threads()
    import silero_vad

    torch.set_num_threads(n_threads)
    waveform = resampling.resample(announced[0], RATE_HZ, 16000)
    model = silero_vad.load_silero_vad()
    theirs = silero_vad.get_speech_timestamps(torch.from_numpy(waveform), model, return_seconds=True, time_resolution=4)
    ours = vad.speech_spans(waveform, threshold=0.5, min_speech_s=0.25, min_gap_s=0.1, pad_s=0.03)
    theirs = np.array([[span["start"], span["end"]] for span in theirs])
    closed = theirs[1:, 0] - theirs[:-1, 1] < 0.01  # Silero shares short gaps between its spans; ours are joined
    edges = np.r_[theirs[0, 0], np.c_[theirs[:-1, 1], theirs[1:, 0]][~closed].reshape(-1), theirs[-1, 1]]
    assert np.abs(ours.reshape(-1) - edges).max() < 0.04


def test_silero_without_sequence_mode_gives_the_same(announced, monkeypatch):
    import onnxruntime

    waveform = resampling.resample(announced[0], RATE_HZ, 16000)
    session, is_sequence = vad.silero()
    folder = vad.silero_folder()
    assert is_sequence == (folder / "silero_vad_16k_sequence.onnx").is_file()
    expected = vad.speech_probabilities([waveform])
    frame_by_frame = onnxruntime.InferenceSession(folder / "silero_vad.onnx", providers=["CPUExecutionProvider"])
    monkeypatch.setattr(vad, "silero", lambda: (frame_by_frame, False))
    assert np.abs(vad.speech_probabilities([waveform]) - expected).max() < 1e-3


def test_speech_detection_does_not_import_torch():
    code = "import numpy as np, sys; from birdlib.audio import cleaning, vad; vad.speech_spans(np.zeros(16000, 'f4'));"
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)


# Policies

SPANS = np.array([[0.5, 1.25], [2.0, 2.6]])


def test_removed_and_kept_parts_make_up_the_recording():
    waveform = hiss(3.0)
    pieces = cleaning.split_at(SPANS, waveform, RATE_HZ)
    assert [is_inside for _, is_inside in pieces] == [False, True, False, True, False]
    assert np.array_equal(np.concatenate([piece for piece, _ in pieces]), waveform)
    removed = cleaning.apply_policy(waveform, RATE_HZ, SPANS, "remove")
    assert np.array_equal(removed, np.concatenate([piece for piece, is_inside in pieces if not is_inside]))
    assert len(removed) == len(waveform) - round(1.35 * RATE_HZ)


@pytest.mark.parametrize("policy", cleaning.POLICIES)
def test_policies_do_not_depend_on_blocks(policy):
    waveform = hiss(3.0)
    starts = [0, 7, 20000, 70000, 90000]
    blocks = zip(starts, np.split(waveform, starts[1:]), strict=True)
    parts = [cleaning.apply_policy(block, RATE_HZ, SPANS, policy, first_sample=start) for start, block in blocks]
    assert np.array_equal(np.concatenate(parts), cleaning.apply_policy(waveform, RATE_HZ, SPANS, policy))


def test_softened_speech_is_20_db_lower_and_the_rest_untouched():
    waveform = np.ones(3 * RATE_HZ, np.float32)
    softened = cleaning.apply_policy(waveform, RATE_HZ, SPANS, "soften", soften_db=20.0, fade_s=0.02)
    assert len(softened) == len(waveform)
    assert softened[RATE_HZ] == pytest.approx(0.1)
    assert (softened[: RATE_HZ // 2] == 1).all() and (softened[round(2.6 * RATE_HZ) :] == 1).all()
    assert np.abs(np.diff(softened)).max() < 0.9 / (0.02 * RATE_HZ) + 1e-6  # no click
    with pytest.raises(ValueError, match="remove, soften, keep"):
        cleaning.apply_policy(waveform, RATE_HZ, SPANS, "delete")


def test_kept_spans_are_the_gaps_between_spans():
    kept = cleaning.kept_spans(SPANS, 3.0)
    assert kept.tolist() == [[0.0, 0.5], [1.25, 2.0], [2.6, 3.0]]
    assert cleaning.kept_spans([[0.0, 3.0]], 3.0).shape == (0, 2)
    assert cleaning.kept_spans([], 3.0).tolist() == [[0.0, 3.0]]


def test_bird_loss_is_the_share_of_song_during_speech():
    """The song lasts 4 of 8 s and speech covers the second half of it; one of three bird patches is inside."""
    waveform = np.concatenate([song(4), np.zeros(4 * RATE_HZ, np.float32)])
    loss = cleaning.bird_loss(noise.band_powers(waveform, RATE_HZ), RATE_HZ, [[2, 5]], [0.9, 0.9, 0.9, 0.0], [0, 1, 2, 6], 1.0)
    assert loss["speech_s"] == 3
    assert loss["energy_share"] == pytest.approx(0.5, abs=0.03)
    assert loss["bird_score_share"] == pytest.approx(1 / 3)
    assert cleaning.bird_loss(noise.band_powers(waveform, RATE_HZ), RATE_HZ, []) == {"speech_s": 0.0, "energy_share": 0.0}


# Recordings


@pytest.mark.parametrize("policy", cleaning.POLICIES)
def test_a_recording_is_cleaned(recording, tmp_path, announced, policy):
    waveform, begin_s, end_s = announced
    target = tmp_path / "cleaned.flac"
    row = clean(recording, target, policy=policy)
    assert json.loads(json.dumps(row)) == row
    cleaned, _ = audio_io.read(target)
    source, _ = audio_io.read(recording)
    assert np.abs(cleaned - cleaning.apply_policy(source, RATE_HZ, row["speech_spans"], policy)).max() < 2**-15
    assert row["cleaned_s"] == len(cleaned) / RATE_HZ
    assert row["duration_s"] == pytest.approx(len(waveform) / RATE_HZ)
    assert 0.8 * (end_s - begin_s) < row["speech_s"] < 1.2 * (end_s - begin_s)
    assert 0 < row["bird_energy_share"] < 0.5
    assert (row["cleaned_s"] < row["duration_s"] - 2) == (policy == "remove")
    kept_s = sum(end_s - start_s for start_s, end_s in row["kept_spans"])
    assert row["cleaned_s"] == pytest.approx(kept_s, abs=1e-3)


@pytest.mark.parametrize("denoise", noise.DENOISERS)
def test_the_same_recording_gives_the_same_bytes(recording, tmp_path, denoise):
    """In this process and in others, read in one block or in many."""
    row = clean(recording, tmp_path / "a.flac", denoise=denoise)
    work = joblib.delayed(clean)
    whole = work(recording, tmp_path / "b.flac", denoise=denoise)
    in_blocks = work(recording, tmp_path / "c.flac", denoise=denoise, block_s=1.7)
    assert joblib.Parallel(n_jobs=2)([whole, in_blocks]) == [row, row]


def test_a_segment_of_a_high_rate_stereo_file_is_cleaned(tmp_path):
    high_hz = 96000
    waveform = np.concatenate([hiss(2, sample_rate_hz=high_hz), song(2, high_hz)])
    soundfile.write(tmp_path / "high.wav", np.stack([waveform, waveform], axis=1), high_hz)
    row = clean(tmp_path / "high.wav", tmp_path / "high.flac", start_s=2.0, end_s=3.5)
    assert (row["sample_rate_hz"], row["duration_s"], row["cleaned_s"]) == (32000, 1.5, 1.5)
    assert np.square(audio_io.read(tmp_path / "high.flac")[0]).mean() == pytest.approx(0.01, rel=0.1)  # 0.2 ** 2 / 2 / 2


def test_low_rates_are_kept(tmp_path):
    audio_io.write(tmp_path / "low.wav", hiss(2, sample_rate_hz=8000), 8000)
    assert clean(tmp_path / "low.wav", tmp_path / "low.flac", denoise="stationary")["sample_rate_hz"] == 8000


def test_a_short_clip_is_padded_to_one_patch(tmp_path):
    audio_io.write(tmp_path / "short.wav", song(0.04), RATE_HZ)
    row = clean(tmp_path / "short.wav", tmp_path / "short.flac", denoise="stationary")
    padded, _ = audio_io.read(tmp_path / "short.flac")
    assert row["is_padded"] and row["cleaned_s"] == 0.975 and row["duration_s"] == 0.04
    assert 0 < padded[2000:].std() <= 0.0011  # -60 dB
    again = clean(tmp_path / "short.wav", tmp_path / "again.flac", denoise="stationary")
    other = clean(tmp_path / "short.wav", tmp_path / "other.flac", denoise="stationary", seed=1)
    assert again["digest"] == row["digest"] != other["digest"]


def test_silence_is_flagged_and_unreadable_files_are_refused(tmp_path):
    audio_io.write(tmp_path / "silent.wav", np.zeros(3 * RATE_HZ, np.float32), RATE_HZ)
    for denoise in noise.DENOISERS:
        row = clean(tmp_path / "silent.wav", tmp_path / "silent.flac", denoise=denoise)
        assert row["is_silent"] and row["speech_s"] == 0 and row["bird_energy_share"] == 0
    (tmp_path / "page.mp3").write_text("<html>not found</html>")
    with pytest.raises(audio_io.AudioError, match="page.mp3"):
        clean(tmp_path / "page.mp3", tmp_path / "page.flac")
    assert not (tmp_path / "page.flac").exists()


def test_a_recording_of_speech_only_is_softened(tmp_path, announced):
    waveform, begin_s, end_s = announced
    audio_io.write(tmp_path / "talk.flac", waveform[round(begin_s * RATE_HZ) : round(end_s * RATE_HZ)], RATE_HZ)
    row = clean(tmp_path / "talk.flac", tmp_path / "out.flac", policy="remove")
    assert row["speech_s"] > row["duration_s"] - 0.975
    assert row["policy"] == "soften" and row["cleaned_s"] == pytest.approx(row["duration_s"])


def test_the_random_generator_depends_on_the_recording():
    first, again = (cleaning.recording_rng("ab" * 32, seed=1).random() for _ in range(2))
    assert first == again != cleaning.recording_rng("cd" * 32, seed=1).random()


def test_random_clips_are_the_recording_or_noise():
    rng = np.random.default_rng(0)
    for duration_s in (0.04, 0.9, 1.0, 2.5, 3.0, 100.0):
        clips = pd.DataFrame(cleaning.random_clips(duration_s, rng), columns=["start_s", "end_s", "is_noise"])
        assert len(clips) == 3
        found = clips[~clips.is_noise]
        assert len(found) == min(3, max(1, int(duration_s)))
        assert (found.start_s >= 0).all() and (found.end_s <= duration_s + 1e-9).all()
        assert (found.start_s.to_numpy()[1:] >= found.end_s.to_numpy()[:-1] - 1e-9).all()


PEAK_MEMORY = """
import sys
import numpy as np
from birdlib import runtime
from birdlib.audio import cleaning
cleaning.clean_recording(sys.argv[1], sys.argv[2], np.random.default_rng(0), denoise=sys.argv[3], block_s=60.0)
print(runtime.peak_mb())
"""


@pytest.mark.slow
@pytest.mark.parametrize("denoise", noise.DENOISERS)
def test_memory_does_not_grow_with_the_recording(tmp_path, denoise):
    """Twenty minutes more would be 150 MB of samples."""
    peaks_mb = []
    for minutes in (5, 25):
        path = tmp_path / f"{minutes}.flac"
        audio_io.write(path, (hiss(60, seed=minute) for minute in range(minutes)), RATE_HZ)
        command = [sys.executable, "-c", PEAK_MEMORY, path, tmp_path / "out.flac", denoise]
        peaks_mb.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks_mb[1] - peaks_mb[0] < 40
