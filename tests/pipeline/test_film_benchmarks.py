"""What the benchmark of films rests on: a film that is as long as one likes without being encoded again."""

import numpy as np

from birdlib.data.synthetic import films
from birdlib.pipeline import film_benchmarks
from birdlib.video import io as video_io


def test_a_looped_film_repeats_the_clip(tmp_path):
    """Two seconds at 5 frames per second, three times."""
    rng = np.random.default_rng(0)
    images = [
        np.kron(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8)) for _ in range(10)
    ]
    films.write_film(images, np.zeros(2 * 32_000, np.float32), tmp_path / "clip.mp4", fps=5)
    film_benchmarks.loop(tmp_path / "clip.mp4", tmp_path / "long.mp4", times=3, length_s=2)
    clip, long = ([*video_io.frames(tmp_path / name, 5.0)] for name in ("clip.mp4", "long.mp4"))
    assert len(clip) == 10
    np.testing.assert_allclose([time_s for time_s, _ in long], np.arange(30) / 5)
    for number, (_, image) in enumerate(long):
        np.testing.assert_array_equal(image, clip[number % 10][1])
