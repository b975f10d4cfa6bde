"""Recording ids: unique text of letters, digits, ``_`` and ``-``, which may name files and keys."""

import re
import unicodedata
import warnings
from pathlib import PurePosixPath

import pandas as pd

from birdlib import runtime

_EXAMPLES_SHOWN = 5
_DIGEST_DIGITS = 6


def is_valid(text):
    """Whether a text is of ASCII letters, digits, ``_`` and ``-`` only."""
    return re.fullmatch(r"[A-Za-z0-9_-]+", text) is not None


def valid(text):
    """The text without accents and with ``_`` for every other character; may be empty."""
    if is_valid(text):
        return text
    plain = "".join(char for char in unicodedata.normalize("NFKD", text.strip()) if not unicodedata.combining(char))
    return re.sub(r"[^A-Za-z0-9_-]", "_", plain)


def unique(ids, paths, parts):
    """Valid and unique ids, whatever the order of the rows.

    An empty id becomes the stem of the path. Ids that collide get a suffix: the file's own suffix where this tells them apart,
    else a digest of id, path and part, and for equal rows a number.

    Args:
        ids: (rows,) str as given.
        paths, parts: (rows,) str: the media path, and what else tells rows apart, such as the times.

    Returns:
        list of str.
    """
    table = pd.DataFrame({"given": list(ids), "path": list(paths), "part": list(parts)}, dtype=object)
    given = [text or PurePosixPath(path).stem for text, path in zip(table["given"], table["path"], strict=True)]
    table["id"] = [valid(text) or "recording" for text in given]
    is_shared = table["id"].duplicated(keep=False)
    taken = set(table["id"])
    names = table["id"].copy()
    for name, rows in table[is_shared].groupby("id", sort=True):
        suffixes = [valid(PurePosixPath(path).suffix[1:].lower()) for path in rows["path"]]
        digests = [runtime.digest(row)[:_DIGEST_DIGITS] for row in rows[["given", "path", "part"]].to_numpy().tolist()]
        numbers = [f"{digest}-{number}" for digest, number in zip(digests, rows.groupby(digests).cumcount() + 1, strict=True)]
        for candidates in (suffixes, digests, numbers):
            found = [f"{name}-{candidate}" for candidate in candidates]
            if all(candidates) and len(set(found)) == len(found) and taken.isdisjoint(found):
                break
        else:
            found = [_free(name, digest, taken) for digest in digests]
        taken |= set(found)
        names[rows.index] = found
    return names.tolist()


def _free(name, digest, taken):
    number = 1
    while f"{name}-{digest}-{number}" in taken:
        number += 1
    taken.add(f"{name}-{digest}-{number}")
    return f"{name}-{digest}-{number}"


def repair(ids, paths, parts):
    """``unique``, with a warning that lists the ids that were changed."""
    names = unique(ids, paths, parts)
    changed = [(old, new) for old, new in zip(ids, names, strict=True) if old != new]
    if changed:
        examples = ", ".join(f"{old!r} to {new!r}" for old, new in changed[:_EXAMPLES_SHOWN])
        more = f" and {len(changed) - _EXAMPLES_SHOWN} more" if len(changed) > _EXAMPLES_SHOWN else ""
        is_rounded = any(re.fullmatch(r"\d+([.,]\d+)?[eE]\+?\d+", old) for old, _ in changed)
        excel = "; numbers such as 1.2E+11 were rounded by a spreadsheet: format the column as text there" if is_rounded else ""
        warnings.warn(f"{len(changed)} recording_ids were empty, not of letters, digits, _ and -, or not unique, and were changed: {examples}{more}{excel}", stacklevel=3)
    return names
