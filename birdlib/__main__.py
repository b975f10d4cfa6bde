"""The command line: ``python -m birdlib COMMAND``; the commands are in ``birdlib.commands``."""

import argparse
import os
import sys

import birdlib
from birdlib import runtime
from birdlib.commands import chain, gallery, kaggle, machine, manifest, similarity

_EXAMPLES = """examples:
  python -m birdlib manifest my_recordings
  python -m birdlib run --manifest my_recordings.csv --outputs my_outputs
  python -m birdlib nearest photo.jpg song.wav
  python -m birdlib match film.mp4 song.wav
  python -m birdlib gallery add "red ring" film.mp4
  python -m birdlib gallery match other.mp4
  python -m birdlib weights --fetch
  python -m birdlib bench embed
  python -m birdlib package --user my_name
  python -m birdlib rehearse --files 50
"""


def main(arguments=None):
    """Run one command; returns the exit status."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # without TensorFlow's notices
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.command(options)
    except runtime.BirdlibError as error:
        print(f"\nbirdlib: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbirdlib: stopped; the same command resumes here", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m birdlib", description="Which species, which individual, how many: recordings, photos and films of birds.",
        epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"birdlib {birdlib.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (chain, manifest, similarity, gallery, machine, kaggle):
        group.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
