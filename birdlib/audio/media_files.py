"""Media files, opened and digested: what is no file, is empty, or is a web page is refused in the same words for sound, pictures and films."""

import hashlib
import os
import stat
from pathlib import Path

from birdlib import runtime

NO_SUCH_FILE = "there is no such file: correct the path, or copy the file there"


class AudioError(runtime.FileError):
    """A recording that cannot be used."""


class AudioWarning(runtime.FileWarning):
    """A recording is used, but not as it stands: a part is missing, or its channels cancel each other."""


def open_file(path, error=AudioError, kind="sound"):
    """A file opened for a decoder, unbuffered, without a name.

    Raises:
        error: if it cannot be opened, is a folder, device or pipe, is empty, or is a web page.
    """
    path = Path(path)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise error(path, "is a folder, not a file: name the files in it")
        if not stat.S_ISREG(mode):  # it may never end, or never begin
            raise error(path, "is a device or a pipe, not a file: copy what it gives into a file")
        file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), "rb", buffering=0)
    except FileNotFoundError as missing:
        raise error(path, NO_SUCH_FILE) from missing
    except (OSError, ValueError) as refused:
        raise error(path, f"could not be opened ({getattr(refused, 'strerror', None) or refused}): check its permissions, or copy it again") from refused
    head = file.read(256)
    file.seek(0)
    if not head or is_web_page(head):
        file.close()
        raise error(path, f"is a web page, not {kind} (a failed download?): download the file itself" if head else "is empty (0 bytes): copy it again, or remove it")
    return file


def digest_file(path, error=AudioError, kind="sound"):
    """sha256 of a file's bytes, as hex.

    Raises:
        error: if it is missing, empty, a folder or a web page, or cannot be read.
    """
    with open_file(path, error, kind) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as refused:
            raise error(path, f"could not be read ({refused.strerror or refused}): copy it again") from refused


def is_web_page(head):
    """Whether the first bytes of a file are those of HTML or XML, as of a failed download."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml"))
