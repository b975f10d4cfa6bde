"""Scenes: four seconds to be seen or heard. What the networks take of them is computed once and kept by its content.

The picture side of a scene is ``N_FRAMES`` pictures of a film, or one photo that stands still; the sound side is four
seconds of a film's sound or of a recording. Both sides of one moment of a film have the same ``moment``. Times are in
seconds of the file.
"""

import contextlib
import dataclasses
import json
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd

from birdlib import audio, pictures, resnet50, runtime, stages, video, weights

SCENE_S = 4.0
HOP_S = 2.0  # between scenes of a film; those of a recording follow one another
MAX_SCENES = 4  # of a recording: those where most can be heard
N_FRAMES = 8  # at equal distances, the first at the beginning of the scene
PIXELS = 64  # of a side, for networks that see movement; ResNet50 sees resnet50.IMAGE_SIZE
FRAME_S = SCENE_S / N_FRAMES

SAMPLE_RATE_HZ = 32_000
N_FFT = 1024  # and the hop
N_STEPS, N_BANDS = 125, 128
N_SAMPLES = N_STEPS * N_FFT  # in SCENE_S
MIN_HZ = 1000  # wind and traffic are below, most birds above
SILENT_PEAK = 1e-4  # what does not reach it is silence

STORE_KEY = runtime.digest({"scenes": 2})  # of the EmbeddingStore; a new recipe has files of its own
BATCH = 16  # pictures at once
SMALL = (160, 120)  # (width, height) of what movement is looked for in
N_BACKGROUND = 40  # frames that tell what stands still
MOVES = 25  # of 255, by which something that moves differs
MOST_MOVING = 0.4  # of the picture: beyond, the camera moves
LEAST_AREA = 30  # small pixels
AROUND = 1.4  # of the moving thing's longer side
LEAST_SIDE = 48  # pixels
COLUMNS = (
    "scene_id", "recording_id", "kind", "category", "group_id", "split", "is_repeated",
    "start_s", "end_s", "moment", "path", "key", "number",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Backbone:
    """ResNet50, frozen.

    Attributes:
        network: keras.Model, (batch, 224, 224, 3) RGB in [0, 255] → (batch, 2048).
        key: of all that changes the features of a picture.
        weights: for the receipt.
    """

    network: Any
    key: str
    weights: dict


def load_backbone(weights_dir=""):
    """ResNet50 with its weights, which are fetched if need be.

    Args:
        weights_dir: as in ``weights.find``.

    Raises:
        weights.MissingWeightsError: see ``weights.fetch``.
    """
    import keras

    source = weights.fetch("resnet50", weights_dir)
    inputs = keras.Input((resnet50.IMAGE_SIZE, resnet50.IMAGE_SIZE, 3))
    bgr = keras.ops.flip(inputs - np.array(resnet50.MEANS_RGB, np.float32), axis=-1)
    network = keras.Model(inputs, resnet50.load(source)(bgr))
    key = runtime.digest({"sha256": source.sha256, "size": resnet50.IMAGE_SIZE, "recipe": 1})
    return Backbone(network, key, {"resnet50": source.receipt()})


def as_frame(image, size=resnet50.IMAGE_SIZE):
    """A picture of any size as a square: scaled, not cut, as a bird may be at the edge of a film.

    Args:
        image: (height, width, 3) uint8 RGB.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    import cv2

    is_smaller = max(image.shape[:2]) < size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC if is_smaller else cv2.INTER_AREA)


def spectrogram(waveform):
    """What a network hears of a scene: log10 of the power in 128 equal bands up to 16 kHz, in 125 steps of 32 ms.

    Args:
        waveform: (samples,) float32 at ``SAMPLE_RATE_HZ``; silence follows a shorter one, a longer one is cut.

    Returns:
        (125, 128) float32: 0 is silence (-100 dB), 1 a full sine; noise may go a little beyond.
    """
    return (1.0 + np.log10(_power(waveform) + 1e-10) / 10.0).astype(np.float32)


def windows(start_s, until_s, hop_s):
    """Where scenes begin: every ``hop_s``, and one flush with the end, if more than ``FRAME_S`` would be left over.

    Returns:
        (scenes,) float64, seconds; at least one.
    """
    n = 1 + max(0, math.floor((until_s - start_s - SCENE_S) / hop_s + 1e-6))
    starts_s = start_s + hop_s * np.arange(n)
    is_left_over = until_s - starts_s[-1] - SCENE_S > FRAME_S
    return np.append(starts_s, until_s - SCENE_S) if is_left_over else starts_s


class Arrays:
    """What the networks take of scenes, by the row of a table; read from the store at each call."""

    def __init__(self, store, table):
        self.store = store
        self.places = list(zip(table["key"], table["number"], strict=True))

    def pixels(self, row):
        """(8, 64, 64, 3) uint8 RGB, of a scene that can be seen."""
        frames = self._frames(row)[:, resnet50.FEATURES :]
        return frames.astype(np.uint8).reshape(N_FRAMES, PIXELS, PIXELS, 3)

    def features(self, row):
        """(8, 2048) float32 of ResNet50, of a scene that can be seen."""
        return np.array(self._frames(row)[:, : resnet50.FEATURES])

    def spectrogram(self, row):
        """(125, 128) float32, of a scene that can be heard."""
        key, number = self.places[row]
        return np.array(self.store.get(key)[0][number, 2:]).reshape(N_STEPS, N_BANDS)

    def _frames(self, row):
        key, number = self.places[row]
        return self.store.get(f"{key} frames")[0][self.store.get(key)[0][number, 2:].astype(int)]


def picture_scenes(table, root, backbone, store, stage="05_match"):
    """The scenes that can be seen, of films and photos.

    A film has a scene every ``HOP_S``, the last flush with its end; where it ends sooner, its last picture stands still.

    Args:
        table: rows of the split table; those without ``video_path`` and ``image_path`` are passed over.
        root: folder of the paths.
        backbone: from ``load_backbone``; None where there is nothing to see.
        store: ``EmbeddingStore(folder, STORE_KEY)``.
        stage: its name, for the skipped table.

    Returns:
        (scenes, skipped): DataFrame of ``COLUMNS``, rows from 0, and the skipped table, which also tells the flaws of films
        that are used. ``kind`` is "film" or "photo"; ``category`` is the species, or "film:" and the recording_id;
        ``moment`` is "" where there is but one side; a ``scene_id`` is unique among the scenes of a split.
    """
    told, waiting = [], {}

    def film(path, digest, start_s, end_s):
        starts_s, notes = _film_windows(store, path, digest, start_s, end_s)
        key = _key(digest, "film", start_s, end_s, backbone.key)
        return key, notes + _once(store, key, lambda: _look(path, starts_s, backbone))

    def photo(path, digest, *_):
        key = _key(digest, "photo", backbone.key)
        if key not in store and key not in waiting:
            waiting[key] = (as_frame(pictures.read_image(path)),) * 2
        if len(waiting) == BATCH:
            _keep_photos(store, waiting, backbone)
        return key, []

    films, photos = (_parts(table, column) for column in ("video_path", "image_path"))
    film_keys = _gather(films, root, told, "films", film)
    photo_keys = _gather(photos, root, told, "photos", photo)
    _keep_photos(store, waiting, backbone)
    rows = _rows(store, films, film_keys, "film") + _rows(store, photos, photo_keys, "photo")
    return pd.DataFrame(rows, columns=COLUMNS), stages.skipped_table(told, stage)


def sound_scenes(table, root, store, stage="05_match"):
    """The scenes that can be heard, of films and recordings; silent ones are left out.

    Scenes of a film begin where those of ``picture_scenes`` do; those of a recording follow one another, and at most
    ``MAX_SCENES`` are taken, those with the greatest energy above ``MIN_HZ``. Silence follows where a sound ends sooner.

    Args:
        table, root, store, stage: as in ``picture_scenes``; rows without ``video_path`` and ``audio_path`` are passed over.

    Returns:
        (scenes, skipped) as ``picture_scenes`` gives; ``kind`` is "film" or "recording".
    """
    told = []

    def film(path, digest, start_s, end_s):
        starts_s, _ = _film_windows(store, path, digest, start_s, end_s)
        key = _key(digest, "film sound", start_s, end_s)
        return key, _once(store, key, lambda: _hear_film(path, starts_s))

    def recording(path, digest, start_s, end_s):
        key = _key(digest, "recording", start_s, end_s)
        return key, _once(store, key, lambda: _hear_recording(path, start_s, end_s))

    films, recordings = (_parts(table, column) for column in ("video_path", "audio_path"))
    film_keys = _gather(films, root, told, "sound of films", film)
    recording_keys = _gather(recordings, root, told, "recordings", recording)
    rows = _rows(store, films, film_keys, "film") + _rows(store, recordings, recording_keys, "recording")
    return pd.DataFrame(rows, columns=COLUMNS), stages.skipped_table(told, stage)


# Tables


def _parts(table, column):
    """The rows that have such a file; ``part`` says which of it is meant: (path, start_s, end_s)."""
    rows = table[table[column] != ""]
    if column == "image_path":
        return rows.assign(part=[(path, 0.0, math.inf) for path in rows[column]])
    times_s = rows["start_s"].fillna(0.0), rows["end_s"].fillna(math.inf)
    return rows.assign(part=list(zip(rows[column], *times_s, strict=True)))


def _gather(rows, root, told, desc, compute):
    """{part: key}; what cannot be used has none and is told."""
    keys = {}
    for part in runtime.progress(sorted(set(rows["part"])), desc=desc):
        path, start_s, end_s = part
        try:
            keys[part], notes = compute(root / path, runtime.digest_file(root / path), start_s, end_s)
            told += [(path, note) for note in notes]
        except runtime.FileError as error:
            told.append((path, error.reason))
        except OSError as error:
            told.append((path, error.strerror or "it cannot be read"))
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


# What is kept: of each part of a file its scenes, [start_s, end_s, ...], and the rows of notes on it. The scenes of a
# film that can be seen name rows of "frames", as a frame belongs to several.


def _key(digest, *made_with):
    return runtime.digest([digest, *made_with])


def _times_s(store, key):
    """(scenes, 2) float64: start and end; none of what is silent throughout."""
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
    """((scenes, 2) float64 of start and end, notes) of the part of a film that can truly be decoded."""

    def compute():
        with _noting(path) as notes:
            header_s = video.probe(path).duration_s
            last_s = [time_s for time_s, _ in video.frames(path, 1 / FRAME_S, start_s, end_s)][-1]
        until_s = min(end_s, last_s + FRAME_S, header_s if header_s > last_s else math.inf)
        starts_s = np.round(windows(start_s, until_s, HOP_S), 3)
        return {"": np.stack([starts_s, np.minimum(starts_s + SCENE_S, end_s)], axis=1)}, notes

    key = _key(digest, "windows", start_s, end_s)
    notes = _once(store, key, compute)
    return _times_s(store, key), notes


@contextlib.contextmanager
def _noting(path):
    """A list of what is amiss in a film, whole when the block has ended."""
    notes = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", video.VideoWarning)
        yield notes
    told = [str(one.message).removeprefix(f"{path}: ") for one in caught if one.category is video.VideoWarning]
    notes += dict.fromkeys(told)


# Seeing


def _keep_photos(store, waiting, backbone):
    if waiting:
        frames = _see(list(waiting.values()), backbone)
        for key, frame in zip(waiting, frames, strict=True):
            store.put(f"{key} frames", frame[None], np.ones(1))
            store.put(key, np.zeros((1, 2 + N_FRAMES)), np.ones(1))
    waiting.clear()


def _look(path, times_s, backbone):
    """Every frame that differs is seen once, in whatever scenes it is shown."""
    seen, scenes, rows, waiting = {}, [], [], []
    with _noting(path):  # of the windows already
        still = _background(path, times_s[0][0], times_s[-1][1])
        for start_s, end_s in times_s:
            shown = []
            for _, image in video.frames(path, 1 / FRAME_S, start_s, end_s):
                content = hash(image.tobytes())
                if content not in seen:
                    waiting.append((focus(image, still), image))
                shown.append(seen.setdefault(content, len(seen)))
                if len(waiting) == BATCH:
                    rows.append(_see(waiting, backbone))
                    waiting = []
            shown = shown[:N_FRAMES] + shown[-1:] * (N_FRAMES - len(shown))
            scenes.append([start_s, end_s, *shown])
    if waiting:
        rows.append(_see(waiting, backbone))
    notes = ["shows one picture only"] if len(seen) == 1 else []
    return {" frames": np.concatenate(rows), "": np.array(scenes)}, notes


def _background(path, start_s, end_s):
    """What stands still in a film: the median of a few frames, small and smoothed."""
    rate_hz = min(1 / FRAME_S, N_BACKGROUND / max(end_s - start_s, FRAME_S))
    return np.median([_small(image) for _, image in video.frames(path, rate_hz, start_s, end_s)], axis=0)


def focus(image, background):
    """The square around the largest thing that moves: a bird in a film by a camera that stands still is a few pixels of it.

    Args:
        image: (height, width, 3) uint8 RGB.
        background: (120, 160, 3), what stands still.

    Returns:
        (side, side, 3) uint8 RGB; the whole picture where nothing moves, or nearly all (the camera does).
    """
    import cv2

    moves = (np.abs(_small(image) - background).max(axis=2) > MOVES).astype(np.uint8)
    moves = cv2.morphologyEx(moves, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    n, _, found, _ = cv2.connectedComponentsWithStats(moves)
    if n < 2 or moves.mean() > MOST_MOVING or found[1:, cv2.CC_STAT_AREA].max() < LEAST_AREA:
        return image
    x, y, width, height, _ = found[1 + found[1:, cv2.CC_STAT_AREA].argmax()]
    across, down = image.shape[1] / SMALL[0], image.shape[0] / SMALL[1]
    side = int(np.clip(AROUND * max(width * across, height * down), min(LEAST_SIDE, *image.shape[:2]), min(image.shape[:2])))
    left = int(np.clip((x + width / 2) * across - side / 2, 0, image.shape[1] - side))
    top = int(np.clip((y + height / 2) * down - side / 2, 0, image.shape[0] - side))
    return image[top : top + side, left : left + side]


def _small(image):
    import cv2

    return cv2.GaussianBlur(cv2.resize(image, SMALL), (5, 5), 0).astype(np.int16)


def _see(looks, backbone):
    """(frames, 2048 + 64 * 64 * 3) float32: features of what is in focus, pixels of the whole picture."""
    focused = np.stack([as_frame(crop) for crop, _ in looks]).astype(np.float32)
    features = backbone.network.predict(focused, batch_size=BATCH, verbose=0)
    pixels = np.stack([as_frame(whole, PIXELS).ravel() for _, whole in looks])
    return np.hstack([features, pixels]).astype(np.float32)


# Hearing


def _power(waveform):
    """(125, 128) float64; a full sine has 1."""
    padded = np.zeros(N_SAMPLES)
    padded[: len(waveform)] = waveform[:N_SAMPLES]
    window = np.hanning(N_FFT + 1)[:-1]
    spectrum = np.fft.rfft(padded.reshape(N_STEPS, N_FFT) * window)[:, 1:]  # 512 bins, without that of 0 Hz
    return (np.abs(2.0 * spectrum / window.sum()) ** 2).reshape(N_STEPS, N_BANDS, -1).sum(axis=2)


def _is_silent(waveform):
    return np.abs(waveform).max(initial=0.0) < SILENT_PEAK


def _as_row(start_s, end_s, waveform):
    return np.concatenate([[start_s, end_s], spectrogram(waveform).ravel()])


def _hear_film(path, times_s):
    """Its sound at the times of its scenes, less those that are silent."""
    with _noting(path) as notes:
        has_sound = video.probe(path).has_sound
        blocks = video.soundtrack(path, SAMPLE_RATE_HZ, block_s=SCENE_S)
        heard = [(*at_s, piece) for at_s, piece in zip(times_s, _cut(blocks, times_s), strict=True)]
        rows = [_as_row(*one) for one in heard if not _is_silent(one[-1])]
    if not has_sound:
        notes.append("has no sound: only its pictures are used")
    elif len(rows) < len(times_s):
        notes.append(f"is silent in {len(times_s) - len(rows)} of {len(times_s)} scenes: they are only seen")
    return {"": np.array(rows)}, notes


def _cut(blocks, times_s):
    """Yields the waveform at each of the times, which ascend, shorter where the sound ends; in little memory."""
    blocks, waiting, first = iter(blocks), np.zeros(0, np.float32), 0  # the number of the first sample that waits
    for start_s, end_s in times_s:
        start, end = round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)
        while first + len(waiting) < end and (block := next(blocks, None)) is not None:
            n_past = min(max(start - first, 0), len(waiting))
            waiting, first = np.concatenate([waiting[n_past:], block]), first + n_past
        yield waiting[max(start - first, 0) : max(end - first, 0)]


def _hear_recording(path, start_s, end_s):
    """Its scenes with the most above ``MIN_HZ``, in their order."""
    found, before = [], np.zeros(0, np.float32)
    for n, block in enumerate(audio.stream(path, SCENE_S, SAMPLE_RATE_HZ, start_s, end_s)):
        at_s, n_new = start_s + n * SCENE_S, len(block)
        if n and n_new < N_SAMPLES:
            if n_new <= FRAME_S * SAMPLE_RATE_HZ:
                break
            at_s, block = at_s - SCENE_S + n_new / SAMPLE_RATE_HZ, np.concatenate([before[n_new:], block])
        before = block
        if not _is_silent(block):
            energy = _power(block)[:, MIN_HZ * N_BANDS * 2 // SAMPLE_RATE_HZ :].sum()
            found.append((-energy, at_s, _as_row(at_s, at_s + len(block) / SAMPLE_RATE_HZ, block)))
            found = sorted(found, key=lambda one: one[:2])[:MAX_SCENES]
    rows = [row for _, _, row in sorted(found, key=lambda one: one[1])]
    return {"": np.array(rows)}, [] if rows else ["is silent"]
