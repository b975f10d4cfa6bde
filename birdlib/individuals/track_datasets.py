"""Training and validation sets of tracks: of films, and of synthetic birds with known names; and the embeddings of a run's crops."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib.individuals import backbones, clustering, constraints, film_tracks, synthetic_tracks, track_embeddings
from birdlib.multimodal import scene_audio
from birdlib.store import EmbeddingStore
from birdlib.video import images as video_images
from birdlib.video import io as video_io

N_SYNTHETIC = 300  # birds, for drawn films
_MAX_SAMPLINGS = 20  # of held-out birds, until pairs of different birds are left to train with
_HELD_OUT = 0.12  # share of the birds, for validation
_PARTS = ("marks", "looks", "voice")  # of the early fusion: local features, global features, sound


@dataclasses.dataclass(frozen=True)
class TrackSet:
    """Tracks and their crops.

    Attributes:
        crop_features: of the crops, as of ``backbones.extract_features``.
        of_track: (crops,) int, the track of each; in the order of time within a track.
        times_s: (crops,) in seconds of its film.
        spectrograms, has_sound: (tracks, 125, 128) and (tracks,) bool, as of ``track_sounds``.
        must_not_link: (tracks, tracks) bool.
        names: (tracks,) str, the individual, ``""`` where unknown.
        species: (tracks,) str, ``""`` where unknown.
    """

    crop_features: tuple
    of_track: np.ndarray
    times_s: np.ndarray
    spectrograms: np.ndarray
    has_sound: np.ndarray
    must_not_link: np.ndarray
    names: np.ndarray
    species: np.ndarray

    @property
    def relations(self):
        """(tracks, tracks) int8, as of ``constraints.relations``."""
        return constraints.relations(self.must_not_link, self.names)


def from_films(summary, crops, crop_features, spectrograms, has_sound, must_not_link, names):
    """The tracks of films; arguments as in ``TrackSet``, ``crop_features`` row-aligned with ``crops``, the rest with ``summary``."""
    of_track, times_s = film_tracks.track_rows(summary, crops), crops["time_s"].to_numpy(float)
    order = np.lexsort([times_s, of_track])
    features = tuple(array[order] for array in crop_features)
    return TrackSet(features, of_track[order], times_s[order], spectrograms, has_sound, must_not_link, names, np.full(len(names), ""))


def _synthetic(n_individuals, backbone, *, n_crops=8, rng):
    """Tracks of synthetic birds; see ``synthetic_tracks``."""
    table, images, spectrograms = synthetic_tracks.draw(n_individuals, n_crops=n_crops, rng=rng, n_jobs=-1)
    of_track = table.groupby(["recording_id", "track"], sort=False).ngroup().to_numpy()
    tracks = table.drop_duplicates(["recording_id", "track"])
    names, films = tracks["individual_id"].to_numpy(), tracks["recording_id"].to_numpy()
    must_not_link = (films[:, None] == films) & ~np.eye(len(films), dtype=bool)
    times_s = table["time_s"].to_numpy(float)
    order = np.lexsort([times_s, of_track])
    features = tuple(array[order] for array in backbones.extract_features([images[i] for i in order], backbone))
    has_sound = np.ones(len(names), bool)
    return TrackSet(features, of_track[order], times_s[order], spectrograms, has_sound, must_not_link, names, tracks["species"].to_numpy())


def concatenate(sets):
    """One set of several that have no bird in common."""
    from scipy.linalg import block_diag

    firsts = np.cumsum([0, *(len(part.names) for part in sets)])
    of_track = [part.of_track + first for part, first in zip(sets, firsts, strict=False)]
    features = tuple(np.concatenate(arrays) for arrays in zip(*(part.crop_features for part in sets), strict=True))
    fields = ("times_s", "spectrograms", "has_sound", "names", "species")
    rest = {field: np.concatenate([getattr(part, field) for part in sets]) for field in fields}
    must_not_link = block_diag(*(part.must_not_link for part in sets)).astype(bool)
    return TrackSet(features, np.concatenate(of_track), must_not_link=must_not_link, **rest)


def train(encoder, sets, share=_HELD_OUT, *, rng, **options):
    """Train an encoder on tracks.

    Args:
        encoder: from ``track_encoder.encoder``; its weights change.
        sets: list of ``TrackSet`` that have no bird in common.
        share: of the birds of each set, held out for validation.
        options: of ``training.fit``.

    Returns:
        (history, held_out): DataFrame as of ``training.fit``, and (tracks,) bool over the tracks of all sets: all False where holding out
        would leave no pair of different birds.
    """
    from birdlib.individuals import training

    whole, tables = concatenate(sets), [part.relations for part in sets]
    relations = constraints.concatenate(*tables)
    for _ in range(_MAX_SAMPLINGS):
        held_out = np.concatenate([constraints.hold_out(table, share, rng) for table in tables])
        if (relations[~held_out][:, ~held_out] == -1).any():
            break
    else:
        held_out = np.zeros(len(relations), bool)
    features, maps = whole.crop_features
    arrays = {"features": features, "map": maps, "spectrogram": whole.spectrograms, "has_sound": whole.has_sound}
    history = training.fit(encoder, arrays, whole.of_track, relations, held_out=held_out, rng=rng, **options)
    return history, held_out


def embed(encoder, tracks):
    """The vectors of the crops of a ``TrackSet``, (crops, dim) unit vectors."""
    from birdlib.individuals import track_encoder

    sound = tracks.spectrograms[tracks.of_track], tracks.has_sound[tracks.of_track]
    return track_encoder.embed_crops(encoder, tracks.crop_features, *sound)


def validation_pairs(embeddings, tracks, chosen=None):
    """``clustering.validation_pairs`` of chosen tracks of a set.

    Args:
        embeddings: (crops, dim) of the set's crops.
        tracks: a ``TrackSet``.
        chosen: (tracks,) bool; None for all.
    """
    chosen = np.ones(len(tracks.names), bool) if chosen is None else chosen
    rows, numbers = chosen[tracks.of_track], np.cumsum(chosen) - 1
    of_track, must_not_link = numbers[tracks.of_track[rows]], tracks.must_not_link[np.ix_(chosen, chosen)]
    return clustering.validation_pairs(embeddings[rows], of_track, tracks.times_s[rows], must_not_link, tracks.names[chosen])


def pair_table(halves, relations):
    """The known pairs, for a figure: DataFrame ``distance, is_same``."""
    above = np.triu_indices(len(halves), k=1)
    is_known = relations[above] != 0
    distances = clustering.distances(halves)[above][is_known]
    return pd.DataFrame({"distance": distances, "is_same": relations[above][is_known] == 1})


def bird_pairs(embeddings, tracks, chosen):
    """Pairs of whole tracks of birds with known names, returned as by ``validation_pairs``: the same bird in two films, or two birds of one
    species, for birds of two species are easy to separate.

    Args:
        embeddings, tracks, chosen: as in ``validation_pairs``.
    """
    rows, numbers = chosen[tracks.of_track], np.cumsum(chosen) - 1
    means = clustering.mean_embeddings(embeddings[rows], numbers[tracks.of_track[rows]])
    table, species = np.ix_(chosen, chosen), tracks.species[chosen]
    is_pair = (species[:, None] == species) & ~tracks.must_not_link[table]
    return means, np.where(is_pair, tracks.relations[table], 0).astype(np.int8), np.arange(len(means))


def resolve_auto(n_aviary, parts, root):
    """Defaults for drawn and for real films: (n_aviary, parts).

    Drawn birds of one species differ in local features only, and synthetic birds like them can be generated. Real birds differ in global
    features too, and training on drawn birds does not transfer to them.

    Args:
        n_aviary: synthetic birds; -1 for the default.
        parts: as in ``embed_tracks``; "auto" for the default.
        root: folder of the recordings; the synthetic sample has a ``sample.json``.
    """
    if n_aviary < 0:
        n_aviary = N_SYNTHETIC if (Path(root) / "sample.json").is_file() else 0
    return n_aviary, ("marks" if n_aviary else "marks,looks") if parts == "auto" else parts


def train_early_fusion(tracks, backbone, n_aviary=0, *, has_sound=False, rng, **options):
    """The early-fusion encoder for the birds of some films, and pairs to evaluate it.

    Args:
        tracks: a ``TrackSet``.
        backbone: from ``backbones.load``.
        n_aviary: synthetic birds to train with as well.
        has_sound: whether the encoder uses the sound from while a bird is alone.
        options: of ``training.fit``.

    Returns:
        (encoder, history, pairs): keras.Model; DataFrame as of ``training.fit``, without rows if too few relations are known to train:
        the encoder then has its random weights; pairs of held-out tracks, or of all if none were held out: ``bird_pairs`` if some are
        synthetic, else ``validation_pairs``.
    """
    from birdlib.individuals import track_encoder

    sets = [tracks] if len(tracks.names) else []
    if n_aviary:
        sets.append(_synthetic(n_aviary, backbone, rng=rng))
    encoder = track_encoder.encoder(backbone.dim, backbone.map_shape, has_sound=has_sound)
    history = pd.DataFrame(columns=["epoch", "loss", "validation", "is_kept"])
    if not sets:
        return encoder, history, validation_pairs(embed(encoder, tracks), tracks)
    whole, held_out = concatenate(sets), None
    if constraints.can_train(constraints.concatenate(*(part.relations for part in sets))):
        history, held_out = train(encoder, sets, rng=rng, **options)
    else:
        track_encoder.standardise(encoder, whole.crop_features)
    chosen = held_out if held_out is not None and held_out.any() else np.ones(len(whole.names), bool)
    is_synthetic = chosen & (whole.species != "")
    embeddings = embed(encoder, whole)
    if is_synthetic.any():
        return encoder, history, bird_pairs(embeddings, whole, is_synthetic)
    return encoder, history, validation_pairs(embeddings, whole, chosen)


def embed_tracks(
    embedder, summary, crops, must_not_link, names, film_paths, outputs_dir, folder, *, backbone, parts="marks", weights_dir="", n_aviary=0, rng, **options
):
    """The vectors of crops, by an encoder that is trained on them or by that of stage 04.

    Args:
        embedder: one of ``track_embeddings.EMBEDDERS``.
        summary, crops: of ``tracking``.
        must_not_link, names: (tracks, tracks) and (tracks,), as in ``TrackSet``.
        film_paths: {recording_id: path} of films that may have sound.
        outputs_dir: of the store and stage 04.
        folder: of the crops.
        backbone, weights_dir: of ``backbones.load``.
        parts: of the early fusion, between commas: "marks" (local features), and optionally "looks" (the backbone's last features) and "voice".
        n_aviary, options: of ``train_early_fusion``.

    Returns:
        (vectors, encoder, history, pairs, weights): (crops, dim), row-aligned; the encoder, None of stage 04 and without crops; history and
        pairs as of ``train_early_fusion``; weights for the receipt.
    """
    from birdlib.individuals import track_encoder

    of_track = film_tracks.track_rows(summary, crops)
    if not len(crops):
        nothing = np.zeros((0, track_encoder.EMBEDDING_DIM), np.float32)
        return nothing, None, pd.DataFrame(), clustering.validation_pairs(nothing, of_track, [], must_not_link), {}
    if embedder != "early_fusion":
        images = [video_images.read_image(folder / path) for path in crops["path"]]
        vectors = track_embeddings.load(embedder, Path(outputs_dir) / track_embeddings.STAGE04_PATH).embed(images)
        pairs = clustering.validation_pairs(vectors, of_track, crops["time_s"].to_numpy(float), must_not_link, names)
        return vectors, None, pd.DataFrame(), pairs, {}
    chosen = [part.strip() for part in parts.split(",")]
    if "marks" not in chosen or not set(chosen) <= set(_PARTS):
        raise track_embeddings.TrackEmbedderError(f"parts is {parts!r}: give marks, and optionally looks and voice, between commas")
    network = backbones.load(backbone, weights_dir, has_end="looks" in chosen)
    with EmbeddingStore(Path(outputs_dir) / "store", network.key) as store:
        features = backbones.extract_stored_features(crops, folder, network, store)
    sound = track_sounds(summary, film_paths if "voice" in chosen else {})
    tracks = from_films(summary, crops, features, *sound, must_not_link, names)
    encoder, history, pairs = train_early_fusion(tracks, network, n_aviary, has_sound="voice" in chosen, rng=rng, **options)
    vectors = track_encoder.embed_crops(encoder, features, sound[0][of_track], sound[1][of_track])
    return vectors, encoder, history, pairs, network.weights


def subset(chosen, summary, crops, vectors, must_not_link):
    """Chosen tracks: (summary, vectors, of_track, must_not_link), the tracks renumbered, ``of_track`` (crops,) int.

    Args:
        chosen: (tracks,) bool.
        summary, crops, vectors, must_not_link: of all tracks.
    """
    of_track = film_tracks.track_rows(summary, crops)
    rows = chosen[of_track]
    numbers = np.cumsum(chosen) - 1
    return summary[chosen].reset_index(drop=True), vectors[rows], numbers[of_track[rows]], must_not_link[np.ix_(chosen, chosen)]


def track_sounds(summary, film_paths):
    """The sound of tracks, from while the bird is the only one in its film: at most ``scene_audio.SCENE_S`` of it.

    Args:
        summary: DataFrame of ``tracking.SUMMARY_COLUMNS``.
        film_paths: {recording_id: path}; other recordings have no sound.

    Returns:
        (spectrograms, has_sound): (tracks, 125, 128) float32 and (tracks,) bool, row-aligned with ``summary``; 0 and False where the bird
        is never alone, the sound is silent, or it cannot be decoded, with a warning.
    """
    spectrograms = np.zeros((len(summary), scene_audio.N_STEPS, scene_audio.N_BANDS), np.float32)
    has_sound = np.zeros(len(summary), bool)
    numbered = summary.reset_index(drop=True)
    for recording_id, rows in numbered[numbered["alone_from_s"].notna()].groupby("recording_id"):
        if recording_id not in film_paths:
            continue
        rows = rows.sort_values("alone_from_s")
        until_s = np.minimum(rows["alone_until_s"], rows["alone_from_s"] + scene_audio.SCENE_S)
        spans_s = np.column_stack([rows["alone_from_s"], until_s])
        try:
            scenes = list(scene_audio.extract_film(film_paths[recording_id], spans_s))
        except video_io.VideoError as error:
            warnings.warn(f"{error}: its birds are tracked without sound", video_io.VideoWarning, stacklevel=3)
            continue
        for scene in scenes:
            row = rows.index[np.isclose(spans_s[:, 0], scene[0])][0]
            spectrograms[row], has_sound[row] = scene[2:].reshape(spectrograms.shape[1:]), True
    return spectrograms, has_sound
