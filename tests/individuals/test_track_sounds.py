import numpy as np
import pandas as pd
import pytest

from birdlib.data.synthetic import acoustics, films
from birdlib.individuals import track_sounds
from birdlib.multimodal import scene_audio

BAND = 3000 // 125  # of the tone


def film_with_tone(path):
    """Silence for 2 s, then a tone of 3 kHz for 6 s."""
    rate_hz = acoustics.SAMPLE_RATE_HZ
    tone = 0.3 * np.sin(2 * np.pi * 3000 * np.arange(6 * rate_hz) / rate_hz)
    films.write_film([np.zeros((48, 64, 3), np.uint8)] * 40, np.concatenate([np.zeros(2 * rate_hz), tone]).astype(np.float32), path, fps=5)
    return path


def test_sound_is_attributed_only_to_a_bird_that_is_alone(tmp_path):
    """Silence for 2 s, then a tone: only the bird that is alone during the tone has sound."""
    path = film_with_tone(tmp_path / "film.mp4")
    alone_s = {"alone_from_s": [2.5, 0.0, np.nan], "alone_until_s": [4.0, 1.5, np.nan]}
    summary = pd.DataFrame({"recording_id": "film", "track": [1, 2, 3], **alone_s}, index=[7, 8, 9])
    crops = pd.DataFrame({"recording_id": "film", "track": [3, 1, 2, 1]})
    sounds = track_sounds.extract("alone", summary, crops, {"film": path})
    spectrograms = sounds.spectrograms
    assert sounds.is_present.tolist() == [True, False, False] and sounds.of_crop.tolist() == [2, 0, 1, 0]
    band = spectrograms[0, :40].mean(axis=0).argmax()
    assert band == 3000 // 125 or band == 3000 // 125 - 1
    assert spectrograms[0, 60:].max() < spectrograms[0, :40].max() and not spectrograms[1:].any()


def test_crops_have_the_sound_of_their_time_whichever_bird_they_show(tmp_path):
    """Crops of two tracks at one time share a sound; near the start of the film it begins with the film."""
    path = film_with_tone(tmp_path / "film.mp4")
    crops = pd.DataFrame({"recording_id": "film", "track": [1, 2, 1, 2, 1], "time_s": [6.0, 6.0, 0.4, 1.0, 3.0]})
    sounds = track_sounds.extract("crop", pd.DataFrame({"recording_id": []}), crops, {"film": path})
    assert sounds.of_crop.tolist() == [0, 0, 1, 1, 2] and sounds.is_present.all()
    n_steps = {row: int((spectrogram[:, BAND - 1 : BAND + 1].max(axis=1) > 0.7).sum()) for row, spectrogram in enumerate(sounds.spectrograms)}
    per_second = scene_audio.N_STEPS / scene_audio.SCENE_S
    assert n_steps[0] == pytest.approx(4 * per_second, abs=2)  # from 4 to 8 s: the tone
    assert n_steps[1] == pytest.approx(2 * per_second, abs=2)  # from 0 to 4 s: half of it
    assert n_steps[2] == pytest.approx(3 * per_second, abs=2)  # from 1 to 5 s


def test_films_without_a_path_have_no_sound():
    crops = pd.DataFrame({"recording_id": "film", "track": [1], "time_s": [6.0]})
    sounds = track_sounds.extract("crop", pd.DataFrame({"recording_id": []}), crops, {})
    assert sounds.of_crop.tolist() == [0] and not sounds.is_present.any() and not sounds.spectrograms.any()


def test_sounds_of_several_sets_keep_their_crops():
    one = track_sounds.Sounds(np.zeros((2, 125, 128), np.float32), np.array([True, False]), np.array([1, 0, 1]))
    other = track_sounds.Sounds(np.ones((1, 125, 128), np.float32), np.array([True]), np.array([0]))
    both = track_sounds.concatenate([one, other])
    assert both.of_crop.tolist() == [1, 0, 1, 2] and both.is_present.tolist() == [True, False, True] and both.spectrograms[2].all()
    assert both.take([3, 0]).of_crop.tolist() == [2, 1]
