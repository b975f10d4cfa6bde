"""Windows of soundscapes with labels from stage 06, as classifiers learn from them beside recordings."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.species import pseudolabels

STAGE = "06_pseudolabel"


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows and what is known of them, row by row.

    ``table``: ``row_id, soundscape, audio_path`` (relative to the recordings' root), ``start_s, end_s``. ``targets``: (windows, classes) in
    [0, 1], soft ones too. ``confidences``: (windows,) in [0, 1], of the surest label. ``embeddings`` and ``patches``: as of stage 03, by its
    embedder, with ``recording_id`` = ``row_id``.
    """

    table: pd.DataFrame
    targets: np.ndarray
    confidences: np.ndarray
    embeddings: np.ndarray
    patches: pd.DataFrame

    def __len__(self):
        return len(self.table)


def read(outputs_dir, classes):
    """The windows that stage 06 labelled, or None where it is not finished, not of these recordings, or labelled nothing."""
    if not stages.can_be_read(outputs_dir, STAGE):
        return None
    folder = Path(outputs_dir) / STAGE
    table, labels, patches = (pd.read_parquet(folder / f"{name}.parquet") for name in ("windows", "labels", "patches"))
    embeddings = np.load(folder / "embeddings.npy", mmap_mode="r")
    targets, confidences, is_known = pseudolabels.as_arrays(labels, table["row_id"], classes)
    here = is_known & table["row_id"].isin(patches["recording_id"]).to_numpy()
    if not here.any():
        return None
    return Windows(table[here].reset_index(drop=True), targets[here], confidences[here], embeddings, patches)


def as_clips(windows, root):
    """The windows as clips for ``clips.embed_clips``, that other embedders may hear them: paths relative to ``root``."""
    digests = {path: runtime.digest_file(Path(root) / path) for path in windows.table["audio_path"].unique()}
    digest = windows.table["audio_path"].map(digests)
    names = windows.table["row_id"]
    return windows.table[["audio_path", "start_s", "end_s"]].assign(clip_id=names, recording_id=names, digest=digest, is_noise=False)
