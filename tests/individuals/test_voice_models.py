import dataclasses

import numpy as np
import pandas as pd
import pytest
from made_voices import DIM, N_BIRDS, N_EACH, aviary

from birdlib import runtime
from birdlib.individuals import voice_models, voices


def voices_of(features=("embedding",), **options):
    """The birds of ``made_voices.aviary`` as ``Voices`` without comparison of songs."""
    vectors, birds, table = aviary(**options)
    return voice_models.Voices(birds, voices.sessions(table), view(vectors, birds), features=features)


def view(vectors, hosts, similarities=None):
    n = len(vectors)
    return voice_models.View(vectors, np.zeros((n, n)) if similarities is None else similarities, np.asarray(hosts, dtype=object))


def types_sung(seed=0, n_types=4):
    """Similarities of songs: 0.9 for one type of one bird, which it sings in every session, and 0.4 for all others, with noise."""
    birds, types = np.repeat(np.arange(N_BIRDS), N_EACH), np.tile(np.arange(N_EACH) // 3 % n_types, N_BIRDS)
    same = (birds[:, None] == birds) & (types[:, None] == types)
    return np.where(same, 0.9, 0.4) + 0.05 * np.random.default_rng(seed).standard_normal(same.shape)


def with_songs(data, similarities, features=voice_models.FEATURES["auto"]):
    return dataclasses.replace(data, recorded=dataclasses.replace(data.recorded, similarities=similarities), features=features)


@pytest.fixture(scope="module")
def clear():
    """Voices that differ."""
    return voices_of()


@pytest.fixture(scope="module")
def alike():
    """Birds that all sound the same."""
    return voices_of(distance=0.0)


def test_distinct_voices_are_identified_and_equal_ones_at_chance(clear, alike):
    assert voice_models.closed_set(clear)["is_right"].mean() > 0.95
    assert voice_models.closed_set(alike)["is_right"].mean() < 0.3  # 1 in 8 by chance


def test_evaluated_recordings_are_not_fitted_on(clear):
    """A bird in one fold only cannot be recognised, and is left out rather than counted as wrong."""
    folds = np.where(clear.birds == "bird3", 0, clear.sessions["fold"])
    found = voice_models.closed_set(dataclasses.replace(clear, sessions=clear.sessions.assign(fold=folds)))
    assert "bird3" not in set(found["bird"]) and set(found["bird"]) == set(clear.birds) - {"bird3"}


def test_the_order_of_the_recordings_does_not_matter(clear):
    order = np.random.default_rng(1).permutation(len(clear.birds))
    shuffled = voice_models.Voices(
        clear.birds[order], clear.sessions.iloc[order].reset_index(drop=True), view(clear.recorded.vectors[order], clear.birds[order]),
        features=clear.features,
    )  # fmt: skip
    found = voice_models.closed_set(shuffled)["predicted"].to_numpy()
    assert (voice_models.closed_set(clear)["predicted"].to_numpy()[order] == found).all()


def test_more_dimensions_than_recordings_change_nothing(clear):
    """Turned into 300 dimensions, the recordings lie to each other as before."""
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((300, DIM)))[0].T  # (DIM, 300), orthonormal rows
    found = voice_models.closed_set(dataclasses.replace(clear, recorded=view(clear.recorded.vectors @ turn, clear.birds)))
    assert np.allclose(found["score"], voice_models.closed_set(clear)["score"], atol=1e-5)


def test_song_types_that_recur_identify_birds_whose_embeddings_are_alike(alike):
    data = with_songs(alike, types_sung())
    assert voice_models.closed_set(data)["is_right"].mean() > 0.95
    assert voice_models.closed_set(dataclasses.replace(data, features=("songs",)))["is_right"].mean() > 0.95


def test_faint_songs_are_known_as_well_as_loud_ones(alike):
    """Half of the recordings are faint: all their similarities are lower by 0.3, more than types of one bird differ from others."""
    faint = np.where(np.arange(len(alike.birds)) % 2 == 0, 0.3, 0.0)
    similarities = types_sung()
    score = [
        voice_models.closed_set(with_songs(alike, table, ("songs",)))["score"].to_numpy() for table in (similarities, similarities - faint[:, None])
    ]
    assert np.allclose(*score)


def test_the_feature_that_identifies_birds_gets_the_weight(clear, alike):
    """Weights of features that say nothing are small beside their spread; neither is negative."""
    known = np.ones(len(clear.birds), bool)
    by_song = voice_models.fit(with_songs(alike, types_sung()), known).weights
    by_embedding = voice_models.fit(with_songs(clear, np.random.default_rng(0).uniform(0.4, 0.6, (len(known),) * 2)), known).weights
    assert (by_song >= 0).all() and (by_embedding >= 0).all()
    assert by_song[0] * 0.5 > 5 * by_song[1]  # types differ by 0.5; cosines of unlike birds by about 1
    assert by_embedding[1] > 5 * by_embedding[0] * 0.2


def test_an_embedding_that_follows_the_background_gets_less_weight():
    """One session a bird: as recorded, the embedding identifies all birds; over another background it points to the host."""
    data = voices_of(n_sessions=1)
    assert data.sessions["shares_background"].all()
    data = with_songs(data, types_sung())
    rng, places = np.random.default_rng(0), data.recorded.vectors
    hosts = np.array([rng.choice(np.unique(data.birds[data.birds != bird])) for bird in data.birds], dtype=object)
    rows = np.array([rng.choice(np.flatnonzero(data.birds == host)) for host in hosts])
    swapped = dataclasses.replace(data, swapped=view(places[rows], hosts, data.recorded.similarities))
    known = np.ones(len(data.birds), bool)
    without, over_backgrounds = (voice_models.fit(each, known).weights for each in (data, swapped))
    assert without[1] > 1.0 and over_backgrounds[1] < 0.5 * without[1]
    renditions = swapped.sessions.assign(fold=np.arange(len(known)) % 3)  # the blocks of the session hold other song types
    found = voice_models.closed_set(dataclasses.replace(swapped, sessions=renditions), {"other background": swapped.swapped})
    assert found["is_right"].mean() > 0.9 and (found["host"] != found["bird"]).all()


def test_whether_a_bird_has_one_session_depends_on_what_is_known():
    """Bird a sings in units 0 and 1, b in 2, c in the blocks 3 and 4 of one session."""
    sessions = pd.DataFrame({"fold": 0, "unit": range(5), "shares_background": [False, False, False, True, True]})
    data = voice_models.Voices(np.array(list("aabcc")), sessions, view(np.eye(5), list("aabcc")))
    assert voice_models._in_one_session(data, np.ones(5, bool)).tolist() == [False, False, True, True, True]
    assert voice_models._in_one_session(data, np.array([1, 0, 1, 1, 1], bool)).tolist() == [True] * 5


def test_recordings_that_are_not_present_in_a_view_are_left_out(clear):
    hosts = np.where(np.arange(len(clear.birds)) < 10, clear.birds, "")
    found = voice_models.closed_set(clear, {"few": view(clear.recorded.vectors, hosts)})
    assert sorted(found.index) == list(range(10)) and set(found["kind"]) == {"few"}


def test_conditions_tell_days_from_sessions():
    """Bird a sings twice on the first day and once on the second; b in one session."""
    days = ["one", "one", "two", "one", "one"]
    sessions = pd.DataFrame({"fold": [0, 1, 2, 0, 1], "unit": range(5), "day": days, "shares_background": [False] * 3 + [True] * 2})
    data = voice_models.Voices(np.array(list("aaabb")), sessions, view(np.eye(5), list("aaabb")))
    known = np.array([True, False, False, True, False])
    assert voice_models.conditions(data, known, [1, 2, 4]).tolist() == ["another session", "another day", "same session"]


def test_every_bird_is_unknown_once_and_distinct_ones_are_called_new(clear):
    found = voice_models.open_set(clear, 0.2, rng=np.random.default_rng(0))
    unknown = found[~found["is_known"]]
    assert sorted(unknown.index) == list(range(N_BIRDS * N_EACH))
    assert unknown["is_right"].mean() > 0.8 and found.loc[found["is_known"], "is_right"].mean() > 0.8
    assert (unknown["is_right"] == (unknown["predicted"] == voice_models.UNKNOWN)).all()
    assert ((found["margin"] >= 0) == (found["predicted"] != voice_models.UNKNOWN)).all()


@pytest.mark.parametrize("false_accept", [0.15, 0.3])
def test_new_birds_are_accepted_at_no_more_than_the_given_rate(false_accept):
    """Over many partitions of birds that overlap. The standard error of the mean is 0.02, as eight birds are new in five aviaries."""
    taken = []
    for seed in range(5):
        data = voices_of(spread=1.0, seed=seed)
        found = voice_models.open_set(data, false_accept, n_folds=1, rng=np.random.default_rng(seed))
        taken.append(1.0 - found.loc[~found["is_known"], "is_right"].mean())
    assert 0 < np.mean(taken) < false_accept + 0.04


def test_too_few_birds_raise_with_their_number(clear):
    few = clear.birds < "bird3"
    data = voice_models.Voices(clear.birds[few], clear.sessions[few], view(clear.recorded.vectors[few], clear.birds[few]), features=("embedding",))
    with pytest.raises(voices.VoicesError, match="3 birds"):
        voice_models.open_set(data, rng=np.random.default_rng(0))


def test_unknown_features_are_an_error():
    assert voice_models.resolve_features("auto") == ("songs", "embedding")
    with pytest.raises(runtime.ParameterError, match="voice_features.*choose one of auto, songs, embedding"):
        voice_models.resolve_features("voice")
