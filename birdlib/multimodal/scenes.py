"""Scenes: four seconds of film, photo or sound. The inputs of the networks are computed once and stored by content.

The picture side of a scene is ``scene_video.N_FRAMES`` frames of a film, or one photo, repeated; the sound side is four
seconds of a film's sound or of a recording. Both sides of one moment of a film have the same ``moment``. Times are in
seconds of the file.
"""

import dataclasses
import json
import math

import numpy as np
import pandas as pd

from birdlib import runtime, stages
from birdlib.models import resnet50
from birdlib.multimodal import scene_audio, scene_video
from birdlib.video import images, kinds
from birdlib.video import io as video_io

SCENE_S = scene_audio.SCENE_S
HOP_S = 2.0  # between scenes of a film; those of a recording are consecutive
STORE_KEY = runtime.digest({"scenes": 3})  # of the EmbeddingStore; a new recipe has files of its own
COLUMNS = (
    "scene_id", "recording_id", "kind", "category", "group_id", "split", "is_repeated",
    "start_s", "end_s", "moment", "path", "key", "number",
)  # fmt: skip

load_backbone = scene_video.load_backbone


def windows(start_s, until_s, hop_s):
    """Start times of scenes: every ``hop_s``, and one flush with the end, if more than ``scene_video.FRAME_S`` would be left over.

    Returns:
        (scenes,) float64, seconds; at least one.
    """
    n = 1 + max(0, math.floor((until_s - start_s - SCENE_S) / hop_s + 1e-6))
    starts_s = start_s + hop_s * np.arange(n)
    has_rest = until_s - starts_s[-1] - SCENE_S > scene_video.FRAME_S
    return np.append(starts_s, until_s - SCENE_S) if has_rest else starts_s


class Arrays:
    """The inputs of the networks, by the row of a table of scenes; read from the store at each call.

    ``spectrogram_kind`` is that with which ``sound_scenes`` made the table."""

    def __init__(self, store, table, spectrogram_kind="bands"):
        self.store = store
        self.spectrogram_shape = scene_audio.kind_of(spectrogram_kind).shape
        self.entries = list(zip(table["key"], table["number"], strict=True))

    def pixels(self, row):
        """(8, 64, 64, 3) uint8 RGB, of a picture scene."""
        frames = self._frames(row)[:, resnet50.FEATURES :]
        return frames.astype(np.uint8).reshape(scene_video.N_FRAMES, scene_video.PIXELS, scene_video.PIXELS, 3)

    def features(self, row):
        """(8, 2048) float32 of ResNet50, of a picture scene."""
        return np.array(self._frames(row)[:, : resnet50.FEATURES])

    def spectrogram(self, row):
        """(steps, bands) float32, of a sound scene."""
        key, number = self.entries[row]
        return np.array(self.store.get(key)[0][number, 2:]).reshape(self.spectrogram_shape)

    def _frames(self, row):
        key, number = self.entries[row]
        return self.store.get(f"{key} frames")[0][self.store.get(key)[0][number, 2:].astype(int)]


def picture_scenes(table, root, backbone, store, stage="05_match"):
    """The picture scenes of films and photos.

    A film has a scene every ``HOP_S``, the last flush with its end; a shorter film repeats its last picture.

    Args:
        table: rows of the split table; those without ``video_path`` and ``image_path`` are ignored.
        root: folder of the paths.
        backbone: from ``load_backbone``; None where there are no pictures.
        store: ``EmbeddingStore(folder, STORE_KEY)``.
        stage: its name, for the table of skipped files.

    Returns:
        (scenes, skipped): DataFrame of ``COLUMNS``, rows from 0, and the skipped table, which also lists the flaws of films
        that are used. ``kind`` is "film" or "photo"; ``category`` is the species, or "film:" and the recording_id;
        ``moment`` is "" for photos and recordings, which have one side only; a ``scene_id`` is unique among the scenes of a split.
    """
    skipped, waiting = [], {}

    def film(path, digest, start_s, end_s):
        times_s, notes = _film_windows(store, path, digest, start_s, end_s)
        key = runtime.digest([digest, "film", start_s, end_s, backbone.key])
        return key, notes + _once(store, key, lambda: _film_pictures(path, times_s, backbone))

    def photo(path, digest, *_):
        key = runtime.digest([digest, "photo", backbone.key])
        if key not in store and key not in waiting:
            waiting[key] = (scene_video.as_frame(images.read_image(path)),) * 2
        if len(waiting) == scene_video.BATCH:
            _keep_photos(store, waiting, backbone)
        return key, []

    films, photos = (_parts(table, column) for column in ("video_path", "image_path"))
    film_keys = _gather(films, root, skipped, "films", film)
    photo_keys = _gather(photos, root, skipped, "photos", photo)
    _keep_photos(store, waiting, backbone)
    rows = _rows(store, films, film_keys, "film") + _rows(store, photos, photo_keys, "photo")
    return pd.DataFrame(rows, columns=COLUMNS), stages.skipped_table(skipped, stage)


def sound_scenes(table, root, store, stage="05_match", spectrogram="bands"):
    """The sound scenes of films and recordings; silent ones are left out.

    Scenes of a film begin where those of ``picture_scenes`` do; those of a recording are consecutive, and at most
    ``scene_audio.MAX_SCENES`` are taken, those with the greatest energy above ``scene_audio.MIN_HZ``. Short ones are padded.

    Args:
        table, root, store, stage: as in ``picture_scenes``; rows without ``video_path`` and ``audio_path`` are ignored.
        spectrogram: a name of ``scene_audio.KINDS``; it does not change which scenes are taken.

    Returns:
        (scenes, skipped) as ``picture_scenes`` gives; ``kind`` is "film" or "recording".
    """
    skipped = []
    of_kind = [] if spectrogram == "bands" else [dataclasses.astuple(scene_audio.kind_of(spectrogram))]

    def film(path, digest, start_s, end_s):
        times_s, _ = _film_windows(store, path, digest, start_s, end_s)
        key = runtime.digest([digest, "film sound", start_s, end_s, *of_kind])
        return key, _once(store, key, lambda: _film_sound(path, times_s, spectrogram))

    def recording(path, digest, start_s, end_s):
        key = runtime.digest([digest, "recording", start_s, end_s, *of_kind])
        return key, _once(store, key, lambda: _recording_sound(path, start_s, end_s, spectrogram))

    films, recordings = (_parts(table, column) for column in ("video_path", "audio_path"))
    film_keys = _gather(films, root, skipped, "sound of films", film)
    recording_keys = _gather(recordings, root, skipped, "recordings", recording)
    rows = _rows(store, films, film_keys, "film") + _rows(store, recordings, recording_keys, "recording")
    return pd.DataFrame(rows, columns=COLUMNS), stages.skipped_table(skipped, stage)


# Tables


def _parts(table, column):
    """The rows that have such a file; ``part`` is the part of it to use: (path, start_s, end_s)."""
    rows = table[table[column] != ""]
    if column == "image_path":
        return rows.assign(part=[(path, 0.0, math.inf) for path in rows[column]])
    times_s = rows["start_s"].fillna(0.0), rows["end_s"].fillna(math.inf)
    return rows.assign(part=list(zip(rows[column], *times_s, strict=True)))


def _gather(rows, root, skipped, desc, compute):
    """{part: key}; files that cannot be used have none and are added to ``skipped``."""
    keys = {}
    for part in runtime.progress(sorted(set(rows["part"])), desc=desc):
        path, start_s, end_s = part
        try:
            keys[part], notes = compute(root / path, kinds.digest_file(root / path), start_s, end_s)
            skipped += [(path, note) for note in notes]
        except runtime.FileError as error:
            skipped.append((path, error.reason))
    return keys


def _rows(store, rows, keys, kind):
    """The scenes of ``COLUMNS``, as tuples."""
    scenes = []
    for row in rows[rows["part"].isin(list(keys))].itertuples():
        category = row.species or f"film:{row.recording_id}"
        for number, (start_s, end_s) in enumerate(_times_s(store, keys[row.part])):
            moment = f"{row.recording_id}@{start_s:.1f}"
            own = f"{row.recording_id}/{kind}@{start_s:.1f}", row.recording_id, kind, category, row.group_id
            at = start_s, end_s, moment if kind == "film" else "", row.part[0], keys[row.part], number
            scenes.append((*own, row.split, row.is_repeated, *at))
    return scenes


# In the store: of each part of a file its scenes, [start_s, end_s, ...], and its notes as rows of character codes. Picture
# scenes of a film hold the row numbers of their "frames", as a frame belongs to several.


def _times_s(store, key):
    """(scenes, 2) float64: start and end; none where all is silent."""
    found = store.get(key)
    return np.zeros((0, 2)) if found is None else np.round(found[0][:, :2].astype(float), 3)


def _once(store, key, compute):
    """Notes; ``compute``, which gives ({suffix of the key: rows}, notes), is called where the store lacks them."""
    if f"{key} notes" not in store:
        entries, notes = compute()
        letters = [[ord(letter)] for letter in json.dumps(notes)]
        for suffix, rows in [*entries.items(), (" notes", np.array(letters))]:  # the notes last: then all is there
            if len(rows):
                store.put(key + suffix, rows, np.ones(len(rows)))
    letters = store.get(f"{key} notes")[0][:, 0].astype(int)
    return json.loads("".join(map(chr, letters)))


def _film_windows(store, path, digest, start_s, end_s):
    """((scenes, 2) float64 of start and end, notes) of the part of a film that can be decoded."""

    def compute():
        with runtime.collect_warnings(path) as notes:
            header_s = video_io.probe(path).duration_s
            last_s = [time_s for time_s, _ in video_io.frames(path, 1 / scene_video.FRAME_S, start_s, end_s)][-1]
        until_s = min(end_s, last_s + scene_video.FRAME_S, header_s if header_s > last_s else math.inf)
        starts_s = np.round(windows(start_s, until_s, HOP_S), 3)
        return {"": np.stack([starts_s, np.minimum(starts_s + SCENE_S, end_s)], axis=1)}, notes

    key = runtime.digest([digest, "windows", start_s, end_s])
    notes = _once(store, key, compute)
    return _times_s(store, key), notes


def _film_pictures(path, times_s, backbone):
    with runtime.collect_warnings(path):  # noted with the windows already
        frames, numbers = scene_video.extract_film(path, times_s, backbone)
    return {" frames": frames, "": np.hstack([times_s, numbers])}, ["shows one picture only"] if len(frames) == 1 else []


def _keep_photos(store, waiting, backbone):
    if waiting:
        frames = scene_video.extract_pictures(list(waiting.values()), backbone)
        for key, frame in zip(waiting, frames, strict=True):
            store.put(f"{key} frames", frame[None], np.ones(1))
            store.put(key, np.zeros((1, 2 + scene_video.N_FRAMES)), np.ones(1))
    waiting.clear()


def _film_sound(path, times_s, kind):
    with runtime.collect_warnings(path) as notes:
        has_sound = video_io.probe(path).has_sound
        rows = scene_audio.extract_film(path, times_s, kind)
    if not has_sound:
        notes.append("has no sound: only its pictures are used")
    elif len(rows) < len(times_s):
        notes.append(f"is silent in {len(times_s) - len(rows)} of {len(times_s)} scenes: only their pictures are used")
    return {"": rows}, notes


def _recording_sound(path, start_s, end_s, kind):
    rows = scene_audio.extract_recording(path, start_s, end_s, kind)
    return {"": rows}, [] if len(rows) else ["is silent"]
