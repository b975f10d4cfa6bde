"""Checkpoints: one file for a training, replaced as a whole after each epoch, so that one that was cut off goes on from its last whole one."""

import json
import warnings
import zipfile
from pathlib import Path

import numpy as np

from birdlib import runtime


def write(path, key, told, variables, best=()):
    """Put down where a training stands.

    Args:
        key: digest of all that changes the training.
        told: JSON-able, such as its history.
        variables: of model and optimizer, the states of dropout's random numbers among them.
        best: arrays that are kept beside them, such as the best weights so far.

    Raises:
        runtime.FullDiskError: if it cannot be written; the one before survives.
    """
    import keras

    arrays = {f"now_{i}": keras.ops.convert_to_numpy(variable.value) for i, variable in enumerate(variables)}
    arrays |= {f"best_{i}": array for i, array in enumerate(best)}
    with runtime.replacing(path) as temporary:
        np.savez(temporary, told=json.dumps({**told, "key": key}), **arrays)


def take_up(path, key, variables, n_best=0):
    """Set variables to what a checkpoint of this training holds.

    Returns:
        (told, best) as of ``write``; None where there is no checkpoint of this training. A damaged one is warned about.
    """
    if not path or not Path(path).is_file():
        return None
    try:
        with np.load(path) as file:
            told = json.loads(str(file["told"]))
            if told.pop("key") != key:
                return None
            now = [file[f"now_{i}"] for i in range(len(variables))]
            best = [file[f"best_{i}"] for i in range(n_best)]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path} is damaged ({error}): the training begins anew", stacklevel=3)
        return None
    for variable, array in zip(variables, now, strict=True):
        variable.assign(array)
    return told, best
