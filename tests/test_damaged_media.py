"""Fuzzing: damaged sounds, pictures and films are read or refused with a reason; none ends the process, hangs, or raises anything else.

``BIRDLIB_FUZZ`` is the number of damaged copies of each kind, 100 by default. A test is repeatable: the copies follow from their number.
"""

import os
import signal
import threading

import damaged_media
import numpy as np
import pytest
from reading_process import Reader

N_COPIES = int(os.environ.get("BIRDLIB_FUZZ", 100))
TIMEOUT_S = 60  # of a file; the slowest takes 1 s on a quiet machine


@pytest.fixture(scope="module")
def reader():
    with Reader(TIMEOUT_S) as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("kind", damaged_media.SOUNDS + damaged_media.PICTURES + damaged_media.FILMS)
def test_damaged_files_are_read_or_refused(tmp_path, reader, kind):
    whole = damaged_media.make(kind)
    path = tmp_path / f"whole.{kind}"
    path.write_bytes(whole)
    assert reader.read(path) == ("read", "")
    outcomes = {}
    for number in range(N_COPIES):
        path = tmp_path / f"{number}.{kind}"
        path.write_bytes(damaged_media.damaged(whole, np.random.default_rng(number)))
        outcomes[number] = reader.read(path)
        path.unlink()
    refusals = [text for outcome, text in outcomes.values() if outcome == "refused"]
    assert {number: found for number, found in outcomes.items() if found[0] not in ("read", "refused")} == {}
    assert 0 < len(refusals) < N_COPIES  # the damage is neither always harmless nor always beyond repair
    assert all(f".{kind}: " in text and ": " in text.split(f".{kind}: ", 1)[1] for text in refusals)  # path: reason: remedy


@pytest.mark.slow
def test_the_reader_tells_hangs_and_crashes_and_starts_again(tmp_path):
    """Else the test above could not fail by them."""
    path = tmp_path / "whole.wav"
    path.write_bytes(damaged_media.make("wav"))
    with Reader(timeout_s=20) as reader:
        assert reader.read(path) == ("read", "")
        reader.process.send_signal(signal.SIGSTOP)
        threading.Timer(0.2, reader.process.send_signal, [signal.SIGKILL]).start()
        assert reader.read(path) == ("crashed", "-9")
        assert reader.read(path) == ("read", "")
        reader.process.send_signal(signal.SIGSTOP)
        reader.timeout_s = 0.5
        assert reader.read(path) == ("hangs", "after 0.5 s")
