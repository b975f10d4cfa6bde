"""The files of composed soundscapes, in the layout of BirdCLEF+ 2026.

    train_audio/<label>/*  train.csv             recordings that are in no soundscape; train.csv has their group_id
    train_soundscapes/*                          without labels, but for
    train_soundscapes_labels.csv                 the windows of 5 s of some of them
    test_soundscapes/*                           of other recordings
    truth/soundscape_labels.csv                  the species of all windows, train and test
    truth/events.csv                             every song and voice with its level
    taxonomy.csv  sample_submission.csv  skipped.csv  compose.json  README.md
"""

import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import parallel, runtime
from birdlib.audio import io as audio_io
from birdlib.data import birdclef, composition_plan, manifest, mixtures, recording_ids, submissions

_TRAIN_COLUMNS = ["primary_label", "secondary_labels", "filename", "scientific_name", "common_name", "author", "license", "url", "group_id"]


def write_soundscapes(plan, folder, soundscape_s, n_jobs=-1):
    """Write the soundscapes; returns their events, a table of ``mixtures.EVENT_COLUMNS``."""
    for role in composition_plan.ROLES:
        (folder / f"{role}_soundscapes").mkdir(parents=True)
    paths = [folder / f"{item.role}_soundscapes" / item.name for item in plan]
    tasks = [{"item": item, "path": path, "soundscape_s": soundscape_s} for item, path in zip(plan, paths, strict=True)]
    parallel.map_ordered(_write_soundscape, tasks, paths, n_jobs, "soundscapes")
    return pd.concat([mixtures.events(birdclef.stem(item.name), item.bouts) for item in plan], ignore_index=True)


def _write_soundscape(item, path, soundscape_s):
    audio_io.write(path, mixtures.mix(item.draw_background(soundscape_s), item.bouts), mixtures.SAMPLE_RATE_HZ)


def write_recordings(recordings, names, root, folder):
    """Write ``train_audio/`` and ``train.csv``. Whole files are copied; parts of files are cut and written as flac."""
    rows, names = [], names.set_index("label")
    others = manifest.secondary_labels(recordings)
    for row, secondary in zip(runtime.progress(list(recordings.itertuples()), desc="recordings"), others, strict=True):
        is_whole = np.isnan(row.start_s) and np.isnan(row.end_s)
        name = f"{recording_ids.valid(row.species)}/{row.recording_id}{Path(row.audio_path).suffix if is_whole else '.flac'}"
        path = folder / "train_audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_whole:
            shutil.copyfile(root / row.audio_path, path)
        else:
            audio_io.write(path, *audio_io.read(root / row.audio_path, None, row.start_s, row.end_s))
        of_species = names.loc[row.species, ["scientific_name", "common_name"]]
        rows.append((row.species, str(secondary or [""]), name, *of_species, row.attribution, row.licence, row.source, row.group_id))
    runtime.write_table(pd.DataFrame(rows, columns=_TRAIN_COLUMNS), folder / "train.csv")


def write_tables(plan, events, recordings, names, skipped, options, folder):
    """Write all tables and the two descriptions; returns the summary.

    Args:
        recordings: all of them, with their ``role``.
    """
    truth = _window_truth(plan, events, options.soundscape_s)
    runtime.write_table(events.round({"start_s": 3, "end_s": 3, "snr_db": 1}), folder / "truth" / "events.csv")
    runtime.write_table(truth[["row_id", "birds"]], folder / "truth" / "soundscape_labels.csv")
    runtime.write_table(_labels(truth[truth["is_labelled"]]), folder / "train_soundscapes_labels.csv")
    species = names.rename(columns={"label": "primary_label"})
    runtime.write_table(species, folder / "taxonomy.csv")
    first = truth[truth["filename"] == next(item.name for item in plan if item.role == "test")]
    even = np.full((len(first), len(names)), 1 / len(names))
    runtime.write_table(submissions.table(first["row_id"], even, sorted(names["label"])), folder / "sample_submission.csv")
    runtime.write_table(skipped, folder / "skipped.csv")
    summary = _summary(plan, truth, events, recordings, skipped, options)
    runtime.write_json(summary, folder / "compose.json")
    (folder / "README.md").write_text(_readme(summary), encoding="utf-8")
    return summary


def _window_truth(plan, events, soundscape_s):
    """A row per window of every soundscape: ``role, filename, is_labelled, row_id, start_s, end_s, birds``, labels separated by ``;``."""
    rows, of_soundscape = [], dict(list(events.groupby("soundscape")))
    for item in plan:
        table = of_soundscape.get(birdclef.stem(item.name), events[:0])
        windows = birdclef.windows(soundscape_s)
        for (start_s, end_s), species in zip(windows, mixtures.window_species(table, windows), strict=True):
            row_id = birdclef.row_id(item.name, end_s)
            rows.append((item.role, item.name, item.is_labelled, row_id, start_s, end_s, ";".join(species)))
    return pd.DataFrame(rows, columns=["role", "filename", "is_labelled", "row_id", "start_s", "end_s", "birds"])


def _labels(truth):
    """In the form of ``train_soundscapes_labels.csv`` of BirdCLEF+ 2026: times as hh:mm:ss, labels separated by ``;``."""
    clock = {name: [f"0{timedelta(seconds=round(value))}" for value in truth[name]] for name in ("start_s", "end_s")}
    return pd.DataFrame({"filename": truth["filename"], "start": clock["start_s"], "end": clock["end_s"], "primary_label": truth["birds"]})


def _summary(plan, truth, events, recordings, skipped, options):
    used = recordings[recordings["recording_id"].isin(events["recording_id"])]
    n = {role: sum(item.role == role for item in plan) for role in composition_plan.ROLES}
    songs = events[events["kind"] == "bird"].assign(role=lambda table: table["soundscape"].map({birdclef.stem(item.name): item.role for item in plan}))
    backgrounds = sorted({Path(item.background.path).name for item in plan if item.background})
    return {
        "options": {name: list(value) if isinstance(value, tuple) else value for name, value in vars(options).items()},
        "soundscapes": n,
        "minutes": {role: round(number * options.soundscape_s / 60, 2) for role, number in n.items()},
        "soundscapes with labels": sum(item.is_labelled for item in plan),
        "windows without birds": {role: round(float((rows["birds"] == "").mean()), 3) for role, rows in truth.groupby("role")},
        "species": len(recordings["species"].unique()),
        "species in soundscapes": {role: songs.loc[songs["role"] == role, "species"].nunique() for role in composition_plan.ROLES},
        "songs": {role: int((songs["role"] == role).sum()) for role in composition_plan.ROLES},
        "soundscapes with a voice": int(events.loc[events["kind"] == "speech", "soundscape"].nunique()),
        "recordings": recordings["role"].value_counts().to_dict(),
        "recordings mixed in": len(used),
        "backgrounds": backgrounds or "synthetic pink noise",
        "licences": {text or "unknown": int(count) for text, count in recordings["licence"].value_counts().items()},
        "skipped": len(skipped),
    }


def _readme(summary):
    lines = [f"- {name}: {', '.join(f'{key}: {part}' for key, part in value.items()) if isinstance(value, dict) else value}" for name, value in summary.items()]
    return "\n".join(
        [
            "# Composed soundscapes",
            "",
            "Real recordings mixed by `python -m birdlib compose`; times, levels, sites, dates and hours are drawn at random, so the truth is known.",
            "Sites, dates and hours are invented. A recorder's white noise, 20 dB below each background, is synthetic.",
            "",
            "A species is in a window where a song of it lasts 0.25 s there, or half of the song if it is shorter. A song is a stretch of a recording that stands",
            "out of its own background. Other birds in the background of a source recording or of a noise file are not in the truth.",
            "",
            "The licences of the recordings hold for this folder too.",
            "",
            *lines,
            "",
        ]
    )
