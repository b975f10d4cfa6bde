"""How near trainings come to what the device can do: ``python -m birdlib bench train``.

Each case runs in a process of its own, with an empty cache of compiled programs, so that its memory and the time to its first step are its own.
"""

import json
import os
import subprocess
import sys
import tempfile

import pandas as pd

from birdlib import runtime
from birdlib.pipeline import train_benchmark_cases as cases

PEERS = ("", "torch")
_TIMEOUT_S = 1800
_CHILD = "import sys; from birdlib.pipeline import {} as child; child.main(*sys.argv[1:])"


def measure(names="", size="tiny", peer="", seconds=3.0):
    """Time trainings, each in a process of its own; yields a row as soon as it is measured.

    Args:
        names: of cases, separated by commas, see ``train_benchmark_cases.BATCH``; empty: all.
        size: one of ``train_benchmark_cases.SIZES``: ``tiny`` for a CPU, ``full`` for a GPU, where Bird-MAE has its base size.
        peer: ``"torch"`` times the same step in plain PyTorch too.
        seconds: of steps that are timed.

    Yields:
        dict ``case, unit, batch, items_per_s, first_step_s, again_s, tflops, share_of_peak, memory_mb, loss, flops_by, device, precision`` and, with
        a peer, ``peer_items_per_s, peer_first_step_s, times_peer, is_peer_compiled``; of a process that failed, for want of memory say, ``case, error``.

    Raises:
        ParameterError: for an unknown case, size or peer, before anything is measured.
    """
    chosen = runtime.names(names) or list(cases.BATCH)
    for name in chosen:
        cases.batch_size(name, size)
    if peer not in PEERS:
        raise runtime.ParameterError(f"--peer is {peer!r}: choose torch, or leave it out")
    for name in chosen:
        try:
            yield _measure_one(name, size, peer, seconds)
        except runtime.BirdlibError as error:
            yield {"case": name, "error": str(error)}


def _measure_one(name, size, peer, seconds):
    n = cases.batch_size(name, size)
    found = _child("train_benchmark_measure", name, size, seconds, "auto")
    tflops = found["items_per_s"] / n * found.pop("flops") / 1e12
    row = {"case": name, "batch": n, **found, "tflops": tflops, "share_of_peak": tflops / found["peak_tflops"]}
    if peer:
        other = _child("train_benchmark_torch", name, size, seconds, found["precision"])
        row |= {"peer_items_per_s": other["items_per_s"], "peer_first_step_s": other["first_step_s"], "is_peer_compiled": other["is_compiled"]}
        row["times_peer"] = found["items_per_s"] / other["items_per_s"]
    return row


def _child(module, name, size, seconds, precision):
    """The figures that a new process prints as its last line."""
    with tempfile.TemporaryDirectory() as folder:
        root = str(runtime.repository())
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]), "BIRDLIB_COMPILED": folder,
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }  # fmt: skip
        command = [sys.executable, "-c", _CHILD.format(module), name, size, str(seconds), precision]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S)
    if done.returncode:
        raise runtime.BirdlibError(f"{name} could not be measured, its process ended with:\n{done.stderr.strip()[-800:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def as_text(rows):
    """Rows of ``measure`` as a text to be printed: a line for each case, the device, how operations were found, and what failed."""
    measured = [row for row in rows if "error" not in row]
    parts = [_table(measured).to_string(index=False), _explain(measured)] if measured else []
    return "\n".join([*parts, *(row["error"] for row in rows if "error" in row)])


def _table(rows):
    table = pd.DataFrame(rows)
    given = {"items/s": table["items_per_s"].map("{:,.1f}".format), "first step s": table["first_step_s"].map("{:.1f}".format)}
    given["from cache s"] = table["again_s"].map(lambda s: "-" if pd.isna(s) else f"{s:.1f}")
    given["TFLOP/s"] = [f"{value:.3g} {'c' if by == 'compiler' else 'n'}" for value, by in zip(table["tflops"], table["flops_by"], strict=True)]
    given["of peak"] = table["share_of_peak"].map("{:.0%}".format)
    given["memory MB"] = table["memory_mb"].map("{:,.0f}".format)
    if "times_peer" in table:
        given["torch items/s"] = table["peer_items_per_s"].map("{:,.1f}".format) + table["is_peer_compiled"].map({True: "", False: " (not compiled)"})
        given["torch first step s"] = table["peer_first_step_s"].map("{:.1f}".format)
        given["times torch"] = table["times_peer"].map("{:.2f}".format)
    return pd.DataFrame({"case": table["case"], "batch": table["batch"], **given})


def _explain(rows):
    first, peaks = rows[0], sorted(row["peak_tflops"] for row in rows)
    return (
        f"{first['device']}, {first['precision']}; a matrix product reached {peaks[0]:.3g} to {peaks[-1]:.3g} TFLOP/s. "
        "Operations: c by the compiler's cost analysis, n counted from the layers."
    )
