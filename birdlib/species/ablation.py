"""Ablation: the effect of each component on the data at hand, one training a row, each compared with the same training without it.

The function that trains a row is a parameter. A row whose inputs have not changed is not trained again, so a killed run resumes row by row.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.metrics import bootstrap, classification, resampled
from birdlib.models import birdnet, perch, weights

_STEPS = {"audio": "train audio only", "soundscapes": "+ soundscapes", "mixup": "+ mixup"}
SETS = ("test", "test without repeated rows")
FIGURES = ("f1_samples", "f1_micro", "macro_auc")
_VERDICTS = ("helps", "no difference seen", "hurts")
_N_DRAWS = 300


class AblationError(runtime.BirdlibError):
    """An ablation with unknown names."""


class UntrainableError(AblationError):
    """A training that is not possible on this data; its row says why."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: its labels ``part`` and ``name``, its configuration, and the name of the row that it is compared with."""

    part: str
    name: str
    training: dict
    against: str = ""


@dataclasses.dataclass(frozen=True)
class Result:
    """A trained row: ``folder`` and ``scores`` (rows of the splits, classes); or None, and ``note`` says why."""

    row: Row
    folder: Path | None
    scores: np.ndarray | None
    training_s: float = float("nan")
    embedding_s: float = float("nan")
    note: str = ""


def step_rows(text, training, has_windows):
    """Recordings alone, then one more component a row, each compared with the last row before it that can be trained.

    Args:
        text: comma list of ``_STEPS``; ``audio``, the first baseline, is always included.
        training: configuration with neither soundscapes nor mixup.
        has_windows: whether there are soundscape windows to train on.
    """
    rows, now, before = [Row("steps", _STEPS["audio"], training)], dict(training), _STEPS["audio"]
    for step in _parse_names(text, _STEPS, "step"):
        if step != "audio":
            rows.append(Row("steps", _STEPS[step], now | {step: True}, before))
            if step != "soundscapes" or has_windows:
                now, before = rows[-1].training, rows[-1].name
    return rows


def loss_rows(text, training):
    """The losses, each compared with that of ``training``."""
    from birdlib.losses import classification as losses

    return _alternatives("loss", training, _parse_names(text, losses.LOSSES, "loss")) if text else []


def encoder_rows(text, training, known):
    """The encoders, each compared with that of ``training``."""
    return _alternatives("encoder", training, _parse_names(text, known, "encoder"))


def _alternatives(part, training, values):
    own = training[part]
    return [Row(part, value, training | {part: value}, "" if value == own else own) for value in dict.fromkeys([own, *values])]


def _parse_names(text, known, what):
    names = runtime.names(text)
    if unknown := [name for name in names if name not in known]:
        raise AblationError(f"{what} {', '.join(unknown)} is unknown: choose of {', '.join(known)}")
    return names


def run(rows, train, key, folder, has_windows):
    """Train every row that is not trained yet.

    Args:
        train: function (training, folder) that writes ``scores.npy`` and, last of all, ``training.json`` into it, with ``training_s,
            embedding_s, note``, see ``experiments.run``.
        key: function of a configuration: a digest of all that changes its result.
        folder: gets a folder for each training, named by its digest.
        has_windows: whether there are soundscape windows; rows that need them get a note otherwise.

    Returns:
        list of Result. Weights that are missing, or unusable on this machine, give a row with a note.
    """
    results = []
    for row in runtime.progress(rows, desc="ablation"):
        if row.training["soundscapes"] and not has_windows:
            results.append(Result(row, None, None, note="there are no labelled soundscapes: run notebooks/06_pseudolabel.ipynb first"))
            continue
        try:
            training_dir = Path(folder) / key(row.training)[:16]
            if not (training_dir / "training.json").is_file():
                train(row.training, training_dir)
        except (UntrainableError, weights.WeightsError, birdnet.BirdnetError, perch.PerchError) as error:
            results.append(Result(row, None, None, note=" ".join(str(error).split())))
            continue
        record = runtime.read_json(training_dir / "training.json")
        scores = np.load(training_dir / "scores.npy")
        results.append(Result(row, training_dir, scores, record["training_s"], record["embedding_s"], record["note"]))
    return results


def compare(results, truth, splits, thresholds, is_validation, rng):
    """The table: figures of each row on test, with and without the repeated rows of rare species, and whether its component helps.

    Args:
        results: from ``run``, with the rows that they are compared with.
        truth: (rows, classes) of 0 and 1, of all splits.
        splits: ``split, is_repeated, group_id``.
        thresholds: function of (truth, scores) on validation → (classes,), for the F1s.
        is_validation: (rows,) bool.
        rng: of the bootstrap over groups.

    Returns:
        DataFrame, a row for each result and set of ``SETS``: ``part, name, rows, n``, ``FIGURES`` as [value, low, high] (90 % intervals),
        ``difference`` of macro ROC-AUC to ``against`` with its paired interval, ``verdict`` (one of ``_VERDICTS``; "" without a
        baseline), ``validation_auc, training_s, embedding_s, note``.
    """
    is_test = (splits["split"] == "test").to_numpy()
    masks = dict(zip(SETS, (is_test, is_test & ~splits["is_repeated"].to_numpy()), strict=True))
    by_name = {(result.row.part, result.row.name): result for result in results}
    rows, missing = [], [np.nan] * 3
    for result in results:
        row, cut = result.row, None
        base = by_name.get((row.part, row.against))
        columns = {"part": row.part, "name": row.name, "against": row.against, "note": result.note, "validation_auc": np.nan}
        columns |= {"training_s": result.training_s, "embedding_s": result.embedding_s}
        if result.scores is not None:
            columns["validation_auc"] = classification.macro_roc_auc(truth[is_validation], result.scores[is_validation])
            cut = thresholds(truth[is_validation], result.scores[is_validation])
        for name, mask in masks.items():
            figures, difference = dict.fromkeys(FIGURES, missing), missing
            groups = splits["group_id"].to_numpy()[mask]
            if cut is not None and mask.any():
                figures = _figures(truth[mask], result.scores[mask], cut, groups, rng)
                if base is not None and base.scores is not None:
                    pair = truth[mask], result.scores[mask], base.scores[mask]
                    difference = _interval(resampled.MACRO_ROC_AUC_GAIN, *pair, groups=groups, rng=rng)
            rows.append({**columns, "rows": name, "n": int(mask.sum()), **figures, "difference": difference, "verdict": verdict(difference)})
    return pd.DataFrame(rows)


def verdict(difference):
    """In words: whether the interval of a difference [value, low, high] lies above 0, below, or includes it; "" without an interval."""
    _, low, high = difference
    if np.isnan(low):
        return ""
    return _VERDICTS[0] if low > 0 else _VERDICTS[2] if high < 0 else _VERDICTS[1]


def components(text, results, truth, is_validation):
    """The components of the classifier that is saved.

    Args:
        text: ``none``; a comma list; or ``auto``: soundscapes where 06 has labels, which it chose by validation recordings mixed into soundscapes
            (recordings alone cannot evaluate them); and mixup if macro ROC-AUC on validation is higher with it.
        results: of the steps.
        truth, is_validation: as of ``compare``.

    Returns:
        dict: ``soundscapes, mixup``, bool.

    Raises:
        AblationError: for a name that is not known, or soundscapes where there are none.
    """
    known = [step for step in _STEPS if step != "audio"]
    by_name = {result.row.name: result for result in results}
    if text == "auto":
        chosen = {}
        for step in known:
            own = by_name.get(_STEPS[step])
            chosen[step] = own is not None and own.scores is not None
            if chosen[step] and step != "soundscapes":
                arrays = (truth, own.scores, by_name[own.row.against].scores)
                chosen[step] = classification.macro_roc_auc_gain(*(array[is_validation] for array in arrays)) > 0
    else:
        names = _parse_names("" if text == "none" else text, known, "component")
        chosen = {step: step in names for step in known}
    if chosen["soundscapes"] and (own := by_name.get(_STEPS["soundscapes"])) and own.scores is None:
        raise AblationError(own.note)
    return chosen


def sentence(table):
    """The verdicts of the rows of one set, of ``compare``'s table, in one sentence."""
    names = {verdict: table["name"][table["verdict"] == verdict] for verdict in _VERDICTS}
    return "; ".join(f"{verdict}: {', '.join(rows)}" for verdict, rows in names.items() if len(rows)) or "nothing was compared"


def notes(results):
    """The notes of trainings, such as weights that cannot be had, in one text, each with the rows that it holds for."""
    rows = {}
    for result in results:
        if result.note:
            rows.setdefault(result.note, []).append(result.row.name)
    return "; ".join(f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in rows.items()) or "none"


def as_text(table):
    """The table for readers: figures with their intervals as text."""
    shown = table.assign(**{name: table[name].map(_text) for name in (*FIGURES, "difference")})
    shown["against"] = shown["against"].where(shown["verdict"] != "", "")
    columns = ["part", "name", *FIGURES, "difference", "against", "verdict", "training_s", "embedding_s", "note"]
    return shown[["rows", *columns]].round({"training_s": 1, "embedding_s": 1})


def _figures(truth, scores, cut, groups, rng):
    functions = zip(FIGURES, (resampled.f1("samples", cut), resampled.f1("micro", cut), resampled.MACRO_ROC_AUC), strict=True)
    return {name: _interval(function, truth, scores, groups=groups, rng=rng) for name, function in functions}


def _interval(figure, *arrays, groups, rng):
    return bootstrap.interval(figure, *arrays, groups=groups, n=_N_DRAWS, rng=rng)


def _text(figure):
    return "" if np.isnan(figure[0]) else bootstrap.interval_text(figure)
