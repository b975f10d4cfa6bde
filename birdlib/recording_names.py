"""What the name of a recording says: when, and at which site it was made.

Recorders, phones and messengers write the clock time of the beginning into the name: ``SITE_20250414_061000.wav`` (Song Meter, BirdCLEF),
``20250414_061000.WAV`` (AudioMoth), ``20250414T061000+1000_REC [-27.3871 152.8761].flac`` (Frontier Labs), ``PXL_20250414_061000123.mp4``,
``WhatsApp Video 2025-04-14 at 6.10.00 AM.mp4``, ``5BEC7D4A.WAV`` (AudioMoth until 2019, UNIX time in hex). BirdCLEF+ 2026 puts set and number before
the site: ``BC2026_Train_0001_S08_20250606_030007.ogg``.
"""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

_FIRST_YEAR, _LAST_YEAR = 1950, 2100
_UNSET_DAYS = (date(1970, 1, 1),)  # of clocks that were never set
_MAX_OFFSET_H = 14
_DATE = r"(?<!\d)(?<!XC)(?<!ML)(?P<year>\d{4})(?P<between>[-_.:]?)(?P<month>0[1-9]|1[0-2])(?P=between)(?P<day>0[1-9]|[12]\d|3[01])"
_HOUR, _60 = r"(?:[01]\d|2[0-3])", r"[0-5]\d"
_TIMES = (
    rf"{_HOUR}{_60}{_60}(?=\D|\d{{3}}(?!\d)|$)",  # phones append milliseconds
    rf"{_HOUR}[-:_.h]{_60}[-:_.m]{_60}(?!\d)",
    rf"\d[-:_.]{_60}(?:[-:_.]{_60})?(?=\s*[AP]M\b)",
    rf"(?<=[T\s]){_HOUR}[-:_.h]{_60}(?![\d:])",  # behind another sign it may be a running number
)
_TIME = rf"(?P<time>{'|'.join(_TIMES)})(?:[.,]?\d+)?(?:\s*(?P<half>[AP])M\b)?"  # \s: some phones write a narrow blank
_ZONE = r"(?P<zone>Z(?![A-Za-z])|[_ ]?[+-]\d\d:?\d\d(?!\d)|[_ ]?\+\d\d(?!\d))"
_MOMENT = re.compile(rf"{_DATE}(?:(?:\s+at\s+|[T\s_-]?){_TIME}{_ZONE}?|(?!\d))", re.IGNORECASE)
_LOCATION = re.compile(r"\[\s*([+-]?\d{1,2}\.\d+)(?:\s+|\s*,\s*|(?=[+-]))([+-]?\d{1,3}\.\d+)\s*\]")
_IN_UTC = "PXL_"  # phones of Google
_HEX = re.compile(r"(?:^|_)(?=\d*[A-F])([0-9A-F]{8})$")
_HEX_YEARS = range(2016, 2030)
_CHANNELS = re.compile(r"[_-]\d\+\d$")  # "_0+1" of a stereo Song Meter
_NUMBERED = re.compile(r"^BC\d{4}_(?:Train|Test)_\d+_", re.IGNORECASE)
_NO_SITE = re.compile(
    r"(vid|video|img|pxl|mvi|mov|dsc|dscf|dji|rec|recording|new recording|screen recording|screenrecorder|signal|ptt|aud|audio|voice|soundscape|whatsapp .*)?",
    re.IGNORECASE,
)


class Moment(NamedTuple):
    """When a recording began: ``day``, a date or None; ``time``, a datetime as written, without zone, or None where only the day is known;
    ``utc_offset_h``, hours that the time is ahead of UTC, None where unknown."""

    day: date | None = None
    time: datetime | None = None
    utc_offset_h: float | None = None


class Name(NamedTuple):
    """A file's name: its ``moment``; ``location``, (latitude, longitude) or None; ``site``, the text before the moment, ``""`` if there is none."""

    moment: Moment = Moment()
    location: tuple | None = None
    site: str = ""


def parse(path):
    """The ``Name`` of a file or folder; the folders above it do not matter."""
    stem = Path(path).stem
    found, start = _find(stem)
    if stem.startswith(_IN_UTC) and found.time:
        found = found._replace(utc_offset_h=0.0)
    if not found.day and (hexadecimal := _HEX.search(stem)):
        found, start = _unix_time(int(hexadecimal[1], 16)), hexadecimal.start()
    site = _NUMBERED.sub("", _CHANNELS.sub("", stem[:start].rstrip("_- ."))) if found.day else ""
    return Name(found, location_in(stem), "" if _NO_SITE.fullmatch(site) else site)


def moment(text):
    """The ``Moment`` in a text such as ``2025-04-14 06:10:00+02:00``, the first with a time of day; the first day if there is none."""
    return _find(text)[0]


def location_in(text):
    """(latitude, longitude) in a text such as ``[-27.3871 152.8761]``; None if there is none."""
    found = _LOCATION.search(text)
    return valid_location(found[1], found[2]) if found else None


def valid_location(latitude, longitude):
    """(latitude, longitude) as floats; None where they are no place on Earth, or 0, 0, which receivers write before they know their place."""
    try:
        latitude, longitude = float(latitude), float(longitude)
    except (TypeError, ValueError):
        return None
    is_valid = -90 <= latitude <= 90 and -180 <= longitude <= 180 and (latitude, longitude) != (0, 0)
    return (latitude, longitude) if is_valid else None


def _find(text):
    """(Moment, where it begins in the text)."""
    moments = [(found, match.start()) for match in _MOMENT.finditer(text) if (found := _moment_of(match)).day]
    return next((row for row in moments if row[0].time), moments[0] if moments else (Moment(), 0))


def _moment_of(match):
    try:
        day = date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError:  # the 31st of June
        return Moment()
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR or day in _UNSET_DAYS:
        return Moment()
    if not match["time"]:
        return Moment(day)
    parts = re.findall(r"\d+", match["time"])
    hour, minute, second, *_ = [*map(int, parts if len(parts) > 1 else re.findall("..", parts[0])), 0]
    half = (match["half"] or "").upper()
    hour = hour % 12 + 12 * (half == "P") if half else hour
    return Moment(day, datetime(day.year, day.month, day.day, hour, minute, second), _offset_h(match["zone"]))


def _offset_h(zone):
    if not zone:
        return None
    sign, digits = zone.strip("_ ")[0], re.sub(r"\D", "", zone)
    hours, minutes = int(digits[:2] or 0), int(digits[2:] or 0)
    if hours > _MAX_OFFSET_H or minutes % 15:
        return None  # a running number
    return (-1 if sign == "-" else 1) * (hours + minutes / 60)


def _unix_time(seconds):
    time = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).replace(tzinfo=None)
    return Moment(time.date(), time, 0.0) if time.year in _HEX_YEARS else Moment()
