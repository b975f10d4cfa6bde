"""What the tests of clips share."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from made_clips import OPTIONS, RATE_HZ, manifest_of, song

from birdlib.audio import clips


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def stage(field, tmp_path_factory):
    """(folder, cleaned, skipped) of the stage as it was first run."""
    folder = tmp_path_factory.mktemp("outputs") / "02_clean"
    return folder, *clips.clean_recordings(field[1], field[0], folder, **OPTIONS)
