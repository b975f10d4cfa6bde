"""Trainings of networks that hear waveforms: mel models, and Bird-MAE with a head. What they learn from is read as it is needed (``crops``)."""

import functools
import os

import numpy as np
import pandas as pd

from birdlib import (
    augment,
    birdclef,
    crops,
    label_losses,
    mae,
    mae_checkpoints,
    mae_heads,
    mae_pretraining,
    mel_models,
    mel_training,
    runtime,
    stages,
    training_data,
    weights,
)

MEL = {"mel_cnn": "cnn", "mobilenetv2": "mobilenetv2", "efficientnetb0": "efficientnetb0"}  # encoder → backbone
MAE = {"mae": "", "mae_base": "bird_mae"}  # encoder → published weights
OPTIONS = {  # where nothing else is said
    "mel_epochs": 12,
    "mel_steps": 8,  # batches of an epoch
    "mel_batch": 32,
    "mel_patience": 6,
    "mel_learning_rate": 2e-3,
    "mel_head": "pooled",
    "augmentation": "shift,volume,spec_augment",
    "balance": 0.5,  # power of oversampling
    "soundscape_share": 0.3,  # of what is drawn, if windows are learnt
    "mae_epochs": 20,  # of pretraining
    "mae_head": "mlp",
}
MOST_WINDOWS = 6  # of a recording that a mel model is judged on


def train(one, data, folder, rng, *, mel_epochs, mel_steps, mel_batch, mel_patience, mel_learning_rate, mel_head, augmentation, balance,
          soundscape_share, mae_epochs, mae_head):  # fmt: skip
    """Train what ``one`` asks for; a training that was cut off goes on after its last whole epoch.

    Args:
        folder: of the checkpoint; ``checkpoint`` and ``encoder.keras`` in it can be removed when the model is saved.
        augmentation: see ``augment.names``; mixup and cutmix come with ``one``.
        balance: see ``crops.oversampling``.
        mel_head, mae_head: see ``mel_models.build`` and ``mae_heads.build_head``; the other numbers: ``OPTIONS``.

    Returns:
        (model, scores, history, preprocessing, weights), as of ``head_trainings.train``; a recording of which nothing can be read has the prior.
    """
    mode, is_train, is_validation = training_data.mode_of(one["loss"]), data.is_train, data.is_validation
    if one["encoder"] in MEL:
        masking = augment.model_layer(augmentation, int(rng.integers(2**31)))
        options = {"backbone": MEL[one["encoder"]], "head": mel_head, "mode": mode, "masking": masking, "weights_dir": data.weights_dir}
        model, used = mel_models.build(len(data.classes), **options)
    else:
        encoder, used = _mae_encoder(one, data, folder, mae_epochs, rng)
        head = mae_heads.build_head(mae_head, encoder, len(data.classes), mode=mode)
        model = mae_heads.classifier(encoder, head, freeze=one["encoder"] != "mae")
    rate_hz = mel_models.SAMPLE_RATE_HZ
    window_s = model.input_shape[1] / rate_hz
    cleaned = data.outputs_dir / "02_clean"
    table, truth = crops.parts(data.clips, data.splits[is_train]), data.truth[is_train]
    shares = crops.oversampling(data.labels[is_train], balance)
    if one["soundscapes"]:
        table, truth, shares = _with_windows(table, truth, shares, data, soundscape_share)
    rarities = augment.rarity(truth)
    distort = functools.partial(augment.waveforms, sample_rate_hz=rate_hz, switch=augmentation, rarities=rarities)
    mix = functools.partial(augment.spectrograms, switch="mixup,cutmix" if one["mixup"] else "none", rarities=rarities)
    batches = crops.draw_batches(
        table, cleaned, truth, rate_hz=rate_hz, window_s=window_s, batch_size=mel_batch, n_steps=mel_steps, rng=rng, shares=shares,
        augment_batch=distort, front_end=mel_models.front_end(model), augment_spectrograms=mix,
    )  # fmt: skip
    cut = functools.partial(crops.windows, folder=cleaned, rate_hz=rate_hz, window_s=window_s, n_windows=MOST_WINDOWS)
    validation = cut(crops.parts(data.clips, data.splits[is_validation])), data.truth[is_validation]
    training = {"epochs": mel_epochs, "patience": mel_patience, "learning_rate": mel_learning_rate, "folder": folder / "checkpoint"}
    history = mel_training.fit(model, batches, validation, loss=label_losses.get(one["loss"]), key=[one, augmentation, used], **training)
    recordings = data.splits.drop_duplicates("recording_id").reset_index(drop=True)
    scores = mel_training.predict(model, cut(crops.parts(data.clips, recordings)), len(recordings))
    scores = np.where(np.isnan(scores), np.float32(data.prior), scores)
    scores = scores[pd.Index(recordings["recording_id"]).get_indexer(data.splits["recording_id"])]
    preprocessing = {"kind": "waveform", "sample_rate_hz": rate_hz, "window_s": window_s}
    return model, scores, history, preprocessing, used


def _with_windows(table, truth, shares, data, soundscape_share):
    """Parts, truth and shares with the windows of soundscapes behind them; these are drawn in ``soundscape_share`` of all cases."""
    root, windows = stages.recordings_root(data.outputs_dir), data.windows
    paths = [os.path.relpath(root / path, data.outputs_dir / "02_clean") for path in windows.table["audio_path"]]
    more = windows.table.assign(recording_id=windows.table["row_id"], audio_path=paths, row=len(truth) + np.arange(len(windows)))
    drawn = windows.confidences / max(windows.confidences.sum(), 1e-9)
    shares = np.concatenate([(1.0 - soundscape_share) * shares, soundscape_share * drawn])
    return pd.concat([table, more[crops.PART_COLUMNS]], ignore_index=True), np.concatenate([truth, windows.targets]), shares


def _mae_encoder(one, data, folder, mae_epochs, rng):
    """(encoder, receipt): the published one, or a tiny one that guesses what it is not shown of the training recordings and soundscapes."""
    if name := MAE[one["encoder"]]:
        source = weights.fetch(name, data.weights_dir)
        return mae_checkpoints.load(source.path), {name: source.receipt()}
    recordings = data.clips[data.clips["recording_id"].isin(data.splits["recording_id"][data.is_train]) & ~data.clips["is_noise"]]
    paths = [data.outputs_dir / "02_clean" / path for path in recordings["audio_path"].unique()]
    paths += birdclef.soundscapes(stages.recordings_root(data.outputs_dir), "train")
    pretrained, path = folder / "encoder.keras", folder / "spectrograms.npy"
    if pretrained.is_file():  # by a run that was killed later on
        return mae.load(pretrained), {}
    mae_pretraining.write_spectrograms(paths, path, "07_classify")
    spectrograms, encoder = np.load(path, mmap_mode="r"), mae.build_encoder("tiny")
    mae_pretraining.fit(mae.build_pretrainer(encoder, "tiny"), spectrograms, epochs=mae_epochs, batch_size=min(32, len(spectrograms)), rng=rng)
    with runtime.replacing(pretrained) as temporary:
        encoder.save(temporary)
    path.unlink()
    return encoder, {}
