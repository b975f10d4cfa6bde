"""CVAT's "CVAT for video 1.1" (CVAT documentation, "XML annotation format").

A file for each film, ``NAME.xml``, to be uploaded as annotations of a task that is made of the film. Frames are those of the
film, from 0. Between the boxes of a track CVAT interpolates; where the bird was not detected, the track is ``outside``. Tracks of one
individual have the same ``identity`` and are one group.
"""

import datetime
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from birdlib.data.formats import finding, media, reading, tables

LABEL = "bird"
_GAP_STEPS = 1.5  # a longer pause between two boxes of a track, in steps of the sampling, is one without the bird
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*>")
_ATTRIBUTES = (("identity", "False", "text", ""), ("score", "True", "text", ""))  # name, mutable, input type, default


def matches(text):
    """Whether a text is CVAT's XML with tracks."""
    is_cvat = re.match(r"\s*(<\?xml[^>]*>\s*)?<annotations[\s>]", text)
    return bool(is_cvat) and ("<track" in text or bool(re.search(r"<mode>\s*interpolation", text)))


def write(given):
    """Tracks, a file a film: yields (name of the file, text)."""
    groups = tables.by_film(given)
    names = tables.file_names([path for path, _ in groups])
    films = media.films(groups, given.get("films"))
    for path, rows in groups:
        yield names[path] + ".xml", _text(path, rows, films[path])


def _text(path, rows, film):
    rows = rows.dropna(subset=["time_s", "x", "y", "width", "height"])
    labels = rows["species"] if "species" in rows else pd.Series("", index=rows.index)
    rows = rows.assign(frame=np.round(rows["time_s"] * film.frame_rate_hz).astype(int), label=labels.where(labels != "", LABEL))
    root = ElementTree.Element("annotations")
    _add(root, "version", "1.1")
    _add_meta(_add(root, "meta"), path, film, sorted({*rows["label"]} or {LABEL}))
    times = np.unique(rows["frame"])
    step = max(1, int(np.median(np.diff(times)))) if len(times) > 1 else 1
    for number, (_, boxes) in enumerate(rows.groupby("track", sort=True)):
        _add_track(root, number, boxes.sort_values("frame").drop_duplicates("frame", keep="last"), step, film.n_frames)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent, tag, text="", **attributes):
    element = ElementTree.SubElement(parent, tag, {name: _xml_text(value) for name, value in attributes.items()})
    element.text = _xml_text(text)
    return element


def _xml_text(value):
    return _NOT_IN_XML.sub("", str(value))


def _add_meta(meta, path, film, labels):
    name = re.split(r"[\\/]", path)[-1]
    now = datetime.datetime.now(datetime.UTC).isoformat(sep=" ")
    task = _add(meta, "task")
    fields = {"name": name, "size": film.n_frames, "mode": "interpolation", "overlap": 0, "bugtracker": "", "created": now, "updated": now}
    for tag, value in {**fields, "start_frame": 0, "stop_frame": film.n_frames - 1, "frame_filter": ""}.items():
        _add(task, tag, value)
    listed = _add(task, "labels")
    for label in labels:
        item = _add(listed, "label")
        _add(item, "name", label)
        _add(item, "type", "rectangle")
        attributes = _add(item, "attributes")
        for values in _ATTRIBUTES:
            attribute = _add(attributes, "attribute")
            for tag, value in zip(("name", "mutable", "input_type", "default_value"), values, strict=True):
                _add(attribute, tag, value)
            _add(attribute, "values")
    segment = _add(_add(task, "segments"), "segment")
    for tag, value in (("id", 0), ("start", 0), ("stop", film.n_frames - 1), ("url", "")):
        _add(segment, tag, value)
    size = _add(task, "original_size")
    _add(size, "width", film.width)
    _add(size, "height", film.height)
    _add(task, "source", name)
    _add(meta, "dumped", now)


def _add_track(root, number, boxes, step, n_frames):
    identity = int(boxes["identity"].iloc[0])
    group = {"group_id": identity + 1} if identity >= 0 else {}
    track = _add(root, "track", id=number, label=boxes["label"].iloc[0], source="auto", **group)
    following = [*boxes["frame"].iloc[1:], n_frames + 2 * step]
    for box, next_frame in zip(boxes.itertuples(), following, strict=True):
        _add_box(track, box.frame, box, identity, outside=0)
        if next_frame - box.frame > _GAP_STEPS * step and box.frame + step < n_frames:
            _add_box(track, box.frame + step, box, identity, outside=1)


def _add_box(track, frame, box, identity, outside):
    edges = {"xtl": box.x, "ytl": box.y, "xbr": box.x + box.width, "ybr": box.y + box.height}
    element = _add(track, "box", frame=frame, keyframe=1, outside=outside, occluded=0, **{name: f"{value:.2f}" for name, value in edges.items()}, z_order=0)
    _add(element, "attribute", identity if identity >= 0 else "", name="identity")
    _add(element, "attribute", tables.decimal(box.score, 3), name="score")


def read(path, text, find):
    """Tracks of a film; see ``formats.read``. Boxes that are outside and shapes other than boxes are left out.

    The frame rate is that of the film, which is found by the name of the task or its source.
    """
    try:
        root = ElementTree.fromstring(_DECLARATION.sub("", text))  # which may name another encoding
    except ElementTree.ParseError as error:
        raise reading.FormatError(path, f"is not complete XML ({error}): export it again") from error
    names = [element.text.strip() for tag in ("source", "name") for element in root.findall(f"meta/*/{tag}") if element.text and element.text.strip()]
    film = next((found for found in map(find.film, [*names, find.stem]) if finding.is_file(found)), names[0] if names else find.stem)
    rows = []
    for number, track in enumerate(root.findall("track"), start=1):
        for box in track.findall("box"):
            if box.get("outside") != "1":
                rows.append([number, track.get("label", ""), *_box(path, box)])
    columns = ["track", "species", "frame", "x", "y", "width", "height", "identity", "score"]
    table = pd.DataFrame(rows, columns=columns)
    rate_hz = finding.frame_rate_hz(path, film) if len(table) else 1.0
    table["time_s"] = table.pop("frame") / rate_hz
    return table.assign(path=film, recording_id=find.stem, species=table["species"].where(table["species"] != LABEL, ""))


def _box(path, box):
    try:
        frame, left, top, right, bottom = (float(box.get(name)) for name in ("frame", "xtl", "ytl", "xbr", "ybr"))
    except (TypeError, ValueError) as error:
        raise reading.FormatError(path, f"has a box without frame, xtl, ytl, xbr or ybr ({dict(box.attrib)}): export it again") from error
    given = {attribute.get("name"): attribute.text or "" for attribute in box.findall("attribute")}
    identity = reading.number(given.get("identity", ""))
    return frame, left, top, right - left, bottom - top, identity if np.isfinite(identity) else -1, reading.number(given.get("score", ""))
