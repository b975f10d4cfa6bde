"""Ablation: what each component is worth on the data at hand, one training a row, each compared with the same training without it.

How a row is trained is handed in. A row that was trained once, with all that it depends on as it is now, is not trained again: a run
that was killed goes on row by row.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.losses import classification as classification_losses
from birdlib.metrics import bootstrap, classification
from birdlib.models import birdnet, perch, weights

_STEPS = {"audio": "train audio only", "soundscapes": "+ soundscapes", "mixup": "+ mixup"}
SETS = ("test", "test without repeated rows")
FIGURES = ("f1_samples", "f1_micro", "macro_auc")
_VERDICTS = ("helps", "no difference seen", "hurts")
_N_DRAWS = 300


class AblationError(runtime.BirdlibError):
    """A table that cannot be made as asked."""


class UntrainableError(AblationError):
    """A training that cannot be done with what is there; its row says why."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table: ``part`` and ``name`` say what it shows, ``training`` what is trained, ``against`` the name of the row it is compared with."""

    part: str
    name: str
    training: dict
    against: str = ""


@dataclasses.dataclass(frozen=True)
class Result:
    """A row that was trained: ``folder`` and ``scores`` (rows of the splits, classes); or not: None, and ``note`` says why."""

    row: Row
    folder: Path | None
    scores: np.ndarray | None
    training_s: float = float("nan")
    embedding_s: float = float("nan")
    note: str = ""


def names(text, known, what):
    """What a comma list says, in its order, each once.

    Raises:
        AblationError: for a name that is not known.
    """
    asked = runtime.names(text)
    if unknown := [name for name in asked if name not in known]:
        raise AblationError(f"{what} {', '.join(unknown)} is unknown: choose of {', '.join(known)}")
    return asked


def step_rows(text, training, has_windows):
    """Train audio only, and what comes to it step by step, each compared with the step before that can be done.

    Args:
        text: comma list of ``_STEPS``; ``audio`` is always there, for it is what the others are compared with.
        training: with neither soundscapes nor mixup.
        has_windows: whether there are soundscapes to learn from.
    """
    rows, now, before = [Row("steps", _STEPS["audio"], training)], dict(training), _STEPS["audio"]
    for step in names(text, _STEPS, "step"):
        if step != "audio":
            rows.append(Row("steps", _STEPS[step], now | {step: True}, before))
            if step != "soundscapes" or has_windows:
                now, before = rows[-1].training, rows[-1].name
    return rows


def loss_rows(text, training):
    """The losses, each compared with that of the training."""
    asked = [training["loss"], *names(text, classification_losses.NAMES, "loss")] if text else []
    return [Row("loss", loss, training | {"loss": loss}, "" if loss == training["loss"] else training["loss"]) for loss in dict.fromkeys(asked)]


def encoder_rows(text, training, known):
    """The encoders, each compared with that of the training."""
    own = training["encoder"]
    return [
        Row("encoder", name, training | {"encoder": name}, "" if name == own else own)
        for name in dict.fromkeys([own, *names(text, known, "encoder")])
    ]


def run(rows, train, key, folder, has_windows):
    """Train every row that is not there yet.

    Args:
        train: function (training, folder) that writes ``scores.npy`` and, last of all, ``training.json`` into it, with ``training_s,
            embedding_s, note``, see ``trainings.run``.
        key: function of a training: a digest of all that changes what comes of it.
        folder: a folder in it is made for each training, called by its digest.
        has_windows: whether there are soundscapes to learn from; rows that want them say so otherwise.

    Returns:
        list of Result. Weights that cannot be had, or not be used on this machine, make a row that says why.
    """
    results = []
    for row in runtime.progress(rows, desc="ablation"):
        if row.training["soundscapes"] and not has_windows:
            results.append(Result(row, None, None, note="there are no labelled soundscapes: run notebooks/06_pseudolabel.ipynb first"))
            continue
        try:
            place = Path(folder) / key(row.training)[:16]
            if not (place / "training.json").is_file():
                train(row.training, place)
        except (UntrainableError, weights.WeightsError, birdnet.BirdnetError, perch.PerchError) as error:
            results.append(Result(row, None, None, note=" ".join(str(error).split())))
            continue
        told = runtime.read_json(place / "training.json")
        results.append(Result(row, place, np.load(place / "scores.npy"), told["training_s"], told["embedding_s"], told["note"]))
    return results


def compare(results, truth, splits, thresholds, is_validation, rng):
    """The table: each row with its figures on test, with the repeated rows of rare species and without them, and whether it helps.

    Args:
        results: from ``run``, all that are compared with one another.
        truth: (rows, classes) of 0 and 1, of all splits.
        splits: ``split, is_repeated, group_id``.
        thresholds: function of (truth, scores) on validation → (classes,), for the F1s.
        is_validation: (rows,) bool.
        rng: of the bootstrap over groups.

    Returns:
        DataFrame, a row for each result and set of ``SETS``: ``part, name, rows, n``, ``FIGURES`` as [value, low, high] (90 % intervals),
        ``difference`` of macro ROC-AUC to ``against`` with its paired interval, ``verdict`` (one of ``_VERDICTS``; "" where there is nothing to
        compare with), ``validation_auc, training_s, embedding_s, note``.
    """
    is_test = (splits["split"] == "test").to_numpy()
    masks = dict(zip(SETS, (is_test, is_test & ~splits["is_repeated"].to_numpy()), strict=True))
    of = {(result.row.part, result.row.name): result for result in results}
    rows = []
    for result in results:
        row, nothing = result.row, [np.nan] * 3
        base = of.get((row.part, row.against))
        told = {"part": row.part, "name": row.name, "against": row.against, "note": result.note, "validation_auc": np.nan}
        told |= {"training_s": result.training_s, "embedding_s": result.embedding_s}
        cut = None
        if result.scores is not None:
            told["validation_auc"] = classification.macro_roc_auc(truth[is_validation], result.scores[is_validation])
            cut = thresholds(truth[is_validation], result.scores[is_validation])
        for name, mask in masks.items():
            figures, difference = dict.fromkeys(FIGURES, nothing), nothing
            groups = splits["group_id"].to_numpy()[mask]
            if cut is not None and mask.any():
                figures = _figures(truth[mask], result.scores[mask], cut, groups, rng)
                if base is not None and base.scores is not None:
                    pair = truth[mask], result.scores[mask], base.scores[mask]
                    difference = _interval(classification.macro_roc_auc_gain, *pair, groups=groups, rng=rng)
            rows.append({**told, "rows": name, "n": int(mask.sum()), **figures, "difference": difference, "verdict": verdict(difference)})
    return pd.DataFrame(rows)


def verdict(difference):
    """In words: whether a difference [value, low, high] lies above 0, below, or cannot be told from it; "" without an interval."""
    _, low, high = difference
    if np.isnan(low):
        return ""
    return _VERDICTS[0] if low > 0 else _VERDICTS[2] if high < 0 else _VERDICTS[1]


def components(text, results, truth, is_validation):
    """Which components the classifier that is saved has.

    Args:
        text: ``none``; a comma list; or ``auto``: soundscapes where 06 found labels, for it chose them by validation recordings mixed into soundscapes,
            which recordings alone cannot judge; and mixup if macro ROC-AUC on validation is higher with it.
        results: of the steps.
        truth, is_validation: as of ``compare``.

    Returns:
        dict: ``soundscapes, mixup``, bool.

    Raises:
        AblationError: for a name that is not known, or soundscapes where there are none.
    """
    known = [step for step in _STEPS if step != "audio"]
    of = {result.row.name: result for result in results}
    chosen = {}
    for step in known:
        own = of.get(_STEPS[step])
        if text == "auto":
            is_there = own is not None and own.scores is not None
            chosen[step] = is_there and (step == "soundscapes" or _gain(own, of[own.row.against], truth, is_validation) > 0)
        else:
            chosen[step] = step in names("" if text == "none" else text, known, "component")
    if chosen["soundscapes"] and (own := of.get(_STEPS["soundscapes"])) and own.scores is None:
        raise AblationError(own.note)
    return chosen


def sentence(table):
    """What the verdicts say, in words.

    Args:
        table: of ``compare``, the rows of one set.
    """
    judged = table[table["verdict"] != ""]
    said = [f"{word}: {', '.join(judged['name'][judged['verdict'] == word])}" for word in _VERDICTS if (judged["verdict"] == word).any()]
    return "; ".join(said) or "nothing was compared"


def as_text(table):
    """The table for people: figures with their intervals as text, what says nothing left away."""
    shown = table.assign(**{name: table[name].map(_text) for name in (*FIGURES, "difference")})
    shown["against"] = shown["against"].where(shown["verdict"] != "", "")
    columns = ["part", "name", *FIGURES, "difference", "against", "verdict", "training_s", "embedding_s", "note"]
    return shown[["rows", *columns]].round({"training_s": 1, "embedding_s": 1})


def _figures(truth, scores, cut, groups, rng):
    found = {
        "f1_samples": lambda t, s: classification.f1(t, s, cut)["samples"],
        "f1_micro": lambda t, s: classification.f1(t, s, cut)["micro"],
        "macro_auc": classification.macro_roc_auc,
    }
    return {name: _interval(figure, truth, scores, groups=groups, rng=rng) for name, figure in found.items()}


def _gain(own, before, truth, is_validation):
    return classification.macro_roc_auc_gain(*(some[is_validation] for some in (truth, own.scores, before.scores)))


def _interval(figure, *arrays, groups, rng):
    return bootstrap.interval(figure, *arrays, groups=groups, n=_N_DRAWS, rng=rng)


def _text(figure):
    return "" if np.isnan(figure[0]) else bootstrap.interval_text(figure)
