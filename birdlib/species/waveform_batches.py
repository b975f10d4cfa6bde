"""What networks on waveforms are trained on: windows of recordings and of soundscapes, and their augmentation with the sounds it mixes in."""

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from birdlib import stages
from birdlib.audio import augment, backgrounds, windowing
from birdlib.species import soundscape_windows

_MISSING_SOUNDS = {  # augmentations that need other sounds, and why there may be none
    "background": "no soundscape has a stretch without labels",
    "voice": "02_clean found no speech in training recordings",
}
_NO_MIXING = "this training is without the component mixup"
_NO_LEVEL = "the spectrogram of this network is relative to its loudest point, so a gain changes nothing"
_MAX_WINDOWS = 6  # of a recording, in validation and prediction


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What is applied in a training.

    Attributes:
        probabilities: {name: number or (min, max) by rarity}, see ``augment.parse``.
        left_out: {name: why} of what was named and is not applied.
        sounds: {name: backgrounds.Sounds} that are mixed in.
    """

    probabilities: dict
    left_out: dict
    sounds: dict


def choose_augmentation(config, data, text, rate_hz, keeps_level):
    """The augmentation of a training.

    Clips are mixed (``augment.MIXERS``) only where ``config`` includes mixup: by the mixers that the text names, else by mixup and cutmix.

    Args:
        text: see ``augment.parse``.
        rate_hz: of the sounds.
        keeps_level: whether the network's spectrogram depends on the level of the sound. Otherwise volume matters for clips to be mixed only.

    Returns:
        Augmentation. What lacks its sounds or has no effect is left out with a warning.
    """
    probabilities = augment.parse(text)
    mixers = [name for name in augment.MIXERS if name in probabilities]
    if config["mixup"] and not mixers:
        probabilities = augment.parse(f"{text},mixup,cutmix")
    left_out = {} if config["mixup"] else dict.fromkeys(mixers, _NO_MIXING)
    tables = background_tables(data, text)
    useless = {name: _MISSING_SOUNDS[name] for name, table in tables.items() if not len(table)}
    is_mixed = config["mixup"] and "audio_mix" in probabilities
    if "volume" in probabilities and not keeps_level and not is_mixed:
        useless["volume"] = _NO_LEVEL
    for name, why in useless.items():
        warnings.warn(f"augmentation {name} is left out: {why}", stacklevel=2)
    left_out |= useless
    applied = {name: value for name, value in probabilities.items() if name not in left_out}
    return Augmentation(applied, left_out, {name: backgrounds.Sounds(table, rate_hz) for name, table in tables.items() if len(table)})


@dataclasses.dataclass(frozen=True)
class Parts:
    """What crops are drawn from: a table as of ``windowing.parts``, and of its rows ``truth`` and ``shares`` of the crops.

    ``relabel`` and ``teacher``: functions as of ``batches.RandomWindows``, or None. ``key``: digest of what ``relabel`` does.
    """

    table: pd.DataFrame
    truth: np.ndarray
    shares: np.ndarray
    relabel: Callable | None = None
    teacher: Callable | None = None
    key: str = ""


def training_batches(parts, data, window, front_end, augmentation, rng, options, scale=None):
    """Batches of augmented spectrograms of random windows.

    Args:
        parts: from ``training_parts``.
        window: ``rate_hz, window_s``.
        front_end: of the network, see ``mel_models.front_end``.
        augmentation: from ``choose_augmentation``.
        options: ``train_waveforms.Options``.
        scale: of its spectrograms, as of ``augment.spectrograms``.

    Returns:
        batches.RandomWindows.
    """
    from birdlib.audio.batches import RandomWindows

    given = {"probabilities": augmentation.probabilities, "rarities": augment.rarity(parts.truth)}
    return RandomWindows(
        parts.table, data.outputs_dir / "02_clean", parts.truth, **window, batch_size=options.mel_batch, n_steps=options.mel_steps, rng=rng,
        shares=parts.shares, relabel=parts.relabel, teacher=parts.teacher,
        augment_batch=functools.partial(augment.waveforms, sample_rate_hz=window["rate_hz"], **augmentation.sounds, **given),
        front_end=front_end, augment_spectrograms=functools.partial(augment.spectrograms, scale=scale, **given),
    )  # fmt: skip


def consecutive_windows(data, recordings, window):
    """Consecutive windows of recordings, for validation and prediction: batches.ConsecutiveWindows."""
    from birdlib.audio.batches import ConsecutiveWindows

    return ConsecutiveWindows(windowing.parts(data.clips, recordings), data.outputs_dir / "02_clean", **window, n_windows=_MAX_WINDOWS)


def background_tables(data, text):
    """The sounds that augmentation mixes in: unlabelled stretches of soundscapes, and speech of training recordings.

    Test soundscapes, also those among the training ones, and speech of validation and test recordings, are never among them.

    Returns:
        {"background": table, "voice": table} as of ``backgrounds``, of those that ``text``, see ``augment.parse``, names.
    """
    root, names, tables = stages.recordings_root(data.outputs_dir), augment.parse(text), {}
    if "background" in names:
        labelled = None
        if data.windows is not None:
            labelled = data.windows.table.assign(path=[str(root / path) for path in data.windows.table["audio_path"]])
        tables["background"] = backgrounds.from_files(soundscape_windows.available(root), labelled)
    if "voice" in names:
        segments = pd.read_parquet(data.outputs_dir / "02_clean" / "segments.parquet")
        tables["voice"] = backgrounds.from_speech(segments, data.splits[data.is_train], root)
    return tables


def training_parts(config, data, options):
    """Parts of recordings and, if ``config`` includes soundscapes, of the windows of stage 06, whose targets may be soft."""
    table, truth = windowing.parts(data.clips, data.splits[data.is_train]), data.truth[data.is_train]
    shares = windowing.oversampling(data.labels[data.is_train], options.balance)
    if not config["soundscapes"]:
        return Parts(table, truth, shares)
    root, windows = stages.recordings_root(data.outputs_dir), data.windows
    paths = [os.path.relpath(root / path, data.outputs_dir / "02_clean") for path in windows.table["audio_path"]]
    more = windows.table.assign(recording_id=windows.table["row_id"], audio_path=paths, row=len(truth) + np.arange(len(windows)))
    window_shares = windows.confidences / max(windows.confidences.sum(), 1e-9)
    shares = np.concatenate([(1.0 - options.soundscape_share) * shares, options.soundscape_share * window_shares])
    return Parts(pd.concat([table, more[windowing.PART_COLUMNS]], ignore_index=True), np.concatenate([truth, windows.targets]), shares)
