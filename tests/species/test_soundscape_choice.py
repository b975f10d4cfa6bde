"""Which soundscapes stage 08 scores: those of the test, else of the training, else test recordings."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import runtime
from birdlib.species import soundscape_predictions


def put(folder, name):
    """A sound of a second."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / name, np.full(8000, 0.1), 8000)


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
        put(tmp_path, f"test_soundscapes/T{i}.wav")
    put(tmp_path, "train_soundscapes/H1.wav")
    (tmp_path / "test_soundscapes" / "readme.txt").write_text("the hidden test set comes here")
    paths, what = soundscape_predictions.choose(tmp_path, RECORDINGS, 2)
    assert [path.name for path in paths] == ["T0.wav", "T1.wav", "T2.wav"] and what == "3 test soundscapes"


def test_an_empty_test_set_is_replaced_by_training_soundscapes(tmp_path):
    (tmp_path / "test_soundscapes").mkdir()
    for i in range(3):
        put(tmp_path, f"train_soundscapes/H{i}.wav")
    paths, what = soundscape_predictions.choose(tmp_path, RECORDINGS, 2)
    assert [path.name for path in paths] == ["H0.wav", "H1.wav"] and what == "2 train soundscapes, a rehearsal"


def test_without_soundscapes_test_recordings_are_used_each_stem_once(tmp_path):
    """a/2.wav and b/2.wav would both be rows 2_5, 2_10, ...: a submission must not have a row twice."""
    paths, what = soundscape_predictions.choose(tmp_path, RECORDINGS, 8)
    assert paths == [tmp_path / "a" / "2.wav", tmp_path / "a" / "3.wav"]
    assert what == "2 test recordings in place of soundscapes, a rehearsal"
    assert soundscape_predictions.choose(tmp_path, RECORDINGS[:1], 8)[0] == []
    with pytest.raises(runtime.BirdlibError, match="no sound in test_soundscapes/"):
        soundscape_predictions.choose(tmp_path, None, 8)
