"""Duplicate detection. The same sound in train and in test would inflate the scores.

A *fingerprint* is one float32 vector of the first ten seconds of a recording: ``_N_STATISTICS`` statistics of its
log-mel spectrogram, by which candidates are found, then a coarse spectrogram (frames x bands), which is correlated with
that of the candidate. Both are independent of the gain. Frames after the end of a short recording are NaN, and so is
the whole fingerprint of a recording that cannot be read.
"""

import warnings

import numpy as np
import pandas as pd

from birdlib import parallel, runtime
from birdlib.audio import io as audio_io
from birdlib.data import manifest, splits
from birdlib.metrics import bootstrap
from birdlib.store import temporary_array

SAMPLE_RATE_HZ = 16_000
_FINGERPRINT_S = 10.0
_WINDOW_S, _HOP_S = 0.256, 0.064  # so long that a shift by half a hop hardly changes a frame
_N_BANDS, _N_MELS = 8, 32
_N_STATISTICS = 2 * _N_MELS
_N_FRAMES = int(_FINGERPRINT_S / _HOP_S)
_FLOOR_DB = -60.0  # re the maximum; below is coding noise
_MAX_SHIFT = 9  # frames, 0.58 s
_MIN_LIKENESS, _MIN_SHORT_LIKENESS = 0.94, 0.97  # the latter below _SHORT_S, where songs of a species are more alike
_SHORT_S, _MIN_S = 5.0, 1.0
_N_CANDIDATES = 6  # nearest neighbours compared with each recording
_RIDGE = 10.0
_BATCH = 2000  # pairs compared at once


def fingerprints(paths, starts_s=None, ends_s=None, n_jobs=-1, folder=None):
    """Compute the fingerprint of each recording, in parallel.

    Args:
        paths: of recordings; an empty path (of a photo, for example) gives a row of NaN.
        starts_s, ends_s: the part of each file that is the recording; None or NaN: the whole file.
        n_jobs: as in ``parallel.map_unordered``.
        folder: where they lie on disk, 5 kB a recording, see ``store.temporary_array``; None keeps them in memory.

    Returns:
        (recordings, features) float32.
    """
    runtime.require_jobs(n_jobs)
    starts_s, ends_s = (np.full(len(paths), np.nan) if times is None else times for times in (starts_s, ends_s))
    rows = enumerate(zip(paths, starts_s, ends_s, strict=True))
    tasks = {(row, str(path)): {"path": str(path), "start_s": start_s, "end_s": end_s} for row, (path, start_s, end_s) in rows}
    shape = len(tasks), _N_STATISTICS + _N_FRAMES * _N_BANDS
    prints = np.empty(shape, np.float32) if folder is None else temporary_array(folder, shape)
    results = parallel.map_unordered(_fingerprint, tasks, n_jobs)
    for (row, _), found in runtime.progress(results, total=len(tasks), desc="fingerprints"):
        prints[row] = found
    return prints


def digest_media(table, root):
    """A list of str, one per row: sha256 of the recording's file, with the start and end of its part; "" where it can no longer be read.

    Args:
        table: normalised manifest.
        root: folder of its paths.
    """
    rows = list(zip(manifest.first_media(table), table["start_s"], table["end_s"], strict=True))
    rows = runtime.progress(rows, desc="digests")
    return [digest and f"{digest} {start}-{end}" for path, start, end in rows for digest in [_digest(root / path)]]


def _digest(path):
    try:
        return runtime.digest_file(path)
    except OSError as error:
        warnings.warn(f"{runtime.printable(path)}: could not be read ({error.strerror}), so its copies are not found: put it back and run again", runtime.FileWarning, stacklevel=3)
        return ""


def _is_readable(table, prints):
    """(rows,) bool: whether a row has a fingerprint, or no sound."""
    return ~np.isnan(prints[:, 0]) | (table["audio_path"] == "").to_numpy()


def keep_readable(table, prints, skipped):
    """(table, prints) without the rows whose sound could not be read; prints are moved together in the array that is given, and not copied.

    Args:
        skipped: the skipped table, for the message.

    Raises:
        ManifestError: if no row is left.
    """
    is_kept = _is_readable(table, prints)
    if not is_kept.any():
        reasons = [f"{row.path}: {row.reason}" for row in skipped.head(3).itertuples()]
        raise manifest.ManifestError("\n".join([f"none of the {len(table)} recordings can be read: replace these files", *reasons]))
    rows = np.flatnonzero(is_kept)
    for start in range(0, len(rows) if len(rows) < len(prints) else 0, _BATCH):
        prints[start : start + _BATCH][: len(rows) - start] = prints[rows[start : start + _BATCH]]  # no row moves back
    return table[is_kept].reset_index(drop=True), prints[: len(rows)]


def unreadable(table, root, prints):
    """[(path, reason)] of the recordings without a fingerprint, as their sound could not be read."""
    faults = []
    for path in table["audio_path"][~_is_readable(table, prints)].unique():
        try:
            audio_io.read(root / path, end_s=_FINGERPRINT_S)
            faults.append((path, "its part between start_s and end_s cannot be read"))
        except audio_io.AudioError as error:
            faults.append((path, error.reason))
    return faults


def find_duplicates(digests, prints):
    """Find pairs of recordings with the same sound.

    Found: the same bytes; the same recording in another format, quality or sample rate, at another gain, started up to
    half a second later, or all of these. Not found: another excerpt of a long recording, a change of speed, a filter,
    mixed-in sound, and, unless the bytes agree, recordings under a second, silence and photos. Two songs of one bird
    cut to the same length may be taken for the same; joining their groups is the safe side.

    Args:
        digests: (recordings,) str, of the file's bytes; empty ones are not compared.
        prints: (recordings, features), from ``fingerprints``.

    Returns:
        DataFrame ``first, second`` (row numbers), ``kind`` ("exact" or "near") and ``likeness`` in [0, 1].
    """
    digests = pd.Series(list(digests), dtype=object)
    given = digests[digests.notna() & (digests != "")]
    first = pd.Series(given.index, given.index).groupby(given).transform("first")
    copies = given.index[first < given.index].to_numpy(dtype=int)
    exact = pd.DataFrame({"first": first[copies].to_numpy(dtype=int), "second": copies})
    near = _near_pairs(np.setdiff1d(np.arange(len(prints)), copies), prints)
    found = [pairs for pairs in (exact.assign(kind="exact", likeness=1.0), near) if len(pairs)] or [near]
    found = pd.concat(found, ignore_index=True)
    return found.sort_values(["kind", "likeness"], ascending=[True, False], kind="stable", ignore_index=True)


def statistics(prints):
    """(recordings, ``_N_STATISTICS``) of fingerprints: mean and standard deviation of each mel band in dB."""
    return prints[:, :_N_STATISTICS]


def merge_duplicate_groups(table, pairs):
    """Join the groups of recordings with the same sound, so that no split divides them.

    Args:
        table: manifest with ``group_id``.
        pairs: from ``find_duplicates``, with the row numbers of this table.

    Returns:
        the table; a joined group has the first of its names in string order.
    """
    group, names = pd.factorize(table["group_id"], sort=True)
    pairs = [group[pairs[column].to_numpy(dtype=int)] for column in ("first", "second")]
    component = splits.connected_components(len(names), pairs)
    first_name = pd.Series(names).groupby(component).first()
    return table.assign(group_id=first_name.to_numpy()[component[group]])


def random_split_bias(features, species, groups, rng, n_folds=5, n_repeats=5):
    """Estimate by how much a random split overestimates accuracy: cross-validation with divided and with whole groups.

    A standardised ridge classifier predicts the species of each held-out recording. Only species with two groups or
    more count, and only predictions for which the species was in the training folds both times.

    Args:
        features: (recordings, d), such as ``statistics(prints)`` or mean embeddings; rows with NaN are left out.
        species, groups: (recordings,).

    Returns:
        dict: ``random`` and ``grouped`` accuracy, ``bias`` (their difference) with ``low`` and ``high`` (90 % bootstrap
        by groups), ``n_recordings``, ``n_species`` and a ``sentence``. NaN unless two species have two groups each.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    features = np.asarray(features, dtype=np.float64)
    data = pd.DataFrame({"species": np.asarray(species), "group": np.asarray(groups)})
    data = data[np.isfinite(features).all(axis=1)]
    data = data[data.groupby("species")["group"].transform("nunique") >= 2]
    features = features[data.index]
    label, group = pd.factorize(data["species"])[0], pd.factorize(data["group"])[0]
    n_recordings, n_species = len(data), len(set(label))
    is_correct = {"random": [], "grouped": []}
    n_folds = min(n_folds, len(set(group)), np.bincount(label).max(initial=0))
    for _ in range(n_repeats if n_species >= 2 else 0):
        options = {"n_splits": n_folds, "shuffle": True, "random_state": int(rng.integers(2**31))}
        random = StratifiedKFold(**options).split(label, label)
        grouped = StratifiedGroupKFold(**options).split(label, label, group)
        is_correct["random"].append(_cross_validate(features, label, random))
        is_correct["grouped"].append(_cross_validate(features, label, grouped))
    result = dict.fromkeys(("random", "grouped", "bias", "low", "high"), np.nan)
    result |= {"n_recordings": n_recordings, "n_species": n_species}
    if n_species < 2:
        return result | {"sentence": "No two species have two groups: the bias of a random split cannot be estimated."}
    random, grouped = (np.stack(is_correct[name]) for name in ("random", "grouped"))
    both = ~np.isnan(random) & ~np.isnan(grouped)
    is_predicted = both.any(axis=0)
    random, grouped = (np.nanmean(np.where(both, x, np.nan)[:, is_predicted], axis=0) for x in (random, grouped))
    interval = bootstrap.interval(np.mean, random - grouped, groups=group[is_predicted], rng=rng)
    result |= {"random": float(random.mean()), "grouped": float(grouped.mean())}
    result |= dict(zip(("bias", "low", "high"), interval, strict=True))
    sentence = (
        f"A random split would overestimate accuracy by {result['bias']:+.3f} "
        f"({result['low']:+.3f} to {result['high']:+.3f}): {result['random']:.3f} with divided groups, "
        f"{result['grouped']:.3f} with whole groups ({n_recordings} recordings, {n_species} species)."
    )
    return result | {"sentence": sentence}


def _fingerprint(path, start_s, end_s):
    fingerprint = np.full(_N_STATISTICS + _N_FRAMES * _N_BANDS, np.nan, dtype=np.float32)
    start_s = 0.0 if np.isnan(start_s) else start_s
    end_s = np.nanmin([start_s + _FINGERPRINT_S, end_s])
    if not path:
        return fingerprint
    try:
        waveform, _ = audio_io.read(path, SAMPLE_RATE_HZ, start_s, end_s)
    except audio_io.AudioError:
        return fingerprint  # ``unreadable`` lists these files with the reason
    waveform = np.pad(waveform, (0, max(0, round(_WINDOW_S * SAMPLE_RATE_HZ) - len(waveform))))
    decibel = audio_io.log_mel(waveform, SAMPLE_RATE_HZ, n_mels=_N_MELS, window_s=_WINDOW_S, hop_s=_HOP_S)[:_N_FRAMES]
    decibel = np.maximum(decibel, decibel.max() + _FLOOR_DB)  # (frames, mels)
    power = 10.0 ** (decibel / 10.0)
    coarse = 10.0 * np.log10(power.reshape(len(power), _N_BANDS, -1).sum(axis=2))  # (frames, bands)
    coarse -= coarse.mean(axis=0)
    level = decibel.mean()
    fingerprint[:_N_STATISTICS] = np.concatenate([decibel.mean(axis=0) - level, decibel.std(axis=0)])
    fingerprint[_N_STATISTICS : _N_STATISTICS + coarse.size] = coarse.ravel()
    return fingerprint


def _near_pairs(rows, prints):
    """Pairs of rows with similar coarse spectrograms, among the nearest neighbours by the statistics."""
    from sklearn.neighbors import NearestNeighbors

    n_frames = (~np.isnan(prints[rows, _N_STATISTICS::_N_BANDS])).sum(axis=1)
    rows = rows[n_frames >= _MIN_S / _HOP_S]
    if len(rows) < 2:
        return pd.DataFrame({"first": [], "second": [], "kind": [], "likeness": []})
    scaled = statistics(prints)[rows].astype(np.float64)
    scaled = (scaled - scaled.mean(axis=0)) / (scaled.std(axis=0) + 1e-9)
    n_neighbors = min(_N_CANDIDATES + 1, len(rows))
    neighbours = NearestNeighbors(n_neighbors=n_neighbors).fit(scaled).kneighbors(scaled, return_distance=False)
    pairs = np.stack([np.repeat(rows, n_neighbors), rows[neighbours].ravel()], axis=1)
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    results = []
    for start in range(0, len(pairs), _BATCH):
        batch = pairs[start : start + _BATCH].T
        results.append(_likeness(*(prints[rows, _N_STATISTICS:].reshape(len(rows), -1, _N_BANDS) for rows in batch)))
    likeness, shared_s = (np.concatenate(values) for values in zip(*results, strict=True))
    near = likeness >= np.where(shared_s < _SHORT_S, _MIN_SHORT_LIKENESS, _MIN_LIKENESS)
    found = pd.DataFrame({"first": pairs[near, 0], "second": pairs[near, 1], "kind": "near"})
    return found.assign(likeness=likeness[near].astype(float))


def _likeness(first, second):
    """Maximum correlation of (pairs, frames, bands) over all shifts, and the seconds that overlap at this shift."""
    in_first, in_second = (~np.isnan(x[:, :, 0]) for x in (first, second))
    first, second = np.nan_to_num(first), np.nan_to_num(second)
    first_energy, second_energy = ((x**2).sum(axis=2) for x in (first, second))
    best, shared = np.full(len(first), -1.0), np.zeros(len(first))
    n = first.shape[1]
    for shift in range(-_MAX_SHIFT, _MAX_SHIFT + 1):
        a, b = slice(max(0, shift), n + min(0, shift)), slice(max(0, -shift), n - max(0, shift))
        both = in_first[:, a] & in_second[:, b]
        product = np.einsum("pfb,pfb->p", first[:, a], second[:, b])
        energy = (first_energy[:, a] * both).sum(axis=1) * (second_energy[:, b] * both).sum(axis=1)
        likeness = product / np.sqrt(energy + 1e-6)
        better = likeness > best
        best[better], shared[better] = likeness[better], both.sum(axis=1)[better]
    return np.clip(best, 0.0, 1.0), shared * _HOP_S


def _cross_validate(features, label, folds):
    """(recordings,) 1 if predicted correctly, 0 if not, NaN if the species was not in the training folds."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    is_correct = np.full(len(label), np.nan)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for train, test in folds:
            test = test[np.isin(label[test], label[train])]
            if len(test) and len(set(label[train])) > 1:
                model = make_pipeline(StandardScaler(), RidgeClassifier(_RIDGE)).fit(features[train], label[train])
                is_correct[test] = model.predict(features[test]) == label[test]
    return is_correct
