"""What each part of the recipe birdclef-2026 adds to a small mel model: trainings in which one part follows the other, on the same recordings."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import stages
from birdlib.data import birdclef
from birdlib.metrics import bootstrap, classification
from birdlib.species import ablation, classifiers, dataset, experiments, soundscape_annotations, soundscape_windows

PARTS = {  # name → (options that it adds, the row that it is compared with; empty: the one before)
    "mel CNN": ({}, ""),
    "+ SED head with GeM, half of the loss on frames": ({"mel_head": "sed_gem", "frame_share": 0.5}, ""),
    "+ waveform mixup": ({"augmentation": "shift,spec_augment,wave_mixup=0.5"}, ""),
    "+ FilterAugment": ({"augmentation": "shift,spec_augment,wave_mixup=0.5,filter_augment=0.5"}, ""),
    "+ distillation": ({"distillation": 0.1}, ""),
    "+ EMA of weights": ({"averaging": "ema"}, ""),
    "+ SWA instead of EMA": ({"averaging": "swa"}, "+ distillation"),
    "+ self-distillation": ({"self_distillation": 1}, "+ SWA instead of EMA"),
}
_N_DRAWS = 300


def run(outputs, *, epochs, steps, seed=0, parts=tuple(PARTS)):
    """Train each row on the recordings of finished stages 01 to 03.

    Args:
        outputs: folder of the stages; where test soundscapes with known truth lie beside the recordings, they are predicted too.
        epochs, steps: of a training, with 32 windows a step.
        parts: names of ``PARTS``, the first ones.

    Returns:
        DataFrame: ``name, macro_auc, difference`` (of macro ROC-AUC on test, paired, to ``against``), ``verdict``, and ``soundscape_auc,
        soundscape_difference`` on windows of test soundscapes, NaN without; figures are [value, low, high].
    """
    data = dataset.load(outputs, "multi")
    config = {"encoder": "mel_cnn", "loss": classifiers.LOSSES["multi"], "soundscapes": False, "mixup": False}
    windows = _test_windows(data)
    given, results, on_soundscapes, before = {"mel_epochs": epochs, "mel_steps": steps, "seed": seed}, [], {}, ""
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(parts):
            added, against = PARTS[name]
            given |= added
            own = config | {"mixup": "mixup" in given.get("augmentation", "")}
            training_dir = Path(folder) / str(number)
            record = experiments.run(own, data, training_dir, {}, **given)
            row = ablation.Row("birdclef-2026", name, own, against or before)
            results.append(ablation.Result(row, training_dir, np.load(training_dir / "scores.npy"), record["training_s"], 0.0, record["note"]))
            if windows is not None:
                on_soundscapes[name] = windows.predict(training_dir)
            before = name
    rng = np.random.default_rng(seed)
    table = ablation.compare(results, data.truth, data.splits, classification.best_thresholds, data.is_validation, rng)
    table = table[table["rows"] == ablation.SETS[1]].reset_index(drop=True)
    columns = ["name", "against", "macro_auc", "difference", "verdict", "training_s"]
    return table[columns].assign(**_soundscape_figures(table, on_soundscapes, windows, rng))


def as_text(table):
    """The table for readers."""
    figures = ["macro_auc", "difference", "soundscape_auc", "soundscape_difference"]
    shown = table.assign(**{name: table[name].map(lambda figure: "" if np.isnan(figure[0]) else bootstrap.interval_text(figure)) for name in figures})
    return shown.round({"training_s": 0})


@dataclasses.dataclass(frozen=True)
class _TestWindows:
    """Windows of test soundscapes: a table as of ``soundscape_windows.cut``, their files, and their truth (windows, classes)."""

    table: pd.DataFrame
    paths: dict
    truth: np.ndarray

    def predict(self, training_dir):
        """Scores of a saved model, (windows, classes)."""
        from birdlib.audio.batches import ConsecutiveWindows
        from birdlib.species import mel_training

        model, _, preprocessing = classifiers.load(training_dir)
        parts = self.table.assign(audio_path=self.table["soundscape"].map(self.paths), row=range(len(self.table)))
        window = {"rate_hz": preprocessing["sample_rate_hz"], "window_s": preprocessing["window_s"]}
        windows = ConsecutiveWindows(parts, Path(), **window, n_windows=1)
        return mel_training.predict(model, windows, len(parts))


def _test_windows(data):
    """The _TestWindows of these recordings, or None where their truth is not known."""
    root = stages.recordings_root(data.outputs_dir)
    paths, truth_path = birdclef.soundscapes(root, "test"), soundscape_annotations.truth_path(root)
    if not paths or not truth_path.is_file():
        return None
    table = soundscape_windows.cut(paths)
    truth = soundscape_annotations.read_truth(truth_path, table["row_id"], data.classes)
    return _TestWindows(table, {birdclef.stem(path): str(Path(path).resolve()) for path in paths}, truth)


def _soundscape_figures(table, scores, windows, rng):
    """{"soundscape_auc", "soundscape_difference"}: a figure for each row of the table."""
    missing = [[np.nan] * 3] * len(table)
    if windows is None:
        return {"soundscape_auc": missing, "soundscape_difference": missing}

    def interval(statistic, *arrays):
        return bootstrap.interval(statistic, windows.truth, *arrays, groups=windows.table["soundscape"], n=_N_DRAWS, rng=rng)

    aucs = [interval(classification.macro_roc_auc, scores[name]) for name in table["name"]]
    pairs = zip(table["name"], table["against"], strict=True)
    gains = [interval(classification.macro_roc_auc_gain, scores[name], scores[base]) if base else [np.nan] * 3 for name, base in pairs]
    return {"soundscape_auc": aucs, "soundscape_difference": gains}
