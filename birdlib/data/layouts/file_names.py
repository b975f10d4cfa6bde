"""What file names tell: the recorder and the day, the number in a catalogue, the part of a film."""

import datetime
import posixpath
import re

from birdlib import recording_names

_SHORT_DATED = re.compile(  # 250414_0610, as pocket recorders write it
    r"(?<!\d)(?P<year>[0-4]\d)(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])[-_](?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?(?!\d)"
)
_CATALOGUE = re.compile(r"(?<![A-Za-z])(XC|ML|iNat|CSA)[ _-]?(\d{3,})(?!\d)", re.IGNORECASE)
_CATALOGUE_SPELLING = {"xc": "XC", "ml": "ML", "inat": "iNat", "csa": "CSA"}
_DEVICE_WORDS = re.compile(
    r"(?:img|vid|pxl|mvimg|mvi|mov|dsc|dscn|dscf|pano|burst|aud|ptt|rec|trim|whatsapp|image|audio|video|photo|recording|voice|memo|screenshot|signal|film|clip|"
    r"at|e|wa\d+|tmp)",
    re.IGNORECASE,
)
_PART = re.compile(
    r"(?P<whole>.*?)[ _.-]*\(?(?:part|pt|teil|partie|parte|deel|section|segment|chapter)[ _.-]?(?:\d{1,3}|[a-z])\)?", re.IGNORECASE
)
_LETTER_PART = re.compile(r"(?P<whole>.*?)(?:(?<=\d)|[ _.-]+)\(?[A-Fa-f]\)?")
_GOPRO = re.compile(r"(?:GOPR|G[HXPL]\d\d)(?P<number>\d{4})", re.IGNORECASE)


def stem(path):
    """The file's name without its suffix."""
    return posixpath.splitext(posixpath.basename(path))[0]


def recorder_and_day(name):
    """The recorder or site, and the day, that a name such as ``SITE_20250414_061000`` tells.

    Returns:
        (recorder, ``2025-04-14``), both empty without a day. A phone's ``IMG_20250414_121500`` and an AudioMoth's ``20250414_061000`` name no recorder.
    """
    parsed = recording_names.parse(f"{name}.wav")
    if parsed.moment.day:
        return _recorder(parsed.site), parsed.moment.day.isoformat()
    for found in _SHORT_DATED.finditer(name):
        try:
            day = datetime.date(2000 + int(found["year"]), int(found["month"]), int(found["day"]))
        except ValueError:  # the 31st of June
            continue
        return _recorder(name[: found.start()]), day.isoformat()
    return "", ""


def catalogue_number(name):
    """``XC123456`` (Xeno-Canto), ``ML123456`` (Macaulay Library), ``iNat123456`` or ``CSA12345`` in a name, else empty."""
    found = _CATALOGUE.search(name)
    return _CATALOGUE_SPELLING[found[1].lower()] + found[2] if found else ""


def whole_of_part(name, with_letters):
    """The name of the whole, of which ``name`` is a part: ``feeder`` of ``feeder part 2`` and, with letters, of ``feeder_B``; else empty."""
    gopro = _GOPRO.fullmatch(name)
    if gopro:
        return f"GoPro {gopro['number']}"
    for pattern in (_PART, _LETTER_PART) if with_letters else (_PART,):
        found = pattern.fullmatch(name)
        if found and found["whole"].strip(" _.-("):
            return found["whole"].strip(" _.-(")
    return ""


def _recorder(text):
    """The text before a date, without catalogue numbers and the words that phones and cameras write."""
    words = [word for word in re.split(r"[ _]+|-(?=[A-Za-z]*$)", _CATALOGUE.sub("", text)) if word.strip("-.()[]")]
    while words and _DEVICE_WORDS.fullmatch(words[0].strip("-.()[]")):
        words = words[1:]
    return "_".join(word.strip("-.()[]") for word in words)
