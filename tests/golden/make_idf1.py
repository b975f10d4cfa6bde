"""Makes idf1.json and its two track files: what motmetrics says of made-up tracks that lose, swap and invent birds.

In an environment of its own::

    pip install motmetrics==1.4.0 numpy==1.26.4 pandas==2.2.3
    python tests/golden/make_idf1.py
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import motmetrics
import numpy as np

FOLDER = Path(__file__).parent
FIGURES = {"idf1": "idf1", "precision": "idp", "recall": "idr"}
PACKAGES = ("motmetrics", "numpy", "pandas", "scipy")


def walks(rng, n_birds=8, n_frames=60):
    """(frame, bird, left, top, width, height) of birds that wander, come and go."""
    rows = []
    for bird in range(1, n_birds + 1):
        first, last = sorted(rng.choice(np.arange(1, n_frames + 1), 2, replace=False))
        centre, size = rng.uniform(80, 240, 2), rng.uniform(25, 50, 2)
        for frame in range(first, last + 1):
            centre = np.clip(centre + rng.normal(0, 6, 2), 40, 300)
            rows.append((frame, bird, *(centre - size / 2), *size))
    return rows


def tracked(rows, rng):
    """What a poor tracker makes of them: misses, noise, names that change or are swapped, and what is no bird."""
    names, found, next_name = {}, [], 1
    for frame, bird, left, top, width, height in sorted(rows):
        if bird not in names or rng.random() < 0.04:
            names[bird], next_name = next_name, next_name + 1
        if rng.random() < 0.02 and len(names) > 1:
            a, b = rng.choice(list(names), 2, replace=False)
            names[a], names[b] = names[b], names[a]
        if rng.random() < 0.12:
            continue
        noise = rng.normal(0, 4, 4)
        box = (left + noise[0], top + noise[1], width + abs(noise[2]), height + abs(noise[3]))
        found.append((frame, names[bird], *box))
        if rng.random() < 0.05:
            found.append((frame, next_name, *rng.uniform(0, 250, 2), 30, 30))
            next_name += 1
    return found


def write(rows, name):
    lines = [
        f"{frame},{bird}," + ",".join(f"{value:.3f}" for value in box) + ",1,-1,-1,-1" for frame, bird, *box in rows
    ]
    (FOLDER / name).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    rng = np.random.default_rng(4)
    truth = walks(rng)
    write(truth, "idf1_truth.txt")
    write(tracked(truth, rng), "idf1_found.txt")
    truth, found = (motmetrics.io.loadtxt(FOLDER / f"idf1_{one}.txt", fmt="mot15-2D") for one in ("truth", "found"))
    compared = motmetrics.utils.compare_to_groundtruth(truth, found, "iou", distth=0.5)
    summary = motmetrics.metrics.create().compute(compared, metrics=list(FIGURES.values()), name="tracks")
    golden = {
        "command": "python tests/golden/make_idf1.py",
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in PACKAGES}},
        "figures": {ours: float(summary[theirs].iloc[0]) for ours, theirs in FIGURES.items()},
    }
    (FOLDER / "idf1.json").write_text(json.dumps(golden, indent=1) + "\n")
