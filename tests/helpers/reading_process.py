"""A process that reads media files one by one: what kills it or hangs is one file's outcome, not the end of the test.

Run as a script it is that process: a path a line on stdin, an outcome a line on stdout.
"""

import json
import select
import subprocess
import sys
import warnings
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
_MAX_BYTES = 6 * 2**30  # of addresses: a file that makes a reader want more is a MemoryError


class Reader:
    """Reads files in a process of its own, which is started again after a crash or a hang.

    Args:
        timeout_s: for one file.
    """

    def __init__(self, timeout_s):
        self.timeout_s, self.process = timeout_s, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop()

    def read(self, path):
        """(outcome, text): "read", "refused" with the message, "raised" with type and message, "crashed" with the exit status, or "hangs"."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__], cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            assert self.process.stdout.readline() == "ready\n"
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], self.timeout_s)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return tuple(json.loads(line))
        outcome = ("crashed", str(self.process.wait(10))) if ready else ("hangs", f"after {self.timeout_s} s")
        self._stop()
        return outcome

    def _stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def read_sound(path):
    """All of a recording as stage 02 reads it, its length, and the notes of its recorder."""
    from birdlib.analysis import clock
    from birdlib.audio import io as audio_io

    clock.read(path)
    audio_io.duration(path)
    assert sum(map(len, audio_io.stream(path, 10.0, 32_000))) > 0


def read_picture(path):
    """A photo, and its time and place."""
    from birdlib.data.layouts import groups
    from birdlib.video import images

    groups.exif_group(path)
    assert images.read_image(path).size > 0


def read_film(path):
    """What the header says, the pictures and the sound of a film."""
    from birdlib.video import io as video_io

    assert video_io.probe(path).width > 0
    assert all(image.size > 0 for _, image in video_io.frames(path, rate_hz=5.0))
    for _ in video_io.soundtrack(path, 32_000):
        pass


def _outcome(path):
    import damaged_media

    from birdlib import runtime

    kind = path.suffix[1:]
    read = read_sound if kind in damaged_media.SOUNDS else read_picture if kind in damaged_media.PICTURES else read_film
    try:
        read(path)
    except runtime.BirdlibError as error:
        return "refused", str(error)
    except Exception as error:  # what the test looks for
        import traceback

        return "raised", f"{type(error).__name__}: {error} {traceback.format_exc(limit=-2)}"
    return "read", ""


def _serve():
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, _MAX_BYTES))
    warnings.simplefilter("ignore")
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_outcome(Path(line.rstrip("\n")))), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(HOME))
    _serve()
