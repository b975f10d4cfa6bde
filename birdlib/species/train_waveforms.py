"""Trainings of networks on waveforms: mel models, and Bird-MAE with a head. Audio is read from the files as it is needed (``windowing``)."""

import dataclasses
import functools
import os
import warnings

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import augment, backgrounds, windowing
from birdlib.audio import io as audio_io
from birdlib.data import birdclef
from birdlib.models import weights
from birdlib.species import classifiers, dataset

MEL = {"mel_cnn": "cnn", "mobilenetv2": "mobilenetv2", "efficientnetb0": "efficientnetb0"}  # encoder → backbone
MAE = {"mae": "", "mae_base": "bird_mae"}  # encoder → published weights; "" is pretrained here
ENCODERS = (*MEL, *MAE)
_MISSING_SOUNDS = {  # augmentations that need other sounds, and why there may be none
    "background": "no soundscape has a stretch without labels",
    "voice": "02_clean found no speech in training recordings",
}
_MAX_WINDOWS = 6  # of a recording, in validation and prediction


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
    augmentation: str = "shift,volume,spec_augment"  # see ``augment.names``; with ``by_rarity`` all of it follows rarity, see ``augment.by_rarity``
    balance: float = 0.5  # power of oversampling, see ``windowing.oversampling``
    soundscape_share: float = 0.3  # of the crops, if soundscape windows are used
    mae_epochs: int = 20  # of pretraining
    mae_clips: int = 20_000  # at most in pretraining; each takes 131 kB on disk until it is done
    mae_head: str = "mlp"  # see ``mae_heads.build_head``


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
        folder: of the checkpoint; ``checkpoint`` and ``mae_pretraining.ENCODER`` in it can be removed when the model is saved.
        options: Options. Augmentations without the sounds that they need are dropped, with a warning and a note in ``preprocessing``.

    Returns:
        (model, scores, history, preprocessing, weights), as of ``train_heads.train``; NaN for a recording of which nothing can be read.
    """
    from birdlib.audio.batches import RandomWindows
    from birdlib.losses import classification as losses
    from birdlib.species import mel_models, mel_training

    augmentation, probabilities = _parse_augmentation(options.augmentation)
    model, pretrained = _build_model(config, data, folder, augmentation, rng, options)
    rate_hz = mel_models.SAMPLE_RATE_HZ
    window = {"rate_hz": rate_hz, "window_s": model.input_shape[1] / rate_hz}
    table, truth, shares = _training_parts(config, data, options)
    sounds, dropped = _background_sounds(data, augmentation, rate_hz)
    applied = [name for name in augment.names(augmentation) if name not in dropped]

    by_rarity = {"rarities": augment.rarity(truth), "probabilities": probabilities}
    batches = RandomWindows(
        table, data.outputs_dir / "02_clean", truth, **window, batch_size=options.mel_batch, n_steps=options.mel_steps, rng=rng, shares=shares,
        augment_batch=functools.partial(augment.waveforms, sample_rate_hz=rate_hz, switch=applied, **sounds, **by_rarity),
        front_end=mel_models.front_end(model),
        augment_spectrograms=functools.partial(augment.spectrograms, switch="mixup,cutmix" if config["mixup"] else "none", **by_rarity),
    )  # fmt: skip
    validation = _windows(data, data.splits[data.is_validation], window), data.truth[data.is_validation]
    history = mel_training.fit(
        model, batches, validation, loss=losses.get(config["loss"]), epochs=options.mel_epochs, patience=options.mel_epochs,
        learning_rate=options.mel_learning_rate, folder=folder / "checkpoint", key=[config, applied, probabilities, pretrained],
    )  # fmt: skip

    recordings = data.splits.drop_duplicates("recording_id").reset_index(drop=True)
    scores = mel_training.predict(model, _windows(data, recordings, window), len(recordings))
    scores = scores[pd.Index(recordings["recording_id"]).get_indexer(data.splits["recording_id"])]
    preprocessing = {"kind": "waveform", "sample_rate_hz": rate_hz, "window_s": window["window_s"], "augmentation": applied, "left_out": dropped}
    return model, scores, history, preprocessing, pretrained


def background_segments(config, data, augmentation):
    """What a training uses besides its recordings and windows, of soundscapes and removed speech: DataFrame ``path, start_s, end_s``."""
    tables = background_tables(data, augmentation)
    if MAE.get(config["encoder"]) == "":
        tables["unlabelled"] = backgrounds.from_files(_train_soundscapes(data))
    return pd.concat(tables.values(), ignore_index=True) if tables else pd.DataFrame(columns=["path", "start_s", "end_s"])


def background_tables(data, augmentation):
    """The sounds that augmentation mixes in: unlabelled stretches of soundscapes, and speech of training recordings.

    Test soundscapes, and speech of validation and test recordings, are never among them.

    Returns:
        {"background": table, "voice": table} as of ``backgrounds``, of those that ``augmentation`` names.
    """
    root, names, tables = stages.recordings_root(data.outputs_dir), augment.names(_parse_augmentation(augmentation)[0]), {}
    if "background" in names:
        labelled = None
        if data.windows is not None:
            labelled = data.windows.table.assign(path=[str(root / path) for path in data.windows.table["audio_path"]])
        tables["background"] = backgrounds.from_files(_train_soundscapes(data), labelled)
    if "voice" in names:
        segments = pd.read_parquet(data.outputs_dir / "02_clean" / "segments.parquet")
        tables["voice"] = backgrounds.from_speech(segments, data.splits[data.is_train], root)
    return tables


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


def _parse_augmentation(text):
    """(augmentation without ``by_rarity``, probabilities as of ``augment.by_rarity`` where it is named)."""
    names = [name.strip() for name in text.split(",")]
    others = ",".join(name for name in names if name != "by_rarity")
    return others, augment.by_rarity() if "by_rarity" in names else augment.PROBABILITIES


def _build_model(config, data, folder, augmentation, rng, options):
    """(model, receipt of its pretrained weights)."""
    encoder, mode = config["encoder"], dataset.mode_of(config["loss"])
    if encoder in MEL:
        from birdlib.species import mel_models

        masking = augment.model_layer(augmentation, int(rng.integers(2**31)))
        return mel_models.build(
            len(data.classes), backbone=MEL[encoder], head=options.mel_head, mode=mode, masking=masking, weights_dir=data.weights_dir
        )
    from birdlib.models import mae_checkpoints, mae_heads
    from birdlib.species import mae_pretraining

    if name := MAE[encoder]:
        source = weights.fetch(name, data.weights_dir)
        network, receipt = mae_checkpoints.load(source.path), {name: source.receipt()}
    else:
        paths = data.clip_paths(data.is_train) + _train_soundscapes(data)
        numbers = {"epochs": options.mae_epochs, "max_clips": options.mae_clips, "rng": rng}
        network, receipt = mae_pretraining.pretrain(paths, data.clip_paths(data.is_validation), folder, "07_classify", **numbers), {}
    head = mae_heads.build_head(options.mae_head, network, len(data.classes), mode=mode)
    return mae_heads.classifier(network, head, freeze=bool(name)), receipt


def _training_parts(config, data, options):
    """(table of parts, truth, share of each row in the crops), of recordings and, if ``config`` includes soundscapes, of their windows."""
    table, truth = windowing.parts(data.clips, data.splits[data.is_train]), data.truth[data.is_train]
    shares = windowing.oversampling(data.labels[data.is_train], options.balance)
    if not config["soundscapes"]:
        return table, truth, shares
    root, windows = stages.recordings_root(data.outputs_dir), data.windows
    paths = [os.path.relpath(root / path, data.outputs_dir / "02_clean") for path in windows.table["audio_path"]]
    more = windows.table.assign(recording_id=windows.table["row_id"], audio_path=paths, row=len(truth) + np.arange(len(windows)))
    window_shares = windows.confidences / max(windows.confidences.sum(), 1e-9)
    shares = np.concatenate([(1.0 - options.soundscape_share) * shares, options.soundscape_share * window_shares])
    return pd.concat([table, more[windowing.PART_COLUMNS]], ignore_index=True), np.concatenate([truth, windows.targets]), shares


def _background_sounds(data, augmentation, rate_hz):
    """({name: backgrounds.Sounds}, {name of an augmentation without sounds: why})."""
    tables = background_tables(data, augmentation)
    dropped = {name: _MISSING_SOUNDS[name] for name, table in tables.items() if not len(table)}
    for name, why in dropped.items():
        warnings.warn(f"augmentation {name} is left out: {why}", stacklevel=3)
    return {name: backgrounds.Sounds(table, rate_hz) for name, table in tables.items() if len(table)}, dropped


def _windows(data, recordings, window):
    """Consecutive windows of recordings, for validation and prediction."""
    from birdlib.audio.batches import ConsecutiveWindows

    return ConsecutiveWindows(windowing.parts(data.clips, recordings), data.outputs_dir / "02_clean", **window, n_windows=_MAX_WINDOWS)


def _train_soundscapes(data):
    return birdclef.soundscapes(stages.recordings_root(data.outputs_dir), "train")
