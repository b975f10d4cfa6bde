"""Trainings of networks that hear waveforms: mel models, and Bird-MAE with a head. What they learn from is read as it is needed (``crops``)."""

import functools
import os
import warnings

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import augment, backgrounds, windowing
from birdlib.audio import io as audio_io
from birdlib.data import birdclef
from birdlib.losses import classification as classification_losses
from birdlib.models import weights
from birdlib.species import classifiers, dataset, mel_models, mel_training

MEL = {"mel_cnn": "cnn", "mobilenetv2": "mobilenetv2", "efficientnetb0": "efficientnetb0"}  # encoder → backbone
MAE = {"mae": "", "mae_base": "bird_mae"}  # encoder → published weights
OPTIONS = {  # where nothing else is said
    "mel_epochs": 12,
    "mel_steps": 8,  # batches of an epoch
    "mel_batch": 32,
    "mel_learning_rate": 2e-3,
    "mel_head": "pooled",
    "augmentation": "shift,volume,spec_augment",
    "balance": 0.5,  # power of oversampling
    "soundscape_share": 0.3,  # of what is drawn, if windows are learnt
    "mae_epochs": 20,  # of pretraining
    "mae_clips": 20_000,  # that it hears at most; of each lie 131 kB on disk until it is done
    "mae_head": "mlp",
}
_SOUNDS = {  # augmentations that need other sounds, and why there may be none
    "background": "no soundscape has a stretch without labels",
    "voice": "02_clean found no speech in training recordings",
}
GUESSES = "guesses.npy"
_GUESSED = 3  # recordings whose spectrograms a pretrained Bird-MAE fills in, for the eye
_MOST_WINDOWS = 6  # of a recording that a mel model is judged on


class WaveTrainingError(runtime.BirdlibError):
    """A training that cannot be done as asked."""


def heads(text):
    """What a comma list such as ``"sed, mlp"`` says: the head of mel models, then that of Bird-MAE.

    Returns:
        {"mel_head": one of ``mel_models.HEADS``, "mae_head": one of ``mae_heads.HEADS``}.

    Raises:
        WaveTrainingError: for any other text.
    """
    from birdlib.models import mae_heads

    named = runtime.names(text)
    if len(named) != 2 or named[0] not in mel_models.HEADS or named[1] not in mae_heads.HEADS:
        of_mel, of_mae = ", ".join(mel_models.HEADS), ", ".join(mae_heads.HEADS)
        raise WaveTrainingError(f"heads are {text!r}: name two, of mel models one of {of_mel}, then one of {of_mae} of Bird-MAE, as in 'sed,mlp'")
    return {"mel_head": named[0], "mae_head": named[1]}


def train(one, data, folder, rng, *, mel_epochs, mel_steps, mel_batch, mel_learning_rate, mel_head, augmentation,
          balance, soundscape_share, mae_epochs, mae_clips, mae_head):  # fmt: skip
    """Train what ``one`` asks for; a training that was cut off goes on after its last whole epoch.

    Args:
        folder: of the checkpoint; ``checkpoint`` and ``encoder.keras`` in it can be removed when the model is saved.
        augmentation: see ``augment.names``; mixup and cutmix come with ``one``. With ``by_rarity`` among the names, all of it follows rarity, see
            ``augment.by_rarity``. What needs sounds that are not there is left out, and told by a warning and in ``preprocessing``.
        balance: see ``crops.oversampling``.
        mel_head, mae_head: see ``mel_models.build`` and ``mae_heads.build_head``; the other numbers: ``OPTIONS``.

    Returns:
        (model, scores, history, preprocessing, weights), as of ``head_trainings.train``; NaN for a recording of which nothing can be read.
    """
    augmentation, probabilities = _how_often(augmentation)
    mode, is_train, is_validation = dataset.mode_of(one["loss"]), data.is_train, data.is_validation
    if one["encoder"] in MEL:
        masking = augment.model_layer(augmentation, int(rng.integers(2**31)))
        options = {"backbone": MEL[one["encoder"]], "head": mel_head, "mode": mode, "masking": masking, "weights_dir": data.weights_dir}
        model, used = mel_models.build(len(data.classes), **options)
    else:
        from birdlib.models import mae_heads

        encoder, used = _mae_encoder(one, data, folder, mae_epochs, mae_clips, rng)
        head = mae_heads.build_head(mae_head, encoder, len(data.classes), mode=mode)
        model = mae_heads.classifier(encoder, head, freeze=one["encoder"] != "mae")
    rate_hz = mel_models.SAMPLE_RATE_HZ
    window_s = model.input_shape[1] / rate_hz
    cleaned = data.outputs_dir / "02_clean"
    table, truth = windowing.parts(data.clips, data.splits[is_train]), data.truth[is_train]
    shares = windowing.oversampling(data.labels[is_train], balance)
    if one["soundscapes"]:
        table, truth, shares = _with_windows(table, truth, shares, data, soundscape_share)
    rarities = augment.rarity(truth)
    around, left_out = _around(data, augmentation, rate_hz)
    done = [name for name in augment.names(augmentation) if name not in left_out]
    often = {"rarities": rarities, "probabilities": probabilities}
    distort = functools.partial(augment.waveforms, sample_rate_hz=rate_hz, switch=done, **around, **often)
    mix = functools.partial(augment.spectrograms, switch="mixup,cutmix" if one["mixup"] else "none", **often)
    batches = windowing.draw_batches(
        table, cleaned, truth, rate_hz=rate_hz, window_s=window_s, batch_size=mel_batch, n_steps=mel_steps, rng=rng, shares=shares,
        augment_batch=distort, front_end=mel_models.front_end(model), augment_spectrograms=mix,
    )  # fmt: skip
    cut = functools.partial(windowing.windows, folder=cleaned, rate_hz=rate_hz, window_s=window_s, n_windows=_MOST_WINDOWS)
    validation = cut(windowing.parts(data.clips, data.splits[is_validation])), data.truth[is_validation]
    training = {"epochs": mel_epochs, "patience": mel_epochs, "learning_rate": mel_learning_rate, "folder": folder / "checkpoint"}
    history = mel_training.fit(model, batches, validation, loss=classification_losses.get(one["loss"]), key=[one, done, probabilities, used], **training)
    recordings = data.splits.drop_duplicates("recording_id").reset_index(drop=True)
    scores = mel_training.predict(model, cut(windowing.parts(data.clips, recordings)), len(recordings))
    scores = scores[pd.Index(recordings["recording_id"]).get_indexer(data.splits["recording_id"])]
    preprocessing = {"kind": "waveform", "sample_rate_hz": rate_hz, "window_s": window_s, "augmentation": done, "left_out": left_out}
    return model, scores, history, preprocessing, used


def sounds(data, augmentation):
    """What augmentation lays below the birds: what nobody labelled in soundscapes, and what people say in training recordings.

    Soundscapes of the test, and the voices of recordings that are judged on, are never among them.

    Returns:
        {"background": table, "voice": table} as of ``ambience``, of those that ``augmentation`` asks for.
    """
    root, asked, tables = stages.recordings_root(data.outputs_dir), augment.names(_how_often(augmentation)[0]), {}
    if "background" in asked:
        taken = None
        if data.windows is not None:
            taken = data.windows.table.assign(path=[str(root / path) for path in data.windows.table["audio_path"]])
        tables["background"] = backgrounds.of_files(birdclef.soundscapes(root, "train"), taken)
    if "voice" in asked:
        segments = pd.read_parquet(data.outputs_dir / "02_clean" / "segments.parquet")
        tables["voice"] = backgrounds.of_speech(segments, data.splits[data.is_train], root)
    return tables


def listened(one, data, augmentation):
    """The stretches that a training hears beside its recordings and windows, in soundscapes and in what was removed: DataFrame ``path, start_s, end_s``."""
    tables = sounds(data, augmentation)
    if one["encoder"] in MAE and not MAE[one["encoder"]]:
        tables["unlabelled"] = backgrounds.of_files(birdclef.soundscapes(stages.recordings_root(data.outputs_dir), "train"))
    return pd.concat(tables.values(), ignore_index=True) if tables else pd.DataFrame(columns=["path", "start_s", "end_s"])


def frames(folder, path, longest_s=60.0):
    """When a mel model with the sed head hears whom.

    Args:
        folder: of the training.
        path: of a recording, of which ``longest_s`` at most are heard.

    Returns:
        (waveform, probabilities, frame_s): (samples,) at ``mel_models.SAMPLE_RATE_HZ``; (frames, classes); how long a frame is.

    Raises:
        mel_models.MelModelError: if the model has another head.
    """
    model = mel_models.with_frames(mel_models.load(folder / classifiers.FILES[0]))
    waveform, rate_hz = audio_io.read(path, mel_models.SAMPLE_RATE_HZ, 0.0, longest_s)
    n_samples = model.input_shape[1]
    windows = np.pad(waveform, (0, -len(waveform) % n_samples)).reshape(-1, n_samples)
    found = model.predict(windows, verbose=0)["frames"]  # (windows, frames, classes)
    return waveform, np.concatenate(found), n_samples / rate_hz / found.shape[1]


def _how_often(augmentation):
    """(augmentation without ``by_rarity``, probabilities as of ``augment.by_rarity`` where it is there)."""
    asked = [name.strip() for name in augmentation.split(",")]
    left = ",".join(name for name in asked if name != "by_rarity")
    return left, augment.by_rarity() if "by_rarity" in asked else augment.PROBABILITIES


def _around(data, augmentation, rate_hz):
    """({name: ambience.Sounds}, {name that is left out: why})."""
    tables = sounds(data, augmentation)
    left_out = {name: _SOUNDS[name] for name, table in tables.items() if not len(table)}
    for name, why in left_out.items():
        warnings.warn(f"augmentation {name} is left out: {why}", stacklevel=3)
    return {name: backgrounds.Sounds(table, rate_hz) for name, table in tables.items() if len(table)}, left_out


def _with_windows(table, truth, shares, data, soundscape_share):
    """Parts, truth and shares with the windows of soundscapes behind them; these are drawn in ``soundscape_share`` of all cases."""
    root, windows = stages.recordings_root(data.outputs_dir), data.windows
    paths = [os.path.relpath(root / path, data.outputs_dir / "02_clean") for path in windows.table["audio_path"]]
    more = windows.table.assign(recording_id=windows.table["row_id"], audio_path=paths, row=len(truth) + np.arange(len(windows)))
    drawn = windows.confidences / max(windows.confidences.sum(), 1e-9)
    shares = np.concatenate([(1.0 - soundscape_share) * shares, soundscape_share * drawn])
    return pd.concat([table, more[windowing.PART_COLUMNS]], ignore_index=True), np.concatenate([truth, windows.targets]), shares


def _mae_encoder(one, data, folder, mae_epochs, mae_clips, rng):
    """(encoder, receipt): the published one, or a tiny one that guesses what it is not shown of the training recordings and soundscapes."""
    from birdlib.models import mae, mae_checkpoints
    from birdlib.species import mae_pretraining

    if name := MAE[one["encoder"]]:
        source = weights.fetch(name, data.weights_dir)
        return mae_checkpoints.load(source.path), {name: source.receipt()}
    paths = _clip_paths(data, data.is_train) + birdclef.soundscapes(stages.recordings_root(data.outputs_dir), "train")
    pretrained, path = folder / "encoder.keras", folder / "spectrograms.npy"
    of_clips, of_masks = rng.spawn(2)  # so that rng is the same afterwards, whatever is already there
    if pretrained.is_file():  # by a run that was killed later on
        return mae.load(pretrained), {}
    if not path.is_file():
        mae_pretraining.write_spectrograms(paths, path, "07_classify", most=mae_clips, rng=of_clips)
    spectrograms, encoder = np.load(path, mmap_mode="r"), mae.build_encoder("tiny")
    pretrainer, checkpoint = mae.build_pretrainer(encoder, "tiny"), folder / "checkpoint" / "pretraining.npz"
    numbers = {"epochs": mae_epochs, "batch_size": min(32, len(spectrograms))}
    mae_pretraining.fit(pretrainer, spectrograms, rng=of_masks, checkpoint=checkpoint, **numbers)
    _guess(pretrainer, _clip_paths(data, data.is_validation)[:_GUESSED], folder / GUESSES)
    with runtime.replacing(pretrained) as temporary:
        encoder.save(temporary)
    path.unlink()
    return encoder, {}


def _clip_paths(data, rows):
    """Files of the cleaned recordings of some rows of the splits."""
    own = data.clips[data.clips["recording_id"].isin(data.splits["recording_id"][rows]) & ~data.clips["is_noise"]]
    return [data.outputs_dir / "02_clean" / path for path in own["audio_path"].unique()]


def _guess(pretrainer, paths, target):
    """Keep what a pretrainer makes of the first clip of each recording: (3, recordings, frames, mels) float16; truth, NaN where masked, filled in."""
    from birdlib.species import mae_pretraining

    clips, _ = mae_pretraining.write_spectrograms(paths, target, "07_classify")
    if not len(clips):
        target.unlink()
        return
    truth = np.load(target)[~clips["path"].duplicated().to_numpy()].astype(np.float32)
    order = mae_pretraining.orders(len(truth), pretrainer.input["order"].shape[1], np.random.default_rng(0))
    filled, is_masked = mae_pretraining.fill_in(pretrainer, truth, order)
    with runtime.replacing(target) as temporary, open(temporary, "wb") as file:
        np.save(file, np.stack([truth, np.where(is_masked, np.nan, truth), filled]).astype(np.float16))
