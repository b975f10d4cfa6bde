"""Recording ids: unique text of letters, digits, ``_`` and ``-``, which may name files and keys."""

import re
import unicodedata
import warnings
from collections import Counter, defaultdict
from pathlib import PurePosixPath

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
    rows = list(zip(ids, paths, parts, strict=True))
    names = [valid(text or PurePosixPath(path).stem) or "recording" for text, path, _ in rows]
    sharing = defaultdict(list)
    for row, name in enumerate(names):
        sharing[name].append(row)
    taken = set(names)
    for name in sorted(name for name, shared in sharing.items() if len(shared) > 1):
        shared = sharing[name]
        for row, new in zip(shared, _with_suffixes(name, [rows[row] for row in shared], taken), strict=True):
            names[row] = new
            taken.add(new)
    return names


def _with_suffixes(name, rows, taken):
    """One name with suffixes that tell rows of (id, path, part) apart."""
    digests = [runtime.digest(row)[:_DIGEST_DIGITS] for row in rows]
    for suffixes in ([valid(PurePosixPath(path).suffix[1:].lower()) for _, path, _ in rows], digests):
        found = [f"{name}-{suffix}" for suffix in suffixes]
        if all(suffixes) and len(set(found)) == len(found) and taken.isdisjoint(found):
            return found
    numbers, found = Counter(), []
    for digest in digests:  # equal rows
        numbers[digest] += 1
        while f"{name}-{digest}-{numbers[digest]}" in taken:
            numbers[digest] += 1
        found.append(f"{name}-{digest}-{numbers[digest]}")
    return found


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
