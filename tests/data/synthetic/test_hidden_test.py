"""The simulated hidden test set: names, readable and odd files, tables."""

import collections

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib.audio import io as audio_io
from birdlib.data import birdclef, submissions
from birdlib.data.synthetic import hidden_test

ODD = {"corrupt": 2, "empty": 1, "short": 1, "long": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, table): 12 files of a soundscape of 7 s at 8 kHz, and one that cannot be read."""
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("made") / "set"
    (data / "train_audio").mkdir()
    (data / "train.csv").write_text("primary_label,filename\ncrow,a.ogg\n")
    (data / "taxonomy.csv").write_text("primary_label\ncrow\n1139490\n")
    (data / "train_soundscapes").mkdir()
    loudness = np.repeat(np.linspace(0.1, 0.7, 7), 8000)
    soundfile.write(data / "train_soundscapes" / "H1.wav", loudness * np.sin(np.arange(56_000)), 8000)
    (data / "train_soundscapes" / "H2.ogg").write_bytes(b"no sound")
    return folder, hidden_test.make(folder, data, 12, ODD, np.random.default_rng(0))


def test_the_number_and_kinds_of_files_are_as_requested_under_new_names(made):
    folder, table = made
    paths = birdclef.soundscapes(folder, "test")
    assert paths == list(table["path"]) and len({path.stem for path in paths}) == 12
    assert "H1" not in {path.stem for path in paths}
    assert collections.Counter(table["kind"]) == {**ODD, "whole": 7}


def test_readable_files_have_the_listed_duration(made):
    for path, kind, seconds in made[1][["path", "kind", "seconds"]].itertuples(index=False):
        if kind in ("corrupt", "empty"):
            with pytest.raises(audio_io.AudioError):
                audio_io.read(path)
        else:
            assert audio_io.duration(path) == seconds and audio_io.sample_rate(path) == 32_000


def test_short_soundscapes_are_repeated_to_a_minute(made):
    """Seven seconds that grow louder: so do seconds 7 to 14, and the last four."""
    _, table = made
    waveform, rate_hz = audio_io.read(table.loc[table["kind"] == "whole", "path"].iloc[0])
    loudness = np.sqrt(np.mean(waveform.reshape(60, rate_hz) ** 2, axis=1))
    assert np.allclose(loudness[:7], loudness[7:14], atol=0.02) and np.allclose(loudness[56:], loudness[:4], atol=0.02)
    assert (np.diff(loudness[:7]) > 0).all()


def test_expected_rows_are_those_of_the_sound_or_of_a_minute_if_unreadable(made):
    """A minute has 12 windows, 10 s have 2, 61 s have 13."""
    _, table = made
    ids = hidden_test.expected_row_ids(table)
    n_rows = collections.Counter(row_id.rsplit("_", 1)[0] for row_id in ids)
    expected = {"whole": 12, "corrupt": 12, "empty": 12, "short": 2, "long": 13}
    assert n_rows == {path.stem: expected[kind] for path, kind in zip(table["path"], table["kind"], strict=True)}


def test_the_tables_of_the_competition_are_written(made):
    folder, table = made
    assert birdclef.is_layout(folder) and birdclef.submission_classes(folder) == ["1139490", "crow"]
    example = pd.read_csv(folder / "sample_submission.csv")
    assert submissions.find_faults(example, ["crow", "1139490"], hidden_test.expected_row_ids(table.head(1))) == []


def test_impossible_sets_raise_an_error(tmp_path):
    rng = np.random.default_rng(0)
    with pytest.raises(hidden_test.HiddenSetError, match="2 files cannot hold 3 odd ones"):
        hidden_test.make(tmp_path / "new", tmp_path, 2, {"short": 3}, rng)
    with pytest.raises(hidden_test.HiddenSetError, match="no loud files: choose whole"):
        hidden_test.make(tmp_path / "new", tmp_path, 2, {"loud": 1}, rng)
    with pytest.raises(hidden_test.HiddenSetError, match="no soundscapes that can be read.*--data"):
        hidden_test.make(tmp_path / "new", tmp_path, 2, {}, rng)
    assert not (tmp_path / "new").exists()
