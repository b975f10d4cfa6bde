"""Tracks as an encoder of individuals learns from them and is judged by them: of films, and of invented birds whose names are known."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib.individuals import backbones, clustering, constraints, synthetic_tracks, track_embeddings, track_encoder
from birdlib.individuals import training as identity_training
from birdlib.multimodal import scene_audio
from birdlib.store import EmbeddingStore
from birdlib.video import images as video_images
from birdlib.video import io as video_io

_MOST_DRAWS = 20  # of who is held out, until those who stay are known to be two birds at least
N_AVIARY = 300  # invented birds, for drawn films
_HELD_OUT = 0.12  # of the birds, to be validated by
_PARTS = ("marks", "looks", "voice")  # of the early fusion


@dataclasses.dataclass(frozen=True)
class _TrackSet:
    """Tracks and their crops.

    Attributes:
        seen: arrays of the crops, as ``backbones.see`` gives them.
        of_track: (crops,) int, the track of each; in the order of time within a track.
        times_s: (crops,) in seconds of its film.
        heard, has_sound: (tracks, 125, 128) and (tracks,) bool, as ``track_encoders.hear_tracks`` gives them.
        must_not_link: (tracks, tracks) bool.
        names: (tracks,) str, the individual, ``""`` where it is not known.
        species: (tracks,) str, ``""`` where it is not known.
    """

    seen: tuple
    of_track: np.ndarray
    times_s: np.ndarray
    heard: np.ndarray
    has_sound: np.ndarray
    must_not_link: np.ndarray
    names: np.ndarray
    species: np.ndarray

    @property
    def relations(self):
        """As ``identity_relations.relations``."""
        return constraints.relations(self.must_not_link, self.names)


def of_films(summary, crops, seen, heard, has_sound, must_not_link, names):
    """The tracks of films.

    Args:
        summary, crops: of ``tracks``.
        seen, heard, has_sound: of them, row-aligned.
        must_not_link, names: (tracks, tracks) and (tracks,).
    """
    of_track = track_encoder.track_rows(summary, crops)
    times_s = crops["time_s"].to_numpy(float)
    order = np.lexsort([times_s, of_track])
    return _TrackSet(
        tuple(array[order] for array in seen), of_track[order], times_s[order], heard, has_sound, must_not_link, names, np.full(len(names), "")
    )


def _of_aviary(n_individuals, backbone, *, n_crops=8, rng):
    """Tracks of birds that the synthetic aviary invents, each in two films; see ``aviary_tracks``."""
    table, images, heard = synthetic_tracks.draw(n_individuals, n_crops=n_crops, rng=rng, n_jobs=-1)
    of_track = table.groupby(["recording_id", "track"], sort=False).ngroup().to_numpy()
    tracks = table.drop_duplicates(["recording_id", "track"])
    names, films = tracks["individual_id"].to_numpy(), tracks["recording_id"].to_numpy()
    together = (films[:, None] == films) & ~np.eye(len(films), dtype=bool)
    times_s = table["time_s"].to_numpy(float)
    order = np.lexsort([times_s, of_track])
    seen = tuple(array[order] for array in backbones.see([images[i] for i in order], backbone))
    return _TrackSet(seen, of_track[order], times_s[order], heard, np.ones(len(names), bool), together, names, tracks["species"].to_numpy())


def join(sets):
    """One set of several, whose birds are surely others."""
    from scipy.linalg import block_diag

    firsts = np.cumsum([0, *(len(one.names) for one in sets)])
    of_track = [one.of_track + first for one, first in zip(sets, firsts, strict=False)]
    seen = tuple(np.concatenate(arrays) for arrays in zip(*(one.seen for one in sets), strict=True))
    rest = {name: np.concatenate([getattr(one, name) for one in sets]) for name in ("times_s", "heard", "has_sound", "names", "species")}
    together = block_diag(*(one.must_not_link for one in sets)).astype(bool)
    return _TrackSet(seen, np.concatenate(of_track), must_not_link=together, **rest)


def learn(encoder, sets, share=_HELD_OUT, *, rng, **options):
    """Train an encoder on tracks.

    Args:
        encoder: from ``track_encoders.encoder``; its weights change.
        sets: list of ``_TrackSet``, whose birds are surely others.
        share: of the birds of each set, kept out to be validated by.
        options: of ``identity_training.fit``.

    Returns:
        (history, held_out): DataFrame as of ``identity_training.fit``, and (tracks,) bool over the tracks of all sets: nobody, where that would
        leave no two birds to be told apart.
    """
    whole = join(sets)
    known = [one.relations for one in sets]
    joined = constraints.joined(*known)
    for _ in range(_MOST_DRAWS):
        held_out = np.concatenate([constraints.hold_out(relations, share, rng) for relations in known])
        if (joined[~held_out][:, ~held_out] == -1).any():
            break
    else:
        held_out = np.zeros(len(joined), bool)
    arrays = {**dict(zip(("features", "map"), whole.seen, strict=True)), "heard": whole.heard, "has_sound": whole.has_sound}
    history = identity_training.fit(encoder, arrays, whole.of_track, joined, held_out=held_out, rng=rng, **options)
    return history, held_out


def embed(encoder, one):
    """The vectors of a set's crops, (crops, dim) unit vectors."""
    return track_encoder.embed_crops(encoder, one.seen, one.heard[one.of_track], one.has_sound[one.of_track])


def validation_pairs(embeddings, one, of_tracks=None):
    """``individuals.validation_pairs`` of some tracks of a set.

    Args:
        embeddings: (crops, dim) of the set's crops.
        of_tracks: (tracks,) bool; None for all.
    """
    of_tracks = np.ones(len(one.names), bool) if of_tracks is None else of_tracks
    rows, numbers = of_tracks[one.of_track], np.cumsum(of_tracks) - 1
    return clustering.validation_pairs(
        embeddings[rows], numbers[one.of_track[rows]], one.times_s[rows], one.must_not_link[np.ix_(of_tracks, of_tracks)], one.names[of_tracks]
    )


def pair_table(halves, relations):
    """The pairs that are known, for a figure: DataFrame ``distance, is_same``."""
    above = np.triu_indices(len(halves), k=1)
    is_known = relations[above] != 0
    distances = clustering.distances(halves)[above][is_known]
    return pd.DataFrame({"distance": distances, "is_same": relations[above][is_known] == 1})


def pairs_of_birds(embeddings, one, of_tracks):
    """Pairs of whole tracks of birds whose names and species are known, as ``validation_pairs``: the same bird in two films, and two birds of one
    species, for birds of two species anyone tells apart.

    Args:
        embeddings, one, of_tracks: as of ``validation_pairs``.
    """
    rows, numbers = of_tracks[one.of_track], np.cumsum(of_tracks) - 1
    means = clustering.mean_embeddings(embeddings[rows], numbers[one.of_track[rows]])
    chosen, species = np.ix_(of_tracks, of_tracks), one.species[of_tracks]
    is_asked = (species[:, None] == species) & ~one.must_not_link[chosen]
    return means, np.where(is_asked, one.relations[chosen], 0).astype(np.int8), np.arange(len(means))


def choose(n_aviary, parts, root):
    """What to learn from and to fuse where it is left open: (n_aviary, parts).

    Drawn birds of one species differ in small marks only, and birds drawn like them can be had; real ones differ in all their looks, and drawn
    ones teach nothing about them.

    Args:
        n_aviary: invented birds; -1 leaves it open.
        parts: as of ``vectors``; "auto" leaves it open.
        root: folder of the recordings; the synthetic sample says there that it is drawn.
    """
    if n_aviary < 0:
        n_aviary = N_AVIARY if (Path(root) / "sample.json").is_file() else 0
    return n_aviary, ("marks" if n_aviary else "marks,looks") if parts == "auto" else parts


def early_fusion(one, backbone, n_aviary=0, *, listens=False, rng, **options):
    """The early-fusion encoder for the birds of some films, and what it is judged by.

    Args:
        one: their ``_TrackSet``.
        backbone: from ``backbones.load``.
        n_aviary: invented birds to learn from as well.
        listens: also to what a bird sings while it is alone.
        options: of ``identity_training.fit``.

    Returns:
        (encoder, history, pairs): keras.Model; DataFrame as of ``identity_training.fit``, without rows where no two tracks are known to be
        different birds: the encoder is then as it was drawn; of tracks that were kept out of training, of all if none were,
        ``pairs_of_birds`` if some are invented, else ``validation_pairs``.
    """
    sets = [one] if len(one.names) else []
    if n_aviary:
        sets.append(_of_aviary(n_aviary, backbone, rng=rng))
    encoder = track_encoder.encoder(backbone.dim, backbone.map_shape, has_sound=listens)
    history = pd.DataFrame(columns=["epoch", "loss", "validation", "is_kept"])
    if not sets:
        return encoder, history, validation_pairs(embed(encoder, one), one)
    whole, held_out = join(sets), None
    if constraints.can_learn(constraints.joined(*(one.relations for one in sets))):
        history, held_out = learn(encoder, sets, rng=rng, **options)
    else:
        track_encoder.standardise(encoder, whole.seen)
    is_asked = held_out if held_out is not None and held_out.any() else np.ones(len(whole.names), bool)
    is_invented = is_asked & (whole.species != "")
    embeddings = embed(encoder, whole)
    if is_invented.any():
        return encoder, history, pairs_of_birds(embeddings, whole, is_invented)
    return encoder, history, validation_pairs(embeddings, whole, is_asked)


def vectors(
    embedder, summary, crops, must_not_link, names, film_paths, outputs_dir, folder, *, backbone, parts="marks", weights_dir="", n_aviary=0, rng, **options
):
    """The vectors of crops, by an encoder that learns from them or by that of stage 04.

    Args:
        embedder: one of ``track_embedders.NAMES``.
        summary, crops: of ``tracks``.
        must_not_link, names: (tracks, tracks) and (tracks,), as in ``_TrackSet``.
        film_paths: {recording_id: path} of those that may have sound.
        outputs_dir: where the store and stage 04 are.
        folder: of the crops.
        backbone, weights_dir: of ``backbones.load``.
        parts: what the early fusion is of: "marks", and any of "looks" (the backbone's last features) and "voice", between commas.
        n_aviary, options: of ``early_fusion``.

    Returns:
        (of_crops, encoder, history, pairs, weights): (crops, dim), row-aligned; the encoder, None of stage 04 and where nobody was seen;
        history and pairs as of ``early_fusion``; for the receipt.
    """
    of_track = track_encoder.track_rows(summary, crops)
    if not len(crops):
        nothing = np.zeros((0, track_encoder.EMBEDDING_DIM), np.float32)
        return nothing, None, pd.DataFrame(), clustering.validation_pairs(nothing, of_track, [], must_not_link), {}
    if embedder != "early_fusion":
        path = Path(outputs_dir) / "04_triplet" / "fused_encoder.keras"
        of_crops = track_embeddings.load(embedder, path).embed([video_images.read_image(folder / path) for path in crops["path"]])
        pairs = clustering.validation_pairs(of_crops, of_track, crops["time_s"].to_numpy(float), must_not_link, names)
        return of_crops, None, pd.DataFrame(), pairs, {}
    asked = [part.strip() for part in parts.split(",")]
    if "marks" not in asked or not set(asked) <= set(_PARTS):
        raise track_embeddings.TrackEmbedderError(f"parts is {parts!r}: write marks, and if wanted looks and voice, between commas")
    network = backbones.load(backbone, weights_dir, has_end="looks" in asked)
    with EmbeddingStore(Path(outputs_dir) / "store", network.key) as store:
        seen = backbones.see_crops(crops, folder, network, store)
    sound = _hear(summary, film_paths if "voice" in asked else {})
    one = of_films(summary, crops, seen, *sound, must_not_link, names)
    encoder, history, pairs = early_fusion(one, network, n_aviary, listens="voice" in asked, rng=rng, **options)
    of_crops = track_encoder.embed_crops(encoder, seen, sound[0][of_track], sound[1][of_track])
    return of_crops, encoder, history, pairs, network.weights


def subset(chosen, summary, crops, of_crops, must_not_link):
    """Some of the tracks: (summary, of_crops, of_track, must_not_link), the tracks numbered anew, ``of_track`` (crops,) int.

    Args:
        chosen: (tracks,) bool.
        summary, crops, of_crops, must_not_link: of all.
    """
    of_track = track_encoder.track_rows(summary, crops)
    rows = chosen[of_track]
    numbers = np.cumsum(chosen) - 1
    return summary[chosen].reset_index(drop=True), of_crops[rows], numbers[of_track[rows]], must_not_link[np.ix_(chosen, chosen)]


def _hear(summary, film_paths):
    """``track_encoders.hear_tracks`` of films; a film whose sound cannot be used, and what is no film, is not heard."""
    heard, has_sound = np.zeros((len(summary), scene_audio.N_STEPS, scene_audio.N_BANDS), np.float32), np.zeros(len(summary), bool)
    for name, path in film_paths.items():
        is_own = (summary["recording_id"] == name).to_numpy()
        try:
            heard[is_own], has_sound[is_own] = track_encoder.hear_tracks(summary[is_own], {name: path})
        except video_io.VideoError as error:
            warnings.warn(f"{error}: its birds are seen, but not heard", video_io.VideoWarning, stacklevel=3)
    return heard, has_sound
