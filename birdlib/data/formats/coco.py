"""COCO's boxes (Lin et al., "Microsoft COCO: Common Objects in Context", 2014; cocodataset.org, "Data format").

One JSON file for all photos and films. The image of a film is named ``FILM/frame_000123.jpg``, counted from 0, as
``ffmpeg -i FILM.mp4 -start_number 0 FILM/frame_%06d.jpg`` writes them; ``videos`` lists the films with their rates.
"""

import json
import os
import re

import numpy as np
import pandas as pd

from birdlib.data.formats import finding, media, reading, tables

NAME = "coco.json"
CATEGORY = "bird"  # of a box without species
_FRAME = re.compile(r"(?:(.*)/)?frame_(\d+)\.\w+")


def matches(text):
    """Whether a text is JSON with images and annotations."""
    return text.lstrip().startswith("{") and '"annotations"' in text and '"images"' in text and '"categories"' in text


def from_tracks(tracks):
    """The boxes of tracks, which keep ``track`` and ``identity``."""
    return tracks.assign(species=tracks["species"] if "species" in tracks else "")


def write(given):
    """Boxes of photos and of images of films: yields (name of the file, text)."""
    boxes = given["boxes"].dropna(subset=["x", "y", "width", "height"])
    of_films = [(path, rows) for path, rows in boxes[boxes["time_s"].notna()].groupby("path", sort=True)]
    films = media.films(of_films, given.get("films"))
    names = tables.file_names([*films])
    videos = {path: {"id": number, "name": names[path], "file_name": path, "fps": film.frame_rate_hz, "width": film.width, "height": film.height}
              for number, (path, film) in enumerate(films.items(), start=1)}  # fmt: skip
    categories = {name: number for number, name in enumerate(sorted({species or CATEGORY for species in boxes["species"]} or {CATEGORY}), start=1)}
    photos = _photo_names(boxes.loc[boxes["time_s"].isna(), "path"])
    images, annotations = {}, []
    for number, box in enumerate(boxes.itertuples(), start=1):
        frame = round(box.time_s * films[box.path].frame_rate_hz) if box.path in videos else None
        image = images.setdefault((box.path, frame), {"id": len(images) + 1})
        if frame is None:
            image |= {"file_name": photos[box.path], "width": box.image_width, "height": box.image_height}
        else:
            video = videos[box.path]
            image |= {"file_name": f"{names[box.path]}/frame_{frame:06d}.jpg", "width": video["width"], "height": video["height"],
                      "video_id": video["id"], "frame_id": frame}  # fmt: skip
        bbox = [round(float(value), 3) for value in (box.x, box.y, box.width, box.height)]
        annotation = {"id": number, "image_id": image["id"], "category_id": categories[box.species or CATEGORY], "bbox": bbox,
                      "area": round(bbox[2] * bbox[3], 3), "iscrowd": 0, "segmentation": []}  # fmt: skip
        extra = {"score": round(float(box.score), 4) if np.isfinite(box.score) else None, "track_id": getattr(box, "track", None), "identity": getattr(box, "identity", None)}
        annotations.append(annotation | {name: value for name, value in extra.items() if value is not None})
    content = {
        "info": {"description": "boxes of birds", "version": "1.0"}, "licenses": [], "videos": list(videos.values()), "images": list(images.values()),
        "annotations": annotations, "categories": [{"id": number, "name": name, "supercategory": "animal"} for name, number in categories.items()],
    }  # fmt: skip
    yield NAME, json.dumps(content, ensure_ascii=False) + "\n"


def _photo_names(paths):
    """{path: path below the folder that all photos share}."""
    full = {path: tables.absolute(path) for path in paths}
    try:
        shared = os.path.commonpath([os.path.dirname(path) for path in full.values()]) if full else ""
    except ValueError:  # on two drives
        return full
    return {path: os.path.relpath(file, shared).replace(os.sep, "/") for path, file in full.items()}


def read(path, text, find):
    """Boxes of images; see ``formats.read``. Images without boxes have no rows, and annotations without a box are left out.

    The time of an image of a film follows from the film's rate in ``videos``, or from the film itself.
    """
    try:
        content = json.loads(text)
        images = {image["id"]: image for image in content["images"]}
        categories = {category["id"]: str(category["name"]) for category in content["categories"]}
        videos = {video["id"]: video for video in content.get("videos", [])}
        boxes = [(images[box["image_id"]], categories[box["category_id"]], box) for box in content["annotations"] if len(box.get("bbox") or ()) == 4]
        rows = [_row(path, find, image, videos.get(image.get("video_id")), category, box) for image, category, box in boxes]
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise reading.FormatError(path, f"is not complete ({type(error).__name__}: {error}): export it again") from error
    return pd.DataFrame(rows, columns=[*tables.BOXES, "track", "identity"]).dropna(axis=1, how="all")


def _row(path, find, image, video, category, box):
    row = {
        "species": "" if category == CATEGORY else category, "score": box.get("score"), "track": box.get("track_id"), "identity": box.get("identity"),
        **dict(zip(("x", "y", "width", "height"), map(float, box["bbox"]), strict=True)), "image_width": image.get("width"), "image_height": image.get("height"),
    }  # fmt: skip
    frame = _FRAME.fullmatch(image["file_name"])
    if video is None and not (frame and frame[1]):
        return row | {"path": find.recordings([image["file_name"]])[0], "time_s": np.nan}
    film = find.film(video["file_name"] if video else frame[1])
    rate_hz = float(video["fps"]) if video and video.get("fps") else finding.frame_rate_hz(path, film)
    number = image["frame_id"] if "frame_id" in image else int(frame[2])
    return row | {"path": film, "time_s": number / rate_hz}
