"""A simulated hidden test set, of soundscapes that are at hand under other names, to rehearse a submission.

    taxonomy.csv  sample_submission.csv  train.csv  train_audio/ (empty)  test_soundscapes/*.ogg

Soundscapes last one minute at 32 kHz. Some may be odd: corrupt, empty, of 10 or of 61 seconds.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.audio import io as audio_io
from birdlib.data import birdclef, submissions

SAMPLE_RATE_HZ = 32_000
_SECONDS = {"whole": 60.0, "short": 10.0, "long": 61.0, "corrupt": 0.0, "empty": 0.0}  # of sound in a file of each kind
_UNREADABLE_S = 60.0  # assumed for a file that cannot be read


class HiddenSetError(runtime.BirdlibError):
    """A test set that cannot be generated."""


def make(folder, data_dir, n_files, odd, rng, n_distinct=16):
    """Generate a test set.

    Args:
        folder: must not exist yet.
        data_dir: a BirdCLEF folder, or another with ``train_soundscapes/`` or ``test_soundscapes/``, which are cut, or
            repeated, to a minute.
        n_files: how many, including the odd ones.
        odd: {kind: number}, kinds of ``_SECONDS``.
        rng: samples names, order and soundscapes.
        n_distinct: the number of soundscapes to encode; further files are links to these (copies where links fail).

    Returns:
        DataFrame, a row a file: ``path``, ``kind``, ``seconds`` of sound, ``source`` (name of its soundscape; "" if
            corrupt or
        empty).

    Raises:
        HiddenSetError: if there are no readable soundscapes, more odd files than files, or an unknown kind.
    """
    folder, data_dir = Path(folder), Path(data_dir)
    kinds = [kind for kind, n in odd.items() for _ in range(n)]
    if unknown := set(kinds) - set(_SECONDS):
        raise HiddenSetError(f"there are no {', '.join(sorted(unknown))} files: choose {', '.join(_SECONDS)}")
    if len(kinds) > n_files:
        raise HiddenSetError(f"{n_files} files cannot hold {len(kinds)} odd ones: choose more files, or fewer odd ones")
    kinds = rng.permutation(np.array(kinds + ["whole"] * (n_files - len(kinds)), dtype=object))
    minutes = _minutes(data_dir, rng, n_distinct)
    sounds = folder / "test_soundscapes"
    sounds.mkdir(parents=True)
    names = [f"soundscape_{number:07d}.ogg" for number in sorted(rng.choice(10_000_000, n_files, replace=False))]
    rows, encoded = [], {}
    for i, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        path, (source, minute) = sounds / name, minutes[i % len(minutes)]
        if not _SECONDS[kind]:
            path.write_bytes(b"OggS" + rng.bytes(4096) if kind == "corrupt" else b"")
            source = ""
        elif (kind, source) in encoded:
            _link(encoded[kind, source], path)
        else:
            waveform = np.resize(minute, round(_SECONDS[kind] * SAMPLE_RATE_HZ))  # resize repeats
            audio_io.write(path, waveform, SAMPLE_RATE_HZ)
            encoded[kind, source] = path
        rows.append((path, kind, _SECONDS[kind], source))
    table = pd.DataFrame(rows, columns=["path", "kind", "seconds", "source"])
    _write_tables(folder, data_dir, table)
    return table


def expected_row_ids(table):
    """The rows of a submission, in order; a file that cannot be read has those of a minute."""
    return [
        birdclef.row_id(path, end_s)
        for path, seconds in zip(table["path"], table["seconds"], strict=True)
        for _, end_s in birdclef.windows(seconds or _UNREADABLE_S)
    ]


def _minutes(data_dir, rng, n_distinct):
    """[(name, the first minute at 32 kHz)] of ``n_distinct`` readable soundscapes."""
    paths = birdclef.soundscapes(data_dir, "train") or birdclef.soundscapes(data_dir, "test")
    minutes = []
    for index in rng.permutation(len(paths)):
        if len(minutes) == n_distinct:
            break
        try:
            minutes.append((paths[index].name, audio_io.read(paths[index], SAMPLE_RATE_HZ, end_s=_SECONDS["long"])[0]))
        except audio_io.AudioError:
            continue
    if not minutes:
        where = "train_soundscapes/ or test_soundscapes/: choose another folder by --data"
        raise HiddenSetError(f"{data_dir} has no soundscapes that can be read in {where}")
    return minutes


def _write_tables(folder, data_dir, table):
    """The competition's tables, as far as the data have them."""
    for name in ("taxonomy.csv", "train.csv", "train_metadata.csv"):
        if (data_dir / name).is_file():
            shutil.copyfile(data_dir / name, folder / name)
    if birdclef.is_layout(data_dir):
        (folder / "train_audio").mkdir()
        classes = birdclef.submission_classes(data_dir)
        row_ids = expected_row_ids(table.head(1))
        even = np.full((len(row_ids), len(classes)), 1 / len(classes))
        runtime.write_table(submissions.table(row_ids, even, classes), folder / "sample_submission.csv")


def _link(path, new):
    try:
        os.link(path, new)
    except OSError:  # some disks have no hard links
        shutil.copyfile(path, new)
