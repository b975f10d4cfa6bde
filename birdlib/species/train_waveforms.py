"""Trainings of networks on waveforms: mel models, and Bird-MAE with a head. Audio is read from the files as it is needed (``windowing``)."""

import dataclasses
import functools

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import augment, backgrounds
from birdlib.audio import io as audio_io
from birdlib.species import (
    classifiers,
    distillation,
    noisy_student,
    soundscape_windows,
    waveform_batches,
    waveform_networks,
    weight_averaging,
)


class WaveTrainingError(runtime.BirdlibError):
    """A training with options that are unknown."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a training on waveforms."""

    mel_epochs: int = 12
    mel_steps: int = 8  # batches of an epoch
    mel_batch: int = 32
    mel_learning_rate: float = 2e-3
    mel_head: str = "pooled"  # see ``mel_models.build``
    augmentation: str = "shift,spec_augment"  # see ``augment.parse``
    masks: str = "2x10%,2x15%"  # of spec_augment, see ``augment.parse_masks``
    balance: float = 0.5  # power of oversampling, see ``windowing.oversampling``
    soundscape_share: float = 0.3  # of the crops, if soundscape windows are used
    frame_share: float = 0.0  # of the loss of mel models with a head sed or sed_gem, on frames; see ``objective``
    distillation: float = 0.0  # weight of mel models' loss on a teacher's embedding
    distillation_teachers: str = "perch_v2,birdnet"  # the first whose weights can be had, see ``distillation.choose``
    averaging: str = "none"  # of weights, see ``weight_averaging``
    self_distillation: int = 0  # rounds, see ``noisy_student``
    power: float = 1.0  # to which scores of soundscapes are raised in these rounds
    mae_epochs: int = 20  # of pretraining
    mae_clips: int = 20_000  # at most in pretraining; each takes 131 kB on disk until it is done
    mae_head: str = "mlp"  # see ``mae_heads.build_head``
    mae_training: str = "auto"  # probe: the encoder is frozen; finetune: it is trained too; auto: published weights are frozen, own are trained
    mae_learning_rate: float = 3e-4  # where published weights are fine-tuned, as its authors do; else ``mel_learning_rate``

    def __post_init__(self):
        augment.parse(self.augmentation)
        augment.parse_masks(self.masks)
        if self.mae_training not in waveform_networks.MAE_TRAININGS:
            raise WaveTrainingError(f"mae_training is {self.mae_training!r}: choose one of {', '.join(waveform_networks.MAE_TRAININGS)}")
        weight_averaging.optimizer_options(self.averaging, 1)
        if not 0 <= self.frame_share < 1 or (self.frame_share and self.mel_head == "pooled"):
            raise WaveTrainingError(f"frame_share is {self.frame_share} with the head {self.mel_head}: a share below 1, and the head sed or sed_gem")
        if not 0 <= self.soundscape_share < 1 or not 0 <= self.distillation < np.inf or self.self_distillation < 0 or not 0 < self.power < np.inf:
            raise WaveTrainingError("soundscape_share must be below 1, distillation and self_distillation not negative, power above 0")
        for name in ("mel_epochs", "mel_steps", "mel_batch", "mae_epochs"):
            if getattr(self, name) < 1:
                raise WaveTrainingError(f"{name} is {getattr(self, name)}: choose 1 or more")
        if not 0 < self.mel_learning_rate < np.inf:
            raise WaveTrainingError(f"mel_learning_rate is {self.mel_learning_rate:g}: choose one above 0, such as 0.002")


def parse_heads(text):
    """The heads named by a comma list such as ``"sed, mlp"``: that of mel models, then that of Bird-MAE.

    Returns:
        {"mel_head": one of ``mel_models.HEADS``, "mae_head": one of ``mae_heads.HEADS``}.

    Raises:
        WaveTrainingError: for any other text.
    """
    from birdlib.models import mae_heads
    from birdlib.species import mel_models

    names = runtime.names(text)
    if len(names) != 2 or names[0] not in mel_models.HEADS or names[1] not in mae_heads.HEADS:
        of_mel, of_mae = ", ".join(mel_models.HEADS), ", ".join(mae_heads.HEADS)
        raise WaveTrainingError(f"heads are {text!r}: name two, of mel models one of {of_mel}, then one of {of_mae} of Bird-MAE, as in 'sed,mlp'")
    return {"mel_head": names[0], "mae_head": names[1]}


def train(config, data, folder, rng, options):
    """Train the classifier of a configuration; an interrupted training resumes after its last whole epoch.

    Args:
        folder: of the training, in that of all trainings; ``checkpoint`` in it can be removed when the model is saved.
        options: Options. Augmentations without the sounds that they need, or without effect, are dropped, with a warning and a note in
            ``preprocessing``.

    Returns:
        (model, scores, history, preprocessing, weights), as of ``train_heads.train``; NaN for a recording of which nothing can be read.
        ``preprocessing`` has the augmentation that was applied: {name: probability}.
    """
    teacher, teacher_weights = _teacher(config, data, folder, options)
    parts = dataclasses.replace(waveform_batches.training_parts(config, data, options), teacher=teacher and teacher.embed)
    objective = _objective(config, options, teacher)
    run = functools.partial(_train_once, config, data, folder, objective, teacher_weights, options)
    chosen = latest = run(parts, rng, 0)
    for number in range(1, options.self_distillation + 1):
        more = noisy_student.next_parts(parts, latest.network.model, data, latest.window, options, rng)
        latest = run(more, rng, number)
        chosen = max((chosen, latest), key=lambda trained: trained.figure)  # the earlier one of equals
    network, history = chosen.network, chosen.history
    if options.self_distillation:
        history = history.assign(round=chosen.number)
    preprocessing = chosen.preprocessing | _described(objective, teacher, teacher_weights, options, chosen.number)
    return network.model, _predict(network.model, data, chosen.window), history, preprocessing, network.weights | teacher_weights


def background_segments(config, data, augmentation):
    """What a training uses besides its recordings and windows, of soundscapes and removed speech: DataFrame ``path, start_s, end_s``."""
    tables = waveform_batches.background_tables(data, augmentation)
    if config["encoder"] in waveform_networks.MAE and waveform_networks.published_weights(config["encoder"], data.weights_dir) is None:
        tables["unlabelled"] = backgrounds.from_files(soundscape_windows.available(stages.recordings_root(data.outputs_dir)))
    return pd.concat(tables.values(), ignore_index=True) if tables else pd.DataFrame(columns=["path", "start_s", "end_s"])


def predict_frames(folder, path, max_s=60.0):
    """Probabilities per frame of a mel model with the sed head.

    Args:
        folder: of the training.
        path: of a recording, of which ``max_s`` at most are read.

    Returns:
        (waveform, probabilities, frame_s): (samples,) at ``mel_models.SAMPLE_RATE_HZ``; (frames, classes); how long a frame is.

    Raises:
        mel_models.MelModelError: if the model has another head.
    """
    from birdlib.species import mel_models

    model = mel_models.with_frames(mel_models.load(folder / classifiers.FILES[0]))
    waveform, rate_hz = audio_io.read(path, mel_models.SAMPLE_RATE_HZ, 0.0, max_s)
    n_samples = model.input_shape[1]
    windows = np.pad(waveform, (0, -len(waveform) % n_samples)).reshape(-1, n_samples)
    frames = model.predict(windows, verbose=0)["frames"]  # (windows, frames, classes)
    return waveform, np.concatenate(frames), n_samples / rate_hz / frames.shape[1]


# The steps of a training


@dataclasses.dataclass(frozen=True)
class _Trained:
    """A trained network with its window, history and preprocessing; ``number`` of its round of self-distillation, 0 without."""

    network: waveform_networks.Network
    window: dict
    history: pd.DataFrame
    preprocessing: dict
    number: int

    @property
    def figure(self):
        """Of validation: macro ROC-AUC, or the negative loss where it is not defined."""
        if "is_kept" not in self.history or not self.history["is_kept"].any():
            return -np.inf
        kept = self.history[self.history["is_kept"]].iloc[0]
        return -kept["validation_loss"] if np.isnan(kept["validation_macro_auc"]) else kept["validation_macro_auc"]


def _train_once(config, data, folder, objective, teacher_weights, options, parts, rng, number):
    """Train a new network; a _Trained."""
    import keras

    from birdlib.species import mel_models

    if number:
        keras.utils.set_random_seed(int(rng.integers(2**31)))  # starts alike, whether the one before was trained now or earlier
    network = waveform_networks.build(config, data, folder, rng, options)
    model, rate_hz = network.model, mel_models.SAMPLE_RATE_HZ
    window = {"rate_hz": rate_hz, "window_s": model.input_shape[1] / rate_hz}
    augmentation = waveform_batches.choose_augmentation(config, data, options.augmentation, rate_hz, network.keeps_level)
    applied = {"augmentation": augmentation.probabilities}
    if "spec_augment" in augmentation.probabilities:
        applied["masks"] = augment.parse_masks(options.masks)
    front_end = mel_models.front_end(model)
    batches = waveform_batches.training_batches(parts, data, window, front_end, augmentation, rng, options, network.scale)
    validation = waveform_batches.consecutive_windows(data, data.splits[data.is_validation], window), data.truth[data.is_validation]
    key = [config, applied, options.mae_training, network.weights, teacher_weights, parts.key]
    checkpoint = folder / "checkpoint" / (f"round_{number}" if number else "")
    history = _fit(network, batches, validation, config, checkpoint, options, objective=objective, key=key)
    preprocessing = {"kind": "waveform", "sample_rate_hz": rate_hz, "window_s": window["window_s"], **applied, "left_out": augmentation.left_out}
    preprocessing |= {"note": network.note} if network.note else {}
    return _Trained(network, window, history, preprocessing, number)


def _teacher(config, data, folder, options):
    """(distillation.Teacher, receipt of its weights) of a mel model that is distilled; (None, {}) of others."""
    if not options.distillation or config["encoder"] not in waveform_networks.MEL:
        return None, {}
    return distillation.load(options.distillation_teachers, data, folder, config["soundscapes"])


def _objective(config, options, teacher):
    from birdlib.species import objective

    if config["encoder"] not in waveform_networks.MEL:
        return objective.SPECIES
    return objective.Objective(options.frame_share, options.distillation, teacher.dim if teacher else 0)


def _described(objective, teacher, teacher_weights, options, number):
    """What is saved with a model about its training, beyond the default: {} for that."""
    described = {"frame_share": objective.frame_share} if objective.frame_share else {}
    if teacher:
        licences = ", ".join(source["licence"] for source in teacher_weights.values())
        described["distillation"] = {"teacher": teacher.name, "dim": teacher.dim, "weight": objective.distillation, "licence": licences}
    if options.averaging != "none":
        described["averaging"] = options.averaging
    if options.self_distillation:
        described["self_distillation"] = {"rounds": options.self_distillation, "kept": number, "power": options.power}
    return described


def _fit(network, batches, validation, config, folder, options, *, objective, key):
    """The history of a training, see ``mel_training.fit``."""
    from birdlib.losses import classification as losses
    from birdlib.species import mel_training

    return mel_training.fit(
        network.model, batches, validation, loss=losses.get(config["loss"]), epochs=options.mel_epochs, patience=options.mel_epochs,
        learning_rate=network.learning_rate, objective=objective, averaging=options.averaging, folder=folder, key=key,
    )  # fmt: skip


def _predict(model, data, window):
    """(rows of the splits, classes); NaN for a recording of which nothing can be read."""
    from birdlib.species import mel_training

    recordings = data.splits.drop_duplicates("recording_id").reset_index(drop=True)
    scores = mel_training.predict(model, waveform_batches.consecutive_windows(data, recordings, window), len(recordings))
    return scores[pd.Index(recordings["recording_id"]).get_indexer(data.splits["recording_id"])]
