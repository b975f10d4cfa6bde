"""A small archive with faults: songs of three species, and files that cannot be used; and the first three stages run on it."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from made_clips import RATE_HZ, song

from birdlib import runtime

RUN = """
import sys
from birdlib import __main__
from birdlib.pipeline import execute, runner
notebooks = runner.notebooks
runner.notebooks = lambda: [path for path in notebooks() if path.stem[:2] in ("01", "02", "03")]
if sys.argv[1]:
    sys.path.insert(0, sys.argv[1])
    import in_process
    execute.execute = in_process.run_notebook
sys.exit(__main__.main(["run", *sys.argv[2:]]))
"""
STAGES = ("01_split", "02_clean", "03_embed")
HALF_WRITTEN = re.compile(r"\..+\.\d+(\.\w+)?|.*\.failed\.ipynb")


def make(folder, n=18):
    """Write ``n`` songs of three species, one that is empty, one that is silent, and one of two channels; gives the manifest's path."""
    folder.mkdir(parents=True)
    rows = [("recording_id", "species", "audio_path", "group_id")]
    for number in range(n):
        name = f"r{number:03d}.wav"
        waveform = song(2.0 + number % 4, seed=number)
        if number == 1:
            waveform = np.zeros_like(waveform)
        if number == 2:
            waveform = np.stack([waveform, 0.5 * waveform], axis=1)
        soundfile.write(folder / name, waveform, RATE_HZ)
        if number == 3:
            (folder / name).write_bytes(b"")
        rows.append((name[:4], ("finch", "crow", "tit")[number % 3], name, f"g{number // 2}"))
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder / "manifest.csv"


def start(manifest, outputs, *options, kernels=False):
    """Start ``run`` of the first three stages in a process of its own, which writes into a log beside the outputs.

    Without ``kernels``, which take long to start, it executes the notebooks itself.
    """
    helpers = "" if kernels else str(Path(__file__).parent)
    command = [sys.executable, "-c", RUN, helpers, "--manifest", str(manifest), "--outputs", str(outputs), *options]
    with open(outputs.with_suffix(".log"), "ab") as log:
        return subprocess.Popen(command, cwd=runtime.repository(), stdout=log, stderr=log, start_new_session=True)


def results(outputs):
    """{file: digest} of all that the three stages wrote, without receipts, which hold times."""
    paths = [path for name in STAGES for path in (outputs / name).rglob("*") if path.is_file()]
    named = {path.relative_to(outputs).as_posix(): path for path in paths if path.name[0] != "." and path.name != "stage.json"}
    return {name: runtime.digest_file(path) for name, path in sorted(named.items())}


def half_written(outputs):
    """Names of files that a killed run would leave."""
    return [path.name for path in outputs.rglob("*") if HALF_WRITTEN.fullmatch(path.name)]
