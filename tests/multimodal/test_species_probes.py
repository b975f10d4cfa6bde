import dataclasses

import numpy as np
import pandas as pd
import photo_species
import pytest

from birdlib.models import zero_shot
from birdlib.multimodal import pairs, species_probes


def drawn(signals, seed=0, **sizes):
    rng = np.random.default_rng(seed)
    return {name: photo_species.media(rng, name, signal=signal, **sizes) for name, signal in signals.items()}


def relabelled(media, change):
    """The same with ``change(table)`` made to each table."""
    return {name: dataclasses.replace(one, table=change(one.table.copy())) for name, one in media.items()}


@pytest.fixture(autouse=True)
def few_probes(monkeypatch):
    """For speed; how they are chosen is tested in tests/models/test_probes.py."""
    monkeypatch.setattr(species_probes, "PROBES", species_probes.PROBES[:1])


@pytest.fixture(scope="module")
def study():
    """Half of the rows are test."""
    media = drawn({"photo": 0.4, "sound": 0.4}, n_each=60)
    media = relabelled(media, lambda table: table.assign(split=np.where(np.arange(len(table)) % 2, "test", "train")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(species_probes, "PROBES", species_probes.PROBES[:1])
        return species_probes.study(media, np.random.default_rng(1))


def test_both_together_are_better_than_either(study):
    """Signals of less than half the length of the noise, independent given the species."""
    accuracy = study.table.set_index("modality")["accuracy"].str[0]
    assert list(accuracy.index) == ["sound", "photo", "both"] and accuracy["both"] > max(accuracy["sound"], accuracy["photo"])
    losses = study.fusion.log_losses
    assert min(study.fusion.pool.weights.values()) > 0.3 and min(losses["gated"], losses["not gated"]) < min(losses["sound"], losses["photo"])


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
    def swap_repeated(table):
        is_repeated = np.arange(len(table)) % 8 == 1
        species = table["species"].mask(is_repeated, "s" + ((table.index // 8 + 1) % 4).astype(str))
        return table.assign(is_repeated=is_repeated, species=species)

    def swap_test(table):
        return table.assign(species=table["species"].mask(table["split"] == "test", "s" + ((table.index // 8 + 1) % 4).astype(str)))

    media = relabelled(drawn({"photo": 3.0, "sound": 3.0}), swap_repeated)
    assert species_probes.study(media, np.random.default_rng(0)).table["accuracy"].str[0].tolist() == [1.0, 1.0, 1.0]
    swapped = relabelled(media, swap_test)
    assert species_probes.study(swapped, np.random.default_rng(0)).table["accuracy"].str[0].tolist() == [0.0, 0.0, 0.0]


def test_photos_alone_have_figures_of_their_own():
    media = drawn({"photo": 3.0, "sound": 3.0})
    media["sound"] = species_probes.Media(media["sound"].table[:0], np.zeros((0, 0), np.float32))
    found = species_probes.study(media, np.random.default_rng(0))
    assert found.fitted["sound"] is None and found.fusion is None and found.table["modality"].tolist() == ["photo"]
    assert found.table["accuracy"].iloc[0][0] == 1.0 and "Only the photo has a classifier" in found.text


def test_nothing_to_train_on_gives_an_empty_table():
    nothing = {name: media.part(np.zeros(len(media.table), bool)) for name, media in drawn({"photo": 3.0, "sound": 3.0}).items()}
    found = species_probes.study(nothing, np.random.default_rng(0))
    assert found.table.empty and found.text.startswith("Test has no photo or sound") and len(species_probes.as_columns(found.table)) == 0


def test_species_of_one_modality_only_are_left_out_of_the_pairs():
    media = drawn({"photo": 3.0, "sound": 3.0})
    media["sound"] = media["sound"].part((media["sound"].table["species"] != "s0").to_numpy())
    found = species_probes.study(media, np.random.default_rng(0))
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
    found = species_probes.study(drawn({"photo": 3.0, "sound": 3.0}, n_each=4), np.random.default_rng(0))
    assert found.table["accuracy"].str[0].min() >= 0.75


def test_scores_that_need_no_training_are_used_where_they_help():
    """A network that knows three of four species, beside features of noise; and one that names wrong species, beside good features."""
    weak, good = drawn({"photo": 0.3}, n_each=12)["photo"], drawn({"photo": 3.0}, n_each=12)["photo"]
    columns = ["s0", "s1", "s2"]
    known = pd.DataFrame(0.02 + 0.9 * (weak.table["species"].to_numpy()[:, None] == columns), columns=columns)
    helped = species_probes.fit(dataclasses.replace(weak, known=known), np.random.default_rng(0))
    assert helped.known_weight > 0 and "known species" in helped.name
    alone = species_probes.fit(weak, np.random.default_rng(0))
    is_right = [(probe.scores.argmax(axis=1) == np.repeat(range(4), 12)).mean() for probe in (helped, alone)]
    assert is_right[0] > is_right[1] + 0.2
    new = dataclasses.replace(drawn({"photo": 0.3}, seed=9, n_each=12)["photo"], known=known)
    is_right = [(probe.predict(new).argmax(axis=1) == np.repeat(range(4), 12)).mean() for probe in (helped, alone)]
    assert is_right[0] > is_right[1] + 0.15
    wrong = known.rename(columns=dict(zip(columns, ["s1", "s2", "s0"], strict=True)))
    assert species_probes.fit(dataclasses.replace(good, known=wrong), np.random.default_rng(0)).known_weight == 0.0


def test_birdnet_knows_the_species_that_its_labels_name(monkeypatch):
    """The layer is made up: class 1 answers to the second number of an embedding."""
    species = pd.DataFrame({"species": ["Corvus corax", "Turdus merula"], "common_name": ["Common Raven", "Eurasian Blackbird"], "is_wild": True})
    monkeypatch.setattr(species_probes.zero_shot, "load", lambda *_: zero_shot.LastLayer(8 * np.eye(2, dtype=np.float32), -np.ones(2, np.float32), species))
    sounds = pd.DataFrame({"species": ["Eurasian Blackbird", "robot"], "first": [0, 2], "last": [2, 3]})
    library = pairs.Library(sounds[:0], sounds, None, np.float32([[0, 1], [0, 1], [1, 0]]), np.ones(3, np.float32), 0)
    found = species_probes.of_sounds(library, "birdnet")
    assert list(found.known) == ["Eurasian Blackbird"] and found.known.iloc[:, 0].tolist() == pytest.approx([1 / (1 + np.exp(-7)), 1 / (1 + np.exp(1))], rel=1e-3)
    assert found.features.shape == (2, 4)
