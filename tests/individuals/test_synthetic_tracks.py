import numpy as np
import pytest

from birdlib.individuals import synthetic_tracks


def draw(seed):
    return synthetic_tracks.draw(4, n_crops=3, rng=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def drawn():
    return draw(0)


def test_every_bird_is_in_several_films_with_others_of_its_species(drawn):
    table = drawn[0]
    assert (table.groupby("individual_id")["recording_id"].nunique() == synthetic_tracks.N_FILMS).all()
    assert (table.groupby(["recording_id", "species"])["individual_id"].nunique() >= synthetic_tracks.N_COMPANIONS).all()
    assert (table.groupby(["recording_id", "track"])["individual_id"].nunique() == 1).all()


def test_crops_are_not_blank_and_every_track_has_a_song(drawn):
    table, images, spectrograms = drawn
    assert len(images) == len(table) and table.groupby(["recording_id", "track"]).size().between(1, 3).all()
    assert min(image.std() for image in images) > 5  # no empty picture
    assert spectrograms.shape == (table.groupby(["recording_id", "track"]).ngroups, 125, 128)
    assert table["sound"].tolist() == table.groupby(["recording_id", "track"], sort=False).ngroup().tolist()
    assert (spectrograms.max(axis=(1, 2)) > 0.4).all()


def test_with_the_sound_of_the_crops_all_birds_of_a_frame_share_it(drawn):
    """Birds and crops are those of the other kind of sound; the soundtrack has a spectrogram a time of a film."""
    table, images, spectrograms = synthetic_tracks.draw(4, n_crops=3, sound="crop", rng=np.random.default_rng(0))
    same = ["recording_id", "individual_id"]
    assert table[same].drop_duplicates().to_numpy().tolist() == drawn[0][same].drop_duplicates().to_numpy().tolist()
    times = table.groupby(["recording_id", "time_s"])["sound"]
    assert (times.nunique() == 1).all() and times.first().is_unique and sorted(times.first()) == list(range(len(spectrograms)))
    assert (table.groupby("sound").size() > 1).any() and len(images) == len(table) and spectrograms.shape[1:] == (125, 128)


def test_without_sound_the_birds_are_the_same(drawn):
    table, images, spectrograms = synthetic_tracks.draw(4, n_crops=3, sound="", rng=np.random.default_rng(0))
    assert table.drop(columns="sound").equals(drawn[0].drop(columns="sound")) and all((a == b).all() for a, b in zip(images, drawn[1], strict=True))
    assert spectrograms.shape == (1, 125, 128) and not spectrograms.any() and set(table["sound"]) == {0}


def test_seeds_are_beyond_those_of_samples(drawn):
    seeds = drawn[0]["individual_id"].str.rsplit("-", n=1).str[1].astype(int)
    assert (seeds >= synthetic_tracks.MIN_SEED).all()


def test_films_have_four_birds_and_companions_change():
    casts = synthetic_tracks._casts(36, np.random.default_rng(1))
    assert {len(cast) for cast, _ in casts} == {4}
    met = {}
    for cast, _ in casts:
        for bird in cast:
            own = {other.individual_id for other in cast if other.label == bird.label and other is not bird}
            met.setdefault(bird.individual_id, []).append(own)
    assert all(len(companies) == synthetic_tracks.N_FILMS for companies in met.values())
    assert np.mean([companies[0] != companies[1] for companies in met.values()]) > 0.5
