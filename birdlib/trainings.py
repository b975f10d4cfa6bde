"""Trainings: one encoder, one loss, with soundscapes and mixtures or without, learnt and kept as a member of an ensemble.

A training is a dict: ``encoder`` (one of ``ENCODERS``), ``loss`` (one of ``label_losses.NAMES``), ``soundscapes`` and ``mixup`` (bool). All of them learn
from the same recordings and are judged on the same, so that their scores can be compared row by row.
"""

import shutil
import time
from pathlib import Path

import numpy as np

from birdlib import (
    classifiers,
    embedders,
    head_trainings,
    metrics,
    runtime,
    soundscape_labels,
    stages,
    wave_trainings,
    weights,
)

WAVES = (*wave_trainings.MEL, *wave_trainings.MAE)
ENCODERS = (*embedders.NAMES, *WAVES)


class TrainingError(runtime.BirdlibError):
    """A training that cannot be done as asked."""


def key(one, data, inputs, seed, precision, **options):
    """Digest of all that changes what comes of a training.

    Args:
        inputs: digests of the stages that are read; that of 06 counts only where its windows are learnt.
        options: of ``run``; those that this encoder does not look at do not count.

    Raises:
        TrainingError: for an encoder that does not exist.
    """
    if one["encoder"] not in ENCODERS:
        raise TrainingError(f"encoder {one['encoder']!r} is unknown: choose of {', '.join(ENCODERS)}")
    inputs = {name: digest for name, digest in inputs.items() if name != soundscape_labels.STAGE or one["soundscapes"]}
    pretrained = weights.digest_in_use(wave_trainings.MAE.get(one["encoder"]) or one["encoder"], data.weights_dir)
    return runtime.digest([one, _own(options, one["encoder"]), inputs, pretrained, data.label_mode, seed, precision])


def run(one, data, folder, *, seed, **options):
    """Do a training and keep it in a folder: what ``classifiers.save`` writes, ``scores.npy`` (rows of the splits, classes) and last ``training.json``.

    Args:
        options: of ``head_trainings.OPTIONS`` and ``wave_trainings.OPTIONS``, which stand where none are given.

    Returns:
        dict, the contents of ``training.json``: ``seconds, cpu_seconds, weights, history``.

    Raises:
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    wall_s, cpu_s = time.monotonic(), time.process_time()
    rng = runtime.set_seed(seed)
    train = wave_trainings.train if one["encoder"] in WAVES else head_trainings.train
    model, scores, history, preprocessing, used = train(one, data, folder, rng, **_own(options, one["encoder"]))
    keep(folder, model, scores, data, preprocessing)
    told = {"seconds": time.monotonic() - wall_s, "cpu_seconds": time.process_time() - cpu_s, "weights": used}
    told |= {"history": history.astype(object).where(history.notna(), None).to_dict("records")}
    runtime.write_json(told, folder / "training.json")
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    (folder / "encoder.keras").unlink(missing_ok=True)
    return told


def keep(folder, model, scores, data, preprocessing):
    """Save a model as a member, with thresholds for F1 on validation and the prior."""
    cleaned = stages.receipt(data.outputs_dir, "02_clean")["parameters"]
    thresholds = metrics.best_thresholds(data.truth[data.is_validation], scores[data.is_validation])
    told = {**preprocessing, "denoise": cleaned["denoise"], "thresholds": thresholds.tolist(), "prior": data.prior.tolist()}
    classifiers.save(folder, model, data.classes, told)
    with runtime.replacing(Path(folder) / "scores.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, scores.astype(np.float32))


def _own(options, encoder):
    """The options that this encoder looks at."""
    known = wave_trainings.OPTIONS if encoder in WAVES else head_trainings.OPTIONS
    return known | {name: value for name, value in options.items() if name in known}
