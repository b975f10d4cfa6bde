"""Predictions for soundscapes: the ensemble's scores of every five-second window, within a time budget and with a result for every file."""

import contextlib
import dataclasses
import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib import store as embedding_store
from birdlib.audio import io as audio_io
from birdlib.data import birdclef
from birdlib.metrics import bootstrap, classification
from birdlib.models import litert
from birdlib.species import ablation, inference, pseudolabels
from birdlib.species import smoothing as species_smoothing

COMPETITION_S = 60.0  # of a soundscape; an unreadable file gets rows for as much
COMPETITION_FILES = 700  # of the hidden test set
BUDGET_MIN = 90.0  # of a CPU notebook
CERTIFIED = 12  # windows on which the backends of a member are compared
_TRUSTED_LOSS = 0.03  # in macro ROC-AUC on validation against the best member, above which a member is dropped first
_N_DRAWS = 300  # of a bootstrap over soundscapes
_MAX_TRIALS = 3  # files to prepare members on, where the first ones cannot be read


# Files and windows


def choose(data_dir, recordings, n_rehearse):
    """Which soundscapes to predict: the test set, or some training soundscapes for a rehearsal if it is empty.

    Rows are named by the file's stem, so of several files with one stem the first is taken.

    Args:
        data_dir: a BirdCLEF folder, or that of a manifest.
        recordings: splits of stage 01, whose test recordings are used where there are no soundscapes at all; None without that stage.
        n_rehearse: how many files to rehearse on.

    Returns:
        (paths, description): list of Path, and what they are.

    Raises:
        BirdlibError: if there is nothing to predict.
    """
    for which, n in (("test", None), ("train", n_rehearse)):
        if paths := birdclef.unique_stems(birdclef.soundscapes(data_dir, which))[:n]:
            return paths, f"{len(paths)} {which} soundscapes" + (", a rehearsal" if which == "train" else "")
    if recordings is None:
        raise runtime.BirdlibError(f"{data_dir} has no sound in test_soundscapes/ or train_soundscapes/: name another data_dir")
    table = recordings[(recordings["split"] == "test") & (recordings["audio_path"] != "")]
    paths = birdclef.unique_stems(Path(data_dir) / path for path in table["audio_path"])[:n_rehearse]
    return paths, f"{len(paths)} test recordings in place of soundscapes, a rehearsal"


def open_files(paths, window_s=birdclef.WINDOW_S):
    """The windows of each soundscape by its header, or those of a minute where the header cannot be read.

    Returns:
        DataFrame, a row a file: ``path, soundscape, minutes, windows`` (list of (start_s, end_s)) and ``fault``, "" for readable headers.
    """
    rows = []
    for path in paths:
        try:
            duration_s, fault = audio_io.duration(path), ""
        except audio_io.AudioError as error:
            duration_s, fault = COMPETITION_S, error.reason
        rows.append((path, birdclef.stem(path), duration_s / 60.0, birdclef.windows(duration_s, window_s), fault))
    return pd.DataFrame(rows, columns=["path", "soundscape", "minutes", "windows", "fault"])


def row_ids(files):
    """The names of all windows of ``open_files``, and the soundscape of each: (row_ids, groups), lists of str."""
    names = [(birdclef.row_id(row.path, end_s), row.soundscape) for row in files.itertuples() for _, end_s in row.windows]
    return [name for name, _ in names], [group for _, group in names]


# Predictions


def prepare(members, files, config, inference_config):
    """Certify the members on a readable soundscape of about a minute, then time them on it.

    Args:
        members: from ``inference.load``.
        files: from ``open_files``.
        config: from ``inference.load_config``.
        inference_config: a ``time_budget.InferenceConfig``.

    Returns:
        DataFrame, a row a member, in the order in which they are kept where time is short: first those good enough on validation, the
        fastest first, then the others. ``member_id, member``, ``seconds`` per minute of audio (the first one on an embedder has its
        time), ``validation``, and its ``certificate`` in words and figures. A member that fails has infinite seconds.
    """
    validation = config.get("validation", {})
    seconds = {member.member_id: np.inf for member in members}
    readable = files[files["fault"] == ""]
    typical = readable.sort_values("minutes", key=lambda minutes: (minutes - COMPETITION_S / 60).abs(), kind="stable")
    for row in typical.head(_MAX_TRIALS).itertuples():
        spans, _ = species_smoothing.spans(row.windows, inference_config.hop_s, inference_config.shifts_s)
        for member in members:
            with contextlib.suppress(Exception):  # whatever it is: the run goes on, and reports it when the files are predicted
                member.certify(row.path, row.windows[:CERTIFIED], len(files))
                began = time.perf_counter()
                member.open(row.path, inference_config.denoise).predict(spans)
                seconds[member.member_id] = (time.perf_counter() - began) / row.minutes
        if np.isfinite(list(seconds.values())).any():
            break
    rows = [
        {"member_id": member.member_id, "member": member.name, "seconds": seconds[member.member_id]}
        | {"validation": validation.get(member.member_id, np.nan), "certificate": litert.describe(member.certificate)}
        | {name: member.certificate.get(name) for name in ("chosen", "max_difference", "times_as_fast")}
        for member in members
    ]
    table = pd.DataFrame(rows)
    is_poor = table["validation"] < table["validation"].max() - _TRUSTED_LOSS
    is_broken = ~np.isfinite(table["seconds"])
    order = table.assign(b=is_broken, p=is_poor).sort_values(["b", "p", "seconds"], kind="stable", ignore_index=True)
    return order.drop(columns=["b", "p"])


def predict_all(files, members, config, budget, folder=None):
    """Scores of all windows, one file after the other, each with the inference config that the time budget allows.

    Scores are kept in the folder until it is removed, so an interrupted run continues. The prior is given to files that cannot be read,
    that no member has finite scores for, or for which there is no time.

    Args:
        files: from ``open_files``.
        members: from ``inference.load``.
        config: from ``inference.load_config``.
        budget: a ``time_budget.TimeBudget``.
        folder: where scores are kept; None keeps none.

    Returns:
        (scores, timings, skipped, refused): (windows, classes) float32; DataFrame ``soundscape, minutes, seconds, config, is_prior``, a row
        a file (NaN seconds if it was not predicted now); the skipped table; and DataFrame ``soundscape, member, reason`` of members that
        failed on a file.
    """
    member_keys = [[member.member_id, member.preprocessing] for member in members]
    key = runtime.digest([config, member_keys, [dataclasses.asdict(each) for each in budget.configs]])
    prior = np.asarray(config["prior"], np.float32)
    scores, timings, skipped, refused = [np.zeros((0, len(prior)), np.float32)], [], [], []
    with embedding_store.EmbeddingStore(folder, key) if folder else contextlib.nullcontext({}) as store:
        for row in runtime.progress(list(files.itertuples()), desc="soundscapes"):
            found, seconds, fault, step = None, np.nan, row.fault, budget.step
            file_key = "" if fault else runtime.digest([row.soundscape, runtime.digest_file(row.path), len(row.windows)])
            if not fault and (kept := store.get(file_key)) is not None:
                found, step = kept[0], int(kept[1][0])
                budget.skip(row.minutes, is_late=False)
            elif fault or not budget.has_time_for(row.minutes):
                budget.skip(row.minutes, is_late=not fault)
            else:
                began = budget.now()
                found, failures = _predict_windows(row, members, config, budget.config)
                seconds = budget.now() - began
                budget.add(seconds, row.minutes)
                refused += [(row.soundscape, name, reason) for name, reason in failures]
                fault = "" if found is not None else failures[0][1]
                if found is not None and folder and not failures:  # scores of a part of the ensemble are not kept
                    try:
                        store.put(file_key, found, np.full(len(found), step, np.float32))
                    except (runtime.FullDiskError, embedding_store.StoreError) as error:  # no reason to stop
                        warnings.warn(f"scores are no longer kept, so an interrupted run would begin anew: {error}", stacklevel=2)
                        folder = None
            if fault:
                skipped.append((row.path.name, fault))
            scores.append(np.tile(prior, (len(row.windows), 1)) if found is None else found)
            description = "the prior" if found is None else budget.configs[step].description
            timings.append((row.soundscape, row.minutes, seconds, description, found is None))
    timings = pd.DataFrame(timings, columns=["soundscape", "minutes", "seconds", "config", "is_prior"])
    refused = pd.DataFrame(refused, columns=["soundscape", "member", "reason"])
    return np.concatenate(scores), timings, stages.skipped_table(skipped, "08_submit"), refused


def remove_kept(folder):
    """Remove the scores that ``predict_all`` kept, once the submission is written."""
    shutil.rmtree(folder, ignore_errors=True)


def _predict_windows(row, members, config, inference_config):
    """((windows, classes) or None, [(member, reason)] of members that failed)."""
    spans, weights = species_smoothing.spans(row.windows, inference_config.hop_s, inference_config.shifts_s)
    found, failures = _predict_spans(row, members, config, inference_config, spans)
    return (None if found is None else (weights @ found).astype(np.float32)), failures


def _predict_spans(row, members, config, inference_config, spans):
    """((spans, classes) or None, [(member, reason)] of members that failed)."""
    names = [f"{row.soundscape} from {start_s:g} s" for start_s, _ in spans]
    scores, failures = {}, []
    for member in members:
        if member.member_id in inference_config.members:
            try:
                found = member.open(row.path, inference_config.denoise).predict(spans)
                pseudolabels.require_scores(found, names, config["classes"], member.name)
                scores[member.member_id] = found
            except Exception as error:  # whatever a file does to a decoder or a network, the other files must be predicted
                failures.append((member.name, _reason(error)))
    return (inference.combine(config, scores) if scores else None), failures


def _reason(error):
    return getattr(error, "reason", "") or f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"


# What the settings do, and how long they take


def compare_settings(files, members, config, truth, inference_config, smoothing, n_top, rng):
    """What each setting changes where the truth is known: plain windows, each setting alone, and all as they are set.

    Args:
        files, members, config: as in ``predict_all``; each file is predicted once more, and one that a member fails on is left out.
        truth: (windows, classes) of 0 and 1.
        inference_config, smoothing, n_top: as set; a setting that is off is tried with a hop of half a window, shifts of a quarter of it,
            ``smoothing.SMOOTHING`` or 1.
        rng: of the bootstrap over soundscapes.

    Returns:
        DataFrame: ``windows`` (in words), ``macro_auc`` and ``change`` from plain windows, both [value, low, high], and ``verdict`` of ``ablation``.
    """
    window_s = files["windows"].iloc[0][0][1]
    set_hop_s, set_shifts_s = inference_config.hop_s, inference_config.shifts_s
    hop_s, shifts_s = set_hop_s or window_s / 2, set_shifts_s or (-window_s / 4, window_s / 4)
    options = {"plain": (0.0, ()), "+ overlap": (hop_s, ()), "+ shifts": (0.0, shifts_s), "as set": (set_hop_s, set_shifts_s)}
    scores, is_predicted = {name: [] for name in options}, []
    for row in files.itertuples():
        variants = {name: species_smoothing.spans(row.windows, *option) for name, option in options.items()}
        spans = sorted({span for of_variant, _ in variants.values() for span in of_variant})
        found, failures = _predict_spans(row, members, config, inference_config, spans)
        is_predicted += [not failures] * len(row.windows)
        if failures:
            continue
        index = {span: number for number, span in enumerate(spans)}
        for name, (of_variant, weights) in variants.items():
            scores[name].append(weights @ found[[index[span] for span in of_variant]])
    if not any(is_predicted):
        return pd.DataFrame(columns=["windows", "macro_auc", "change", "verdict"])
    scores = {name: np.concatenate(of_variant) for name, of_variant in scores.items()}
    truth, groups = truth[is_predicted], np.array(row_ids(files)[1])[is_predicted]
    last = scores.pop("as set")
    scores["+ smoothing"] = species_smoothing.postprocess(scores["plain"], groups, smoothing or species_smoothing.SMOOTHING)
    scores["+ TopN"] = species_smoothing.postprocess(scores["plain"], groups, n_top=n_top or 1)
    scores["as set"] = species_smoothing.postprocess(last, groups, smoothing, n_top)
    rows, resampling = [], {"groups": groups, "n": _N_DRAWS, "rng": rng}
    for name, of_variant in scores.items():
        figure = bootstrap.interval(classification.macro_roc_auc, truth, of_variant, **resampling)
        change = bootstrap.interval(classification.macro_roc_auc_gain, truth, of_variant, scores["plain"], **resampling)
        rows.append((name, figure, change, "" if name == "plain" else ablation.verdict(change)))
    return pd.DataFrame(rows, columns=["windows", "macro_auc", "change", "verdict"])


def describe_settings(table):
    """A sentence about ``compare_settings``: which settings helped or hurt."""
    if table.empty:
        return "The truth of these soundscapes is not known, so nothing is compared."
    text = [f"{verdict}: {', '.join(rows['windows'])}" for verdict, rows in table[table["verdict"] != ""].groupby("verdict", sort=False)]
    return "Against plain windows, " + "; ".join(text) + "." if text else "There are too few soundscapes to compare settings."


def projection(timings):
    """What the whole test set would take: a sentence, from the median seconds per minute of audio."""
    if timings["seconds"].isna().all():
        return "no soundscape was timed"
    seconds = float((timings["seconds"] / timings["minutes"]).median())
    total_min = seconds * COMPETITION_FILES * COMPETITION_S / 3600.0
    return f"{seconds:.2f} s per minute of audio: {COMPETITION_FILES} one-minute files would take {total_min:.0f} of {BUDGET_MIN:.0f} minutes"
