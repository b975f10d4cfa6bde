"""The data set of stage 07's trainings: recordings with their truth, their clips, and soundscape windows with their labels."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import stages
from birdlib.data import manifest
from birdlib.data import splits as split_rules
from birdlib.species import classifiers, soundscape_windows


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """``splits``: rows of stage 01 that have embeddings; ``truth`` (rows, classes); ``clips`` of 02; ``windows`` of 06 or None."""

    outputs_dir: Path
    splits: pd.DataFrame
    truth: np.ndarray
    classes: list
    clips: pd.DataFrame
    windows: soundscape_windows.LabelledWindows | None
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
    def is_test(self):
        """(rows,) bool, without repeated rows."""
        return split_rules.own_rows(self.splits, "test")

    @property
    def prior(self):
        """Share of training recordings of each class."""
        return self.truth[self.is_train].mean(axis=0)

    def clip_paths(self, is_chosen):
        """Files of the cleaned clips of some rows of the splits, without noise."""
        own = self.clips[self.clips["recording_id"].isin(self.splits["recording_id"][is_chosen]) & ~self.clips["is_noise"]]
        return [self.outputs_dir / "02_clean" / path for path in own["audio_path"].unique()]


def load(outputs_dir, label_mode, weights_dir=""):
    """TrainingData from stages 01, 02, 03 and, where it is readable, 06."""
    outputs_dir = Path(outputs_dir)
    splits, classes = stages.read(outputs_dir, "01_split", "splits.parquet", "classes.json")
    embedded = pd.read_parquet(outputs_dir / "03_embed" / "patches.parquet", columns=["recording_id"])["recording_id"]
    splits = splits[splits["recording_id"].isin(embedded)].reset_index(drop=True)
    truth = manifest.multi_hot(splits, classes, secondary_weight=1.0 if label_mode == "multi" else 0.0)
    clips = stages.read(outputs_dir, "02_clean", "clips.parquet")
    embedder = stages.receipt(outputs_dir, "03_embed")["parameters"]["embedder"]
    return TrainingData(outputs_dir, splits, truth, classes, clips, soundscape_windows.read(outputs_dir, classes), embedder, label_mode, weights_dir)


def loss_of(loss, label_mode):
    """The loss that is meant: ``auto`` is cross-entropy for one species a recording (``single``), binary cross-entropy for any number (``multi``).

    Args:
        loss: ``auto`` or a name of ``losses.classification``.

    Raises:
        classifiers.ClassifierError: if there is no such loss or label mode.
    """
    from birdlib.losses import classification as losses

    if label_mode not in classifiers.LOSSES:
        raise classifiers.ClassifierError(f"label_mode {label_mode!r} is unknown: use {' or '.join(classifiers.LOSSES)}")
    if loss != "auto" and loss not in losses.LOSSES:
        raise classifiers.ClassifierError(f"loss {loss!r} is unknown: use auto, {', '.join(losses.LOSSES)}")
    return classifiers.LOSSES[label_mode] if loss == "auto" else loss


def mode_of(loss):
    """``single`` (softmax) for cross-entropy, in which species compete; ``multi`` (sigmoid) for every other loss."""
    return "single" if loss == "cross_entropy" else "multi"
