"""The map of recordings by their sound."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from birdlib.audio import clips


@pytest.mark.parametrize(("n", "is_alike"), [(1, False), (4, False), (5, False), (12, False), (8, True)])
def test_every_recording_has_a_point_on_the_map(n, is_alike, tmp_path):
    """Also those that all sound the same."""
    patches = pd.DataFrame({"recording_id": np.repeat([f"r{i:02}" for i in range(n)], 3)})
    embeddings = np.random.default_rng(0).random((3 * n, 8), dtype=np.float32)
    np.save(tmp_path / "embeddings.npy", np.ones_like(embeddings) if is_alike else embeddings)
    points, names = clips.recording_map(tmp_path / "embeddings.npy", patches, seed=0)
    assert points.shape == (n, 2) and np.isfinite(points).all() and names.tolist() == sorted(set(names))
    assert set(names) == set(patches["recording_id"])


def test_a_map_is_limited_to_a_number_of_recordings(tmp_path):
    patches = pd.DataFrame({"recording_id": [f"r{i:03}" for i in range(300)]})
    np.save(tmp_path / "embeddings.npy", np.random.default_rng(0).random((300, 4)))
    points, names = clips.recording_map(tmp_path / "embeddings.npy", patches, seed=0, max_recordings=5)
    assert len(points) == len(set(names)) == 5


MAPPED = """
import sys
import numpy as np, pandas as pd
from birdlib import runtime
from birdlib.audio import clips
patches = pd.DataFrame({"recording_id": np.repeat([f"r{i}" for i in range(20)], 2500)})
clips.recording_map(sys.argv[1], patches[:2500:25].reset_index(drop=True), 0)  # scikit-learn is loaded, and one recording read
before = runtime.peak_mb()
clips.recording_map(sys.argv[1], patches, 0)
print(runtime.peak_mb() - before)
"""


def test_what_the_map_has_read_does_not_stay_in_memory(tmp_path):
    """200 MB of embeddings of 20 recordings."""
    np.save(tmp_path / "embeddings.npy", np.ones((50_000, 1000), np.float32))
    command = [sys.executable, "-c", MAPPED, tmp_path / "embeddings.npy"]
    assert int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) < 60
