"""Where scenes start and end."""

import numpy as np
import pytest

from birdlib.multimodal import scene_audio, scene_video, scenes


def test_frames_of_a_scene_last_as_long_as_its_sound():
    assert scene_video.N_FRAMES * scene_video.FRAME_S == scene_audio.SCENE_S == scenes.SCENE_S == 4.0


@pytest.mark.parametrize(
    ("until_s", "starts_s"),
    [
        (0.1, [0]),
        (4.0, [0]),
        (4.4, [0]),  # no more than a frame is left over
        (4.7, [0, 0.7]),
        (6.0, [0, 2]),
        (11.0, [0, 2, 4, 6, 7]),
        (12.0, [0, 2, 4, 6, 8]),
    ],
)
def test_scenes_start_every_two_seconds_and_the_last_is_flush_with_the_end(until_s, starts_s):
    assert scenes.windows(0.0, until_s, 2.0) == pytest.approx(starts_s)
    assert scenes.windows(30.0, 30.0 + until_s, 2.0) == pytest.approx(np.add(starts_s, 30))


def test_scenes_cover_all_of_a_film_but_a_frame():
    for until_s in np.random.default_rng(0).uniform(4.0, 40.0, 200):
        starts_s = scenes.windows(0.0, until_s, 2.0)
        ends_s = starts_s + scenes.SCENE_S
        assert starts_s[0] == 0 and until_s - scene_video.FRAME_S <= ends_s[-1] <= until_s + 1e-6
        assert (np.diff(starts_s) > scene_video.FRAME_S).all() and (np.diff(starts_s) <= 2.0).all()
