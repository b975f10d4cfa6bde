import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import audio, birdclef, classifiers, pooling, runtime, soundscapes

RATE_HZ = 8000
CLASSES = ["crow", "tit", "wren"]
PRIOR = [0.5, 0.3, 0.2]


class Listener:
    """Stands in for an embedder: the loudness of each patch, and how many samples it holds."""

    sample_rate_hz, patch_s, hop_s, dim = RATE_HZ, 0.96, 0.48, 2

    def embed_stream(self, blocks):
        waveform = np.concatenate(list(blocks))
        size, hop = round(self.patch_s * RATE_HZ), round(self.hop_s * RATE_HZ)
        patches = audio.frame(waveform, size, hop)
        embeddings = np.stack([np.abs(patches).mean(axis=1), np.ones(len(patches))], axis=1).astype(np.float32)
        for start in range(0, len(embeddings), 10):
            yield embeddings[start : start + 10], np.ones(len(embeddings[start : start + 10]), np.float32)


class Patches:
    """Stands in for a classifier: keeps what it is asked, and answers with the mean embedding and the total weight."""

    def predict(self, inputs, verbose=0):
        self.asked = inputs
        weights = inputs["weights"]
        n_patches = (weights > 0).sum(axis=1)
        mean = (weights[..., None] * inputs["embeddings"]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
        return np.stack([mean[:, 0], mean[:, 1], n_patches], axis=1).astype(np.float32)


def soundscape(folder, name, loudness):
    """A wav whose seconds are as loud as told."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.repeat(np.asarray(loudness, np.float32), RATE_HZ), RATE_HZ, subtype="FLOAT")
    return path


@pytest.fixture
def model():
    head = classifiers.build_head(2, 3, hidden=())
    return classifiers.join(pooling.build_pooling(2, "mean"), head, 2)


# Windows


def test_a_window_hears_the_patches_whose_centres_are_in_it(tmp_path):
    """Centres are at 0.48 (i + 1) s: ten lie in [0, 5), ten in [5, 10), and patch 9 and 19 reach across the edges."""
    path = soundscape(tmp_path, "H1.wav", [0.1] * 5 + [0.4] * 5)
    windows, heard = soundscapes.predict(path, Listener(), Patches())
    assert windows == [(0.0, 5.0), (5.0, 10.0)]
    assert heard[:, 2].tolist() == [10, 10]
    assert heard[:, 0] == pytest.approx([0.1, 0.4], abs=0.02)


def test_a_window_without_the_centre_of_a_patch_takes_the_nearest(tmp_path):
    """In windows of 0.3 s most hold no centre; none is left empty."""
    path = soundscape(tmp_path, "H1.wav", [0.1, 0.2])
    windows, heard = soundscapes.predict(path, Listener(), Patches(), window_s=0.3)
    assert len(windows) == len(heard) == 7
    assert (heard[:, 2] >= 1).all() and np.isfinite(heard).all()


@pytest.mark.parametrize(("duration_s", "n_windows"), [(1, 1), (10, 2), (61, 13)])
def test_files_of_any_length_get_a_row_for_each_window(tmp_path, model, duration_s, n_windows):
    path = soundscape(tmp_path, "H1.wav", [0.1] * duration_s)
    row_ids, probabilities, timings, skipped = soundscapes.predict_all([path], CLASSES, Listener(), model, PRIOR)
    assert row_ids == [f"H1_{5 * (i + 1)}" for i in range(n_windows)]
    assert probabilities.shape == (n_windows, 3) and np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert timings["minutes"].tolist() == pytest.approx([n_windows * 5 / 60]) and skipped.empty


def test_windows_of_unequal_numbers_of_patches_are_predicted_as_if_alone(tmp_path, model):
    """The last window of 7 s has 3 patches, padded to 10: the padding changes nothing."""
    path = soundscape(tmp_path, "H1.wav", np.linspace(0.05, 0.5, 7))
    _, together = soundscapes.predict(path, Listener(), model)
    embeddings = np.concatenate([piece for piece, _ in Listener().embed_stream([audio.read(path)[0]])])
    last = {"embeddings": embeddings[None, 10:], "weights": np.ones((1, len(embeddings) - 10), np.float32)}
    assert len(embeddings) - 10 < 10
    assert np.allclose(model.predict(last, verbose=0)[0], together[1], atol=1e-5)


def test_denoising_hears_the_file_as_a_whole(tmp_path):
    path = soundscape(tmp_path, "H1.wav", [0.1] * 10)
    windows, heard = soundscapes.predict(path, Listener(), Patches(), denoise="stationary")
    assert len(windows) == 2 and heard[:, 2].tolist() == [10, 10]


# Bad files and none


def test_a_corrupt_file_gets_the_prior_in_twelve_rows_and_a_line(tmp_path, model):
    good, bad = soundscape(tmp_path, "H1.wav", [0.1] * 10), tmp_path / "H2.ogg"
    bad.write_bytes(b"")
    row_ids, probabilities, timings, skipped = soundscapes.predict_all([bad, good], CLASSES, Listener(), model, PRIOR)
    assert row_ids == [f"H2_{5 * (i + 1)}" for i in range(12)] + ["H1_5", "H1_10"]
    assert np.allclose(probabilities[:12], PRIOR)
    assert skipped.to_numpy().tolist() == [["H2.ogg", "08_submit", "is empty (0 bytes)"]]
    assert timings["soundscape"].tolist() == ["H1"]  # what was not heard took no time that counts
    table = birdclef.submission(row_ids, probabilities, CLASSES)
    birdclef.require_valid_submission(table, CLASSES, row_ids)


def test_without_any_soundscape_the_file_is_empty_and_valid(tmp_path, model):
    row_ids, probabilities, timings, skipped = soundscapes.predict_all([], CLASSES, Listener(), model, PRIOR)
    assert row_ids == [] and probabilities.shape == (0, 3) and skipped.empty
    assert soundscapes.projection(timings) == "no soundscape was timed"
    columns = [*CLASSES, "zander"]
    birdclef.submission(row_ids, probabilities, CLASSES, columns, fill=0.1).to_csv(tmp_path / "s.csv", index=False)
    written = pd.read_csv(tmp_path / "s.csv")
    assert list(written) == ["row_id", *columns] and len(written) == 0
    birdclef.require_valid_submission(written, columns, row_ids)


# Which soundscapes


RECORDINGS = pd.DataFrame(
    [
        ("train", "a/1.wav"),
        ("test", "a/2.wav"),
        ("test", "b/2.wav"),
        ("test", ""),
        ("test", "a/2.wav"),
        ("test", "a/3.wav"),
    ],
    columns=["split", "audio_path"],
)


def test_the_test_set_comes_first_and_whole(tmp_path):
    for i in range(3):
        soundscape(tmp_path, f"test_soundscapes/T{i}.wav", [0.1])
    soundscape(tmp_path, "train_soundscapes/H1.wav", [0.1])
    (tmp_path / "test_soundscapes" / "readme.txt").write_text("the hidden test set comes here")
    paths, what = soundscapes.choose(tmp_path, RECORDINGS, 2)
    assert [path.name for path in paths] == ["T0.wav", "T1.wav", "T2.wav"] and what == "3 test soundscapes"


def test_an_empty_test_set_is_rehearsed_on_some_training_soundscapes(tmp_path):
    (tmp_path / "test_soundscapes").mkdir()
    for i in range(3):
        soundscape(tmp_path, f"train_soundscapes/H{i}.wav", [0.1])
    paths, what = soundscapes.choose(tmp_path, RECORDINGS, 2)
    assert [path.name for path in paths] == ["H0.wav", "H1.wav"] and what == "2 train soundscapes, a rehearsal"


def test_without_soundscapes_test_recordings_stand_in_each_name_once(tmp_path):
    """a/2.wav and b/2.wav would both be rows 2_5, 2_10, ...: a submission must not have a row twice."""
    paths, what = soundscapes.choose(tmp_path, RECORDINGS, 8)
    assert paths == [tmp_path / "a" / "2.wav", tmp_path / "a" / "3.wav"]
    assert what == "2 test recordings in place of soundscapes, a rehearsal"
    assert soundscapes.choose(tmp_path, RECORDINGS[:1], 8)[0] == []
    with pytest.raises(runtime.BirdlibError, match="no sound in test_soundscapes/"):
        soundscapes.choose(tmp_path, None, 8)


# Time and truth


def test_the_projection_is_the_median_for_seven_hundred_minutes():
    """6 s a minute, whatever the slow first file: 700 minutes take 70 minutes."""
    timings = pd.DataFrame({"soundscape": list("abc"), "minutes": [1.0, 2.0, 1.0], "seconds": [90.0, 12.0, 6.0]})
    sentence = "6.00 s per minute of audio: 700 one-minute files would take 70 of 90 minutes"
    assert soundscapes.projection(timings) == sentence


def test_truth_is_read_in_the_order_of_rows_and_classes(tmp_path):
    """A numeric label stays text, NA is a label, a species outside the classes is left out, an unknown row is empty."""
    (tmp_path / "truth.csv").write_text("row_id,birds\nH1_10,wren;22973\nH1_5,\nH1_15,NA;zander\n")
    classes = ["22973", "NA", "wren"]
    truth = soundscapes.read_truth(tmp_path / "truth.csv", ["H1_5", "H1_10", "H1_15", "H9_5"], classes)
    assert truth.tolist() == [[0, 0, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert soundscapes.read_truth(tmp_path / "truth.csv", [], classes).shape == (0, 3)
