"""Soundscapes: an ensemble on every five-second window of long recordings, in time and without losing a file."""

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

COMPETITION_S = 60.0  # of a soundscape; a file that cannot be read gets rows as if it were whole
COMPETITION_FILES = 700  # of the hidden test set
BUDGET_MIN = 90.0  # of a CPU notebook
CERTIFIED = 12  # windows on which the ways to compute a member are compared
_TRUSTED = 0.03  # a member whose macro ROC-AUC on validation is not so far below the best
_N_DRAWS = 300  # of a bootstrap over soundscapes
_TRIES = 3  # files on which members get ready, where the first cannot be heard


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
        if paths := birdclef.one_a_stem(birdclef.soundscapes(data_dir, which))[:files]:
            return paths, f"{len(paths)} {which} soundscapes" + (", a rehearsal" if which == "train" else "")
    if recordings is None:
        raise runtime.BirdlibError(
            f"{data_dir} has no sound in test_soundscapes/ or train_soundscapes/: name another data_dir"
        )
    table = recordings[(recordings["split"] == "test") & (recordings["audio_path"] != "")]
    paths = birdclef.one_a_stem(Path(data_dir) / path for path in table["audio_path"])[:n_rehearse]
    return paths, f"{len(paths)} test recordings in place of soundscapes, a rehearsal"


def open_files(paths, window_s=birdclef.WINDOW_S):
    """The windows of each soundscape: as many as its header says, or those of a minute where it has none that can be read.

    Returns:
        DataFrame, a row a file: ``path, soundscape, minutes, windows`` (list of (start_s, end_s)) and ``fault``, "" of what has a header.
    """
    rows = []
    for path in paths:
        try:
            duration_s, fault = audio_io.describe(path)["duration_s"], ""
        except audio_io.AudioError as error:
            duration_s, fault = COMPETITION_S, error.reason
        rows.append((path, path.stem, duration_s / 60.0, birdclef.windows(duration_s, window_s), fault))
    return pd.DataFrame(rows, columns=["path", "soundscape", "minutes", "windows", "fault"])


def row_ids(files):
    """The names of all windows of ``open_files``, and the soundscape of each: (row_ids, groups), lists of str."""
    names = [(birdclef.row_id(row.path, end_s), row.soundscape) for row in files.itertuples() for _, end_s in row.windows]
    return [name for name, _ in names], [group for _, group in names]


def get_ready(loaded, files, told, way):
    """Certify the members on a soundscape of about a minute that can be heard, then take their time on it.

    Args:
        loaded: from ``members.load``.
        files: from ``open_files``.
        told: from ``members.facts``.
        way: a ``deadline.Way``: how it will be listened to.

    Returns:
        DataFrame, a row a member, in the order in which they are kept where time is short: those that validation trusts, the fastest first,
        then the others. ``place, member``, ``seconds`` per minute of audio (the first that hears through an embedder has its time),
        ``validation``, and its ``certificate`` in words and figures. A member that cannot hear has infinite seconds.
    """
    trust = told.get("validation", {})
    seconds = {member.place: np.inf for member in loaded}
    typical = files[files["fault"] == ""].sort_values("minutes", key=lambda minutes: (minutes - COMPETITION_S / 60).abs(), kind="stable")
    for row in typical.head(_TRIES).itertuples():
        spans, _ = species_smoothing.parts(row.windows, way.hop_s, way.shifts_s)
        for member in loaded:
            with contextlib.suppress(Exception):  # whatever it is: the run goes on, and tells it when the files are heard
                member.certify(row.path, row.windows[:CERTIFIED], len(files))
                began = time.perf_counter()
                member.listen(row.path, way.denoise).scores(spans)
                seconds[member.place] = (time.perf_counter() - began) / row.minutes
        if np.isfinite(list(seconds.values())).any():
            break
    rows = [
        {"place": member.place, "member": member.name, "seconds": seconds[member.place], "validation": trust.get(member.place, np.nan)}
        | {"certificate": litert.sentence(member.certificate)}
        | {name: member.certificate.get(name) for name in ("chosen", "max_difference", "times_as_fast")}
        for member in loaded
    ]
    table = pd.DataFrame(rows)
    poor = table["validation"] < table["validation"].max() - _TRUSTED
    broken = ~np.isfinite(table["seconds"])
    return table.assign(b=broken, p=poor).sort_values(["b", "p", "seconds"], kind="stable", ignore_index=True).drop(columns=["b", "p"])


def hear_all(files, loaded, told, clock, folder=None):
    """Scores of all windows, in time: one file after the other, each in the way that the clock allows.

    What was heard is kept in the folder until it is removed, so a run that was killed goes on. A file that cannot be read, one that no
    member has finite scores for, and one for which there is no time get the prior.

    Args:
        files: from ``open_files``.
        loaded: from ``members.load``.
        told: from ``members.facts``.
        clock: a ``deadline.Deadline``.
        folder: where scores are kept; None keeps none.

    Returns:
        (scores, timings, skipped, refused): (windows, classes) float32; DataFrame ``soundscape, minutes, seconds, way, is_prior``, a row a file, of
        which those that are not heard now have NaN seconds; the skipped table; and DataFrame ``soundscape, member, reason``, where a member was left out.
    """
    key = runtime.digest([told, [[member.place, member.preprocessing] for member in loaded], [dataclasses.asdict(way) for way in clock.ways]])
    prior = np.asarray(told["prior"], np.float32)
    scores, timings, skipped, refused = [np.zeros((0, len(prior)), np.float32)], [], [], []
    with embedding_store.EmbeddingStore(folder, key) if folder else contextlib.nullcontext({}) as store:
        for row in runtime.progress(list(files.itertuples()), desc="soundscapes"):
            found, seconds, fault, step = None, np.nan, row.fault, clock.step
            file_key = "" if fault else runtime.digest([row.soundscape, runtime.digest_file(row.path), len(row.windows)])
            if not fault and (kept := store.get(file_key)) is not None:
                found, step = kept[0], int(kept[1][0])
                clock.left_out(row.minutes, is_late=False)
            elif fault or not clock.has_time_for(row.minutes):
                clock.left_out(row.minutes, is_late=not fault)
            else:
                began = clock.now()
                found, reasons = _hear(row, loaded, told, clock.way)
                seconds = clock.now() - began
                clock.heard(seconds, row.minutes)
                refused += [(row.soundscape, name, reason) for name, reason in reasons]
                fault = "" if found is not None else reasons[0][1]
                if found is not None and folder and not reasons:  # what part of the ensemble said is told, and asked again after a kill
                    try:
                        store.put(file_key, found, np.full(len(found), step, np.float32))
                    except (runtime.FullDiskError, embedding_store.StoreError) as error:  # no reason not to go on
                        warnings.warn(f"scores are kept no more, so a killed run would begin anew: {error}", stacklevel=2)
                        folder = None
            if fault:
                skipped.append((row.path.name, fault))
            scores.append(np.tile(prior, (len(row.windows), 1)) if found is None else found)
            timings.append((row.soundscape, row.minutes, seconds, "the prior" if found is None else clock.ways[step].what, found is None))
    table = pd.DataFrame(timings, columns=["soundscape", "minutes", "seconds", "way", "is_prior"])
    refused = pd.DataFrame(refused, columns=["soundscape", "member", "reason"])
    return np.concatenate(scores), table, stages.skipped_table(skipped, "08_submit"), refused


def forget(folder):
    """Remove the scores that ``hear_all`` kept, once the submission is written."""
    shutil.rmtree(folder, ignore_errors=True)


def _hear(row, loaded, told, way):
    """((windows, classes) or None, [(member, reason)] of those that were left out)."""
    spans, shares = species_smoothing.parts(row.windows, way.hop_s, way.shifts_s)
    found, refused = _listen(row, loaded, told, way, spans)
    return (None if found is None else (shares @ found).astype(np.float32)), refused


def _listen(row, loaded, told, way, spans):
    """((spans, classes) or None, [(member, reason)] of those that were left out)."""
    names = [f"{row.soundscape} from {start_s:g} s" for start_s, _ in spans]
    scores, refused = {}, []
    for member in loaded:
        if member.place in way.members:
            try:
                found = member.listen(row.path, way.denoise).scores(spans)
                pseudolabels.require_scores(found, names, told["classes"], member.name)
                scores[member.place] = found
            except Exception as error:  # whatever a file does to a decoder or a network, the other files must land
                refused.append((member.name, _reason(error)))
    return (inference.combine(told, scores) if scores else None), refused


def _reason(error):
    return getattr(error, "reason", "") or f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"


def compare_switches(files, loaded, told, truth, way, smoothing, n_top, rng):
    """What each switch changes where the truth is known: plain windows, each switch alone, and all as they are set.

    Args:
        files, loaded, told: as in ``hear_all``; each file is heard once more, and one that a member cannot hear is left out.
        truth: (windows, classes) of 0 and 1.
        way, smoothing, n_top: as set; a switch that is off is tried with half a window's hop, shifts of a quarter of it,
            ``window_scores.SMOOTHING`` or 1.
        rng: of the bootstrap over soundscapes.

    Returns:
        DataFrame: ``windows`` (in words), ``macro_auc`` and ``change`` from plain windows, both (value, low, high), and ``verdict`` of ``ablation``.
    """
    window_s = files["windows"].iloc[0][0][1]
    hop_s, shifts_s = way.hop_s or window_s / 2, way.shifts_s or (-window_s / 4, window_s / 4)
    spoken = {"plain": (0.0, ()), "+ overlap": (hop_s, ()), "+ shifts": (0.0, shifts_s), "as set": (way.hop_s, way.shifts_s)}
    scores, is_heard = {name: [] for name in spoken}, []
    for row in files.itertuples():
        heard = {name: species_smoothing.parts(row.windows, *options) for name, options in spoken.items()}
        spans = sorted({span for parts, _ in heard.values() for span in parts})
        said, refused = _listen(row, loaded, told, way, spans)
        is_heard += [not refused] * len(row.windows)
        if refused:
            continue
        place = {span: number for number, span in enumerate(spans)}
        for name, (parts, shares) in heard.items():
            scores[name].append(shares @ said[[place[span] for span in parts]])
    if not any(is_heard):
        return pd.DataFrame(columns=["windows", "macro_auc", "change", "verdict"])
    scores = {name: np.concatenate(some) for name, some in scores.items()}
    truth, groups = truth[is_heard], np.array(row_ids(files)[1])[is_heard]
    last = scores.pop("as set")
    scores["+ smoothing"] = species_smoothing.finish(scores["plain"], groups, smoothing or species_smoothing.SMOOTHING)
    scores["+ TopN"] = species_smoothing.finish(scores["plain"], groups, n_top=n_top or 1)
    scores["as set"] = species_smoothing.finish(last, groups, smoothing, n_top)

    rows = []
    for name, some in scores.items():
        figure = bootstrap.interval(classification.macro_roc_auc, truth, some, groups=groups, n=_N_DRAWS, rng=rng)
        against = bootstrap.interval(classification.macro_roc_auc_gain, truth, some, scores["plain"], groups=groups, n=_N_DRAWS, rng=rng)
        rows.append((name, figure, against, "" if name == "plain" else ablation.verdict(against)))
    return pd.DataFrame(rows, columns=["windows", "macro_auc", "change", "verdict"])


def projection(timings):
    """What the whole test set would take: a sentence, from the median seconds per minute of audio."""
    if timings["seconds"].isna().all():
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
