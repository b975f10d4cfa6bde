import types

import numpy as np
import pandas as pd
import pytest

from birdlib.individuals import voices

N_BIRDS, N_EACH, DIM = 8, 12, 20


def table_of(birds, groups):
    return pd.DataFrame({"individual_id": birds, "group_id": groups})


def aviary(seed=0, spread=0.2, distance=1.0, loudness=5.0, n_sessions=3):
    """Birds with a voice each, singing now louder and now fainter: (vectors, birds, table)."""
    rng = np.random.default_rng(seed)
    birds = np.repeat([f"bird{i}" for i in range(N_BIRDS)], N_EACH)
    own = np.repeat(distance * rng.standard_normal((N_BIRDS, DIM)), N_EACH, axis=0)
    louder = np.outer(loudness * rng.standard_normal(len(birds)), np.eye(DIM)[0])  # says nothing about the bird
    vectors = own + louder + spread * rng.standard_normal((len(birds), DIM))
    groups = [f"{bird}-{i % n_sessions}" for i, bird in enumerate(birds)]
    return vectors, birds, table_of(birds, groups)


@pytest.fixture(scope="module")
def clear():
    """Voices that differ: (vectors, birds, sessions)."""
    vectors, birds, table = aviary()
    return vectors, birds, voices.sessions(table)


@pytest.fixture(scope="module")
def alike():
    """Birds that all sound the same."""
    vectors, birds, table = aviary(distance=0.0)
    return vectors, birds, voices.sessions(table)


def test_a_recording_is_the_weighted_mean_of_its_patches():
    patches = pd.DataFrame({"recording_id": ["a", "a", "b"], "bird_score": [1.0, 0.0, 0.5]})
    names, found = voices.vectors(np.array([[1.0, 0], [0, 1.0], [3.0, 4.0]], np.float32), patches, view_dim=2)
    heard = np.array([1.0, 0.05]) / np.hypot(1.0, 0.05)  # silence weighs 0.05
    assert names.tolist() == ["a", "b"] and np.allclose(found, [heard, [0.6, 0.8]], atol=1e-6)


def test_an_embedded_waveform_has_the_vector_of_its_patches():
    heard = np.array([[1.0, 0], [0, 1.0]], np.float32), np.array([1.0, 0.0], np.float32)
    listener = types.SimpleNamespace(embed=lambda waveform: heard)
    patches = pd.DataFrame({"recording_id": ["a", "a"], "bird_score": heard[1]})
    found = voices.embed(np.zeros(10, np.float32), listener, view_dim=2)
    assert np.allclose(found, voices.vectors(heard[0], patches, view_dim=2)[1][0])


def test_folds_never_separate_a_session(clear):
    _, birds, table = aviary()
    found = voices.sessions(table)
    assert (found.groupby(table["group_id"])["fold"].nunique() == 1).all() and not found["shares_background"].any()
    assert (found.groupby(birds)["fold"].nunique() == 3).all()  # three sessions a bird are in three folds


def test_folds_never_separate_a_session_of_two_birds():
    table = table_of(["a", "b", "a", "b", "a", "b"], ["one", "one", "two", "two", "three", "four"])
    found = voices.sessions(table, n_folds=2)
    assert (found.groupby(table["group_id"])["fold"].nunique() == 1).all()


def test_blocks_replace_sessions_of_birds_with_one_and_are_reported():
    table = table_of(["a"] * 8 + ["b"] * 4, ["tape"] * 8 + ["one", "one", "two", "two"])
    found = voices.sessions(table, n_folds=4)
    assert found["fold"].tolist()[:8] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert found["shares_background"].tolist() == [True] * 8 + [False] * 4


def test_two_birds_need_two_recordings():
    with pytest.raises(voices.VoicesError, match="individual_id"):
        voices.sessions(table_of(["a", "a", "b"], ["x", "y", "z"]))


def test_directions_that_vary_within_birds_get_small_weights():
    """Loudness is the largest direction by far; a bird that sings loudly is still near to itself."""
    vectors, birds, _ = aviary(loudness=20.0)
    space = voices.fit_space(vectors, birds)
    louder = vectors + 20.0 * np.eye(DIM)[0]
    assert (space.nearest(louder)[0] == birds).mean() > 0.95
    plain = voices.fit_space(vectors, birds, shrinkage=1.0)
    assert (plain.nearest(louder)[0] == birds).mean() < 0.8
    assert np.allclose(np.linalg.norm(space.project(vectors), axis=1), 1.0, atol=1e-5)


def test_a_space_needs_two_birds_but_one_recording_each():
    space = voices.fit_space(np.eye(3), ["a", "b", "c"])
    assert space.nearest(np.eye(3))[0].tolist() == ["a", "b", "c"]
    with pytest.raises(voices.VoicesError, match="two birds"):
        voices.fit_space(np.eye(3), ["a", "a", "a"])


def test_distinct_voices_are_identified_and_equal_ones_at_chance(clear, alike):
    assert voices.closed_set(*clear)["is_right"].mean() > 0.95
    assert voices.closed_set(*alike)["is_right"].mean() < 0.3  # 1 in 8 by chance


def test_evaluated_recordings_are_not_fitted_on(clear):
    """A bird heard in one fold only cannot be recognised, and is left out rather than counted as wrong."""
    vectors, birds, sessions = clear
    sessions = sessions.assign(fold=np.where(birds == "bird3", 0, sessions["fold"]))
    found = voices.closed_set(vectors, birds, sessions)
    assert "bird3" not in set(found["bird"]) and set(found["bird"]) == set(birds) - {"bird3"}


def test_the_order_of_the_recordings_does_not_matter(clear):
    vectors, birds, sessions = clear
    order = np.random.default_rng(1).permutation(len(birds))
    shuffled = voices.closed_set(vectors[order], birds[order], sessions.iloc[order])
    assert (voices.closed_set(*clear)["predicted"].to_numpy()[order] == shuffled["predicted"].to_numpy()).all()


def test_more_dimensions_than_recordings_change_nothing(clear):
    """Turned into 300 dimensions, the recordings lie to each other as before."""
    vectors, birds, sessions = clear
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((300, DIM)))[0].T  # (DIM, 300), orthonormal rows
    found = voices.closed_set(vectors @ turn, birds, sessions)
    assert np.allclose(found["distance"], voices.closed_set(*clear)["distance"], atol=1e-6)


def test_every_bird_is_unknown_once_and_distinct_ones_are_called_new(clear):
    found = voices.open_set(*clear, rng=np.random.default_rng(0))
    unknown = found[~found["is_known"]]
    assert sorted(unknown.index) == list(range(N_BIRDS * N_EACH))
    assert unknown["is_right"].mean() > 0.8 and found.loc[found["is_known"], "is_right"].mean() > 0.8
    assert (unknown["is_right"] == (unknown["predicted"] == voices.UNKNOWN)).all()


@pytest.mark.parametrize("false_accept", [0.05, 0.3])
def test_new_birds_are_accepted_at_about_the_given_rate(false_accept):
    """Of voices that overlap, so that the threshold is what decides."""
    vectors, birds, table = aviary(spread=1.0, seed=3)
    found = voices.open_set(vectors, birds, voices.sessions(table), false_accept, rng=np.random.default_rng(0))
    taken = 1.0 - found.loc[~found["is_known"], "is_right"].mean()
    assert abs(taken - false_accept) < 0.12


def test_distinct_voices_are_clustered_without_labels(clear):
    found = voices.cluster_unknown(*clear, n_rounds=2, rng=np.random.default_rng(0))
    assert sorted(found.index) == list(range(N_BIRDS * N_EACH))
    assert found.groupby("bird")["predicted"].nunique().max() == found.groupby("predicted")["bird"].nunique().max() == 1


def test_figures_lie_in_their_intervals(clear, alike):
    for case in (clear, alike):
        opened = voices.open_set(*case, rng=np.random.default_rng(0))
        grouped = voices.cluster_unknown(*case, rng=np.random.default_rng(0))
        table = voices.figures(voices.closed_set(*case), opened, grouped, n_draws=50, rng=np.random.default_rng(0)).set_index("figure")
        assert (table.loc["no bird known, F1 of pairs", "value"] == 1) == (case is clear)
        assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
        taken = table.loc["open set, unknown birds identified as a known bird", "value"]
        assert table.loc["open set, BAUS", "value"] == pytest.approx(1.0 - taken)  # as all birds sing equally often


def test_too_few_birds_raise_with_their_number(clear):
    vectors, birds, sessions = (x[: 3 * N_EACH] for x in clear)
    with pytest.raises(voices.VoicesError, match="3 birds"):
        voices.open_set(vectors, birds, sessions, rng=np.random.default_rng(0))
    assert len(voices.cluster_unknown(vectors, birds, sessions, rng=np.random.default_rng(0))) == 0
