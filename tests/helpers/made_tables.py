"""Small tables of detections and tracks, and recordings of silence for them."""

import numpy as np
import pandas as pd
import soundfile

RATE_HZ = 8000


def detections(*rows):
    """Rows of (path, start_s, end_s, species), with other columns as a dict behind them."""
    names = ("path", "start_s", "end_s", "species")
    return pd.DataFrame([dict(zip(names, row, strict=False)) | (row[4] if len(row) > 4 else {}) for row in rows], columns=None if rows else names)


def recording(path, duration_s=10.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(duration_s * RATE_HZ), np.float32), RATE_HZ)
    return path


def tracks(path="film.mp4", rate_hz=5.0):
    """Two tracks of one individual, the first with a pause, and one of another."""
    rows = []
    for track, identity, frames in ((1, 0, (0, 1, 3)), (2, 0, (6, 7)), (3, 1, (0, 1, 2))):
        rows += [(path, "film", track, k / rate_hz, 10.0 * track + k, 20.5, 30.0, 40.25, 0.5 + 0.1 * track, identity) for k in frames]
    return pd.DataFrame(rows, columns=["path", "recording_id", "track", "time_s", "x", "y", "width", "height", "score", "identity"])


def films(path="film.mp4", rate_hz=5.0, n_frames=8):
    return pd.DataFrame([{"path": path, "frame_rate_hz": rate_hz, "width": 640, "height": 480, "n_frames": n_frames}])
