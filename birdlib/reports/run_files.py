"""What a run left in its outputs folder, as the sections of its report read it: receipts, tables, and the recordings where they still are."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import clips
from birdlib.data import birdclef, taxonomy

MAX_POINTS = 1000  # of the embedding map
_TEXT = ("species", "label", "recording_id", "soundscape", "row_id")  # columns of labels and names, which may look like numbers


class Run:
    """The outputs folder of a run.

    ``left_out`` is {stage: why it did not run}; ``recipe`` is what ``pipeline.recipes`` recorded, or {}.
    """

    def __init__(self, outputs, left_out=None):
        self.outputs = Path(outputs)
        self.left_out = dict(left_out or {})
        self.receipts = {}
        self.recipe = _recipe(self.outputs)
        for name in stages.READS:
            try:
                self.receipts[name] = stages.receipt(outputs, name)
            except stages.MissingStageError as error:
                self.left_out.setdefault(name, self._why_not_run(name) if "not finished" in str(error) else "its receipt is damaged")

    def _why_not_run(self, name):
        is_unused = self.recipe and name[:2] not in self.recipe["notebooks"]
        return f"recipe {self.recipe['name']} does not use it" if is_unused else ""

    def is_finished(self, *names):
        """Whether the stages have receipts."""
        return all(name in self.receipts for name in names)

    def results(self, name):
        """Headline results of a stage; empty where it is not finished."""
        return self.receipts.get(name, {}).get("results", {})

    def why_missing(self, name):
        """A sentence about a stage that has no receipt."""
        reason = self.left_out.get(name, "")
        return f"Stage {name} was left out: {reason.rstrip('.')}." if reason else f"Stage {name} has not run yet."

    def read(self, name, file_name):
        """A table, array or JSON value of a finished stage.

        Raises:
            MissingStageError: if the stage is not finished, or the file is missing because another version of birdlib wrote the stage.
        """
        path = self.outputs / name / file_name
        if path.suffix == ".csv" and path.is_file():  # labels that look like numbers are labels
            try:
                header = pd.read_csv(path, nrows=0).columns
            except pd.errors.EmptyDataError:
                return pd.DataFrame()
            text = _TEXT if file_name != "submission.csv" else ("row_id",)  # the other columns of a submission are species
            return pd.read_csv(path, dtype={column: str for column in text if column in header})
        return stages.read(self.outputs, name, file_name)

    def read_or_none(self, name, file_name):
        """As ``read``; None where the file is missing."""
        try:
            return self.read(name, file_name)
        except stages.MissingStageError:
            return None

    @functools.cached_property
    def root(self):
        """Folder of the recordings, or None where it is no longer there."""
        try:
            return stages.recordings_root(self.outputs)
        except (stages.MissingStageError, KeyError):
            return None

    @functools.cached_property
    def soundscapes(self):
        """{name: path} of the soundscapes, and of the recordings that stage 08 is rehearsed on where there are none, as far as they are still there."""
        if self.root is None:
            return {}
        recordings = [self.root / path for path in self.splits["audio_path"] if path]
        found = [*recordings, *(path for which in ("train", "test") for path in birdclef.soundscapes(self.root, which))]
        return {birdclef.stem(path): path for path in found if path.is_file()}

    @functools.cached_property
    def splits(self):
        """The recordings of stage 01 with their splits; text columns are text."""
        return self.read("01_split", "splits.parquet")

    @functools.cached_property
    def names(self):
        """DataFrame indexed by label: ``scientific_name, common_name``, the label itself where they are unknown."""
        labels = sorted(set(self.splits["species"].astype(str)) - {""}) if "species" in self.splits else []
        try:
            table = taxonomy.names(labels, self.root or "")
        except runtime.BirdlibError:  # the tables of the recordings have changed since
            table = taxonomy.names(labels)
        return table.set_index("label")

    @functools.cached_property
    def embedding(self):
        """Photos and sounds of stage 04, at most ``MAX_POINTS``, as many of each species as possible: (vectors, index, points in two dimensions)."""
        vectors, index = np.asarray(self.read("04_triplet", "embeddings.npy")), self.read("04_triplet", "index.parquet")
        if len(index) > MAX_POINTS:
            rows = spread(index["species"], MAX_POINTS, np.random.default_rng(0))
            vectors, index = vectors[rows], index.iloc[rows].reset_index(drop=True)
        return vectors, index, clips.layout(vectors, 0)

    def name(self, label):
        """The common name of a label, or the label."""
        label = str(label)
        try:
            return self.names["common_name"].get(label, label)
        except stages.MissingStageError:
            return label

    def unique_names(self, labels):
        """Names of labels, in their order; where two labels have one name, the label is written behind it."""
        found = [self.name(label) for label in labels]
        return [f"{name} ({label})" if found.count(name) > 1 else name for name, label in zip(found, labels, strict=True)]

    def recording(self, path):
        """Path of a recording, photo or film of the manifest, or None where it is no longer there."""
        found = self.root / path if self.root is not None and path else None
        return found if found is not None and found.is_file() else None

    def notebook_link(self, name):
        """Address of the executed notebook relative to the report, or None."""
        return f"notebooks/{name}.ipynb" if (self.outputs / "notebooks" / f"{name}.ipynb").is_file() else None


def spread(labels, n, rng):
    """Rows to show: up to ``n``, as many of each label as possible, in their order.

    Args:
        labels: (rows,).

    Returns:
        sorted int rows.
    """
    labels = np.asarray(labels).astype(str)
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), int)
    seen = {}
    for row in order:
        turn[row] = seen[labels[row]] = seen.get(labels[row], -1) + 1
    return np.sort(np.argsort(turn, kind="stable")[:n])


def _recipe(outputs):
    path = outputs / stages.RECIPE
    return runtime.read_json(path) if path.is_file() else {}
