"""Predictions for soundscapes: the ensemble's scores of every five-second window, within a time budget and with a result for every file."""

import collections
import contextlib
import dataclasses
import shutil
import time
import warnings
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib import store as embedding_store
from birdlib.audio import io as audio_io
from birdlib.audio import media_files
from birdlib.data import birdclef
from birdlib.models import litert
from birdlib.species import inference, pseudolabels
from birdlib.species import smoothing as species_smoothing

COMPETITION_S = 60.0  # of a soundscape; an unreadable file gets rows for as much
COMPETITION_FILES = 700  # of the hidden test set
BUDGET_MIN = 90.0  # of a CPU notebook
CERTIFIED = 12  # windows on which the backends of a member are compared
_TRUSTED_LOSS = 0.03  # in macro ROC-AUC on validation against the best member, above which a member is dropped first
_MAX_TRIALS = 3  # files to prepare members on, where the first ones cannot be read


# Files and windows


def require(data_dir, window_s, budget_min, n_rehearse):
    """Raise ParameterError for a folder that is not there, or numbers that no prediction can be made with; it names them."""
    if data_dir and not Path(data_dir).is_dir():
        raise runtime.ParameterError(f"data_dir is {runtime.printable(data_dir)}, which is no folder: name that with test_soundscapes/")
    if not 0 < window_s < np.inf:
        raise runtime.ParameterError(f"window_s is {window_s:g}: choose seconds above 0, such as 5")
    if not 0 < budget_min or n_rehearse < 1:
        raise runtime.ParameterError(f"budget_min is {budget_min:g} and n_rehearse {n_rehearse}: choose minutes above 0, and one soundscape or more")


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


def predict_all(files, members, config, budget, folder=None, pool=None):
    """Scores of all windows, file by file, each with the inference config that the time budget allows.

    Scores are kept in the folder until it is removed, so an interrupted run continues. The prior is given to files that cannot be read,
    that no member has finite scores for, or for which there is no time.

    Args:
        files: from ``open_files``.
        members: from ``inference.load``.
        config: from ``inference.load_config``.
        budget: a ``time_budget.TimeBudget``.
        folder: where scores are kept; None keeps none.
        pool: ``workers.Workers`` that predict several files at a time, or None: this process does. If they die, this process goes on alone.

    Returns:
        (scores, timings, skipped, refused): (windows, classes) float32; DataFrame ``soundscape, minutes, seconds, config, is_prior``, a row
        a file (NaN seconds if it was not predicted now; those of a worker are divided by the number of workers); the skipped table; and
        DataFrame ``soundscape, member, reason`` of members that failed on a file.
    """
    member_keys = [[member.member_id, member.preprocessing] for member in members]
    key = runtime.digest([config, member_keys, [dataclasses.asdict(each) for each in budget.configs]])
    prior = np.asarray(config["prior"], np.float32)
    scores, timings, skipped, refused = [np.zeros((0, len(prior)), np.float32)], [], [], []
    with embedding_store.EmbeddingStore(folder, key) if folder else contextlib.nullcontext({}) as store:
        for row, file_key, step, found, seconds, failures, fault in _outcomes(files, members, config, budget, store, pool):
            refused += [(row.soundscape, name, reason) for name, reason in failures]
            if found is not None and np.isfinite(seconds) and folder and not failures:  # scores of a part of the ensemble are not kept
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


def _outcomes(files, members, config, budget, store, pool):
    """Yields (row, file key, step, scores or None, seconds or NaN, failures, fault) of each file, in order."""
    here = _predict_here(members, config, budget.now)
    n_ahead = 2 * pool.n if pool else 0  # files that wait in the workers, so that none is idle
    waiting = collections.deque()
    for row in runtime.progress(list(files.itertuples()), desc="soundscapes"):
        step, file_key, kept, future = budget.step, "", None, None
        if not row.fault:
            try:
                file_key = runtime.digest([row.soundscape, media_files.digest_file(row.path), len(row.windows)])
                kept = store.get(file_key)
            except audio_io.AudioError as error:  # it was there when its header was read
                row = row._replace(fault=error.reason)
        if kept is None and not row.fault and budget.has_time_for(row.minutes):
            future = _submit(pool, here, row, budget.config)
        else:
            budget.skip(row.minutes, is_late=kept is None and not row.fault)
        waiting.append((row, file_key, step, kept, future))
        while len(waiting) > n_ahead:
            yield _finish(waiting.popleft(), here, budget)
    while waiting:
        yield _finish(waiting.popleft(), here, budget)


def _submit(pool, here, row, inference_config):
    try:
        return (pool.submit if pool else here)(row.path, row.soundscape, row.windows, inference_config)
    except BrokenProcessPool:
        return here(row.path, row.soundscape, row.windows, inference_config)


def _finish(outcome, here, budget):
    """The outcome of a file, once its scores are there."""
    row, file_key, step, kept, future = outcome
    if future is None:
        found, step = (None, step) if kept is None else (kept[0], int(kept[1][0]))
        return row, file_key, step, found, np.nan, [], row.fault
    try:
        (found, failures), seconds = future.result()
    except BrokenProcessPool as error:  # a worker was killed, for its memory for example
        warnings.warn(f"the workers died, and this process predicts {row.soundscape}: {error}", stacklevel=2)
        (found, failures), seconds = here(row.path, row.soundscape, row.windows, budget.configs[step]).result()
    budget.add(seconds, row.minutes)
    return row, file_key, step, found, seconds, failures, "" if found is not None else failures[0][1]


def _predict_here(members, config, now):
    """As ``workers.Workers.submit``, at once and in this process."""

    def submit(path, soundscape, windows, inference_config):
        future, began = Future(), now()
        found = predict_windows(path, soundscape, windows, members, config, inference_config)
        future.set_result((found, now() - began))
        return future

    return submit


def remove_kept(folder):
    """Remove the scores that ``predict_all`` kept, once the submission is written."""
    shutil.rmtree(folder, ignore_errors=True)


def predict_windows(path, soundscape, windows, members, config, inference_config):
    """Scores of the windows of a file: ((windows, classes) or None, [(member, reason)] of members that failed)."""
    spans, weights = species_smoothing.spans(windows, inference_config.hop_s, inference_config.shifts_s)
    found, failures = predict_spans(path, soundscape, members, config, inference_config, spans)
    return (None if found is None else (weights @ found).astype(np.float32)), failures


def predict_spans(path, soundscape, members, config, inference_config, spans):
    """((spans, classes) or None, [(member, reason)] of members that failed)."""
    names = [f"{soundscape} from {start_s:g} s" for start_s, _ in spans]
    scores, failures = {}, []
    for member in members:
        if member.member_id in inference_config.members:
            try:
                found = member.open(path, inference_config.denoise).predict(spans)
                pseudolabels.require_scores(found, names, config["classes"], member.name)
                scores[member.member_id] = found
            except Exception as error:  # whatever a file does to a decoder or a network, the other files must be predicted
                failures.append((member.name, _reason(error)))
    return (inference.combine(config, scores) if scores else None), failures


def _reason(error):
    return getattr(error, "reason", "") or f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"


# How long it takes


def projection(timings):
    """What the whole test set would take: a sentence, from the median seconds per minute of audio."""
    if timings["seconds"].isna().all():
        return "no soundscape was timed"
    seconds = float((timings["seconds"] / timings["minutes"]).median())
    total_min = seconds * COMPETITION_FILES * COMPETITION_S / 3600.0
    return f"{seconds:.2f} s per minute of audio: {COMPETITION_FILES} one-minute files would take {total_min:.0f} of {BUDGET_MIN:.0f} minutes"
