"""Embedders of individuals: a crop of one bird to one unit vector; and of whole files, whose birds are detected first.

An embedder has ``dim``, ``key`` (a digest of all that changes its vectors) and ``embed``. Crops are (height, width, 3) uint8 RGB.
"""

import hashlib
import tempfile
from pathlib import Path

import numpy as np

from birdlib import runtime, stages
from birdlib.individuals import backbones, clustering, film_tracks, identification, track_links
from birdlib.metrics.identity import UNKNOWN
from birdlib.models.vgg16 import IMAGE_SIZE
from birdlib.video import detectors, kinds, track_crops, tracking
from birdlib.video import images as video_images
from birdlib.video.squares import as_square

MIN_BOX_SCORE = 0.2  # of a box that may continue a track
_ENCODER, _SETTINGS = "track_encoder.keras", "embedder.json"
_SETTING_NAMES = ("embedder", "threshold", "backbone", "parts", "detector", "n_tiles", "rate_hz", "min_score", "n_crops")
STAGE04_PATH = Path("04_triplet", "fused_encoder.keras")


class TrackEmbedderError(runtime.BirdlibError):
    """An unknown or missing embedder, or a file that is neither a film nor a photo."""


def load(name, path, backbone=None):
    """An embedder with the encoder that a stage has saved.

    Args:
        name: one of ``EMBEDDERS``: "early_fusion", the encoder of ``track_encoder``; or "stage04", the fused encoder of photo and sound,
            trained on species.
        path: of the .keras file.
        backbone: from ``backbones.load``, for early_fusion.

    Raises:
        TrackEmbedderError: an unknown name, no such file, or early_fusion without its backbone.
    """
    require(name)
    if not Path(path).is_file():
        notebook = "notebooks/09_count.ipynb" if name == "early_fusion" else "notebooks/04_triplet.ipynb"
        raise TrackEmbedderError(f"{path}: there is no such encoder: run {notebook} first")
    return EMBEDDERS[name](path, backbone)


def require(name):
    """Raise TrackEmbedderError if there is no such embedder."""
    if name not in EMBEDDERS:
        raise TrackEmbedderError(f"embedder is {name!r}: choose {' or '.join(EMBEDDERS)}")


class EarlyFusion:
    """The encoder of ``track_encoder`` over the features of a backbone."""

    def __init__(self, backbone, encoder, key=""):
        self.backbone, self.encoder = backbone, encoder
        self.dim, self.key = encoder.output.shape[-1], runtime.digest([backbone.key, key])

    def embed(self, images, sounds=None):
        """(images, dim) unit vectors; ``sounds`` as in ``track_encoder.embed_crops``."""
        from birdlib.individuals import track_encoder

        return track_encoder.embed_crops(self.encoder, backbones.extract_features(images, self.backbone), sounds)


class Pretrained:
    """The last features of a backbone as they are, for films without any known pairs of birds."""

    def __init__(self, backbone):
        self.backbone = backbone
        self.dim, self.key = backbone.dim, runtime.digest([backbone.key, "unit length"])

    def embed(self, images):
        """(images, dim) unit vectors."""
        features, _ = backbones.extract_features(images, self.backbone)
        return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


class Stage04:
    """The image side of stage 04's fused encoder, with absent sound."""

    def __init__(self, encoder, key=""):
        self.encoder = encoder
        self.dim, self.key = encoder.output.shape[-1], runtime.digest([key, "picture side"])
        if "image" not in encoder.input:
            raise TrackEmbedderError("stage 04 was trained without photos: train it with photos, or use early_fusion")

    def embed(self, images):
        """(images, dim) unit vectors."""
        vectors = [np.zeros((0, self.dim), np.float32)]
        for first in range(0, len(images), backbones.BATCH):
            batch = images[first : first + backbones.BATCH]
            squares = np.stack([as_square(image, IMAGE_SIZE) for image in batch])
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


def _early_fusion(path, backbone):
    from birdlib.individuals import track_encoder

    if backbone is None:
        raise TrackEmbedderError("early_fusion needs its backbone: backbones.load")
    return EarlyFusion(backbone, track_encoder.load(path), runtime.digest_file(path))


def _stage04(path, backbone):
    from birdlib.multimodal import encoders

    return Stage04(encoders.load(path), runtime.digest_file(path))


EMBEDDERS = {"early_fusion": _early_fusion, "stage04": _stage04}


def save(folder, name, encoder, threshold, **settings):
    """Save what ``from_stage`` needs to embed other files as the stage did its own.

    Args:
        folder: of stage 09.
        name: one of ``EMBEDDERS``.
        encoder: keras.Model of early_fusion; None for stage04, which has its own, and if no bird was detected.
        threshold: cosine distance up to which two tracks are one bird.
        settings: the rest of ``_SETTING_NAMES``; ``threshold_draws``, a list of thresholds from ``identification.draw_thresholds``; ``crop_px`` and
            ``sound`` as in ``film_embeddings.Options``.
    """
    settings = {"embedder": name, "threshold": threshold, **settings}
    if encoder is not None:
        settings["encoder"] = runtime.digest([hashlib.sha256(array.tobytes()).hexdigest() for array in encoder.get_weights()])
        with runtime.replacing(folder / _ENCODER) as temporary:
            encoder.save(temporary)
    else:
        (folder / _ENCODER).unlink(missing_ok=True)  # of an earlier run
    runtime.write_json(settings, folder / _SETTINGS)


def read_settings(outputs_dir):
    """The settings that ``save`` has written for stage 09.

    Raises:
        MissingStageError: if stage 09 is not finished.
        TrackEmbedderError: if it detected no bird, and so has no encoder.
    """
    settings = stages.settings(outputs_dir, "09_count", _SETTINGS, _SETTING_NAMES)
    if settings["embedder"] == "early_fusion" and "encoder" not in settings:
        folder = Path(outputs_dir) / "09_count"
        raise TrackEmbedderError(f"{folder} has no encoder, for no bird was detected: run notebooks/09_count.ipynb on films with birds")
    return settings


def load_backbone(settings, weights_dir=""):
    """The backbone of ``settings``, {"backbone", "parts", "crop_px"}, with the outputs that its parts need; see ``backbones.load``."""
    has = {"has_end": "looks" in settings["parts"], "has_map": "marks" in settings["parts"]}
    return backbones.load(settings["backbone"], weights_dir, size=settings.get("crop_px", backbones.SIZE), **has)


def load_saved(settings, outputs_dir, weights_dir=""):
    """(embedder, key): that of ``read_settings``, and a digest of all that changes its vectors."""
    if settings["embedder"] == "early_fusion":
        backbone = load_backbone(settings, weights_dir)
        path = Path(outputs_dir) / "09_count" / _ENCODER
        return load("early_fusion", path, backbone), runtime.digest([settings["encoder"], backbone.key])
    embedder = load(settings["embedder"], Path(outputs_dir) / STAGE04_PATH)
    return embedder, runtime.digest(embedder.key)


def from_stage(outputs_dir, weights_dir=""):
    """The embedder of stage 09, for other films and photos.

    Args:
        outputs_dir: of stage 09, and of stage 04 if its encoder was used.
        weights_dir: as in ``weights.find``.

    Returns:
        (embed, key, threshold): function of a path → (birds, dim) float32 unit vectors, one for each bird that is detected; digest of all that
        changes them; cosine distance up to which two tracks are one bird.

    Raises:
        MissingStageError: if stage 09 is not finished.
        TrackEmbedderError: if it detected no bird, and so has no encoder.
    """
    settings = read_settings(outputs_dir)
    embedder, key = load_saved(settings, outputs_dir, weights_dir)
    detector = detectors.load(settings["detector"], weights_dir, settings["n_tiles"], min_score=MIN_BOX_SCORE)
    options = {name: settings[name] for name in ("rate_hz", "min_score", "n_crops")} | {"link_factor": settings.get("link_factor", 1.0)}

    def embed(path):
        return _embed_file(path, embedder, detector, settings["threshold"], **options)

    return embed, key, settings["threshold"]


def _embed_file(path, embedder, detector, threshold, *, rate_hz=5.0, min_score=0.5, n_crops=8, link_factor=1.0):
    """The birds of one film or photo.

    Args:
        threshold: cosine distance up to which two tracks of a film are one bird.
        rate_hz: frames per second of a film.
        min_score: of a box in a photo, and of the best one of a track.
        n_crops: of a track, at most.
        link_factor: as in ``track_links.Links``.

    Returns:
        (birds, dim) float32 unit vectors, the mean of a bird's crops; in a film, of the tracks that stage 09 would count.

    Raises:
        TrackEmbedderError: it is a sound.
        runtime.FileError: the file is missing, of another kind, or cannot be decoded.
    """
    kind = kinds.kind_of(path)
    if kind == "sound":
        raise TrackEmbedderError(f"{runtime.printable(path)}: is a sound, which shows no bird: give a film or a photo")
    if kind == "image":
        image = video_images.read_image(path)
        crops = [track_crops.crop(image, box) for box in detector.detect([image])[0] if box[4] >= min_score]
        return embedder.embed(crops) if crops else np.zeros((0, embedder.dim), np.float32)
    return _embed_film(path, embedder, detector, threshold, link_factor, rate_hz=rate_hz, min_score=min_score, n_crops=n_crops)


def _embed_film(path, embedder, detector, threshold, link_factor, **sampling):
    with tempfile.TemporaryDirectory() as folder:
        tracks, crops, frames = tracking.follow(detector.detect_film(path, sampling["rate_hz"]), "film", folder, **sampling)
        images = [video_images.read_image(Path(folder) / crop) for crop in crops["path"]]
    if not images:
        return np.zeros((0, embedder.dim), np.float32)
    summary, vectors = tracking.summary(tracks), embedder.embed(images)
    of_track, links = film_tracks.track_rows(summary, crops), track_links.find(tracks, summary, frames, link_factor)
    identities = identification.identify(vectors, of_track, tracking.must_not_link(tracks), threshold, identification.is_counted(tracks, summary), links=links)
    of_crop = identities[of_track]
    is_used = of_crop != UNKNOWN
    return clustering.mean_embeddings(vectors[is_used], of_crop[is_used]) if is_used.any() else np.zeros((0, embedder.dim), np.float32)
