"""Soundscapes with known truth from real recordings, in the layout of BirdCLEF+ 2026; ``composition_files`` lists the files.

Recordings of one group are in train_audio, in train soundscapes or in test soundscapes, never in two of them; so are recordings that were uploaded
twice. Train soundscapes have the first part of each noise and voice file, test soundscapes the last.
"""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import parallel, runtime, stages
from birdlib.audio import io as audio_io
from birdlib.data import composition_files, composition_plan, duplicates, manifest, mixtures, splits, taxonomy

STAGE = "compose"
_ROLES = {"train": "train_audio", "validation": "train", "test": "test"}  # of a split of ``splits.assign``
_SOURCE_SHARE = 0.2  # of the recordings of a common species for train soundscapes, and as much for test soundscapes
_MIN_ACTIVE_S = 0.3  # of a recording that is mixed into soundscapes
_BYTES_A_SECOND = {"ogg": 5_000, "flac": 20_000}  # of a soundscape, at least
_SEVERAL = "it has secondary species, and it is unknown when each sings: it is in no soundscape, and others of its group are"
_NOTHING = "no sound in it stands out of its background: it is in no soundscape"


class ComposeError(runtime.BirdlibError):
    """Recordings that no soundscape can be made of, or a folder that is in use."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What soundscapes are made of.

    ``table``, ``root``: of ``manifest.load`` or ``birdclef.read``; rows without sound are left out. ``noise``: paths of backgrounds, which should hold none of the
    species. ``speech``: paths of human voices. ``data_dir``: a BirdCLEF folder whose names of species count; "" for none.
    """

    table: pd.DataFrame
    root: Path
    noise: list = ()
    speech: list = ()
    data_dir: str = ""


def compose(inputs, folder, options, n_jobs=-1):
    """Write a BirdCLEF folder with composed soundscapes. The same arguments give the same bytes.

    Args:
        inputs: Inputs.
        folder: to write; must not exist, or be empty.
        options: ``composition_plan.Options``.
        n_jobs: processes.

    Returns:
        the summary that is in ``compose.json``.

    Raises:
        ComposeError: if the folder is in use, the recordings do not suffice, or no noise can be read.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ComposeError(f"{folder} exists and is kept: give another --output, or remove it")
    partial = folder.absolute().with_name(f".{folder.name}.partial")
    _require_writable(partial, options)
    backgrounds, faults = _parts(inputs.noise, options.test_share)
    if inputs.noise and not backgrounds["train"]:
        raise ComposeError(f"none of the {len(inputs.noise)} noise files can be read, e.g. {faults[0][0]}: {faults[0][1]}; give others, or none")
    voices, more = _parts(inputs.speech, options.test_share)
    if inputs.speech and not voices["train"]:
        raise ComposeError(f"none of the {len(inputs.speech)} speech files can be read, e.g. {more[0][0]}: {more[0][1]}; give others, or none")
    own = {Path(inputs.root, path).resolve() for path in inputs.table["audio_path"] if path}
    if both := [path for path in (*inputs.noise, *inputs.speech) if Path(path).resolve() in own]:
        raise ComposeError(f"{both[0]} is one of the recordings, and as noise or speech its birds would not be in the truth: give other files")
    recordings, skipped = _assign_roles(inputs.table, inputs.root, options.seed, n_jobs)
    birds = {}
    for role in composition_plan.ROLES:
        birds[role], silent = _analyse(_sources(recordings[recordings["role"] == role], inputs.root), n_jobs, f"songs for {role} soundscapes")
        skipped += [(os.path.relpath(path, inputs.root), reason) for path, reason in silent]
        if not birds[role]:
            why = "".join(f"\n{path}: {reason}" for path, reason in skipped[:3])
            raise ComposeError(f"no recording is left for {role} soundscapes: give more recordings, of other groups (recordist + place + date){why}")
    for role in composition_plan.ROLES if inputs.speech else ():
        voices[role], silent = _analyse(voices[role], n_jobs, f"voices for {role} soundscapes")
        skipped += silent
    skipped += faults + more
    plan = composition_plan.plan(options, composition_plan.Sounds(birds, voices, backgrounds))
    names = taxonomy.names(sorted(recordings["species"].unique()), inputs.data_dir)
    shutil.rmtree(partial, ignore_errors=True)
    with runtime.full_disk_errors(partial):
        events = composition_files.write_soundscapes(plan, partial, options.soundscape_s, n_jobs)
        composition_files.write_recordings(recordings[recordings["role"] == "train_audio"], names, inputs.root, partial)
        skipped = stages.skipped_table(skipped, STAGE)
        summary = composition_files.write_tables(plan, events, recordings, names, skipped, options, partial)
    if folder.exists():
        folder.rmdir()
    partial.rename(folder)
    return summary


def _require_writable(partial, options):
    """Make a folder and remove it again; ComposeError if that is impossible, or its drive is too small for the soundscapes."""
    try:
        partial.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(partial).free
        shutil.rmtree(partial)
    except OSError as error:
        raise ComposeError(f"{partial.parent} cannot be written into ({error.strerror}): give another --output") from error
    needed = 60.0 * options.minutes * _BYTES_A_SECOND[options.suffix]
    if needed > free:
        raise ComposeError(f"{options.minutes:g} minutes take {needed / 1e9:.1f} GB or more, and {free / 1e9:.1f} GB are free in {partial.parent}: compose fewer --minutes, or give another --output")


def _assign_roles(table, root, seed, n_jobs):
    """(recordings with their ``role``, [(path, reason)] of those that are left out)."""
    table = table[table["audio_path"] != ""].reset_index(drop=True)
    if table.empty:
        raise ComposeError("no row of the manifest has a sound: fill in audio_path")
    prints = duplicates.fingerprints([root / path for path in table["audio_path"]], table["start_s"], table["end_s"], n_jobs)
    skipped = duplicates.unreadable(table, root, prints)
    table, prints = duplicates.keep_readable(table, prints, stages.skipped_table(skipped, STAGE))
    table = duplicates.merge_duplicate_groups(table, duplicates.find_duplicates(duplicates.digest_media(table, root), prints))
    assigned = splits.assign(table, np.random.default_rng(seed), _SOURCE_SHARE, _SOURCE_SHARE)
    assigned = assigned[~assigned["is_repeated"]]
    assigned = assigned.assign(role=assigned["split"].map(_ROLES)).drop(columns=["split", "is_repeated"]).reset_index(drop=True)
    is_several = np.array(list(map(bool, manifest.secondary_labels(assigned))))
    is_unused = pd.Series(is_several).groupby(splits.units(assigned)).transform("all").to_numpy()  # groups that no soundscape can use
    assigned["role"] = assigned["role"].mask(is_unused, "train_audio")
    is_left_out = is_several & (assigned["role"] != "train_audio").to_numpy()
    skipped += [(path, _SEVERAL) for path in assigned.loc[is_left_out, "audio_path"]]
    return assigned[~is_left_out].reset_index(drop=True), skipped


def _sources(recordings, root):
    sources = []
    for row in recordings.itertuples():
        start_s = float(np.nan_to_num(row.start_s))
        end_s = float(np.fmin(row.end_s, start_s + mixtures.MAX_SOURCE_S))
        sources.append(mixtures.Source(str(root / row.audio_path), row.recording_id, row.species, start_s, end_s))
    return sources


def _parts(paths, test_share):
    """({role: list of Source}, [(path, reason)]): the first part of each file for train soundscapes, the last for test soundscapes."""
    found, skipped = {role: [] for role in composition_plan.ROLES}, []
    for path in paths:
        try:
            duration_s = audio_io.duration(path)
        except audio_io.AudioError as error:
            skipped.append((path, error.reason))
            continue
        middle_s = duration_s * (1.0 - float(np.clip(test_share, 0.1, 0.9)))
        for role, part in zip(composition_plan.ROLES, ((0.0, middle_s), (middle_s, duration_s)), strict=True):
            found[role].append(mixtures.Source(str(path), Path(path).stem, "", *part))
    return found, skipped


def _analyse(sources, n_jobs, desc):
    """(sources with their activity, [(path, reason)] of those without)."""
    results = parallel.map_ordered(_analysed, [{"source": source} for source in sources], [source.path for source in sources], n_jobs, desc)
    kept, skipped = [], []
    for source, (found, reason) in zip(sources, results, strict=True):
        if found is None:
            skipped.append((source.path, reason))
        else:
            kept.append(found)
    return kept, skipped


def _analysed(source):
    """(Source with its activity or None, why it is None)."""
    try:
        found = mixtures.analyse(source)
    except audio_io.AudioError as error:
        return None, error.reason
    if sum(end_s - start_s for start_s, end_s in found.active.spans) < _MIN_ACTIVE_S:
        return None, _NOTHING
    return found, ""
