"""Numbers as people read them: rounded to what their interval allows, with thousands separated and units."""

import math

_THIN_SPACE = "\u202f"


def decimals(low, high, default=2):
    """How many decimals a value with this interval deserves: the rounding step is at most half the half-width.

    Args:
        low, high: ends of the interval; NaN or equal where nothing is known about it.
        default: decimals in that case.
    """
    half_width = (high - low) / 2
    if not math.isfinite(half_width) or half_width <= 0:
        return default
    return min(max(math.ceil(-math.log10(half_width / 2)), 0), 6)


def number(value, n_decimals=2, unit=""):
    """A number as text: ``1 234``, ``0.87``, ``12.5 s``; ``–`` where there is none.

    Args:
        value: int, float or None; a float is rounded to ``n_decimals``.
        unit: written behind it; ``%`` multiplies by 100.
    """
    if value is None or not math.isfinite(value):
        return "–"
    if unit == "%":
        return f"{100 * value:.{max(n_decimals - 2, 0)}f}{_THIN_SPACE}%"
    text = f"{int(value):,}" if float(value).is_integer() and n_decimals == 0 else f"{value:,.{n_decimals}f}"
    text = text.replace(",", _THIN_SPACE).replace("-", "−")
    return f"{text}{_THIN_SPACE}{unit}" if unit else text


def with_interval(interval, default=2):
    """``0.87 [0.83, 0.91]`` of (value, low, high), or ``0.87`` where the ends are unknown."""
    value, low, high = interval
    n_decimals = decimals(low, high, default)
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(value, n_decimals)
    return f"{number(value, n_decimals)} [{number(low, n_decimals)}, {number(high, n_decimals)}]"


def count_with_interval(n, low, high):
    """``10 [10, 14]``; ``10`` where the interval holds nothing else."""
    return number(n, 0) if low == high == n else f"{number(n, 0)} [{number(low, 0)}, {number(high, 0)}]"


def counted(n, one, many=""):
    """``1 recording``, ``12 recordings``."""
    return f"{number(n, 0)} {one if n == 1 else many or one + 's'}"


def listing(words, n_shown=5):
    """``a, b and c``; of more than ``n_shown`` the first ones and ``12 more``."""
    words = [str(word) for word in words]
    if len(words) > n_shown:
        words = [*words[: n_shown - 1], f"{len(words) - n_shown + 1} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def duration(seconds):
    """``8 s``, ``2 min 05 s``, ``3 h 20 min``."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def megabytes(n_bytes):
    """``0.4 MB``, ``12 MB``, ``1.8 GB`` of bytes."""
    if n_bytes is None or not math.isfinite(n_bytes):
        return "–"
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.1f} GB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes >= 1e7 else f"{n_bytes / 1e6:.1f} MB"
