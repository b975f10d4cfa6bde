"""Training and validation sets of tracks: of films, and of synthetic birds with known names."""

import dataclasses

import numpy as np
import pandas as pd

from birdlib.individuals import backbones, clustering, constraints, film_tracks, synthetic_tracks, track_sounds

_MAX_SAMPLINGS = 20  # of held-out birds, until pairs of different birds are left to train with
_HELD_OUT = 0.12  # share of the birds, for validation


@dataclasses.dataclass(frozen=True)
class TrackSet:
    """Tracks and their crops.

    Attributes:
        crop_features: of the crops, as of ``backbones.extract_features``.
        of_track: (crops,) int, the track of each; in the order of time within a track.
        times_s: (crops,) in seconds of its film.
        sounds: ``track_sounds.Sounds`` of the crops.
        must_not_link: (tracks, tracks) bool.
        names: (tracks,) str, the individual, ``""`` where unknown.
        species: (tracks,) str, ``""`` where unknown.
    """

    crop_features: tuple
    of_track: np.ndarray
    times_s: np.ndarray
    sounds: track_sounds.Sounds
    must_not_link: np.ndarray
    names: np.ndarray
    species: np.ndarray

    @property
    def relations(self):
        """(tracks, tracks) int8, as of ``constraints.relations``."""
        return constraints.relations(self.must_not_link, self.names)


def from_films(summary, crops, crop_features, sounds, must_not_link, names):
    """The tracks of films; arguments as in ``TrackSet``, features and sounds row-aligned with ``crops``, the rest with ``summary``."""
    of_track, times_s = film_tracks.track_rows(summary, crops), crops["time_s"].to_numpy(float)
    order = np.lexsort([times_s, of_track])
    features = tuple(array[order] for array in crop_features)
    return TrackSet(features, of_track[order], times_s[order], sounds.take(order), must_not_link, names, np.full(len(names), ""))


def synthetic(n_individuals, backbone, *, n_crops=8, sound="alone", rng):
    """Tracks of synthetic birds; arguments as of ``synthetic_tracks.draw``."""
    table, images, spectrograms = synthetic_tracks.draw(n_individuals, n_crops=n_crops, sound=sound, rng=rng, n_jobs=-1)
    of_track = table.groupby(["recording_id", "track"], sort=False).ngroup().to_numpy()
    tracks = table.drop_duplicates(["recording_id", "track"])
    names, films = tracks["individual_id"].to_numpy(), tracks["recording_id"].to_numpy()
    must_not_link = (films[:, None] == films) & ~np.eye(len(films), dtype=bool)
    times_s = table["time_s"].to_numpy(float)
    order = np.lexsort([times_s, of_track])
    features = tuple(array[order] for array in backbones.extract_features([images[i] for i in order], backbone))
    sounds = track_sounds.Sounds(spectrograms, np.full(len(spectrograms), bool(sound)), table["sound"].to_numpy()[order])
    return TrackSet(features, of_track[order], times_s[order], sounds, must_not_link, names, tracks["species"].to_numpy())


def concatenate(sets):
    """One set of several that have no bird in common; a single one is returned as it is."""
    from scipy.linalg import block_diag

    if len(sets) == 1:
        return sets[0]
    firsts = np.cumsum([0, *(len(part.names) for part in sets)])
    of_track = [part.of_track + first for part, first in zip(sets, firsts, strict=False)]
    features = tuple(np.concatenate(arrays) for arrays in zip(*(part.crop_features for part in sets), strict=True))
    rest = {field: np.concatenate([getattr(part, field) for part in sets]) for field in ("times_s", "names", "species")}
    must_not_link = block_diag(*(part.must_not_link for part in sets)).astype(bool)
    sounds = track_sounds.concatenate([part.sounds for part in sets])
    return TrackSet(features, np.concatenate(of_track), sounds=sounds, must_not_link=must_not_link, **rest)


def train(encoder, whole, tables, share=_HELD_OUT, *, rng, **options):
    """Train an encoder on tracks.

    Args:
        encoder: from ``track_encoder.encoder``; its weights change.
        whole: a ``TrackSet``, of ``concatenate``.
        tables: the ``relations`` of its parts, which have no bird in common.
        share: of the birds of each part, held out for validation.
        options: of ``training.fit``.

    Returns:
        (history, held_out): DataFrame as of ``training.fit``, and (tracks,) bool over the tracks of all sets: all False where holding out
        would leave no pair of different birds.
    """
    from birdlib.individuals import training

    relations = constraints.concatenate(*tables)
    for _ in range(_MAX_SAMPLINGS):
        held_out = np.concatenate([constraints.hold_out(table, share, rng) for table in tables])
        if (relations[~held_out][:, ~held_out] == -1).any():
            break
    else:
        held_out = np.zeros(len(relations), bool)
    features, maps = whole.crop_features
    sounds = {"spectrogram": whole.sounds.spectrograms, "has_sound": whole.sounds.is_present, "sound_of": whole.sounds.of_crop}
    arrays = {"features": features, "map": maps, **sounds}
    history = training.fit(encoder, arrays, whole.of_track, relations, held_out=held_out, rng=rng, **options)
    return history, held_out


def embed(encoder, tracks):
    """The vectors of the crops of a ``TrackSet``, (crops, dim) unit vectors."""
    from birdlib.individuals import track_encoder

    return track_encoder.embed_crops(encoder, tracks.crop_features, tracks.sounds)


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
