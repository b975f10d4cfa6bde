"""The sound of the birds of films, as spectrograms of ``scene_audio``: attributed to a bird that is alone, or that of the time of a crop.

Sound that is attributed tells of the bird. Sound of the same time tells of the film too: all birds in a frame share it.
"""

import dataclasses
import warnings

import numpy as np

from birdlib.individuals import film_tracks
from birdlib.multimodal import scene_audio
from birdlib.video import io as video_io


@dataclasses.dataclass(frozen=True)
class Sounds:
    """Sounds of crops; several crops share one.

    Attributes:
        spectrograms: (sounds, 125, 128) float32.
        is_present: (sounds,) bool; False, and zeros, where there is none: silence, no soundtrack, or one that cannot be decoded.
        of_crop: (crops,) int, the sound of each crop.
    """

    spectrograms: np.ndarray
    is_present: np.ndarray
    of_crop: np.ndarray

    def take(self, rows):
        """The sounds of some crops, in their order."""
        return dataclasses.replace(self, of_crop=self.of_crop[rows])


def concatenate(parts):
    """The sounds of several sets of crops, one after the other."""
    firsts = np.cumsum([0, *(len(part.is_present) for part in parts)])
    of_crop = [part.of_crop + first for part, first in zip(parts, firsts, strict=False)]
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("spectrograms", "is_present"))
    return Sounds(*arrays, np.concatenate(of_crop))


def extract(kind, summary, crops, film_paths):
    """The sounds of crops.

    Args:
        kind: one of ``KINDS``.
            ``alone``: of a track, from while its bird is the only one in the film: at most ``scene_audio.SCENE_S`` of it.
            ``crop``: of each crop, ``scene_audio.SCENE_S`` around its time, whoever sings.
        summary, crops: of ``tracking``.
        film_paths: {recording_id: path}; other recordings have no sound.

    Returns:
        Sounds, row-aligned with ``crops``. A film whose sound cannot be decoded has none, with a warning.
    """
    rows, spans_s, of_crop = KINDS[kind](summary.reset_index(drop=True), crops.reset_index(drop=True))
    spectrograms = np.zeros((len(rows), scene_audio.N_STEPS, scene_audio.N_BANDS), np.float32)
    is_present = np.zeros(len(rows), bool)
    for recording_id in dict.fromkeys(rows):
        sounds = np.flatnonzero((rows == recording_id) & ~np.isnan(spans_s[:, 0]))
        if recording_id not in film_paths or not len(sounds):
            continue
        sounds = sounds[np.argsort(spans_s[sounds, 0], kind="stable")]
        try:
            scenes = list(scene_audio.extract_film(film_paths[recording_id], spans_s[sounds]))
        except video_io.VideoError as error:
            warnings.warn(f"{error}: its birds are tracked without sound", video_io.VideoWarning, stacklevel=3)
            continue
        for scene in scenes:
            row = sounds[np.isclose(spans_s[sounds, 0], scene[0])][0]
            spectrograms[row], is_present[row] = scene[2:].reshape(spectrograms.shape[1:]), True
    return Sounds(spectrograms, is_present, of_crop)


def _while_alone(summary, crops):
    """A sound a track: (recording_id (sounds,), (sounds, 2) start and end in seconds, NaN where the bird is never alone, of_crop)."""
    starts_s = summary["alone_from_s"].to_numpy(float)
    spans_s = np.column_stack([starts_s, np.minimum(summary["alone_until_s"].to_numpy(float), starts_s + scene_audio.SCENE_S)])
    return summary["recording_id"].to_numpy(), spans_s, film_tracks.track_rows(summary, crops)


def _around_crops(summary, crops):
    """A sound a time of a film at which there are crops, returned as by ``_while_alone``."""
    starts_s = np.maximum(crops["time_s"].to_numpy(float) - scene_audio.SCENE_S / 2, 0.0)
    spans = crops[["recording_id"]].assign(start_s=starts_s)
    of_crop = spans.groupby(["recording_id", "start_s"], sort=False).ngroup().to_numpy()
    spans = spans.drop_duplicates()
    return spans["recording_id"].to_numpy(), spans["start_s"].to_numpy()[:, None] + [0.0, scene_audio.SCENE_S], of_crop


KINDS = {"alone": _while_alone, "crop": _around_crops}
