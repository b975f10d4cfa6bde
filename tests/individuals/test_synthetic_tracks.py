import numpy as np
import pytest

from birdlib.individuals import synthetic_tracks


def draw(seed):
    return synthetic_tracks.draw(4, n_crops=3, rng=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def drawn():
    return draw(0)


def test_everyone_is_in_several_films_and_has_company_of_its_species(drawn):
    table = drawn[0]
    assert (table.groupby("individual_id")["recording_id"].nunique() == synthetic_tracks.N_FILMS).all()
    assert (table.groupby(["recording_id", "species"])["individual_id"].nunique() >= synthetic_tracks.COMPANY).all()
    assert (table.groupby(["recording_id", "track"])["individual_id"].nunique() == 1).all()


def test_a_crop_shows_a_bird_and_every_track_has_a_voice(drawn):
    table, images, heard = drawn
    assert len(images) == len(table) and table.groupby(["recording_id", "track"]).size().between(1, 3).all()
    assert min(image.std() for image in images) > 5  # no empty picture
    assert heard.shape == (table.groupby(["recording_id", "track"]).ngroups, 125, 128)
    assert (heard.max(axis=(1, 2)) > 0.4).all()


def test_they_are_other_birds_than_any_sample_has(drawn):
    seeds = drawn[0]["individual_id"].str.rsplit("-", n=1).str[1].astype(int)
    assert (seeds >= synthetic_tracks.MIN_SEED).all()


def test_casts_are_of_whole_films_and_companions_change():
    casts = synthetic_tracks._casts(36, np.random.default_rng(1))
    assert {len(cast) for cast, _ in casts} == {4}
    met = {}
    for cast, _ in casts:
        for bird in cast:
            own = {other.individual_id for other in cast if other.label == bird.label and other is not bird}
            met.setdefault(bird.individual_id, []).append(own)
    assert all(len(companies) == synthetic_tracks.N_FILMS for companies in met.values())
    assert np.mean([companies[0] != companies[1] for companies in met.values()]) > 0.5
