"""Embedders of single birds: pictures of one bird in, one unit vector out; and whole files, whose birds are found first.

An embedder has ``dim``, ``key`` (a digest of all that changes its vectors) and ``embed``. Crops are (height, width, 3) uint8 RGB.
"""

import hashlib
import tempfile
from pathlib import Path

import numpy as np

from birdlib import runtime, stages
from birdlib.individuals import backbones, clustering, track_encoder
from birdlib.multimodal import encoders
from birdlib.video import detectors, track_crops, tracking
from birdlib.video import images as video_images
from birdlib.video import io as video_io

NAMES = ("early_fusion", "stage04")
FAINT = 0.2  # score of a box that may go on with a track
ENCODER, SETTINGS = "track_encoder.keras", "embedder.json"
_HOW_SEEN = ("embedder", "threshold", "backbone", "parts", "detector", "n_tiles", "rate_hz", "min_score", "n_crops")  # in the settings


class TrackEmbedderError(runtime.BirdlibError):
    """An embedder that cannot be had as asked, or a file without a bird."""


def load(name, path, backbone=None):
    """An embedder with the encoder that a stage has saved.

    Args:
        name: "early_fusion", whose encoder is of ``track_encoders``; or "stage04", the fused encoder of photo and sound, which knows
            species.
        path: of the .keras file.
        backbone: from ``backbones.load``, for early_fusion.

    Raises:
        TrackEmbedderError: an unknown name, no such file, or early_fusion without its backbone.
    """
    if name not in NAMES:
        raise TrackEmbedderError(f"embedder is {name!r}: choose {' or '.join(NAMES)}")
    if not Path(path).is_file():
        notebook = "notebooks/09_count.ipynb" if name == "early_fusion" else "notebooks/04_triplet.ipynb"
        raise TrackEmbedderError(f"{path}: there is no such encoder: run {notebook} first")
    if name == "stage04":
        return Stage04(encoders.load(path), runtime.digest_file(path))
    if backbone is None:
        raise TrackEmbedderError("early_fusion needs its backbone: backbones.load")
    return EarlyFusion(backbone, track_encoder.load(path), runtime.digest_file(path))


class EarlyFusion:
    """What ``track_encoders`` makes of a crop and of what is heard."""

    def __init__(self, backbone, encoder, key=""):
        self.backbone, self.encoder = backbone, encoder
        self.dim, self.key = encoder.output.shape[-1], runtime.digest([backbone.key, key])

    def embed(self, images, heard=None, has_sound=None):
        """(images, dim) unit vectors; ``heard`` and ``has_sound`` as ``track_encoders.embed_crops`` takes them."""
        seen = backbones.see(images, self.backbone)
        return track_encoder.embed_crops(self.encoder, seen, heard, has_sound)


class Stage04:
    """The picture side of stage 04's fused encoder, the sound being absent: VGG16 looks at the crop."""

    def __init__(self, encoder, key=""):
        self.encoder = encoder
        self.dim, self.key = encoder.output.shape[-1], runtime.digest([key, "picture side"])
        if "image" not in encoder.input:
            raise TrackEmbedderError("stage 04 was trained without photos: train it with photos, or use early_fusion")

    def embed(self, images):
        """(images, dim) unit vectors."""
        vectors = [np.zeros((0, self.dim), np.float32)]
        for first in range(0, len(images), backbones.BATCH):
            some = images[first : first + backbones.BATCH]
            squares = np.stack([backbones.as_square(image, encoders.IMAGE_SIZE) for image in some])
            vectors.append(self.encoder.predict(self._inputs(squares.astype(np.float32)), verbose=0))
        return np.concatenate(vectors).astype(np.float32)

    def _inputs(self, squares):
        inputs = {"image": squares}
        if "presence" in self.encoder.input:
            inputs["presence"] = np.tile(np.float32([1, 0]), (len(squares), 1))
            inputs["weights"] = np.zeros((len(squares), 1), np.float32)
            patch_dim = self.encoder.input["embeddings"].shape[-1]
            inputs["embeddings"] = np.zeros((len(squares), 1, patch_dim), np.float32)
        return inputs


def keep(folder, name, encoder, threshold, **how):
    """Keep what ``of_stage`` needs to see other files as a stage has seen its own.

    Args:
        folder: of stage 09; the encoder is kept as ``ENCODER`` in it.
        name: one of ``NAMES``.
        encoder: keras.Model of early_fusion; None for stage04, which has its own, and where nobody was seen to learn from.
        threshold: cosine distance up to which two tracks are one bird.
        how: the rest of ``_HOW_SEEN``.
    """
    told = {"embedder": name, "threshold": threshold, **how}
    if encoder is not None:
        told["encoder"] = runtime.digest([hashlib.sha256(array.tobytes()).hexdigest() for array in encoder.get_weights()])
        with runtime.replacing(folder / ENCODER) as temporary:
            encoder.save(temporary)
    else:
        (folder / ENCODER).unlink(missing_ok=True)  # of an earlier run
    runtime.write_json(told, folder / SETTINGS)


def of_stage(outputs_dir, weights_dir=""):
    """What stage 09 sees in other films and photos.

    Args:
        outputs_dir: where stage 09, and if it took that encoder, stage 04 is.
        weights_dir: as in ``weights.find``.

    Returns:
        (embed, key, threshold): function of a path → (birds, dim) float32 unit vectors, one for each bird that is seen; digest of all that
        changes them; cosine distance up to which two tracks are one bird.

    Raises:
        MissingStageError: if stage 09 is not finished.
        TrackEmbedderError: if it saw no bird, and so has learnt nothing.
    """
    told, folder = stages.settings(outputs_dir, "09_count", SETTINGS, _HOW_SEEN), Path(outputs_dir) / "09_count"
    is_own = told["embedder"] == "early_fusion"
    if is_own and "encoder" not in told:
        raise TrackEmbedderError(f"{folder} has seen no birds to learn from: run notebooks/09_count.ipynb on films that show some")
    path = folder / ENCODER if is_own else Path(outputs_dir) / "04_triplet" / "fused_encoder.keras"
    embedder = load(told["embedder"], path, backbones.load(told["backbone"], weights_dir, has_end="looks" in told["parts"]) if is_own else None)
    detector = detectors.load(told["detector"], weights_dir, told["n_tiles"], min_score=FAINT)
    key = runtime.digest([told["encoder"], embedder.backbone.key] if is_own else embedder.key)

    def embed(path):
        how = {name: told[name] for name in ("rate_hz", "min_score", "n_crops")}
        return embed_file(path, embedder, detector, told["threshold"], **how)

    return embed, key, told["threshold"]


def embed_file(path, embedder, detector, threshold, *, rate_hz=5.0, min_score=0.5, n_crops=8):
    """The birds of one film or photo.

    Args:
        path: of the file.
        embedder: from ``load``.
        detector: from ``detectors.load``.
        threshold: cosine distance up to which two tracks of a film are one bird.
        rate_hz: pictures per second of a film.
        min_score: of a box in a photo, and of the surest of a track.
        n_crops: the most of a track.

    Returns:
        (birds, dim) float32 unit vectors, the mean of a bird's crops; none where no bird is found.

    Raises:
        TrackEmbedderError: by its suffix it is neither a film nor a photo.
        runtime.FileError: the file cannot be used.
    """
    if Path(path).suffix.lower() in video_images.SUFFIXES:
        image = video_images.read_image(path)
        crops = [track_crops.crop(image, box) for box in detector.detect([image])[0] if box[4] >= min_score]
        of_track, apart = np.arange(len(crops)), ~np.eye(len(crops), dtype=bool)
    else:
        crops, of_track, apart = _crops_of_film(path, detector, rate_hz=rate_hz, min_score=min_score, n_crops=n_crops)
    if not crops:
        return np.zeros((0, embedder.dim), np.float32)
    of_crops = embedder.embed(crops)
    identities = clustering.cluster(clustering.mean_embeddings(of_crops, of_track), apart, threshold)
    return clustering.mean_embeddings(of_crops, identities[of_track])


def _crops_of_film(path, detector, **how):
    if Path(path).suffix.lower() not in video_io.SUFFIXES:
        raise TrackEmbedderError(f"{path}: is neither a film nor a photo, by its suffix: choose one of those")
    with tempfile.TemporaryDirectory() as folder:
        detections = detector.detect_film(path, how["rate_hz"])
        found, table = tracking.follow(detections, "film", folder, **how)
        images = [video_images.read_image(Path(folder) / crop) for crop in table["path"]]
    return images, track_encoder.track_rows(tracking.summary(found), table), tracking.must_not_link(found)
