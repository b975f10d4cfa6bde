"""Speed of a submission's ensemble in one run: mel models that each compute their own spectrogram, that share it, and in workers of one thread."""

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.data import birdclef
from birdlib.data.synthetic import sample
from birdlib.species import classifiers, front_ends, inference, soundscape_predictions, time_budget, workers

_MEMBERS = ("cnn", "cnn", "mobilenetv2")  # backbones; their weights are random, which changes no time
_N_CLASSES = 234
_MAX_DIFFERENCE = 1e-5


def measure(n_files=8, n_workers=0):
    """Predict minutes of soundscapes in three ways.

    Args:
        n_files: test soundscapes of the sample, repeated.
        n_workers: processes; 0: one a core.

    Returns:
        DataFrame: ``what, seconds`` (of all files, without loading), ``times_faster`` than the first way, ``max_difference`` of its scores from the first's.

    Raises:
        BirdlibError: if a way gives other scores.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder, paths = _classifier(Path(scratch) / "classifier"), _soundscapes(Path(scratch) / "soundscapes", n_files)
        files, config = soundscape_predictions.open_files(paths), inference.load_config(folder)
        certificates = pd.DataFrame({"member_id": config["members"], "chosen": "keras"})
        ways = {"each member its own spectrogram": (False, 1), "one spectrogram": (True, 1), "one spectrogram, a worker a core": (True, n_workers)}
        rows, first = [], None
        for what, (is_shared, n) in ways.items():
            members = inference.load(folder)
            if not is_shared:
                members = [front_ends.alone(member) for member in members]
            with workers.start(n, folder, "", certificates) as pool:
                scores, seconds = _predict(files, members, config, pool)
            first = (scores, seconds) if first is None else first
            difference = float(np.abs(scores - first[0]).max())
            if not difference <= _MAX_DIFFERENCE:
                raise runtime.BirdlibError(f"{what}: scores differ by {difference:.2g}: report this with the versions of TensorFlow and joblib")
            rows.append((what, seconds, first[1] / seconds, difference))
    return pd.DataFrame(rows, columns=["what", "seconds", "times_faster", "max_difference"])


def _predict(files, members, config, pool):
    """(scores, seconds); the first files of each process load and trace its models, and do not count."""
    plan = time_budget.plan({member.member_id: member.name for member in members})

    def run(some):
        return soundscape_predictions.predict_all(some, members, config, time_budget.TimeBudget(plan, some["minutes"].sum(), 1e6), None, pool)[0]

    run(files.head(4 * pool.n if pool else 1))
    began = time.perf_counter()
    scores = run(files)
    return scores, time.perf_counter() - began


def _classifier(folder):
    from birdlib.species import mel_models

    names, prior = [f"members/{number}" for number in range(len(_MEMBERS))], [1.0 / _N_CLASSES] * _N_CLASSES
    classes = [f"species_{number:03d}" for number in range(_N_CLASSES)]
    preprocessing = {"kind": "waveform", "sample_rate_hz": mel_models.SAMPLE_RATE_HZ, "window_s": mel_models.WINDOW_S, "prior": prior}
    for backbone, name in zip(_MEMBERS, names, strict=True):
        model, _ = mel_models.build(_N_CLASSES, backbone=backbone, mode="multi", is_trained=False)
        classifiers.save(folder / name, model, classes, preprocessing)
    classifiers.save(folder, classifiers.build_head(2, _N_CLASSES, hidden=()), classes, {"prior": prior})
    config = {"rule": "mean", "members": names, "thresholds": [0.5] * _N_CLASSES, "calibration": {}, "prior": prior}
    runtime.write_json(config, folder / "ensemble.json")
    return folder


def _soundscapes(folder, n_files):
    folder.mkdir()
    sources = birdclef.soundscapes(sample.ensure(), "test")
    return [Path(shutil.copyfile(sources[i % len(sources)], folder / f"H{i:03d}{sources[i % len(sources)].suffix}")) for i in range(n_files)]
