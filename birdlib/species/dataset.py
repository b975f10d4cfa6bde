"""What all trainings of stage 07 share: recordings with their truth, the clips to hear, and windows of soundscapes with their labels."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.data import manifest
from birdlib.data import splits as split_rules
from birdlib.species import soundscape_labels


@dataclasses.dataclass(frozen=True)
class _Data:
    """What all trainings share. ``splits``: rows of stage 01 that can be heard; ``truth`` (rows, classes), ``windows`` of 06 or None."""

    outputs_dir: Path
    splits: pd.DataFrame
    truth: np.ndarray
    classes: list
    clips: pd.DataFrame
    windows: soundscape_labels.Windows | None
    embedder: str
    label_mode: str
    weights_dir: str = ""

    @property
    def labels(self):
        """(rows,) int, the primary species."""
        return self.splits["species"].map(self.classes.index).to_numpy()

    @property
    def is_train(self):
        """(rows,) bool."""
        return (self.splits["split"] == "train").to_numpy()

    @property
    def is_validation(self):
        """(rows,) bool, without repeated rows."""
        return split_rules.own_rows(self.splits, "validation")

    @property
    def prior(self):
        """Share of training recordings of each class."""
        return self.truth[self.is_train].mean(axis=0)


def load(outputs_dir, label_mode, weights_dir=""):
    """Read what stages 01, 02, 03 and, where it can be read, 06 wrote."""
    outputs_dir = Path(outputs_dir)
    classes = runtime.read_json(outputs_dir / "01_split" / "classes.json")
    heard = pd.read_parquet(outputs_dir / "03_embed" / "patches.parquet", columns=["recording_id"])["recording_id"]
    splits = pd.read_parquet(outputs_dir / "01_split" / "splits.parquet")
    splits = splits[splits["recording_id"].isin(heard)].reset_index(drop=True)
    truth = manifest.multi_hot(splits, classes, secondary_weight=1.0 if label_mode == "multi" else 0.0)
    clip_table = pd.read_parquet(outputs_dir / "02_clean" / "clips.parquet")
    embedder = stages.receipt(outputs_dir, "03_embed")["parameters"]["embedder"]
    return _Data(outputs_dir, splits, truth, classes, clip_table, soundscape_labels.read(outputs_dir, classes), embedder, label_mode, weights_dir)


def mode_of(loss):
    """Species compete in cross-entropy (softmax); every other loss asks each for itself (sigmoid)."""
    return "single" if loss == "cross_entropy" else "multi"
