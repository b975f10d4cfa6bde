"""The clips that are cut of a recording."""

import pandas as pd
import pytest

from birdlib import runtime
from birdlib.audio import clips


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
