import types

import numpy as np
import pytest
from made_voices import DIM, aviary, table_of

from birdlib.individuals import voices


@pytest.fixture(scope="module")
def clear():
    """Voices that differ: (vectors, birds, sessions)."""
    vectors, birds, table = aviary()
    return vectors, birds, voices.sessions(table)


def test_a_recording_is_the_weighted_mean_of_its_patches():
    """Silence weighs 0.05."""
    patches, bird_scores = np.array([[1.0, 0], [0, 1.0]], np.float32), np.array([1.0, 0.0], np.float32)
    expected = np.array([1.0, 0.05]) / np.hypot(1.0, 0.05)
    assert np.allclose(voices.pooled(patches, bird_scores, view_dim=2), expected, atol=1e-6)
    embedder = types.SimpleNamespace(embed=lambda waveform: (patches, bird_scores))
    assert np.allclose(voices.embed(np.zeros(10, np.float32), embedder, view_dim=2), expected, atol=1e-6)


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


@pytest.mark.parametrize(
    "name, day",
    [
        ("SITE_20250414_061000.wav", "2025-04-14"),
        ("cyom_E5_side_A_050606_001650.ogg", "050606"),  # a date, then the position on the tape
        ("azrm_B_side_B_05-04-06_000232.ogg", "050406"),
        ("bagm_C4_bagm_012007.ogg", "012007"),
        ("boom_D3_boom_060609b.ogg", "060609"),
        ("bmor_A10_bmor_feb_12.ogg", "feb 12"),
        ("XC123456.mp3", ""),
        ("take_998877.wav", ""),
        ("song.wav", ""),
    ],
)
def test_the_day_is_read_from_the_name_of_the_file(name, day):
    assert voices.days(table_of(["a"], ["g1"]).assign(audio_path=f"folder/{name}")).tolist() == [day or "session g1"]


def test_sessions_without_a_date_are_days_of_their_own():
    assert voices.days(table_of(["a", "a"], ["x", "y"])).tolist() == ["session x", "session y"]
