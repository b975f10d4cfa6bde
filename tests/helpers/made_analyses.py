"""Folders as ``analyse`` writes them, of made recordings."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import sounds

from birdlib.analysis import detections as detection_tables
from birdlib.audio import io as audio_io

RATE_HZ = 16_000


def detection(path, start_s=1.0, end_s=2.0, species="robin", **columns):
    row = {"path": str(path), "start_s": start_s, "end_s": end_s, "species": species, "score": 0.8, "confidence": 0.8, "low_hz": 3000.0, "high_hz": 5000.0}
    return row | columns


def file(path, duration_s=4.0, **columns):
    return {"path": str(path), "duration_s": duration_s, "sample_rate_hz": RATE_HZ, "media": "sound", "seconds": 0.1} | columns


def recording(path, duration_s=4.0):
    """Hiss with a song at 4 kHz in every second second."""
    waveform = sounds.hiss(duration_s, sample_rate_hz=RATE_HZ)
    song = sounds.song(duration_s, RATE_HZ)
    song[(np.arange(len(song)) // RATE_HZ) % 2 == 0] = 0.0
    audio_io.write(path, waveform + song, RATE_HZ)
    return path


def write(folder, files, detections=(), about=None, **tables):
    """Write the tables of an analysis; ``tables`` are further ones, such as ``counts`` and ``skipped``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found, files = detection_tables.typed(pd.DataFrame(list(detections))), detection_tables.typed_files(pd.DataFrame(list(files)))
    by_path = found.groupby("path")["species"]
    for column, values in (("n_detections", by_path.size()), ("n_species", by_path.nunique())):
        files[column] = files["path"].map(values).fillna(0).astype(int)
    files["top_species"] = files["path"].map(by_path.agg(lambda labels: labels.value_counts().index[0])).fillna("") if len(found) else ""
    for name, table in {"detections": found, "files": files, "species": detection_tables.by_species(found), **tables}.items():
        pd.DataFrame(table).to_csv(folder / f"{name}.csv", index=False)
    about = about if about is not None else {"model": {"name": "birdnet"}, "settings": {"min_confidence": 0.25}, "versions": {"birdlib": "1.0"}}
    (folder / "analysis.json").write_text(json.dumps(about), encoding="utf-8")
    return folder
