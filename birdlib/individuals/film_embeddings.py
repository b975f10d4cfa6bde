"""The embeddings of a run's crops: by the early-fusion encoder, which is trained on them, or by the encoder of stage 04."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.individuals import (
    backbones,
    clustering,
    constraints,
    film_tracks,
    track_datasets,
    track_embeddings,
    track_sounds,
)
from birdlib.store import EmbeddingStore
from birdlib.video import images as video_images

N_SYNTHETIC = 300  # birds, for drawn films
_PARTS = ("marks", "looks", "voice")  # of the early fusion: local features, global features, sound


@dataclasses.dataclass(frozen=True)
class Options:
    """How crops are embedded; all but ``embedder`` are of the early fusion.

    Attributes:
        embedder: one of ``track_embeddings.EMBEDDERS``.
        backbone: one of ``backbones.EARLY_LAYERS``.
        parts: between commas, "marks" (local features), "looks" (the backbone's last features) or both, and optionally "voice".
        crop_px: side of the backbone's input.
        sound: one of ``track_sounds.KINDS``.
        sound_dim: of the output of the sound's CNN.
        embedding_dim: of the vectors.
        n_aviary: synthetic birds to train with as well.
        epochs: of training, at most.
        weights_dir: as in ``weights.find``.
    """

    embedder: str = "early_fusion"
    backbone: str = "resnet50"
    parts: str = "marks"
    crop_px: int = backbones.SIZE
    sound: str = "alone"
    sound_dim: int = 64
    embedding_dim: int = 256
    n_aviary: int = 0
    epochs: int = 15
    weights_dir: str = ""

    def __post_init__(self):
        chosen = {part.strip() for part in self.parts.split(",")}
        if not chosen & {"marks", "looks"} or not chosen <= set(_PARTS):
            raise track_embeddings.TrackEmbedderError(f"parts is {self.parts!r}: give marks or looks or both, and optionally voice, between commas")
        track_embeddings.require(self.embedder)
        backbones.require(self.backbone)
        if self.crop_px < 32:
            raise runtime.ParameterError(f"crop_px is {self.crop_px}: give 32 or more")
        if self.sound not in track_sounds.KINDS:
            raise track_embeddings.TrackEmbedderError(f"sound is {self.sound!r}: choose {' or '.join(track_sounds.KINDS)}")
        for name in ("sound_dim", "embedding_dim", "epochs"):
            if getattr(self, name) < 1:
                raise runtime.ParameterError(f"{name} is {getattr(self, name)}: give 1 or more")

    @property
    def has_sound(self):
        """Whether the encoder uses sound."""
        return "voice" in self.parts


def resolve_auto(n_aviary, parts, root):
    """Defaults for drawn and for real films: (n_aviary, parts).

    Drawn birds of one species differ in local features only, and synthetic birds like them can be generated. Real birds differ in global
    features too, and training on drawn birds does not transfer to them.

    Args:
        n_aviary: synthetic birds; -1 for the default.
        parts: as in ``Options``; "auto" for the default.
        root: folder of the recordings; the synthetic sample has a ``sample.json``.
    """
    if n_aviary < 0:
        n_aviary = N_SYNTHETIC if (Path(root) / "sample.json").is_file() else 0
    return n_aviary, ("marks" if n_aviary else "marks,looks") if parts == "auto" else parts


def embed_tracks(summary, crops, must_not_link, names, film_paths, outputs_dir, folder, options, rng):
    """The vectors of crops, by an encoder that is trained on them or by that of stage 04.

    Args:
        summary, crops: of ``tracking``.
        must_not_link, names: (tracks, tracks) and (tracks,), as in ``track_datasets.TrackSet``.
        film_paths: {recording_id: path} of films that may have sound.
        outputs_dir: of the store and stage 04.
        folder: of the crops.
        options: ``Options``.
        rng: of synthetic birds and training.

    Returns:
        (vectors, encoder, history, pairs, weights): (crops, dim), row-aligned; the encoder, None of stage 04 and without crops; history and
        pairs as of ``train_early_fusion``; weights for the receipt.
    """
    of_track = film_tracks.track_rows(summary, crops)
    if not len(crops):
        nothing = np.zeros((0, options.embedding_dim), np.float32)
        return nothing, None, pd.DataFrame(), clustering.validation_pairs(nothing, of_track, [], must_not_link), {}
    if options.embedder != "early_fusion":
        images = [video_images.read_image(folder / path) for path in crops["path"]]
        vectors = track_embeddings.load(options.embedder, Path(outputs_dir) / track_embeddings.STAGE04_PATH).embed(images)
        pairs = clustering.validation_pairs(vectors, of_track, crops["time_s"].to_numpy(float), must_not_link, names)
        return vectors, None, pd.DataFrame(), pairs, {}
    from birdlib.individuals import track_encoder

    network = track_embeddings.load_backbone(dataclasses.asdict(options), options.weights_dir)
    with EmbeddingStore(Path(outputs_dir) / "store", network.key) as store:
        features = backbones.extract_stored_features(crops, folder, network, store)
    sounds = track_sounds.extract(options.sound, summary, crops, film_paths if options.has_sound else {})
    tracks = track_datasets.from_films(summary, crops, features, sounds, must_not_link, names)
    encoder, history, pairs = train_early_fusion(tracks, network, options, rng=rng)
    return track_encoder.embed_crops(encoder, features, sounds), encoder, history, pairs, network.weights


def train_early_fusion(tracks, backbone, options, *, rng, **fitting):
    """The early-fusion encoder for the birds of some films, and pairs to evaluate it.

    Args:
        tracks: a ``track_datasets.TrackSet``.
        backbone: from ``backbones.load``.
        options: ``Options``.
        fitting: of ``training.fit``, in place of its defaults.

    Returns:
        (encoder, history, pairs): keras.Model; DataFrame as of ``training.fit``, without rows if too few relations are known to train:
        the encoder then has its random weights; pairs of held-out tracks, or of all if none were held out: ``bird_pairs`` if some are
        synthetic, else ``validation_pairs``.
    """
    from birdlib.individuals import track_encoder

    sets = [tracks] if len(tracks.names) else []
    if options.n_aviary:
        sets.append(track_datasets.synthetic(options.n_aviary, backbone, sound=options.sound if options.has_sound else "", rng=rng))
    sizes = {"out_dim": options.embedding_dim, "sound_dim": options.sound_dim}
    encoder = track_encoder.encoder(backbone.dim, backbone.map_shape, has_sound=options.has_sound, **sizes)
    history = pd.DataFrame(columns=["epoch", "loss", "validation", "is_kept"])
    if not sets:
        return encoder, history, track_datasets.validation_pairs(track_datasets.embed(encoder, tracks), tracks)
    tables, whole, held_out = [part.relations for part in sets], track_datasets.concatenate(sets), None
    del sets  # maps of thousands of crops, which are in ``whole``
    if constraints.can_train(constraints.concatenate(*tables)):
        history, held_out = track_datasets.train(encoder, whole, tables, rng=rng, **{"epochs": options.epochs, **fitting})
    else:
        track_encoder.standardise(encoder, whole.crop_features)
    chosen = held_out if held_out is not None and held_out.any() else np.ones(len(whole.names), bool)
    is_synthetic = chosen & (whole.species != "")
    embeddings = track_datasets.embed(encoder, whole)
    if is_synthetic.any():
        return encoder, history, track_datasets.bird_pairs(embeddings, whole, is_synthetic)
    return encoder, history, track_datasets.validation_pairs(embeddings, whole, chosen)
