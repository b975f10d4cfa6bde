import numpy as np
import pandas as pd
import pytest

from birdlib.multimodal import pairs

DIM, N_PATCHES = 4, 6


def rng(seed=0):
    return np.random.default_rng(seed)


def media(*rows):
    """Photos or sounds: ``species`` or ``(species, individual)``, one row each."""
    rows = [(row, "") if isinstance(row, str) else row for row in rows]
    table = pd.DataFrame(rows, columns=["species", "individual_id"], dtype=str)
    names = [f"r{i}" for i in range(len(table))]
    return table.assign(recording_id=names, group_id=names, split="train", is_repeated=np.zeros(len(table), bool))


def table(*rows):
    """Pairs of (photo, sound), all of one species."""
    return pd.DataFrame(rows, columns=["photo", "sound"], dtype=int).assign(species="wren")


class Shown:
    """A photo's features are its row, and half of it more when mirrored."""

    shape = (2, 3)

    def __call__(self, row, view):
        return np.full(self.shape, 1 + row + view / 2, np.float32)


def made(lengths=(3, 6, 20), n_photos=3, weights=None):
    """A library whose embeddings are the numbers of their patches, from 1."""
    last = np.cumsum(lengths, dtype=int)
    sounds = media(*["wren"] * len(lengths)).assign(first=last - lengths, last=last)
    n = int(sum(lengths))
    embeddings = np.repeat(np.arange(1, n + 1, dtype=np.float32)[:, None], DIM, axis=1)
    weights = rng().uniform(0.05, 1.0, n).astype(np.float32) if weights is None else weights
    shown = Shown() if n_photos else None
    return pairs.Library(media(*["wren"] * n_photos), sounds, shown, embeddings, weights, N_PATCHES)


class Encoder:
    """The sum of presence and of the first patch; records its batch sizes."""

    input = {"embeddings": None, "presence": None}
    output_shape = (None, 1)

    def __call__(self, arrays, training):
        assert set(arrays) == set(self.input)
        self.sizes = [*getattr(self, "sizes", []), len(arrays["presence"])]
        return arrays["embeddings"][:, 0, :1] + 1000 * arrays["presence"].sum(axis=1, keepdims=True)


# Pairing


CASES = {
    "more photos": (["wren"] * 7 + ["crow"] * 3, ["wren"] * 2 + ["crow"]),
    "more sounds": (["wren", "crow"], ["crow"] * 4 + ["wren"] * 9),
    "one side each": (["wren"] * 3, ["crow"] * 2),
    "individuals": ([("wren", "a"), ("wren", "b"), "wren", "crow"], [("wren", "a"), ("wren", "c"), "wren", "wren"]),
    "photos only": (["wren", "crow"], []),
    "sounds only": ([], ["wren", "crow"]),
    "nothing": ([], []),
}


@pytest.mark.parametrize("case", CASES)
def test_every_photo_and_sound_is_paired_within_its_species(case):
    photos, sounds = (media(*rows) for rows in CASES[case])
    paired = pairs.pair(photos, sounds, rng())
    assert list(paired) == ["photo", "sound", "species"] and paired["photo"].dtype == paired["sound"].dtype == int
    for kind, side in zip(pairs.KINDS, (photos, sounds), strict=True):
        given = paired[paired[kind] != pairs.ABSENT]
        assert set(given[kind]) == set(side.index)
        assert (side.loc[given[kind], "species"].to_numpy() == given["species"].to_numpy()).all()
    assert not (paired[["photo", "sound"]] == pairs.ABSENT).all(axis=1).any()


def test_the_rarer_side_is_used_evenly():
    """7 photos for 3 sounds: each sound is used two or three times, and each photo once."""
    paired = pairs.pair(media(*["wren"] * 7), media(*["wren"] * 3), rng())
    assert len(paired) == 7 and sorted(paired["sound"].value_counts()) == [2, 2, 3]


def test_a_species_with_one_side_only_goes_without_the_other():
    paired = pairs.pair(media("wren", "wren"), media("crow"), rng()).set_index("species")
    assert (paired.loc["wren", "sound"] == pairs.ABSENT).all() and paired.loc["crow", "photo"] == pairs.ABSENT


def test_a_bird_known_on_both_sides_is_paired_with_itself():
    birds = [("wren", "a"), ("wren", "b"), "wren", ("wren", "only seen")]
    photos, sounds = media(*birds), media(*reversed(birds[:3]), ("wren", "only heard"))
    for seed in range(5):
        paired = pairs.pair(photos, sounds, rng(seed))
        seen, heard = (
            side["individual_id"].loc[paired[kind]].to_numpy()
            for kind, side in zip(pairs.KINDS, (photos, sounds), strict=True)
        )
        assert {("a", "a"), ("b", "b")} <= set(zip(seen, heard, strict=True))
        assert not (np.isin(seen, ["a", "b"]) ^ np.isin(heard, ["a", "b"])).any()


def test_a_name_is_one_bird_within_its_species_only():
    """Bird 1 of the wrens is only seen, bird 1 of the crows only heard: neither is left without a mate for it."""
    paired = pairs.pair(media(("wren", "1"), "crow"), media("wren", ("crow", "1")), rng())
    assert len(paired) == 2 and (paired[["photo", "sound"]] != pairs.ABSENT).all(axis=None)


def test_rows_of_a_split_keep_their_numbers():
    photos, sounds = media("wren", "crow", "wren"), media("crow", "wren", "wren")
    paired = pairs.pair(photos.iloc[[2]], sounds.iloc[[1, 2]], rng())
    assert paired["photo"].tolist() == [2, 2] and sorted(paired["sound"]) == [1, 2]


def test_the_same_draw_gives_the_same_pairs_and_another_others():
    photos, sounds = media(*["wren"] * 9), media(*["wren"] * 9)
    first, again, other = (pairs.pair(photos, sounds, rng(seed)) for seed in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)


def test_tables_can_be_laid_together_though_one_is_empty():
    """Rows of a split that has nothing must not make floats or objects of the others' numbers."""
    nothing = pairs.pair(media(), media(), rng())
    both = pd.concat([nothing, pairs.pair(media("wren"), media("wren"), rng())], ignore_index=True)
    assert both["photo"].dtype == int and len(pairs.inputs(made(), nothing)["presence"]) == 0


# One modality


def test_alone_keeps_the_rows_and_each_lists_every_photo_once():
    paired = table((0, 5), (0, 6), (1, -1), (-1, 7))
    assert pairs.alone(paired, "photo")["photo"].tolist() == [0, 0, 1, -1]
    assert (pairs.alone(paired, "photo")["sound"] == pairs.ABSENT).all()
    photos, sounds = pairs.each(paired, "photo"), pairs.each(paired, "sound")
    assert photos["photo"].tolist() == [0, 1] and (photos["sound"] == pairs.ABSENT).all()
    assert sounds["sound"].tolist() == [5, 6, 7] and (sounds["photo"] == pairs.ABSENT).all()


def test_modality_dropout_removes_photo_or_sound_from_a_share_and_never_both():
    """Of 4000 whole pairs a share of 0.6 loses one: 1200 ± 4 * sqrt(4000 * 0.3 * 0.7) their photo, as many their sound."""
    whole, single = table(*[(1, 2)] * 4000), table(*[(1, -1), (-1, 2)] * 50)
    dropped = pairs.drop_modalities(pd.concat([whole, single], ignore_index=True), 0.6, rng())
    is_absent = dropped[["photo", "sound"]] == pairs.ABSENT
    assert not is_absent.all(axis=1).any()
    assert is_absent[:4000].sum().tolist() == pytest.approx([1200, 1200], abs=116)
    pd.testing.assert_frame_equal(dropped[4000:], single.set_axis(range(4000, 4100)))
    for share, n in ((0.0, 0), (1.0, 4000)):
        assert (pairs.drop_modalities(whole, share, rng())[["photo", "sound"]] == pairs.ABSENT).any(axis=1).sum() == n


# Inputs of the encoder


def test_inputs_have_a_row_for_each_pair_and_its_presence():
    arrays = pairs.inputs(made(), table((0, 0), (2, -1), (-1, 1)))
    assert {name: array.shape for name, array in arrays.items()} == {
        "presence": (3, 2),
        "image_features": (3, 2, 3),
        "embeddings": (3, N_PATCHES, DIM),
        "weights": (3, N_PATCHES),
    }
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays.values())
    assert arrays["presence"].tolist() == [[1, 1], [1, 0], [0, 1]]
    assert arrays["image_features"][:, 0, 0].tolist() == [1, 3, 0]
    assert arrays["embeddings"][:, :, 0].tolist() == [[1, 2, 3, 0, 0, 0], [0] * 6, [4, 5, 6, 7, 8, 9]]


def test_short_sounds_are_padded_with_weight_0_and_absent_ones_are_an_empty_patch():
    library = made()
    weights = pairs.inputs(library, table((0, 0), (0, -1)))["weights"]
    assert weights[0].tolist() == [*library.weights[:3], 0, 0, 0] and weights[1].tolist() == [1, 0, 0, 0, 0, 0]


def test_window_of_a_long_sound_has_the_highest_bird_scores():
    """Patches 9 to 28 are the third sound; the bird sings in 17 to 22 of them."""
    weights = np.full(29, 0.05, np.float32)
    weights[17:23] = 0.9
    arrays = pairs.inputs(made(weights=weights), table((0, 2)))
    assert arrays["embeddings"][0, :, 0].tolist() == [18, 19, 20, 21, 22, 23]
    assert arrays["weights"][0] == pytest.approx(np.full(6, 0.9))
    for at in (0, 14):  # at either end
        weights = np.full(20, 0.05, np.float32)
        weights[at : at + 6] = 0.9
        assert pairs.window(weights, 0, 20, 6) == (at, at + 6)


def test_random_inputs_cover_every_window_and_both_views():
    library, generator = made(), rng()
    drawn = [pairs.inputs(library, table((1, 2)), generator) for _ in range(300)]
    assert {int(arrays["embeddings"][0, 0, 0]) for arrays in drawn} == set(range(10, 25))  # 20 - 6 + 1 windows
    assert all((np.diff(arrays["embeddings"][0, :, 0]) == 1).all() for arrays in drawn)
    assert {float(arrays["image_features"][0, 0, 0]) for arrays in drawn} == {2.0, 2.5}


def test_inputs_without_rng_are_repeatable_and_unmirrored():
    library, one = made(), table(*[(1, 2)] * 20)
    first, again = pairs.inputs(library, one), pairs.inputs(library, one)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert (first["image_features"] == 2).all()


def test_library_without_photos_or_sounds_has_no_inputs_for_them():
    assert set(pairs.inputs(made(n_photos=0), table((-1, 0)))) == {"presence", "embeddings", "weights"}
    assert set(pairs.inputs(made(lengths=()), table((0, -1)))) == {"presence", "image_features"}


def test_embedding_in_chunks_keeps_the_order(monkeypatch):
    monkeypatch.setattr(pairs, "_CHUNK", 2)
    encoder, library = Encoder(), made()
    embedded = pairs.embed(encoder, library, table((0, 0), (-1, 1), (1, -1), (2, 0), (2, 1)).iloc[::-1])
    assert embedded[:, 0].tolist() == [2004, 2001, 1000, 1004, 2001] and encoder.sizes == [2, 2, 1]
    assert pairs.embed(encoder, library, table()).shape == (0, 1)


# The library


def splits():
    """r0 and r1 have sound, r1 and r2 a photo; r2 is repeated in test; r3's sound gave no patches."""
    rows = [("r0", "wren", "a.wav", "", "train", False), ("r1", "wren", "b.wav", "b.jpg", "train", False),
            ("r2", "crow", "", "c.jpg", "train", False), ("r2", "crow", "", "c.jpg", "test", True),
            ("r3", "crow", "d.wav", "", "test", False)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["recording_id", "species", "audio_path", "image_path", "split", "is_repeated"])
    return table.assign(individual_id="", group_id=table["recording_id"])


def patch_table(sizes):
    names = np.repeat(list(sizes), list(sizes.values()))
    return pd.DataFrame({"recording_id": names, "bird_score": np.linspace(0, 1, len(names), dtype=np.float32)})


def test_library_has_the_patches_of_each_sound():
    """r1 comes before r0 in the patch table; no sound has more than 5 patches, so a window has no more than 5."""
    patches, pictured = patch_table({"r1": 5, "r0": 2}), splits().query("image_path != ''")
    whole = pairs.library(splits(), pictured, Shown(), patches, np.ones((7, DIM), np.float32), 40)
    assert whole.sounds[["recording_id", "first", "last"]].to_numpy().tolist() == [["r0", 5, 7], ["r1", 0, 5]]
    assert whole.photos.index.tolist() == [0, 1, 2] and whole.n_patches == 5
    assert whole.weights.min() == np.float32(0.05)  # silence has some


@pytest.mark.parametrize("sizes", [{}, {"r0": 2, "r1": 5}])
def test_library_may_lack_sounds_or_photos(sizes):
    pictured = splits().query("image_path != ''") if not sizes else splits()[:0]
    patches = patch_table(sizes)
    whole = pairs.library(splits(), pictured, Shown(), patches, np.ones((len(patches), DIM), np.float32), 40)
    paired = pairs.pair(*pairs.rows(whole, "train"), rng())
    assert len(paired) == 2 and np.isfinite(list(pairs.inputs(whole, paired).values())[-1]).all()


def test_rows_are_without_repeated_ones_and_species_left_out():
    patches, pictured = patch_table({"r0": 2, "r1": 5, "r3": 1}), splits().query("image_path != ''")
    whole = pairs.library(splits(), pictured, Shown(), patches, np.ones((8, DIM), np.float32), 40)

    def names(*arguments):
        return [side["recording_id"].tolist() for side in pairs.rows(whole, *arguments)]

    assert names("train") == [["r1", "r2"], ["r0", "r1"]]
    assert names("test") == [[], ["r3"]]
    assert names("train", ["wren"]) == [["r2"], []]


def test_species_with_too_little_in_training_are_listed():
    photos, sounds = media("wren", "wren", "crow", "owl", "owl"), media("wren", "jay", "jay", "crane")
    whole = pairs.Library(photos, sounds, Shown(), np.zeros((0, DIM)), np.zeros(0), N_PATCHES)
    reasons = dict(pairs.thin_species(whole, without=["crane"]))
    assert list(reasons) == ["species crow", "species jay", "species owl"]
    assert "negative" in reasons["species crow"]
    assert "no photo" in reasons["species jay"] and "no sound" in reasons["species owl"]
    whole = pairs.Library(media(), media("wren", "wren", "crow"), None, np.zeros((0, DIM)), np.zeros(0), N_PATCHES)
    assert [name for name, _ in pairs.thin_species(whole)] == ["species crow"]  # where there are no photos at all, none is missed
