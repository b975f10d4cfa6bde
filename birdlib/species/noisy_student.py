"""Rounds of self-distillation: a trained network labels its recordings and unlabelled soundscapes, and a new network is trained on these labels.

As in BirdCLEF+ 2026. On recordings, whose species are known but not when they sing, the label of a crop is a blend of label and score. On
soundscapes, the scores raised to a power are the labels, and windows are drawn by their highest score: the noisy student of 2025's first
place, see ``self_training``, which stage 06 runs with small networks on embeddings. A window that stage 06 has labelled keeps its label.
"""

import dataclasses
import os

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.audio import windowing
from birdlib.species import soundscape_windows
from birdlib.species.distillation import Teacher
from birdlib.species.self_training import power_transform

_MIN_SCORE, _SCORE_POWER, _SCORE_SHARE = 0.3, 2.0, 0.7  # of ``blend``: the fifth place of 2026, as the second published it
_MAX_SOUNDSCAPES = 200  # as many as stage 06 reads by default


def blend(labels, scores):
    """Labels of crops: share * t + (1 - share) * label, with t = s + s ** 2 of a score s above .3, else s ** 2, at most 1; the share is .7.

    Args:
        labels, scores: (..., classes) in [0, 1].
    """
    raised = np.clip(scores * (scores > _MIN_SCORE) + scores**_SCORE_POWER, 0.0, 1.0)
    return (_SCORE_SHARE * raised + (1.0 - _SCORE_SHARE) * labels).astype(np.float32)


def next_parts(parts, model, data, window, options, rng):
    """What the next student is trained on.

    Args:
        parts: waveform_batches.Parts of the first network: recordings, and windows of stage 06 where the configuration includes them.
        model: the network before it.
        data: TrainingData.
        window: ``rate_hz, window_s``.
        options: ``train_waveforms.Options``: ``power`` of soundscape labels, and ``soundscape_share`` of the crops.

    Returns:
        waveform_batches.Parts.
    """
    recordings = windowing.parts(data.clips, data.splits[data.is_train])
    teacher, key = _scores_of_recordings(model, recordings, data, window)

    def relabel(truth, recording_id, start_s, end_s):
        return blend(truth, teacher.embed(recording_id, start_s, end_s)) if recording_id in teacher else truth

    table, targets, confidences = _scores_of_soundscapes(model, data, window, set(parts.table["recording_id"]), rng)
    if not len(table):
        return dataclasses.replace(parts, relabel=relabel, key=key)
    n = len(parts.truth)
    is_window = np.arange(n) >= int(data.is_train.sum())  # of stage 06
    weights = np.concatenate([parts.shares * is_window / max(parts.shares[is_window].sum(), 1e-9), confidences / max(confidences.sum(), 1e-9)])
    weights /= weights.sum()  # windows of stage 06 and of this model have equal shares
    of_recordings = np.concatenate([parts.shares * ~is_window, np.zeros(len(table))])
    return dataclasses.replace(
        parts,
        table=pd.concat([parts.table, table.assign(row=n + np.arange(len(table)))], ignore_index=True),
        truth=np.concatenate([parts.truth, power_transform(targets, options.power)]).astype(np.float32),
        shares=(1.0 - options.soundscape_share) * of_recordings / of_recordings.sum() + options.soundscape_share * weights,
        relabel=relabel,
        key=key,
    )


def _scores_of_recordings(model, recordings, data, window):
    """(Teacher, digest): its embeddings are the model's scores of consecutive windows."""
    table, scores = _predict(model, recordings, data.outputs_dir / "02_clean", window)
    names = recordings.drop_duplicates("row").set_index("row")["recording_id"]
    starts_s = table["start_s"].to_numpy()
    times = {"start_s": starts_s, "end_s": np.minimum(table["end_s"].to_numpy(), starts_s + window["window_s"])}
    windows = pd.DataFrame({"recording_id": names[table["row"]].to_numpy(), **times})
    return Teacher("scores", [(scores, windows)]), runtime.digest(scores.tolist())


def _scores_of_soundscapes(model, data, window, labelled, rng):
    """(table of parts, scores, highest scores) of windows of unlabelled soundscapes, without those that have labels."""
    root = stages.recordings_root(data.outputs_dir)
    paths = soundscape_windows.sample(soundscape_windows.available(root), _MAX_SOUNDSCAPES, rng)
    folder = data.outputs_dir / "02_clean"
    where = {path.stem: os.path.relpath(root / path, folder) for path in paths}
    windows = soundscape_windows.cut(paths, window["window_s"])
    windows = windows[~windows["row_id"].isin(labelled)].reset_index(drop=True)
    table = windows.assign(recording_id=windows["row_id"], audio_path=windows["soundscape"].map(where), row=np.arange(len(windows)))
    table, scores = _predict(model, table[windowing.PART_COLUMNS], folder, window)
    table = windows.iloc[table["row"]].assign(recording_id=windows["row_id"], audio_path=windows["soundscape"].map(where))
    return table.assign(row=0)[windowing.PART_COLUMNS], scores, scores.max(axis=1, initial=0.0)


def _predict(model, parts, folder, window):
    """(windows, scores): those of parts that can be read, consecutive."""
    from birdlib.audio.batches import ConsecutiveWindows
    from birdlib.species import mel_training

    windows = ConsecutiveWindows(parts, folder, **window, n_windows=0)
    if not len(windows):
        return windows.table, np.zeros((0, model.output_shape[-1]), np.float32)
    scores, is_read = mel_training.predict_windows(model, windows)
    return windows.table[is_read].reset_index(drop=True), scores[is_read]
