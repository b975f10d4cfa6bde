"""When and where a recording was made, by what its recorder wrote into it and into its name.

Times are clock times as written, without a time zone: a recorder that runs on local time gives local time, one that runs on UTC gives
UTC. Where the difference to UTC is written beside, ``utc_offset_h`` holds it. Nothing is converted, for most recorders do not say.

Sources, the first that has it, for time, location and site separately: GUANO metadata; the metadata of Wildlife Acoustics (``wamd``);
AudioMoth's comment; the date and time of a Broadcast Wave (``bext``); tags of the container with a time of day; the file's name; the tag
``creation_time`` of films, in UTC, which programs replace when they convert a film; names of the folders. A time of day beats a day alone.
"""

import re
import struct
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from birdlib import recording_names, runtime
from birdlib.audio import decoding, media_files, riff
from birdlib.recording_names import Moment

_COMMENT = re.compile(
    r"Recorded at (?P<time>\d\d:\d\d:\d\d)(?:\.\d+)? (?P<day>\d\d)/(?P<month>\d\d)/(?P<year>\d{4})(?: \(UTC(?P<zone>[+-]\d{1,2}(?::\d\d)?)?\))?"
)
_GUANO_SITES = ("Site", "Site Name", "Loc Name", "Location", "NABat|Site Name", "NABat|Location Name", "WA|Song Meter|Prefix")
_WAMD_PREFIX, _WAMD_TIME, _WAMD_GPS = 4, 5, 6
_BEXT_DATE = slice(320, 338)  # "2025-04-14" and "06:10:00", EBU Tech 3285
_TIME_TAGS = ("com.apple.quicktime.creationdate", "recordingstart", "date_recorded", "recording_date", "date", "tdrc", "icrd", "year")
_PLACE_TAGS = ("com.apple.quicktime.location.iso6709", "location", "location-eng", "geo_location", "sensorlocation")
_ISO_6709 = re.compile(r"^\s*([+-])(\d{2,6}(?:\.\d+)?)([+-])(\d{3,7}(?:\.\d+)?)(?=[+-/]|\s|$)")
_PAIR = re.compile(r"^\s*([+-]?\d{1,2}\.\d+)\s*[,; ]?\s*([+-]?\d{1,3}\.\d+)")
_NO_SITE = re.compile(r"(data|audio|sounds?|recordings?|wavs?|videos?|films?|photos?|dcim|\d*|\d{3}[A-Z_]{5})", re.IGNORECASE)  # and of memory cards
_N_FOLDERS = 3


class Recorded(NamedTuple):
    """When and where a recording was made.

    Attributes:
        recorded_at: pd.Timestamp without zone, the clock time of its beginning as written; NaT where unknown, or where only the day is known.
        latitude, longitude: in degrees, south and west negative; NaN where unknown.
        site: ``""`` where unknown.
        source: what was read where, as ``"time: GUANO; location: GUANO; site: file name"``; ``""`` where all is unknown.
        day: datetime.date, also where the time of day is unknown; None where unknown.
        utc_offset_h: how many hours ``recorded_at`` is ahead of UTC; NaN where unknown.
    """

    recorded_at: pd.Timestamp = pd.NaT
    latitude: float = float("nan")
    longitude: float = float("nan")
    site: str = ""
    source: str = ""
    day: object = None
    utc_offset_h: float = float("nan")


class _Clue(NamedTuple):
    source: str
    moment: Moment = Moment()
    location: tuple | None = None
    site: str = ""


def read(path):
    """The ``Recorded`` of a sound or film; what is unknown, also because the file is damaged or missing, stays NaT, NaN or ``""``.

    Args:
        path: of the file. Its samples are not read, so that it may be of any length.
    """
    path = Path(path)
    clues = _clues(path)
    timed = next((clue for clue in clues if clue.moment.time), None)
    dated = timed or next((clue for clue in clues if clue.moment.day), None)
    placed = next((clue for clue in clues if clue.location), None)
    sited = next((clue for clue in clues if clue.site), None)
    named = {"time" if timed else "day": dated, "location": placed, "site": sited}
    moment = dated.moment if dated else Moment()
    latitude, longitude = placed.location if placed else (float("nan"), float("nan"))
    return Recorded(
        recorded_at=pd.Timestamp(moment.time) if moment.time else pd.NaT,
        latitude=latitude,
        longitude=longitude,
        site=runtime.printable(sited.site) if sited else "",
        source="; ".join(f"{field}: {clue.source}" for field, clue in named.items() if clue),
        day=moment.day,
        utc_offset_h=float("nan") if moment.utc_offset_h is None else moment.utc_offset_h,
    )


def _clues(path):
    """List of ``_Clue``, the most trusted first."""
    wav = _of_wav(path)
    of_tags, of_creation = ([], []) if wav is not None else _of_tags(path)
    folders = [folder for folder in path.absolute().parents[:_N_FOLDERS] if folder.name]
    days = [_Clue("folder name", Moment(recording_names.moment(folder.name).day)) for folder in folders]
    sites = [_Clue("folder name", site=site) for folder in folders if (site := _site_of_folder(folder))]
    return [*(wav or []), *of_tags, _Clue("file name", *recording_names.parse(path)), *of_creation, *days, *sites[:1]]


def _site_of_folder(folder):
    """A folder's name, where it is no date and no folder of a memory card."""
    found = recording_names.parse(folder)
    return found.site if found.moment.day else "" if _NO_SITE.fullmatch(folder.name) else folder.name


# WAV


def _of_wav(path):
    """Clues of the chunks of a WAV file; None if it is none."""
    try:
        with media_files.open_file(path) as file:
            found = riff.chunks(file)
            contents = {chunk.name: riff.read(file, chunk) for chunk in found if chunk.name in (b"guan", b"wamd", b"bext")}
            info = {}
            for chunk in found:
                info |= riff.info(riff.read(file, chunk)) if chunk.name == b"LIST" else {}
    except (runtime.FileError, OSError):
        return None
    if not found:
        return None
    return [
        _of_guano(riff.text(contents.get(b"guan", b""))),
        _of_wamd(contents.get(b"wamd", b"")),
        _Clue("AudioMoth comment", _of_comment(info.get("ICMT", ""))),
        _Clue("Broadcast Wave", recording_names.moment(_bext_time(contents.get(b"bext", b"")))),
        _Clue("tags", recording_names.moment(info.get("ICRD", ""))),
    ]


def _of_guano(text):
    """What GUANO metadata says (guano-md.org). The package parses the text; to open the file, it wants a RIFF of PCM samples."""
    from guano import GuanoFile

    lines = [line for line in text.splitlines() if ":" in line]  # GuanoFile raises at other lines
    found = GuanoFile.from_string("\n".join(lines))
    time, place = found.get("Timestamp"), found.get("Loc Position")
    site = next((str(value) for key in _GUANO_SITES if (value := found.get(key))), "")
    location = recording_names.valid_location(*place) if isinstance(place, tuple) and len(place) == 2 else None
    return _Clue("GUANO", recording_names.moment(str(time or "")), location, site)


def _of_wamd(content):
    """What the metadata of Wildlife Acoustics' recorders say: fields of number, length and text."""
    fields, at = {}, 0
    while at + 6 <= len(content):
        number, n_bytes = struct.unpack_from("<HI", content, at)
        fields.setdefault(number, riff.text(content[at + 6 : at + 6 + n_bytes]))
        at += 6 + n_bytes
    return _Clue(
        "Wildlife Acoustics", recording_names.moment(fields.get(_WAMD_TIME, "")), _wamd_location(fields.get(_WAMD_GPS, "")), fields.get(_WAMD_PREFIX, "")
    )


def _wamd_location(text):
    """(latitude, longitude) of ``WGS84, 42.3, N, 71.2, W, 12`` or ``WGS84, 42.3, -71.2``; None if there is none."""
    parts = [part.strip() for part in text.split(",")][1:]
    if len(parts) >= 4 and parts[1] in ("N", "S") and parts[3] in ("E", "W"):
        parts = [("-" if parts[1] == "S" else "") + parts[0], ("-" if parts[3] == "W" else "") + parts[2]]
    return recording_names.valid_location(*parts[:2]) if len(parts) >= 2 else None


def _of_comment(text):
    """The ``Moment`` of ``Recorded at 19:17:30 14/11/2018 (UTC+2) by AudioMoth ...``; the first firmware wrote no zone, and meant UTC."""
    if not (found := _COMMENT.search(text)):
        return Moment()
    moment = recording_names.moment("{year}-{month}-{day} {time}".format(**found.groupdict()))
    hours, _, minutes = (found["zone"] or "+0").partition(":")
    offset_h = int(hours) + (int(minutes or 0) / 60) * (-1 if hours.startswith("-") else 1)
    return moment._replace(utc_offset_h=offset_h) if moment.time else moment


def _bext_time(content):
    text = content[_BEXT_DATE].decode("latin-1")
    return f"{text[:10]} {text[10:]}"


# Other containers


def _of_tags(path):
    """(clues of tags that recorders write, those of a time in UTC that other programs may have written) of what FFmpeg opens."""
    tags = _tags(path)
    moments = [recording_names.moment(tags[name]) for name in _TIME_TAGS if name in tags]
    places = [place for name in _PLACE_TAGS if (place := _place_in(tags.get(name, "")))]
    creation = recording_names.moment(tags.get("creation_time", ""))
    clues = [_Clue("tags", moment) for moment in moments] + [_Clue("tags", location=place) for place in places]
    return clues, [_Clue("creation time", creation)]


def _tags(path):
    """{name in lower case: text} of a container and its streams."""
    try:
        with media_files.open_file(path) as file, decoding.open_container(file) as container:
            both = [*(stream.metadata for stream in container.streams), container.metadata]
            return {name.lower(): text for tags in both for name, text in tags.items()}
    except Exception:  # of one of FFmpeg's many readers: the reader of the sound will say what is wrong
        return {}


def _place_in(text):
    """(latitude, longitude) of ``+42.3601-071.0589/`` (ISO 6709, in degrees, or with minutes and seconds) or ``42.36, -71.06``."""
    if found := _ISO_6709.match(text):
        north, east = _degrees(found[1], found[2], 2), _degrees(found[3], found[4], 3)
        return recording_names.valid_location(north, east)
    found = _PAIR.match(text)
    return recording_names.valid_location(found[1], found[2]) if found else None


def _degrees(sign, digits, n_degrees):
    """Degrees of ``DD.D``, ``DDMM.M`` or ``DDMMSS.S``; longitudes have three digits of degrees."""
    whole, _, fraction = digits.partition(".")
    parts = [whole[:n_degrees], whole[n_degrees : n_degrees + 2], whole[n_degrees + 2 :]]
    values = [part for part in parts if part]
    values[-1] += f".{fraction or 0}"
    value = sum(float(part) / 60**n for n, part in enumerate(values))
    return -value if sign == "-" else value
