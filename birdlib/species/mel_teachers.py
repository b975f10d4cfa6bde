"""Teachers that are mel models trained on the project's own recordings, for species that the general teachers do not know.

A softmax model of all species tells similar species apart; a detector of one species, against all others, is for rare ones ("One Detector per Bird", BirdCLEF+ 2025).
"""

import dataclasses
from pathlib import Path

import numpy as np

from birdlib import runtime
from birdlib.audio import windowing
from birdlib.data import birdclef
from birdlib.models import weights
from birdlib.species import teachers
from birdlib.species.waveform_networks import MEL

BATCH = 16
_VALIDATION_WINDOWS = 2  # of a recording, to choose an epoch
_BALANCE = 0.5  # power of oversampling


@dataclasses.dataclass(frozen=True)
class Recordings:
    """What mel teachers are trained on.

    ``splits``, ``clips``: of stages 01 and 02. ``folder``: of stage 02. ``checkpoints``: a folder for them.
    """

    splits: object
    clips: object
    folder: Path
    checkpoints: Path
    window_s: float = birdclef.WINDOW_S

    def split(self, name):
        """The rows of a split with cleaned sound."""
        is_clean = self.splits["recording_id"].isin(self.clips.loc[~self.clips["is_noise"], "recording_id"])
        return self.splits[is_clean & (self.splits["split"] == name)].reset_index(drop=True)

    def validation(self, classes):
        """(windows, truth) of the validation recordings, for ``mel_training.fit``."""
        from birdlib.audio.batches import ConsecutiveWindows
        from birdlib.species import mel_models

        rows = self.split("validation")
        table = windowing.parts(self.clips, rows)
        return ConsecutiveWindows(table, self.folder, rate_hz=mel_models.SAMPLE_RATE_HZ, window_s=self.window_s, n_windows=_VALIDATION_WINDOWS), _one_hot(rows, classes)

    def batches(self, truth, shares, steps, rng):
        """Batches of random windows of the train recordings, as of ``batches.RandomWindows``."""
        from birdlib.audio.batches import RandomWindows
        from birdlib.species import mel_models

        options = {"rate_hz": mel_models.SAMPLE_RATE_HZ, "window_s": self.window_s, "batch_size": BATCH, "n_steps": steps}
        return RandomWindows(windowing.parts(self.clips, self.split("train")), self.folder, truth, rng=rng, shares=shares, **options)


def train_species_models(which, classes, known, recordings, weights_dir="", *, steps, epochs, rng):
    """Train the mel models that ``which`` names, with softmax and categorical cross-entropy over all species, for those that no general teacher knows.

    Args:
        which: names separated by ``,``; those that are no mel model (``waveform_networks.MEL``) are skipped.
        classes: all labels.
        known: labels of general teachers. Where they know all, nothing is trained.
        recordings: Recordings.
        steps, epochs: of a training; a step is a batch of ``BATCH`` windows.

    Returns:
        (trained, rows): list of Teacher; and a row ``(teacher, labels, note)`` for each that was named.
    """
    trained, rows = [], []
    unknown = [label for label in classes if label not in set(known)]
    for name in [name for name in runtime.names(which) if name in MEL]:
        if not unknown:
            rows.append((name, 0, "not trained: the general teachers know every species"))
            continue
        try:
            trained.append(_train_species_model(name, classes, recordings, weights_dir, steps=steps, epochs=epochs, rng=rng))
        except weights.WeightsError as error:
            rows.append((name, 0, f"missing, so its labels are absent: {str(error).splitlines()[0].rstrip(':')}"))
            continue
        rows.append((name, len(unknown), f"a softmax model, trained on the recordings, for {len(unknown)} species that the general teachers do not know"))
    return trained, rows


def _train_species_model(name, classes, recordings, weights_dir, *, steps, epochs, rng):
    from birdlib.species import mel_models, mel_training

    train = recordings.split("train")
    model, pretrained = mel_models.build(len(classes), backbone=MEL[name], mode="single", window_s=recordings.window_s, weights_dir=weights_dir)
    truth = _one_hot(train, classes)
    batches = recordings.batches(truth, windowing.oversampling(truth.argmax(axis=1), _BALANCE), steps, rng)
    mel_training.fit(
        model, batches, recordings.validation(classes), loss="categorical_crossentropy", epochs=epochs, patience=epochs,
        folder=recordings.checkpoints / name, key=[name, list(classes), pretrained],
    )  # fmt: skip
    return _teacher(model, classes, recordings.window_s, name, pretrained)


def train_detectors(labels, recordings, *, steps, epochs, rng):
    """Train a detector for each of some rare species, and make one teacher of them; see ``mel_training.fit_detectors``.

    Args:
        labels: species.
        recordings: Recordings.
        steps, epochs: of the training of each.

    Returns:
        (teacher, history): Teacher; and the history of ``mel_training.fit_detectors`` with a column ``label``.
    """
    from birdlib.species import mel_models, mel_training

    truth = _one_hot(recordings.split("train"), labels)

    def batches_of(column):
        targets, shares = windowing.one_against_rest(truth, column)
        return recordings.batches(targets, shares, steps, rng)

    def build():
        return mel_models.build(1, mode="multi", window_s=recordings.window_s)[0]

    joined, history = mel_training.fit_detectors(
        range(len(labels)), build, batches_of, recordings.validation(labels), key=list(labels),
        loss="binary_crossentropy", epochs=epochs, patience=epochs, folder=recordings.checkpoints,
    )  # fmt: skip
    return _teacher(joined, labels, recordings.window_s, "detectors"), history.assign(label=history["column"].map(dict(enumerate(labels))))


def _teacher(model, labels, window_s, name, pretrained=None):
    from birdlib.species import mel_models

    digest = runtime.digest([[float(np.sum(weight)), float(np.sum(np.square(weight)))] for weight in model.get_weights()])
    return teachers.from_network(
        lambda waveforms: model.predict_on_batch(waveforms), labels, digest, sample_rate_hz=mel_models.SAMPLE_RATE_HZ,
        patch_s=window_s, hop_s=window_s, window_s=window_s, name=name, pretrained=pretrained,
    )  # fmt: skip


def _one_hot(rows, labels):
    return np.equal.outer(rows["species"].to_numpy(), np.array(labels, object)).astype(np.float32)
