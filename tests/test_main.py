"""Facts about the command line."""

import subprocess
import sys

import pytest

from birdlib import __main__, runtime

TALK = """
import os, sys
from birdlib import runtime
from birdlib.commands import arguments
with arguments.hidden_library_messages():
    os.write(2, b"a note, ")
    print("a warning,", file=sys.stderr)
os.write(2, b"later, ")
try:
    with arguments.hidden_library_messages():
        os.write(2, b"of bad input, ")
        raise runtime.BirdlibError
except runtime.BirdlibError:
    with arguments.hidden_library_messages():
        os.write(2, b"of a crash")
        raise SystemError
"""


def test_messages_of_libraries_are_shown_only_at_a_crash():
    done = subprocess.run([sys.executable, "-c", TALK], cwd=runtime.repository(), capture_output=True, text=True)
    assert done.stdout == "" and done.stderr.startswith("a warning,\nlater, of a crashTraceback")


@pytest.mark.parametrize("arguments", ["nearest a.wav -n -3", "nearest a.wav -n 0", "nearest a.wav -n x", "rehearse --files 0", "rehearse --budget-min nan", "gallery add ada a.mp4 --bird 0"])
def test_numbers_that_make_no_sense_are_refused_by_the_command_line(arguments, capsys):
    with pytest.raises(SystemExit):
        __main__.main(arguments.split())
    assert "below" in capsys.readouterr().err or "x" in arguments
