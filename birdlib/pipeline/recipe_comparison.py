"""Two runs side by side, such as a recipe as published and the suite's own: their figures on the same test rows, and the difference.

A figure is compared by pairs where both runs were tested on the same rows; otherwise both are resampled independently.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.metrics import bootstrap, classification
from birdlib.species import soundscape_annotations

_N_DRAWS = 1000


class ComparisonError(runtime.BirdlibError):
    """Two runs that have nothing in common."""


@dataclasses.dataclass(frozen=True)
class Tested:
    """Test rows of a stage: ``keys`` name the rows, ``groups`` are resampled as a whole, ``truth`` and ``scores`` are row-aligned."""

    keys: list
    groups: np.ndarray
    truth: np.ndarray
    scores: np.ndarray


def compare(outputs, others, rng):
    """The figures of two outputs folders.

    Args:
        outputs, others: folders of two runs.
        rng: of the bootstrap.

    Returns:
        DataFrame, a row a figure that both have: ``stage, rows`` (what was tested), ``figure, n`` (rows of each run), ``first, second,
        difference``, each [value, low, high] of 90 %, and ``is_paired``: whether the rows are the same.

    Raises:
        ComparisonError: if one is no outputs folder, or no stage has test figures in both.
    """
    for folder in (outputs, others):
        if not any((Path(folder) / stage / stages.RECEIPT).is_file() for stage in stages.READS):
            what = "has no finished stage" if Path(folder).is_dir() else "is no folder"
            raise ComparisonError(f"{folder} {what}: give an outputs folder of the chain or of a recipe, such as outputs/recipes/modern")
    rows = []
    for stage, (read, figures) in _STAGES.items():
        try:
            first, second = read(outputs), read(others)
        except stages.MissingStageError:  # one of them has not run it
            continue
        for name in (name for name in first if name in second):
            pair = first[name], second[name]
            rows += [(stage, name, figure, *_figure(statistic, *pair, rng)) for figure, statistic in figures.items()]
    if not rows:
        why = "".join(f"\n{line}" for line in left_out(outputs, others))
        raise ComparisonError(f"{outputs} and {others} have no test figures in common: run {', '.join(_STAGES)} of the chain or a recipe into both{why}")
    return pd.DataFrame(rows, columns=["stage", "rows", "figure", "n", "first", "second", "difference", "is_paired"])


def left_out(outputs, others):
    """Why stages that only one of two runs has finished are not compared: list of text, such as a stage that an older version wrote."""
    found = []
    for read, _ in _STAGES.values():
        reasons = []
        for folder in (outputs, others):
            try:
                read(folder)
            except stages.MissingStageError as error:
                reasons.append(str(error))
        found += reasons if len(reasons) == 1 else []
    return found


def as_text(table):
    """The table for readers: figures with their intervals as text."""
    shown = table.assign(**{name: table[name].map(bootstrap.interval_text) for name in ("first", "second", "difference")})
    return shown.assign(n=["/".join(map(str, dict.fromkeys(n))) for n in table["n"]])


def _figure(statistic, first, second, rng):
    """(n, first, second, difference, is_paired) of one figure."""
    is_paired = set(first.keys) == set(second.keys)
    if is_paired:
        order = pd.Index(second.keys).get_indexer(first.keys)
        second = Tested(first.keys, first.groups, second.truth[order], second.scores[order])
        arrays = first.truth, first.scores, second.truth, second.scores
        gain = bootstrap.interval(lambda a, b, c, d: statistic(a, b) - statistic(c, d), *arrays, groups=first.groups, n=_N_DRAWS, rng=rng)
    values = [bootstrap.interval(statistic, of.truth, of.scores, groups=of.groups, n=_N_DRAWS, rng=rng) for of in (first, second)]
    if not is_paired:
        gain = _independent_difference(statistic, first, second, rng)
    return (len(first.keys), len(second.keys)), *values, gain, is_paired


def _independent_difference(statistic, first, second, rng):
    draws = [bootstrap.samples(statistic, of.truth, of.scores, groups=of.groups, n=_N_DRAWS, rng=rng) for of in (first, second)]
    n = min(map(len, draws))
    ends = np.quantile(draws[0][:n] - draws[1][:n], [0.05, 0.95]).tolist() if 2 * n >= _N_DRAWS else [np.nan, np.nan]
    return [statistic(first.truth, first.scores) - statistic(second.truth, second.scores), *ends]


# What the stages have tested


def _retrieval(outputs):
    """Each query of stage 04: whether its nearest pair has its species, and its average precision."""
    table = stages.read(outputs, "04_triplet", "queries.parquet")
    names = table["set"] + ", " + table["modality"]
    return {
        name: Tested(rows["query"].tolist(), rows["cluster"].to_numpy(), rows["species"].to_numpy(), rows[["p_at_1", "map_at_r"]].to_numpy())
        for name, rows in table.groupby(names, sort=False)
    }


def _film_sounds(outputs):
    """Pairs of the matcher that is chosen on validation, each set of test by itself; and, trained once more for use, all films with all soundtracks."""
    films, pairs = stages.read(outputs, "05_match", "films.parquet", "pairs.parquet")
    found = {
        name: Tested((rows["picture"] + " + " + rows["sound"]).tolist(), rows["recording_id"].to_numpy(), rows["match"].to_numpy(), rows["probability"].to_numpy())
        for name, rows in pairs[pairs["set"] != "validation"].groupby("set", sort=False)
    }
    if len(films):
        keys = (films["film"] + " + " + films["sound_film"]).tolist()
        found["soundtracks of films"] = Tested(keys, films["film"].to_numpy(), films["is_own"].to_numpy(), films["probability"].to_numpy())
    return found


def _recordings(outputs):
    classes, predictions = stages.read(outputs, "07_classify", "classes.json", "predictions.parquet")
    groups = stages.read(outputs, "01_split", "splits.parquet").drop_duplicates("recording_id").set_index("recording_id")["group_id"]
    rows = predictions[(predictions["split"] == "test") & ~predictions["is_repeated"]].drop_duplicates("recording_id")
    truth = (rows["species"].to_numpy()[:, None] == np.asarray(classes)).astype(np.float32)
    return {"test recordings": Tested(rows["recording_id"].tolist(), groups[rows["recording_id"]].to_numpy(), truth, rows[classes].to_numpy())}


def _soundscapes(outputs):
    path = soundscape_annotations.truth_path(stages.recordings_root(outputs))
    if not path.is_file():
        return {}
    table = stages.read(outputs, "08_submit", "submission.csv").astype({"row_id": str})
    classes = table.columns[1:].tolist()
    truth = soundscape_annotations.read_truth(path, table["row_id"], classes)
    groups = table["row_id"].str.rsplit("_", n=1).str[0].to_numpy()
    return {"windows of test soundscapes": Tested(table["row_id"].tolist(), groups, truth, table[classes].to_numpy())} if truth.any() else {}


def _known_films(outputs):
    """Films whose number of birds is known: that number and the count."""
    table = stages.read(outputs, "09_count", "counts.csv").astype({"recording_id": str})
    table = table.dropna(subset=["birds"]) if "birds" in table else table[:0]
    films = table["recording_id"].tolist()
    return {"films with a known count": Tested(films, np.array(films), table["birds"].to_numpy(float), table["n"].to_numpy(float))} if films else {}


def _accuracy(truth, scores):
    return float((truth.argmax(axis=1) == scores.argmax(axis=1)).mean())


def _column(number):
    return lambda truth, scores: float(np.mean(scores[:, number].astype(float)))


_ROC_AUC = {"macro ROC-AUC": classification.macro_roc_auc}
_STAGES = {  # stage: (function of the outputs folder, {figure: function of truth and scores})
    "04_triplet": (_retrieval, {"P@1": _column(0), "MAP@R": _column(1)}),
    "05_match": (_film_sounds, {"ROC-AUC": lambda truth, scores: classification.macro_roc_auc(truth[:, None], scores[:, None])}),
    "07_classify": (_recordings, _ROC_AUC | {"accuracy": _accuracy}),
    "08_submit": (_soundscapes, _ROC_AUC),
    "09_count": (
        _known_films,
        {"counted right": lambda truth, n: float(np.mean(truth == n)), "mean absolute error": lambda truth, n: float(np.mean(np.abs(truth - n)))},
    ),
}
