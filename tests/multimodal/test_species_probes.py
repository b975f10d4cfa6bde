import numpy as np
import pandas as pd
import photo_species
import pytest

from birdlib.multimodal import species_probes


def drawn(signals, seed=0, **sizes):
    rng = np.random.default_rng(seed)
    parts = {name: photo_species.media(rng, name, signal=signal, **sizes) for name, signal in signals.items()}
    return {name: part[0] for name, part in parts.items()}, {name: part[1] for name, part in parts.items()}


@pytest.fixture(autouse=True)
def few_probes(monkeypatch):
    """For speed; how they are chosen is tested in tests/models/test_probes.py."""
    monkeypatch.setattr(species_probes, "PROBES", species_probes.PROBES[:1])


@pytest.fixture(scope="module")
def study():
    """Half of the rows are test."""
    features, media = drawn({"photo": 0.4, "sound": 0.4}, n_each=60)
    media = {name: table.assign(split=np.where(np.arange(len(table)) % 2, "test", "train")) for name, table in media.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(species_probes, "PROBES", species_probes.PROBES[:1])
        return species_probes.study(features, media, np.random.default_rng(1))


def test_both_together_are_better_than_either(study):
    """Signals of less than half the length of the noise, independent given the species."""
    accuracy = study.table.set_index("modality")["accuracy"].str[0]
    assert list(accuracy.index) == ["sound", "photo", "both"] and accuracy["both"] > max(accuracy["sound"], accuracy["photo"])
    assert study.fusion.rule in ("product", "gated") and study.fusion.qualities[study.fusion.rule] == max(study.fusion.qualities.values())


def test_table_has_the_same_pairs_of_test_in_each_row(study):
    assert set(study.table["n"]) == {120}  # thirty of test of each of four species
    for figure in ("accuracy", "macro_auc"):
        values = np.array(study.table[figure].tolist())
        assert (values[:, 1] <= values[:, 0]).all() and (values[:, 0] <= values[:, 2]).all()
    assert study.text.startswith("The better one alone is the ") and "120 pairs" in study.text
    columns = species_probes.as_columns(study.table)
    assert list(columns) == ["modality", "n", "accuracy", "accuracy_low", "accuracy_high", "macro_auc", "macro_auc_low", "macro_auc_high"]
    assert columns["accuracy"].tolist() == study.table["accuracy"].str[0].tolist()


def test_test_and_repeated_rows_are_not_trained_on():
    """Labels of test and of repeated rows are swapped: what is learnt, and the figures of the others, do not change."""
    features, media = drawn({"photo": 3.0, "sound": 3.0})
    for table in media.values():
        is_repeated = np.arange(len(table)) % 8 == 1
        table["is_repeated"] = is_repeated
        table.loc[is_repeated, "species"] = np.roll(table.loc[is_repeated, "species"], 1)
    found = species_probes.study(features, media, np.random.default_rng(0))
    assert found.table["accuracy"].str[0].tolist() == [1.0, 1.0, 1.0]
    for table in media.values():
        is_test = table["split"] == "test"
        table.loc[is_test, "species"] = np.roll(table.loc[is_test, "species"], 2)
    assert species_probes.study(features, media, np.random.default_rng(0)).table["accuracy"].str[0].tolist() == [0.0, 0.0, 0.0]


def test_photos_alone_have_figures_of_their_own():
    features, media = drawn({"photo": 3.0, "sound": 3.0})
    features["sound"], media["sound"] = np.zeros((0, 0), np.float32), media["sound"][:0]
    found = species_probes.study(features, media, np.random.default_rng(0))
    assert found.fitted["sound"] is None and found.fusion is None and found.table["modality"].tolist() == ["photo"]
    assert found.table["accuracy"].iloc[0][0] == 1.0 and "Only the photo has a classifier" in found.text


def test_nothing_to_train_on_gives_an_empty_table():
    features, media = drawn({"photo": 3.0, "sound": 3.0})
    nothing = {name: rows[:0] for name, rows in features.items()}
    found = species_probes.study(nothing, {name: table[:0] for name, table in media.items()}, np.random.default_rng(0))
    assert found.table.empty and found.text.startswith("Test has no photo or sound") and len(species_probes.as_columns(found.table)) == 0


def test_species_of_one_modality_only_are_left_out_of_the_pairs():
    features, media = drawn({"photo": 3.0, "sound": 3.0})
    is_known = media["sound"]["species"] != "s0"
    features["sound"], media["sound"] = features["sound"][is_known], media["sound"][is_known].reset_index(drop=True)
    found = species_probes.study(features, media, np.random.default_rng(0))
    assert found.fusion.classes == ["s1", "s2", "s3"] and found.fitted["photo"].classes == ["s0", "s1", "s2", "s3"]
    assert set(found.table["n"]) == {6}


def test_media_of_one_row_are_a_pair_and_the_others_are_paired_within_the_species():
    names = {"individual_id": "", "group_id": ""}
    photos = pd.DataFrame({"recording_id": ["p0", "both", "p1", "lonely"], "species": ["wren", "wren", "crow", "jay"], **names})
    sounds = pd.DataFrame({"recording_id": ["a0", "a1", "a2", "both"], "species": ["crow", "wren", "crow", "wren"], **names})
    for seed in range(5):
        found = species_probes.pair(photos, sounds, ["wren", "crow", "jay"], np.random.default_rng(seed))
        assert sorted(found.itertuples(index=False, name=None)) == [(0, 1, "wren"), (1, 3, "wren"), (2, 0, "crow"), (2, 2, "crow")]
    assert species_probes.pair(photos, sounds, ["jay"], np.random.default_rng(0)).empty


def test_two_photos_of_each_species_are_enough():
    found = species_probes.study(*drawn({"photo": 3.0, "sound": 3.0}, n_each=4), np.random.default_rng(0))
    assert found.table["accuracy"].str[0].min() >= 0.75
