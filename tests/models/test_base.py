import numpy as np
import pytest

from birdlib.models import base as embedder_base


@pytest.mark.parametrize("n_samples", [0, 1, 9, 10, 11, 14, 15, 16, 50])
@pytest.mark.parametrize("hop", [5, 10])
def test_patches_hold_every_sample_however_the_recording_is_cut(n_samples, hop):
    recording = np.arange(1, n_samples + 1, dtype=np.float32)
    patches = list(embedder_base.cut([recording], 10, hop))
    assert all(len(patch) == 10 for patch in patches)
    heard = set(np.concatenate(patches)) - {0.0}
    assert heard == set(recording)
    assert len(patches) == 1 + max(0, -(-(n_samples - 10) // hop))
    in_blocks = list(embedder_base.cut(np.array_split(recording, 7), 10, hop))
    assert np.array_equal(in_blocks, patches)


def test_a_patch_begins_a_hop_after_the_one_before():
    first, second, third = embedder_base.cut([np.arange(20.0)], 10, 5)
    assert (first[0], second[0], third[0]) == (0, 5, 10) and third[-1] == 19
