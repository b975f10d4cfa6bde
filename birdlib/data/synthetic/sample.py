"""The synthetic sample: a BirdCLEF-2025 folder of invented animals with known truth.

    train.csv  taxonomy.csv  sample_submission.csv  recording_location.txt
    train_audio/<label>/<collection><id>.ogg  train_soundscapes/*.ogg  test_soundscapes/*.ogg
    images/<label>/*.jpg  videos/*.mp4
    truth/individuals.csv  soundscape_labels.csv  speech.csv  video_tracks.csv  README.md

Everything is synthetic: species, people, places, songs, voices, images. ``truth/`` is for tests and scores; no stage
that trains or predicts may read it. The same seed gives the same waveforms, images and tables everywhere, and the same
bytes of ogg, jpg and mp4 with the same versions of libsndfile, OpenCV and FFmpeg.
"""

import tempfile
from pathlib import Path

from birdlib import runtime
from birdlib.data.synthetic import generator, world

_VERSION = 3  # a sample of another version is generated again


def ensure(folder=None, seed=0, **sizes):
    """The folder of a complete sample of this version, seed and size, generated if needed; arguments as in
    ``generate``.

    ``folder`` None is ``data/sample`` of the repository, or the cache if that is read-only.
    """
    folder = _default_folder() if folder is None else Path(folder)
    stamp = folder / "sample.json"
    if stamp.is_file() and runtime.read_json(stamp) == _stamp(seed, sizes):
        return folder
    return generate(folder, seed, **sizes)


def generate(folder, seed=0, **sizes):
    """Generate the sample, some 15 MB at its default size, atomically.

    Args:
        folder: a sample that is already there is replaced.
        seed: int.
        sizes: ``n_recordings`` of a common species, more or less one (13); ``n_outings`` (22); ``n_photos`` of a common
            species (8); ``n_films`` (6, at most); ``n_train_soundscapes`` (4); ``n_test_soundscapes`` (3);
            ``soundscape_s`` (60).

    Returns:
        Path of the folder.

    Raises:
        BirdlibError: the folder is neither empty nor a sample, or espeakng-loader is missing.
        TypeError: a size is unknown.
    """
    folder = Path(folder)
    stamp = _stamp(seed, sizes)
    if folder.exists() and any(folder.iterdir()) and not (folder / "sample.json").is_file():
        raise runtime.BirdlibError(f"{folder} is not empty and not a sample: choose another folder, or empty it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        whole = Path(temporary) / "new"
        generator.SampleBuilder(whole, seed, **stamp["sizes"]).build()
        runtime.write_json(stamp, whole / "sample.json")
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        whole.rename(folder)
    return folder


def _default_folder():
    home = runtime.repository() / "data"
    try:
        home.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            return home / "sample"
    except OSError:  # an attached code folder is read-only
        return runtime.cache_dir() / "sample"


def _stamp(seed, sizes):
    known = {"n_recordings": 13, "n_outings": 22, "n_photos": 8, "n_films": len(world.CASTS), "n_train_soundscapes": 4,
             "n_test_soundscapes": 3, "soundscape_s": 60}  # fmt: skip
    unknown = sorted(set(sizes) - set(known))
    if unknown:
        raise TypeError(f"unknown sizes: {', '.join(unknown)}; known are {', '.join(known)}")
    return {"synthetic": True, "version": _VERSION, "seed": seed, "sizes": known | sizes}
