"""Python code in a process of its own, to measure its memory."""

import subprocess
import sys

_REPORT = """
from birdlib import runtime
print(runtime.peak_mb())
"""


def peak_megabytes(code, *arguments):
    """The most memory (resident set) that the code takes, in MB; AssertionError with its messages if it fails."""
    done = subprocess.run([sys.executable, "-c", code + _REPORT, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])
