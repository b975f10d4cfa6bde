"""Splits: no group is divided, no species is missing, and repeated rows are marked."""

import warnings

import numpy as np
import pandas as pd
import pytest

from birdlib.data import manifest, splits


def recordings(species, groups, **columns):
    """A normalised manifest with one sound recording per (species, group)."""
    names = [f"r{index:05d}" for index in range(len(species))]
    table = pd.DataFrame({"recording_id": names, "species": species, "group_id": groups})
    return manifest.normalise(table.assign(audio_path=[f"{name}.ogg" for name in names], **columns))


def random_manifest(rng):
    """Species from common to single, groups of one or several species, some photos, some videos."""
    n = int(rng.integers(3, 120))
    species = rng.geometric(rng.uniform(0.05, 0.6), n)
    groups = rng.integers(0, rng.integers(1, 2 * n), n)
    table = recordings([f"s{i}" for i in species], [f"g{i}" for i in groups])
    kind = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    for number, column in ((1, "image_path"), (2, "video_path")):
        table.loc[kind == number, column] = table["recording_id"] + (".jpg" if number == 1 else ".mp4")
    table.loc[kind > 0, "audio_path"] = ""
    return table


@pytest.mark.parametrize("seed", range(120))
def test_groups_stay_whole_and_species_are_in_all_splits(seed):
    rng = np.random.default_rng(seed)
    table = random_manifest(rng)
    result = splits.assign(table, rng)
    assert splits.leaks(result) == []
    own = result[~result["is_repeated"]]
    assert sorted(own["recording_id"]) == sorted(table["recording_id"])
    assert own.groupby("group_id")["split"].nunique().max() == 1
    seen = pd.crosstab(splits.strata(result), result["split"].to_numpy())
    assert (seen[list(splits.SPLITS)] > 0).all(axis=None)
    assert not result.duplicated(["recording_id", "split"]).any()


@pytest.mark.parametrize(("n_groups", "own"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (4, (2, 1, 1))])
def test_rare_species_rule(n_groups, own):
    """Beside a common species, and with several recordings in each group: groups count, not recordings."""
    species = ["common"] * 50 + ["rare"] * (2 * n_groups)
    groups = [f"c{i}" for i in range(50)] + [f"r{i // 2}" for i in range(2 * n_groups)]
    result = splits.assign(recordings(species, groups), np.random.default_rng(0))
    rare = result[result["species"] == "rare"]
    counted = rare[~rare["is_repeated"]].groupby("split")["group_id"].nunique().reindex(splits.SPLITS, fill_value=0)
    assert tuple(counted) == own
    repeated = rare[rare["is_repeated"]]
    if n_groups == 1:
        assert set(repeated["split"]) == {"validation", "test"} and len(repeated) == 4
    elif n_groups == 2:
        validation = rare[(rare["split"] == "validation")]
        assert set(repeated["split"]) == {"test"}
        assert sorted(repeated["recording_id"]) == sorted(validation["recording_id"])
    else:
        assert repeated.empty


def test_sound_and_photos_are_split_separately():
    """One recording and nine photos of a species: the recording is in all splits, the photos are shared out."""
    table = recordings(["wren"] * 10, [f"g{i}" for i in range(10)])
    table.loc[1:, "image_path"] = table["recording_id"] + ".jpg"
    table.loc[1:, "audio_path"] = ""
    result = splits.assign(table, np.random.default_rng(0))
    sound = result["audio_path"] != ""
    assert sorted(result.loc[sound, "split"]) == sorted(splits.SPLITS)
    assert not result.loc[~sound, "is_repeated"].any()
    assert result.loc[~sound, "split"].nunique() == 3


def test_the_order_of_rows_does_not_matter():
    table = random_manifest(np.random.default_rng(11))
    shuffled = table.sample(frac=1.0, random_state=5)
    first, second = (splits.assign(each, np.random.default_rng(1)) for each in (table, shuffled))
    pd.testing.assert_frame_equal(first, second)
    fold = pd.Series(splits.folds(table, 3, np.random.default_rng(1)), index=table["recording_id"])
    again = pd.Series(splits.folds(shuffled, 3, np.random.default_rng(1)), index=shuffled["recording_id"])
    assert (fold == again[fold.index]).all()


def test_rows_of_one_file_are_one_group():
    """Two segments of a file given two group_ids by mistake still fall into one split."""
    table = recordings(["wren"] * 20, [f"g{i}" for i in range(20)])
    table["audio_path"] = [f"file{i // 2}.ogg" for i in range(20)]
    result = splits.assign(table, np.random.default_rng(0))
    assert result.groupby("audio_path")["split"].nunique().max() == 1
    assert splits.leaks(result) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_share_of_0_omits_the_split(seed):
    rng = np.random.default_rng(seed)
    table = random_manifest(rng)
    for lacking in ("test", "validation"):
        result = splits.assign(table, rng, **{f"{lacking}_share": 0.0})
        assert set(result["split"]) == set(splits.SPLITS) - {lacking}
        assert splits.leaks(result) == []


@pytest.mark.parametrize("share", [0.5, -0.1, float("nan")])
def test_invalid_shares_are_refused(share):
    with pytest.raises(splits.SplitError, match="nothing to train on"):
        splits.assign(recordings(["wren"], ["g"]), np.random.default_rng(0), validation_share=0.5, test_share=share)


def test_leaks_are_reported():
    table = recordings(["wren"] * 6, ["a", "a", "b", "b", "c", "c"])
    table["split"] = ["train", "test", "train", "train", "validation", "holdout"]
    table["is_repeated"] = [False, False, True, False, False, True]
    found = "\n".join(splits.leaks(table))
    faults = "unknown splits: holdout", "group_id a lies in 2", "train has rows marked", "r00005 has only repeated"
    assert all(fault in found for fault in faults)


@pytest.mark.parametrize("seed", range(20))
def test_folds_hold_out_every_recording_once_by_whole_groups(seed):
    rng = np.random.default_rng(seed)
    table = recordings(rng.choice(list("abc"), 90), [f"g{i}" for i in rng.integers(0, 30, 90)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fold = splits.folds(table, 4, rng)
    assert sorted(set(fold)) == [0, 1, 2, 3]
    assert table.assign(fold=fold).groupby("group_id")["fold"].nunique().max() == 1


def test_folds_of_rare_species_only():
    """Nothing to stratify: five species with one recording each still make three folds."""
    fold = splits.folds(recordings(list("abcde"), list("vwxyz")), 3, np.random.default_rng(0))
    assert sorted(set(fold)) == [0, 1, 2]


def test_one_fold_holds_all():
    """All that can be made of a single film."""
    assert splits.folds(recordings(["wren"] * 2, ["a", "a"]), 1, np.random.default_rng(0)).tolist() == [0, 0]


def test_more_folds_than_groups_are_refused():
    with pytest.raises(splits.SplitError, match="2 independent groups cannot make 3 folds"):
        splits.folds(recordings(["wren"] * 4, ["a", "a", "b", "b"]), 3, np.random.default_rng(0))


def test_own_rows_are_all_rows_if_all_are_repeated():
    table = pd.DataFrame({"split": ["train", "test", "test"], "is_repeated": [False, True, False]})
    assert splits.own_rows(table, "test").tolist() == [False, False, True]
    assert splits.own_rows(table.iloc[:2], "test").tolist() == [False, True]


# Species kept out of training


def rng(seed=0):
    return np.random.default_rng(seed)


def complete(n_species, columns=("species",), without=()):
    """Photos and sounds of so many species in train and test."""
    rows = [(f"s{k}", split, False) for k in range(n_species) for split in ("train", "test")]
    table = pd.DataFrame(rows, columns=[*columns, "split", "is_repeated"])
    return table, table[~table[columns[0]].isin(without)]


@pytest.mark.parametrize("n_species", range(9))
@pytest.mark.parametrize(("n_least", "n_kept"), [(1, 3), (2, 2)])
def test_the_number_of_species_left_out(n_species, n_least, n_kept):
    for share in (0, 0.01, 0.25, 0.5, 0.9, 1):
        left_out = splits.leave_out(complete(n_species), share, rng(), min_left_out=n_least, min_kept=n_kept)
        expected = min(max(n_least, round(share * n_species)), n_species - n_kept)
        assert len(set(left_out)) == len(left_out) == (expected if share and n_species >= n_least + n_kept else 0)
        assert left_out == sorted(left_out)


def test_leaving_out_is_reproducible_by_seed():
    first, again, *others = (splits.leave_out(complete(8), 0.25, rng(seed)) for seed in (1, 1, 2, 3, 4, 5))
    assert first == again and any(first != other for other in others)


def test_only_species_with_all_media_in_train_and_test_are_left_out():
    """s5 and above lack a sound; s4 has only a repeated photo in test."""
    photos, sounds = complete(8, ["category"], without=["s5", "s6", "s7"])
    photos.loc[(photos["category"] == "s4") & (photos["split"] == "test"), "is_repeated"] = True
    for seed in range(10):
        found = splits.leave_out([photos, sounds], 1.0, rng(seed), "category", min_left_out=2, min_kept=2)
        assert len(found) == 2 and set(found) < {"s0", "s1", "s2", "s3"}


def test_without_candidates_nothing_is_left_out():
    photos, sounds = complete(8)
    assert splits.leave_out([], 0.5, rng()) == splits.leave_out([photos, sounds[:0]], 0.5, rng()) == []
    assert splits.leave_out([photos], 0.25, rng())  # with one kind of media that alone counts


def test_rows_of_a_split_exclude_repeated_rows_and_species():
    table = pd.DataFrame({"species": list("aabb"), "split": ["train", "test", "train", "train"], "is_repeated": [False, False, True, False]})
    assert [list(one.index) for one in splits.rows_of([table, table[:0]], "train")] == [[0, 3], []]
    assert [list(one.index) for one in splits.rows_of([table], "train", ["a"])] == [[3]]


def test_description_names_species_without_a_test_row_of_their_own():
    table = pd.DataFrame({"species": ["jay", "jay", "owl", "owl"], "split": ["train", "test", "train", "test"], "is_repeated": [False] * 3 + [True]}).assign(group_id=["a", "b", "c", "d"])
    assert splits.describe(table) == (
        "Rows: 50% train, 0% validation, 50% test. Species without a test row of their own: owl. Add recordings from other places."
    )
    assert "without" not in splits.describe(table[table["species"] == "jay"]) and splits.describe(table[:0]) == "The table has no rows."


# A random split


@pytest.mark.parametrize("seed", range(10))
def test_random_split_divides_groups_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    table = recordings(["wren"] * 20 + ["crow"] * 20, [f"g{i // 4}" for i in range(40)])
    result = splits.assign(table, rng, split_by="recording")
    assert splits.leaks(result, "recording") == [] and splits.leaks(result) != []
    assert splits.divided_groups(result)
    assert result["split"].value_counts().to_dict() == {"train": 24, "validation": 8, "test": 8}


def test_random_split_keeps_recordings_of_one_file_together():
    table = recordings(["wren"] * 20, [f"g{i}" for i in range(20)])
    table["audio_path"] = [f"file{i // 2}.ogg" for i in range(20)]
    result = splits.assign(table, np.random.default_rng(0), split_by="recording")
    assert result.groupby("audio_path")["split"].nunique().max() == 1


def test_folds_of_recordings_divide_groups_and_folds_of_groups_do_not():
    table = recordings(["wren"] * 20 + ["crow"] * 20, [f"g{i // 4}" for i in range(40)])
    n_folds = {kind: pd.Series(splits.folds(table, 4, np.random.default_rng(0), kind)).groupby(table["group_id"].to_numpy()).nunique() for kind in splits.SPLIT_BY}
    assert n_folds["group"].max() == 1 and n_folds["recording"].max() > 1


def test_random_split_is_said_to_be_optimistic():
    table = recordings(["wren"] * 20 + ["crow"] * 20, [f"g{i // 4}" for i in range(40)])
    by_group, by_recording = (splits.describe(splits.assign(table, np.random.default_rng(0), split_by=kind)) for kind in splits.SPLIT_BY)
    assert "too high" not in by_group
    assert "of 10 groups are on both sides of training and test: all figures are too high" in by_recording


def test_unknown_kind_of_split_is_refused_with_the_choices():
    with pytest.raises(splits.SplitError, match="split_by is 'species': choose group or recording"):
        splits.assign(recordings(["wren"], ["g"]), np.random.default_rng(0), split_by="species")


@pytest.mark.parametrize("share", [2.0, -1.0, float("nan")])
def test_a_share_of_unseen_species_that_is_none_is_refused(share):
    with pytest.raises(splits.SplitError, match="unseen_share"):
        splits.leave_out([], share, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("wrong", "message"), [((2.0, 0.2), "validation_share is 2"), ((0.2, -1.0), "test_share -1"), ((0.2, 0.2, "site"), "split_by is 'site'"), ((0.2, 0.2, "group", 0), "n_folds is 0")]
)
def test_splits_that_cannot_be_are_refused_before_files_are_read(wrong, message):
    with pytest.raises(splits.SplitError, match=message):
        splits.require(*wrong)
