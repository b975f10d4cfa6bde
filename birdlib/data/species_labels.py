"""Labels in one spelling, and cells with several labels.

A spelling is NFC, without invisible characters, with single blanks inside. Labels that then differ in case only are one label.
"""

import ast
import re
import unicodedata
import warnings
from collections import Counter

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff\u00ad\u200e\u200f\u200c\u200d"))
_EMPTY = ("nan", "NaN")  # as pandas and NumPy write a missing cell
_TOKEN = re.compile(r"""\s*(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?=\s*[,;]|\s|$)|[^,;]+""")
_PAIRS_SHOWN = 10


def clean(text):
    """The spelling of a label; empty for ``nan``."""
    text = " ".join(unicodedata.normalize("NFC", str(text).translate(_INVISIBLE)).split())
    return "" if text in _EMPTY else text


def merge_lookalikes(labels, others=(), known=()):
    """One spelling for labels that look alike: {label: spelling}, with a warning that lists what was merged.

    The spelling is the one of ``known``, else the most frequent of ``labels``, else of ``others``.

    Args:
        labels, others: of all rows, with repeats.
        known: labels that are never merged with each other, such as those of a taxonomy.
    """
    n_labels, n_others = (Counter(map(str, texts)) for texts in (labels, others))
    n_clean, n_clean_others = Counter(), Counter()
    for counts, cleaned in ((n_labels, n_clean), (n_others, n_clean_others)):
        for text, n in counts.items():
            cleaned[clean(text)] += n
    known = {clean(label) for label in known}
    best = {}
    for spelling in n_clean.keys() | n_clean_others.keys() | known:
        rank = (spelling not in known, -n_clean[spelling], -n_clean_others[spelling], spelling)
        key = _key(spelling)
        best[key] = min(best.get(key, (rank, spelling)), (rank, spelling))
    mapping = {text: clean(text) for text in n_labels.keys() | n_others.keys()}
    mapping = {text: text_clean if text_clean in known else best[_key(text_clean)][1] for text, text_clean in mapping.items()}
    merged = sorted((text, spelling) for text, spelling in mapping.items() if spelling and text.strip() != spelling)
    if merged:
        pairs = [f"{ascii(text) if clean(text) == spelling else repr(text)} as {spelling!r}" for text, spelling in merged]
        pairs = ", ".join(pairs[:_PAIRS_SHOWN])
        more = f" and {len(merged) - _PAIRS_SHOWN} more" if len(merged) > _PAIRS_SHOWN else ""
        warnings.warn(f"{len(merged)} spellings of labels look like others and were merged: {pairs}{more}", stacklevel=3)
    return mapping


def split(cell, known=()):
    """The labels of a cell, a list of str without repeats.

    Understood are ``a;b``, lists as Python, NumPy and JSON write them, and ``a, b`` or ``a|b`` where every part is in ``known``.
    """
    keys, text = {_key(clean(label)) for label in known}, clean(cell)
    while True:  # a list may hold a list
        parts = [clean(part) for part in _split_once(text, keys)]
        parts = [part for part in dict.fromkeys(parts) if part]
        if ";".join(parts) == text:
            return parts
        text = ";".join(parts)


def _split_once(cell, keys):
    if _is_list(cell):
        return [_unquoted(token.strip()) for token in _TOKEN.findall(cell[1:-1])]
    if ";" in cell:
        return [part for whole in cell.split(";") for part in _split_once(whole.strip(), keys)]
    for separator in ",|":
        parts = [clean(part) for part in cell.split(separator)]
        if any(parts) and len(parts) > 1 and all(_key(part) in keys for part in parts if part):
            return parts
    return [cell]


def _is_list(cell):
    return len(cell) >= 2 and (cell[0] + cell[-1] in ("[]", "{}") or bool(re.fullmatch(r"\((\s*['\"].*)?\)", cell)))


def _unquoted(token):
    if len(token) < 2 or token[0] not in "'\"":
        return token
    try:
        return str(ast.literal_eval(token)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # JSON writes pairs
    except (SyntaxError, ValueError):
        return token[1:-1]


def _key(label):
    return unicodedata.normalize("NFC", label.casefold())
