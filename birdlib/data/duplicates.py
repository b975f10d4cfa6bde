"""The same sound under two names. It would lie in train and in test, and a score would praise memory.

A *fingerprint* is one float32 vector of the first ten seconds of a recording: ``_N_STATISTICS`` statistics of its
log-mel spectrogram, which find candidates, then a coarse picture of it (frames x bands), which is laid over that of
the candidate. Both leave the gain out. Frames after the end of a short recording are NaN, and so is all of a
recording that cannot be read.
"""

import warnings

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.audio import io as audio_io
from birdlib.metrics import bootstrap

_FINGERPRINT_S = 10.0
SAMPLE_RATE_HZ = 16_000
WINDOW_S, HOP_S = 0.256, 0.064  # so long that half a hop of displacement hardly changes a frame
N_BANDS, N_MELS = 8, 32
_N_STATISTICS = 2 * N_MELS
_FLOOR_DB = -60.0  # below the loudest; what lies deeper is coding noise
_MAX_SHIFT = 9  # frames, 0.58 s
_LIKENESS, _SHORT_LIKENESS = 0.94, 0.97  # of two pictures; the higher bar below SHORT_S, where songs of a kind look alike
_SHORT_S, _SHORTEST_S = 5.0, 1.0
_N_CANDIDATES = 6  # nearest neighbours laid over each recording
_RIDGE = 10.0
BATCH = 2000  # pairs compared at once


def fingerprints(paths, starts_s=None, ends_s=None, n_jobs=-1):
    """Take the fingerprint of each recording, in parallel through joblib.

    Args:
        paths: of recordings; an empty path (a photo, say) gives a row of NaN.
        starts_s, ends_s: the part of each file that is the recording; None or NaN is all of it.
        n_jobs: processes; ``joblib.parallel_config`` may send them to a cluster.

    Returns:
        (recordings, features) float32.
    """
    from joblib import Parallel, delayed

    starts_s, ends_s = (np.full(len(paths), np.nan) if each is None else each for each in (starts_s, ends_s))
    jobs = [delayed(_fingerprint)(str(path), *part) for path, *part in zip(paths, starts_s, ends_s, strict=True)]
    results = Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    prints = np.empty((len(jobs), _N_STATISTICS + _n_frames() * N_BANDS), dtype=np.float32)
    for index, row in enumerate(runtime.progress(results, total=len(jobs), desc="fingerprints")):
        prints[index] = row
    return prints


def digest_media(table, root):
    """What tells one recording's bytes from another's: sha256 of its file, with the part of it that the row means.

    Args:
        table: normalised manifest.
        root: folder of its paths.

    Returns:
        list of str, a row each.
    """
    paths = table["audio_path"].where(table["audio_path"] != "", table["image_path"])
    paths = paths.where(paths != "", table["video_path"])
    rows = list(zip(paths, table["start_s"], table["end_s"], strict=True))
    return [
        f"{runtime.digest_file(root / path)} {start}-{end}"
        for path, start, end in runtime.progress(rows, desc="digests")
    ]


def unreadable(table, root, prints):
    """(path, reason) of each recording whose sound could not be read when its fingerprint was taken."""
    faults = []
    for path in table["audio_path"][np.isnan(prints[:, 0]) & (table["audio_path"] != "").to_numpy()]:
        try:
            audio_io.read(root / path, end_s=_FINGERPRINT_S)
            faults.append((path, "its part between start_s and end_s cannot be read"))
        except audio_io.AudioError as error:
            faults.append((path, error.reason))
    return faults


def find_duplicates(digests, prints):
    """Pair recordings that hold the same sound.

    Found: the same bytes; the same recording coded anew (another format, quality or sample rate), made louder or
    softer, or begun up to half a second later, or all of these. Not found: another excerpt of a long recording, a
    change of speed, a filter, mixed-in sound, and, unless the bytes agree, recordings under a second, silence and
    photos. Two songs of one bird cut to the same length can be taken for one; joining their groups is then the safe
    side.

    Args:
        digests: (recordings,) str, of the file's bytes; an empty one is not compared.
        prints: (recordings, features), from ``fingerprints``.

    Returns:
        DataFrame ``first, second`` (row numbers), ``kind`` ("exact" or "near") and ``likeness`` in [0, 1].
    """
    code, names = pd.factorize(np.asarray(digests, dtype=object))
    first_of = np.full(len(names) + 1, -1)
    first_of[code[::-1]] = np.arange(len(code))[::-1]  # the earliest row of each digest is written last
    first = first_of[code]
    copies = np.flatnonzero((first < np.arange(len(code))) & (np.asarray(digests, dtype=object) != "") & (code >= 0))
    exact = pd.DataFrame({"first": first[copies], "second": copies})
    near = _near_pairs(np.setdiff1d(np.arange(len(prints)), copies), prints)
    found = [each for each in (exact.assign(kind="exact", likeness=1.0), near) if len(each)] or [near]
    found = pd.concat(found, ignore_index=True)
    return found.sort_values(["kind", "likeness"], ascending=[True, False], kind="stable", ignore_index=True)


def statistics(prints):
    """The statistics in fingerprints: (recordings, ``_N_STATISTICS``), mean and deviation of each mel band in dB."""
    return prints[:, :_N_STATISTICS]


def merge_duplicate_groups(table, pairs):
    """Join the groups of recordings that hold the same sound, so that no split can part them.

    Args:
        table: manifest with ``group_id``.
        pairs: from ``find_duplicates``, with the row numbers of this table.

    Returns:
        the table, its joined groups named by the first of their names in string order.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    group, names = pd.factorize(table["group_id"], sort=True)
    ends = group[pairs["first"].to_numpy(dtype=int)], group[pairs["second"].to_numpy(dtype=int)]
    links = coo_matrix((np.ones(len(pairs)), ends), shape=(len(names), len(names)))
    component = connected_components(links, directed=False)[1]
    first_name = pd.Series(names).groupby(component).first()
    return table.assign(group_id=first_name.to_numpy()[component[group]])


def flattery(features, species, groups, rng, n_folds=5, n_repeats=5):
    """Estimate how much a random split would flatter: cross-validation with groups cut, against groups kept whole.

    A standardised ridge classifier is asked for the species of each held-out recording. Only species with two groups
    or more count, and only answers for which the species was there to learn from both times.

    Args:
        features: (recordings, d), such as ``statistics(prints)`` or mean embeddings; rows with NaN are left out.
        species, groups: (recordings,).

    Returns:
        dict: ``random`` and ``grouped`` accuracy, ``flatters_by`` (their difference) with ``low`` and ``high`` (90 %
        bootstrap by groups), ``n_recordings``, ``n_species`` and a ``sentence`` that says it. NaN where there are
        no two species with two groups each.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    features = np.asarray(features, dtype=np.float64)
    data = pd.DataFrame({"species": np.asarray(species), "group": np.asarray(groups)})
    data = data[np.isfinite(features).all(axis=1)]
    data = data[data.groupby("species")["group"].transform("nunique") >= 2]
    features = features[data.index]
    label, group = pd.factorize(data["species"])[0], pd.factorize(data["group"])[0]
    n_recordings, n_species = len(data), len(set(label))
    right = {"random": [], "grouped": []}
    n_folds = min(n_folds, len(set(group)), np.bincount(label).max(initial=0))
    for _ in range(n_repeats if n_species >= 2 else 0):
        seed = int(rng.integers(2**31))
        random = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(label, label)
        grouped = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed).split(label, label, group)
        right["random"].append(_cross_validate(features, label, random))
        right["grouped"].append(_cross_validate(features, label, grouped))
    result = {"random": np.nan, "grouped": np.nan, "flatters_by": np.nan, "low": np.nan, "high": np.nan}
    result |= {"n_recordings": n_recordings, "n_species": n_species}
    if n_species < 2:
        return result | {"sentence": "No two species have two groups: what a random split flatters cannot be told."}
    random, grouped = (np.stack(right[name]) for name in ("random", "grouped"))
    both = ~np.isnan(random) & ~np.isnan(grouped)
    asked = both.any(axis=0)
    means = [np.nanmean(np.where(both, each, np.nan)[:, asked], axis=0) for each in (random, grouped)]
    result["random"], result["grouped"] = (float(each.mean()) for each in means)
    result["flatters_by"], result["low"], result["high"] = bootstrap.interval(
        np.mean, means[0] - means[1], groups=group[asked], rng=rng
    )
    return result | {
        "sentence": (
            f"A random split would flatter by {result['flatters_by']:+.3f} accuracy "
            f"({result['low']:+.3f} to {result['high']:+.3f}): {result['random']:.3f} with groups cut, "
            f"{result['grouped']:.3f} with groups whole ({n_recordings} recordings, {n_species} species)."
        )
    }


def _n_frames():
    return int(_FINGERPRINT_S / HOP_S)


def _fingerprint(path, start_s, end_s):
    empty = np.full(_N_STATISTICS + _n_frames() * N_BANDS, np.nan, dtype=np.float32)
    start_s = 0.0 if np.isnan(start_s) else start_s
    end_s = np.nanmin([start_s + _FINGERPRINT_S, end_s])
    if not path:
        return empty
    try:
        waveform, _ = audio_io.read(path, SAMPLE_RATE_HZ, start_s, end_s)
    except audio_io.AudioError:
        return empty  # the cleaning stage lists what cannot be read, with the reason
    waveform = np.pad(waveform, (0, max(0, round(WINDOW_S * SAMPLE_RATE_HZ) - len(waveform))))
    decibel = audio_io.log_mel(waveform, SAMPLE_RATE_HZ, n_mels=N_MELS, window_s=WINDOW_S, hop_s=HOP_S)[: _n_frames()]
    decibel = np.maximum(decibel, decibel.max() + _FLOOR_DB)  # (frames, mels)
    power = 10.0 ** (decibel / 10.0)
    picture = 10.0 * np.log10(power.reshape(len(power), N_BANDS, -1).sum(axis=2))  # (frames, bands)
    picture -= picture.mean(axis=0)
    level = decibel.mean()
    empty[:_N_STATISTICS] = np.concatenate([decibel.mean(axis=0) - level, decibel.std(axis=0)])
    empty[_N_STATISTICS : _N_STATISTICS + picture.size] = picture.ravel()
    return empty


def _near_pairs(rows, prints):
    """Pairs among the rows whose pictures agree: nearest neighbours by the statistics, then one laid over the other."""
    from sklearn.neighbors import NearestNeighbors

    n_frames = (~np.isnan(prints[rows, _N_STATISTICS::N_BANDS])).sum(axis=1)
    rows = rows[n_frames >= _SHORTEST_S / HOP_S]
    if len(rows) < 2:
        return pd.DataFrame({"first": [], "second": [], "kind": [], "likeness": []})
    scaled = statistics(prints[rows]).astype(np.float64)
    scaled = (scaled - scaled.mean(axis=0)) / (scaled.std(axis=0) + 1e-9)
    n_neighbors = min(_N_CANDIDATES + 1, len(rows))
    neighbours = NearestNeighbors(n_neighbors=n_neighbors).fit(scaled).kneighbors(scaled, return_distance=False)
    pairs = np.stack([np.repeat(rows, n_neighbors), rows[neighbours].ravel()], axis=1)
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    batches = [pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
    results = [
        _likeness(*(prints[ends, _N_STATISTICS:].reshape(len(ends), -1, N_BANDS) for ends in batch.T))
        for batch in batches
    ]
    likeness, shared_s = (np.concatenate(each) for each in zip(*results, strict=True))
    near = likeness >= np.where(shared_s < _SHORT_S, _SHORT_LIKENESS, _LIKENESS)
    found = pd.DataFrame({"first": pairs[near, 0], "second": pairs[near, 1], "kind": "near"})
    return found.assign(likeness=likeness[near].astype(float))


def _likeness(first, second):
    """Highest correlation of two pictures (pairs, frames, bands) over all shifts, and the seconds they share then."""
    here, there = (~np.isnan(each[:, :, 0]) for each in (first, second))
    first, second = np.nan_to_num(first), np.nan_to_num(second)
    first_energy, second_energy = ((each**2).sum(axis=2) for each in (first, second))
    best, shared = np.full(len(first), -1.0), np.zeros(len(first))
    n = first.shape[1]
    for shift in range(-_MAX_SHIFT, _MAX_SHIFT + 1):
        a, b = slice(max(0, shift), n + min(0, shift)), slice(max(0, -shift), n - max(0, shift))
        both = here[:, a] & there[:, b]
        product = np.einsum("pfb,pfb->p", first[:, a], second[:, b])
        energy = (first_energy[:, a] * both).sum(axis=1) * (second_energy[:, b] * both).sum(axis=1)
        likeness = product / np.sqrt(energy + 1e-6)
        better = likeness > best
        best[better], shared[better] = likeness[better], both.sum(axis=1)[better]
    return np.clip(best, 0.0, 1.0), shared * HOP_S


def _cross_validate(features, label, folds):
    """(recordings,) 1 for a right answer, 0 for a wrong one, NaN where the species was not there to learn from."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    right = np.full(len(label), np.nan)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for train, test in folds:
            test = test[np.isin(label[test], label[train])]
            if len(test) and len(set(label[train])) > 1:
                model = make_pipeline(StandardScaler(), RidgeClassifier(_RIDGE)).fit(features[train], label[train])
                right[test] = model.predict(features[test]) == label[test]
    return right
