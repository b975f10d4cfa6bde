import numpy as np
import pandas as pd
import pytest
from sounds import hiss

from birdlib.audio import io as audio_io
from birdlib.audio import windowing
from birdlib.audio.batches import ConsecutiveWindows, RandomWindows

RATE_HZ = 8000
OPTIONS = {"rate_hz": RATE_HZ, "window_s": 1.0}


def rng(seed=0):
    return np.random.default_rng(seed)


def tone(hz, duration_s):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(duration_s * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def pitch_of(waveform):
    return np.abs(np.fft.rfft(waveform)).argmax() * RATE_HZ / len(waveform)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Three recordings, each a whistle of its own pitch: (folder, table of parts, truth, pitches)."""
    folder, pitches, lengths_s = tmp_path_factory.mktemp("audio"), [500, 1000, 2000], [4.0, 0.3, 2.0]
    for i, (hz, length_s) in enumerate(zip(pitches, lengths_s, strict=True)):
        audio_io.write(folder / f"{i}.flac", tone(hz, length_s), RATE_HZ)
    names = [f"{i}.flac" for i in range(3)]
    table = pd.DataFrame(
        {"recording_id": list("abc"), "audio_path": names, "start_s": 0.0, "end_s": lengths_s, "row": range(3)}
    )
    return folder, table, np.eye(3, dtype=np.float32), pitches


def batches(recordings, **options):
    folder, table, truth, _ = recordings
    return RandomWindows(table, folder, truth, **OPTIONS | {"batch_size": 8, "n_steps": 3, "rng": rng()} | options)


# Parts


def test_parts_exclude_noise_and_other_recordings():
    clips = pd.DataFrame({
        "recording_id": ["b", "a", "a", "c"], "audio_path": "x.flac", "start_s": 0.0, "end_s": 1.0, "is_noise": [False, False, True, False],
    })  # fmt: skip
    found = windowing.parts(clips, pd.DataFrame({"recording_id": ["a", "b"]}))
    assert found["recording_id"].tolist() == ["b", "a"] and found["row"].tolist() == [1, 0]
    with pytest.raises(windowing.WindowError, match="02_clean"):
        windowing.parts(clips, pd.DataFrame({"recording_id": ["d"]}))


@pytest.mark.parametrize(("power", "share"), [(0.0, 0.2), (0.5, 1 / 3), (1.0, 0.5)])
def test_oversampling_raises_the_share_of_rare_species(power, share):
    """Eight recordings of one species, two of another: 2 : 8, 2 * sqrt 4 : 8 = 1 : 2, and 1 : 1."""
    shares = windowing.oversampling([0] * 8 + [1] * 2, power)
    assert shares.sum() == pytest.approx(1.0) and shares[8:].sum() == pytest.approx(share)


def test_half_of_a_detectors_samples_are_positive():
    truth, shares = windowing.one_against_rest(np.array([[1, 0], [0, 1], [0.0, 1], [1, 1]]), 0)
    assert truth.tolist() == [[1], [0], [0], [1]] and shares.tolist() == [0.25] * 4
    _, shares = windowing.one_against_rest(np.array([[1, 0], [0, 1], [0, 1]]), 0)
    assert shares.tolist() == [0.5, 0.25, 0.25]
    with pytest.raises(windowing.WindowError, match="0 of 2"):
        windowing.one_against_rest(np.array([[0, 1], [0, 1]]), 0)


# Batches


def test_a_window_has_the_label_of_its_recording(recordings):
    sounds, truth, weight = batches(recordings, batch_size=32)[0]
    assert sounds.shape == (32, RATE_HZ) and sounds.dtype == truth.dtype == np.float32 and (weight == 1).all()
    assert truth.any(axis=0).all()
    assert all(pitch_of(sound) == recordings[3][row.argmax()] for sound, row in zip(sounds, truth, strict=True))


def test_a_short_part_is_repeated(recordings):
    found = windowing.read_window(recordings[0] / "1.flac", 0.0, 0.3, RATE_HZ, 1.0)
    n = round(0.3 * RATE_HZ)
    assert len(found) == RATE_HZ and np.array_equal(found[:n], found[n : 2 * n]) and found[-n:].any()


def test_a_window_lies_within_its_part(tmp_path):
    """Hiss, a second of whistle, hiss: the part is the whistle."""
    noise = hiss(1, sample_rate_hz=RATE_HZ)
    audio_io.write(tmp_path / "x.flac", np.concatenate([noise, tone(700, 1.0), noise]), RATE_HZ)
    table = pd.DataFrame({"audio_path": ["x.flac"], "start_s": 1.0, "end_s": 2.0, "row": 0})
    sounds, _, _ = RandomWindows(
        table, tmp_path, np.ones((1, 1)), rate_hz=RATE_HZ, window_s=0.4, batch_size=16, n_steps=1, rng=rng()
    )[0]
    loudness = np.sqrt((sounds**2).mean(axis=1))
    assert np.allclose(loudness, 0.5 / np.sqrt(2), rtol=0.02)
    assert len({sound.tobytes() for sound in sounds}) > 8  # they begin at different moments


def test_windows_are_resampled_to_the_models_rate(tmp_path):
    audio_io.write(tmp_path / "x.flac", tone(700, 2.0), RATE_HZ)
    found = windowing.read_window(tmp_path / "x.flac", 0.5, 2.0, 11_025, 1.0)
    assert len(found) == 11_025 and np.abs(np.fft.rfft(found)).argmax() == 700


def test_recordings_are_drawn_by_their_shares(recordings):
    """However long they are; 0 is never."""
    _, truth, _ = batches(recordings, batch_size=400, shares=[0.75, 0.25, 0.0], window_s=0.01)[0]
    assert truth.mean(axis=0) == pytest.approx([0.75, 0.25, 0.0], abs=0.06)
    with pytest.raises(windowing.WindowError, match="share 0"):
        batches(recordings, shares=[0.0, 0.0, 0.0])


def test_parts_of_a_recording_are_drawn_by_their_length(recordings):
    folder, table, _, _ = recordings
    table = table.iloc[[0, 2]].assign(row=[0, 0])  # 4 and 2 seconds
    both = RandomWindows(
        table, folder, np.ones((1, 1)), rate_hz=RATE_HZ, window_s=0.1, batch_size=300, n_steps=1, rng=rng()
    )
    low = np.mean([pitch_of(sound) == 500 for sound in both[0][0]])
    assert low == pytest.approx(2 / 3, abs=0.08)


def test_a_batch_depends_only_on_its_number(recordings):
    """So a training that was cut off goes on with the batches it would have had."""
    one, two = batches(recordings), batches(recordings)
    first = [one[step][0] for step in range(3)]
    assert np.array_equal(two[2][0], first[2]) and np.array_equal(two[0][0], first[0])
    assert not np.array_equal(first[0], first[1])
    two.epoch = 1
    assert not np.array_equal(two[0][0], first[0])
    assert not np.array_equal(batches(recordings, rng=rng(1))[0][0], first[0])


def test_the_key_depends_on_everything_that_is_drawn(recordings):
    keys = {
        batches(recordings, **options).key
        for options in ({}, {"rng": rng(1)}, {"batch_size": 4}, {"shares": [1, 2, 3]}, {"sample_weight": [1, 1, 2]})
    }
    assert len(keys) == 5 and batches(recordings).key in keys


def test_batches_are_weighted_and_augmented(recordings):
    def louder(sounds, truth, rng):
        return 2.0 * sounds, 0.5 * truth

    sounds, truth, weight = batches(recordings, sample_weight=[1.0, 2.0, 3.0], augment_batch=louder)[0]
    assert (weight == truth.argmax(axis=1) + 1).all() and (truth.sum(axis=1) == 0.5).all()
    assert np.abs(sounds).max() == pytest.approx(1.0, abs=0.01)


def test_spectrograms_come_from_the_front_end_and_are_augmented(recordings):
    def front_end(sounds, training):
        return sounds.reshape(len(sounds), 10, -1)

    assert np.array_equal(batches(recordings, front_end=front_end)[0][0].reshape(8, -1), batches(recordings)[0][0])
    dark = batches(recordings, front_end=front_end, augment_spectrograms=lambda images, truth, rng: (0 * images, truth))
    assert dark[0][0].shape == (8, 10, RATE_HZ // 10) and not dark[0][0].any()
    with pytest.raises(windowing.WindowError, match="front_end"):
        batches(recordings, augment_spectrograms=lambda images, truth, rng: (images, truth))


def test_an_unreadable_file_is_reported_and_replaced(recordings, tmp_path):
    folder, table, truth, _ = recordings
    table = table.assign(audio_path=[str(folder / "0.flac"), str(tmp_path / "gone.flac"), str(folder / "2.flac")])
    found = RandomWindows(table, tmp_path, truth, batch_size=32, n_steps=1, rng=rng(), **OPTIONS)
    assert not found[0][1][:, 1].any() and list(found.skipped) == [str(tmp_path / "gone.flac")]
    with pytest.raises(windowing.WindowError, match="gone.flac.*no such file"):
        RandomWindows(table, tmp_path, truth, shares=[0, 1, 0], batch_size=1, n_steps=1, rng=rng(), **OPTIONS)[0]


# Windows


def cut(lengths_s, n_windows=0, window_s=5.0):
    table = pd.DataFrame({"audio_path": "x", "start_s": 0.0, "end_s": lengths_s, "row": range(len(lengths_s))})
    return ConsecutiveWindows(table, ".", rate_hz=RATE_HZ, window_s=window_s, n_windows=n_windows).table


@pytest.mark.parametrize(("length_s", "starts_s"), [(2, [0]), (5, [0]), (5.4, [0]), (8, [0, 3]), (15, [0, 5, 10])])
def test_windows_cover_a_recording_and_end_within_it(length_s, starts_s):
    """All of it, but for half a second that is no window of its own."""
    found = cut([length_s])["start_s"].to_numpy()
    assert np.allclose(found, starts_s) and found[-1] + 5 <= max(5, length_s) + 1e-9


def test_windows_of_a_long_recording_are_spread_over_it():
    found = cut([100.0, 4.0], n_windows=4)
    assert found[found["row"] == 0]["start_s"].tolist() == [0, 25, 50, 75] and (found["row"] == 1).sum() == 1


def test_consecutive_windows_are_ordered_and_deterministic(recordings):
    folder, table, _, pitches = recordings
    found = ConsecutiveWindows(table, folder, n_windows=0, batch_size=3, **OPTIONS)
    sounds = np.concatenate([found[i] for i in range(len(found))])
    assert sounds.shape == (7, RATE_HZ) and [len(found[i]) for i in range(3)] == [3, 3, 1]
    assert [pitch_of(sound) for sound in sounds[[0, 3, 5]]] == [500, 500, 2000]
    for sound, row in zip(sounds, found.table["row"], strict=True):
        assert pitch_of(sound) == pytest.approx(pitches[row], rel=0.02)
    assert np.array_equal(sounds[:3], found[0])


def test_recording_scores_are_means_of_windows():
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    found = windowing.mean_of_windows(scores, pd.DataFrame({"row": [0, 0, 2]}), 3)
    assert found[[0, 2]].tolist() == [[0.5, 0.5], [0.5, 0.5]] and np.isnan(found[1]).all()
