"""Types of arguments, and the messages of libraries while a command runs."""

import argparse
import contextlib
import math
import os
import shutil
import sys
import tempfile

from birdlib import runtime


def number(text):
    """A type for argparse: a number; the error shows how it is written."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number: write it with a point, such as 0.5") from None


def whole(text):
    """A type for argparse: a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def at_least(smallest, largest=math.inf):
    """A type for argparse: a number that is not below ``smallest``, nor above ``largest``; whole, if ``smallest`` is."""

    def limited(text):
        value = number(text) if isinstance(smallest, float) else whole(text)
        if not value >= smallest:  # NaN is not
            raise argparse.ArgumentTypeError(f"{text} is below {smallest}")
        if value > largest:
            raise argparse.ArgumentTypeError(f"{text} is above {largest}")
        return value

    limited.__name__ = type(smallest).__name__
    return limited


def add_outputs(parser, who="the stages have written"):
    """Add ``--outputs``, the folder of the stages; ``who`` completes "where ..." in its help."""
    parser.add_argument("--outputs", default="outputs", metavar="DIR", help=f"where {who} (default: outputs)")


@contextlib.contextmanager
def hidden_library_messages():
    """Hide messages of C libraries, such as TensorFlow's, on stderr; they are shown only if the command fails unexpectedly."""
    try:
        stderr = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    with tempfile.TemporaryFile() as messages, os.fdopen(stderr, "w", buffering=1) as shown, contextlib.ExitStack() as stack:
        sys.stderr.flush()
        if sys.stderr is sys.__stderr__:
            stack.enter_context(contextlib.redirect_stderr(shown))  # Python's own messages stay visible
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except Exception as error:
            if not isinstance(error, runtime.BirdlibError):
                messages.seek(0)
                shutil.copyfileobj(messages, shown.buffer)
            raise
        finally:
            shown.flush()
            os.dup2(stderr, 2)
