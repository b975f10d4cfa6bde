"""Soundscapes: a trained classifier on every five-second window of long recordings, in time and without losing a file."""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import audio, birdclef, noise, pooling, runtime, stages

COMPETITION_S = 60.0  # of a soundscape; a file that cannot be read gets rows as if it were whole
COMPETITION_FILES = 700  # of the hidden test set
BUDGET_MIN = 90.0  # of a CPU notebook


def choose(data_dir, recordings, n_rehearse):
    """Which soundscapes to predict: the test set; where it is empty, some to rehearse on.

    Rows are named by the file's stem, so of several files with one stem the first is taken.

    Args:
        data_dir: a BirdCLEF folder, or that of a manifest.
        recordings: splits of stage 01, whose test recordings stand in where there are no soundscapes at all; None: there is
            no such stage.
        n_rehearse: how many files to rehearse on.

    Returns:
        (paths, what): list of Path, and in words what they are.

    Raises:
        BirdlibError: if there is nothing to predict.
    """
    for which, files in (("test", None), ("train", n_rehearse)):
        if paths := _one_a_stem(birdclef.soundscapes(data_dir, which))[:files]:
            return paths, f"{len(paths)} {which} soundscapes" + (", a rehearsal" if which == "train" else "")
    if recordings is None:
        raise runtime.BirdlibError(
            f"{data_dir} has no sound in test_soundscapes/ or train_soundscapes/: name another data_dir"
        )
    table = recordings[(recordings["split"] == "test") & (recordings["audio_path"] != "")]
    paths = _one_a_stem(Path(data_dir) / path for path in table["audio_path"])[:n_rehearse]
    return paths, f"{len(paths)} test recordings in place of soundscapes, a rehearsal"


def predict(path, listener, model, window_s=birdclef.WINDOW_S, denoise="none"):
    """Probabilities of each window of a soundscape.

    Args:
        path: of the sound file.
        listener: the embedder the classifier was trained on.
        model: from ``classifiers.load``.
        denoise: as the classifier's training recordings were.

    Returns:
        (windows, probabilities): list of (start_s, end_s), and (windows, classes) float32.

    Raises:
        AudioError: if the file cannot be read.
    """
    if denoise == "none":
        blocks = audio.stream(path, sample_rate_hz=listener.sample_rate_hz)
    else:
        waveform, rate_hz = audio.read(path, listener.sample_rate_hz)
        blocks = [noise.denoise(waveform, rate_hz, denoise)]
    n_samples = 0

    def counted():
        nonlocal n_samples
        for block in blocks:
            n_samples += len(block)
            yield block

    pieces = list(listener.embed_stream(counted()))
    embeddings, bird_scores = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    windows = birdclef.windows(n_samples / listener.sample_rate_hz, window_s)
    centres_s = np.arange(len(embeddings)) * listener.hop_s + listener.patch_s / 2
    weights = pooling.patch_weights(bird_scores)
    return windows, _predict_windows(model, embeddings, weights, centres_s, windows)


def predict_all(paths, classes, listener, model, prior, window_s=birdclef.WINDOW_S, denoise="none"):
    """Predict every soundscape; one that cannot be read gets the prior in all its rows, and a line in the skipped table.

    Args:
        prior: (classes,) probabilities to give where nothing can be heard.

    Returns:
        (row_ids, probabilities, timings, skipped): list of str; (rows, classes); DataFrame ``soundscape, minutes, seconds``
        of those that were heard; the skipped table.
    """
    row_ids, probabilities, timings, skipped = [], [np.zeros((0, len(classes)), np.float32)], [], []
    for path in runtime.progress(paths, desc="soundscapes"):
        began = time.perf_counter()
        try:
            windows, scores = predict(path, listener, model, window_s, denoise)
            timings.append((path.stem, windows[-1][1] / 60.0, time.perf_counter() - began))
        except audio.AudioError as error:
            skipped.append((path.name, error.reason))
            windows = birdclef.windows(COMPETITION_S, window_s)
            scores = np.tile(np.asarray(prior, np.float32), (len(windows), 1))
        row_ids += [birdclef.row_id(path, end_s) for _, end_s in windows]
        probabilities.append(scores)
    table = pd.DataFrame(timings, columns=["soundscape", "minutes", "seconds"])
    return row_ids, np.concatenate(probabilities), table, stages.skipped_table(skipped, "08_submit")


def projection(timings):
    """What the whole test set would take: a sentence, from the median seconds per minute of audio."""
    if timings.empty:
        return "no soundscape was timed"
    seconds = float((timings["seconds"] / timings["minutes"]).median())
    total_min = seconds * COMPETITION_FILES * COMPETITION_S / 3600.0
    return f"{seconds:.2f} s per minute of audio: {COMPETITION_FILES} one-minute files would take {total_min:.0f} of {BUDGET_MIN:.0f} minutes"


def read_truth(path, row_ids, classes):
    """Truth of windows, as the sample tells it.

    Args:
        path: CSV with ``row_id`` and ``birds``, labels separated by ``;``.

    Returns:
        (rows, classes) of 0 and 1; labels outside the classes are left out, and rows that the table lacks are empty.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    birds = {row.row_id: set(row.birds.split(";")) for row in table.itertuples()}
    truth = [[label in birds.get(row_id, ()) for label in classes] for row_id in row_ids]
    return np.array(truth, dtype=np.float32).reshape(len(row_ids), len(classes))


def _one_a_stem(paths):
    first = {}
    for path in paths:
        first.setdefault(path.stem, path)
    return list(first.values())


def _predict_windows(model, embeddings, weights, centres_s, windows):
    """(windows, classes); a window too short to hold the centre of a patch takes the nearest patch."""
    firsts = np.searchsorted(centres_s, [start_s for start_s, _ in windows])
    lasts = np.searchsorted(centres_s, [end_s for _, end_s in windows])
    firsts = np.minimum(firsts, len(embeddings) - 1)
    lasts = np.maximum(lasts, firsts + 1)
    longest = int((lasts - firsts).max())
    padded = np.zeros((len(windows), longest, embeddings.shape[1]), np.float32)
    padded_weights = np.zeros((len(windows), longest), np.float32)  # 0: padding
    for i, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        padded[i, : last - first] = embeddings[first:last]
        padded_weights[i, : last - first] = weights[first:last]
    return model.predict({"embeddings": padded, "weights": padded_weights}, verbose=0)
