"""Duplicate detection: copies are found in any format; different songs are not."""

import warnings

import numpy as np
import pandas as pd
import pytest
import soundfile

from birdlib import runtime
from birdlib.data import duplicates

RATE_HZ = 32_000


def song(seed, duration_s=12.0):
    """Sweeps of random pitch at random times over noise: a recording unlike any other."""
    rng = np.random.default_rng(seed)
    waveform = 0.005 * rng.normal(size=int(duration_s * RATE_HZ))
    for start_s in np.cumsum(rng.uniform(0.15, 0.9, 40)):
        inside = np.linspace(0, 1, int(rng.uniform(0.05, 0.4) * RATE_HZ))
        pitch_hz = rng.uniform(1500, 5000) + rng.uniform(-1000, 1500) * inside
        note = 0.2 * np.sin(np.pi * inside) * np.sin(2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ)
        place = waveform[int(start_s * RATE_HZ) :][: note.size]
        place += note[: place.size]
    return waveform.astype(np.float32)


def save(path, waveform, rate_hz=RATE_HZ, **coding):
    soundfile.write(path, np.clip(waveform, -1, 1), rate_hz, **coding)
    return path


def pairs_among(paths):
    prints = duplicates.fingerprints(paths, n_jobs=1)
    found = duplicates.find_duplicates([runtime.digest_file(path) for path in paths], prints)
    return {(first, second): kind for first, second, kind in found[["first", "second", "kind"]].itertuples(index=False)}


def test_a_file_that_vanishes_during_the_run_has_no_copies(tmp_path):
    save(tmp_path / "a.wav", song(0, 2.0))
    table = pd.DataFrame({"audio_path": ["a.wav", "b.wav"], "image_path": "", "video_path": "", "start_s": np.nan, "end_s": np.nan})
    with pytest.warns(runtime.FileWarning, match="b.wav: could not be read .*put it back and run again"):
        digests = duplicates.digest_media(table, tmp_path)
    assert digests == [f"{runtime.digest_file(tmp_path / 'a.wav')} nan-nan", ""]


def test_copies_are_found_and_other_songs_are_not(tmp_path):
    """Twenty songs, and the first of them again in five ways."""
    paths = [save(tmp_path / f"{seed}.flac", song(seed)) for seed in range(20)]
    copy = tmp_path / "other_name.flac"
    copy.write_bytes(paths[3].read_bytes())
    original = song(0)
    paths += [
        copy,
        save(tmp_path / "coded.ogg", original, format="OGG", subtype="VORBIS", compression_level=0.9),
        save(tmp_path / "softer.flac", 0.2 * original),
        save(tmp_path / "later.flac", original[int(0.37 * RATE_HZ) :]),
        save(tmp_path / "slower_rate.wav", original[::2], RATE_HZ // 2),
        save(tmp_path / "all.ogg", 0.3 * original[int(0.5 * RATE_HZ) :], compression_level=0.9),
    ]
    found = pairs_among(paths)
    assert found.pop((3, 20)) == "exact"
    assert set(found.values()) == {"near"}
    same = {0, 21, 22, 23, 24, 25}
    assert {first for pair in found for first in pair} == same
    assert all((0, copy) in found for copy in same - {0})


def test_files_without_sound_are_compared_by_bytes_only(tmp_path):
    """Two silences, two clips of 0.04 s, a text file and a photo without sound."""
    html = tmp_path / "page.mp3"
    html.write_text("<html>not found</html>")
    paths = [save(tmp_path / f"silence{i}.flac", np.zeros(RATE_HZ * (3 + i))) for i in range(2)]
    paths += [save(tmp_path / f"clip{i}.flac", song(0)[: 1280 + i]) for i in range(2)] + [html]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prints = duplicates.fingerprints([*paths, ""], n_jobs=1)
    assert np.isnan(prints[4:]).all() and np.isfinite(duplicates.statistics(prints)[:4]).all()
    assert duplicates.find_duplicates(["a", "b", "c", "d", "e", ""], prints).empty
    found = duplicates.find_duplicates(["a", "b", "c", "c", "", ""], prints)
    assert found[["first", "second", "kind"]].to_numpy().tolist() == [[2, 3, "exact"]]
    assert duplicates.find_duplicates([], prints[:0]).empty


def test_a_fingerprint_covers_the_given_part(tmp_path):
    whole = song(5)
    paths = [save(tmp_path / "whole.flac", whole), save(tmp_path / "part.flac", whole[2 * RATE_HZ : 9 * RATE_HZ])]
    prints = duplicates.fingerprints(paths, [2.0, np.nan], [9.0, np.nan], n_jobs=1)
    np.testing.assert_allclose(prints[0], prints[1], atol=0.1)


def test_groups_of_copies_are_joined():
    """a-b and b-c make one group of three; d stays alone; rows of the same group follow."""
    table = pd.DataFrame({"group_id": ["d", "c", "b", "a", "a"]})
    pairs = pd.DataFrame({"first": [3, 2], "second": [2, 1]})
    assert list(duplicates.merge_duplicate_groups(table, pairs)["group_id"]) == ["d", "a", "a", "a", "a"]
    assert list(duplicates.merge_duplicate_groups(table, pairs[:0])["group_id"]) == list(table["group_id"])


def made_features(rng, group_effect):
    """Four species of six groups of six recordings: features are a little species, and so much group."""
    species, groups = np.repeat(np.arange(4), 36), np.repeat(np.arange(24), 6)
    features = 0.4 * rng.normal(size=(4, 30))[species] + group_effect * rng.normal(size=(24, 30))[groups]
    return features + rng.normal(size=(144, 30)), species.astype(str), groups.astype(str)


@pytest.mark.parametrize(("group_effect", "is_biased"), [(1.5, True), (0.0, False)])
def test_a_random_split_is_biased_if_groups_sound_alike(group_effect, is_biased):
    features, species, groups = made_features(np.random.default_rng(0), group_effect)
    result = duplicates.random_split_bias(features, species, groups, np.random.default_rng(1))
    assert (result["low"] > 0.05) == is_biased
    assert result["low"] <= result["bias"] <= result["high"]
    assert result["bias"] == pytest.approx(result["random"] - result["grouped"])
    assert result["sentence"].startswith("A random split would overestimate accuracy by")


def test_bias_cannot_be_estimated_from_single_groups():
    result = duplicates.random_split_bias(np.zeros((4, 2)), list("aabb"), list("wwxy"), np.random.default_rng(0))
    assert np.isnan(result["bias"]) and "cannot be estimated" in result["sentence"]


def test_where_no_sound_can_be_read_the_files_are_named_with_the_remedy():
    table = pd.DataFrame({"audio_path": ["a.ogg", "", "b.ogg"]})
    prints = np.array([[np.nan], [np.nan], [1.0]])
    kept, kept_prints = duplicates.keep_readable(table, prints, pd.DataFrame())
    assert kept["audio_path"].tolist() == ["", "b.ogg"] and len(kept_prints) == 2
    skipped = pd.DataFrame({"path": ["a.ogg"], "reason": ["is empty"]})
    with pytest.raises(runtime.BirdlibError, match="none of the 1 recordings can be read: replace these files\na.ogg: is empty"):
        duplicates.keep_readable(table[:1], prints[:1], skipped)


def test_of_a_file_with_a_part_behind_its_end_the_other_parts_stay():
    """Row 2 has no fingerprint; row 3 is a photo."""
    table = pd.DataFrame({"audio_path": ["a.ogg", "a.ogg", ""]})
    prints = np.array([[0.0], [np.nan], [np.nan]])
    kept, kept_prints = duplicates.keep_readable(table, prints, pd.DataFrame({"path": [], "reason": []}))
    assert kept["audio_path"].tolist() == ["a.ogg", ""] and len(kept_prints) == 2
