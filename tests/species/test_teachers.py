import dataclasses
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import soundfile
from sounds import hiss, song

from birdlib import streaming
from birdlib.data import birdclef, taxonomy
from birdlib.models import base as embedder_base
from birdlib.models import birdnet_location, embedders, mirrors, pooling, weights, yamnet
from birdlib.species import (
    classifiers,
    file_embedding,
    inference,
    pseudolabels,
    soundscape_windows,
    teacher_assignment,
    teacher_scores,
    teachers,
)
from birdlib.store import EmbeddingStore

RATE_HZ = 8000
SPECIES = pd.DataFrame(
    {
        "species": ["Turdus merula", "Engine", "Apus apus", "Pica pica"],
        "common_name": ["Eurasian Blackbird", "Engine", "Common Swift", "Eurasian Magpie"],
        "is_wild": [True, False, True, True],
    }
)


class Loudness(embedder_base.PatchwiseEmbedder):
    """Four classes: the score of each is the mean amplitude of the patch, times .2, .4, .6 or 1."""

    name, sample_rate_hz, patch_s, hop_s, dim, key = "yamnet", RATE_HZ, 3.0, 1.5, 2, "k" * 64
    weights = {"yamnet": {"source": "test", "sha256": "ab", "licence": "none"}}
    class_names = ["Bird", "Engine", "Rain", "Owl"]
    _is_bird = np.array([True, False, False, True])

    def _predict_stream(self, blocks):
        for patch in streaming.frames(blocks, 3 * RATE_HZ, 3 * RATE_HZ // 2):
            level = np.abs(patch).mean()
            yield np.full((1, 2), level, np.float32), np.array([[0.2, 0.4, 0.6, 1.0]], np.float32) * level


class Birdnet(Loudness):
    """The same with the interface of BirdNET: the classes are species."""

    name, species = "birdnet", SPECIES
    weights = {"birdnet": {"source": "test", "sha256": "ab", "licence": "none"}}
    class_names = SPECIES["species"].tolist()
    _is_bird = SPECIES["is_wild"].to_numpy()


@pytest.fixture
def soundscapes(tmp_path):
    """Twelve windows each, loud in window 2 only: in June, and in January."""
    levels = np.full(60 * RATE_HZ, 0.1, np.float32)
    levels[10 * RATE_HZ : 15 * RATE_HZ] = 0.9
    paths = [tmp_path / "S1_20250615_060000.flac", tmp_path / "S2_20250115_060000.flac"]
    for path in paths:
        soundfile.write(path, levels, RATE_HZ)
    return paths


NAMES = taxonomy.names(["magpie1", "blackbird1", "dragon1"]).assign(scientific_name=["Pica pica", "Turdus merula", "Draco draco"])


def teacher(**options):
    return teachers.from_embedder(Birdnet(), NAMES, **options)


def test_a_teacher_has_scores_for_the_projects_labels_that_it_knows(soundscapes):
    built = teacher()
    scores, others = built.predict(soundscapes[0])
    assert built.labels == ["magpie1", "blackbird1"] and taxonomy.unmatched(built.matched) == ["dragon1"]
    assert scores.shape == (12, 2) and others.shape == (12,)
    assert scores[2] == pytest.approx([0.9, 0.18], abs=1e-3) and scores[6] == pytest.approx([0.1, 0.02], abs=1e-3)
    assert others[2] == pytest.approx(0.54, abs=1e-3)  # the swift, which is no label here


def test_birdnets_patches_of_3_s_become_windows_of_5_s():
    """Centres at 1.5, 3, 4.5 | 6, 7.5, 9 | 10.5 s: the first window takes the best of the first three."""
    scores = np.array([[0.1], [0.7], [0.2], [0.3], [0.9], [0.4], [0.5]])
    centres_s = np.arange(7) * 1.5 + 1.5
    assert teachers.max_in_windows(scores, centres_s, [(0, 5), (5, 10), (10, 15), (15, 20)])[:, 0] == pytest.approx([0.7, 0.9, 0.5, 0.5])
    assert teachers.max_in_windows(scores, centres_s, [(3.1, 4.0)])[0, 0] == pytest.approx(0.7)  # too short for a centre


@pytest.mark.parametrize(("duration_s", "n_windows"), [(2, 1), (10, 2), (61, 13)])
def test_soundscapes_of_other_lengths_have_the_windows_of_the_submission(tmp_path, duration_s, n_windows):
    soundfile.write(tmp_path / "odd.flac", np.full(duration_s * RATE_HZ, 0.5, np.float32), RATE_HZ)
    scores, others = teacher().predict(tmp_path / "odd.flac")
    assert len(scores) == len(others) == n_windows and np.isfinite(scores).all()


def test_species_not_expected_at_the_location_in_that_week_score_0(soundscapes):
    def expect(latitude, longitude, week=birdnet_location.ALL_YEAR):
        return pd.Series([0.5, 0.0, 0.0, 0.9 if 20 <= week <= 30 else 0.01], index=SPECIES["species"])

    built = teacher(expect=expect, location=(52.5, 13.4))
    june, january = (built.predict(path) for path in soundscapes)
    assert june[0][2] == pytest.approx([0.9, 0.18], abs=1e-3) and january[0][2] == pytest.approx([0.0, 0.18], abs=1e-3)
    assert june[1][2] == pytest.approx(0.36, abs=1e-3)  # an engine is possible anywhere, the swift is not expected
    assert built.key != teacher().key


def detectors(value=0.8):
    return teachers.from_network(
        lambda patches: value * (np.abs(patches).mean(axis=1, keepdims=True) > 0.5), ["dragon1"],
        "d" * 64, sample_rate_hz=RATE_HZ, patch_s=5.0, hop_s=5.0, name="detectors",
    )  # fmt: skip


def test_a_detector_of_one_species_is_a_teacher_of_one_label(soundscapes):
    scores, others = detectors().predict(soundscapes[0])
    assert scores[:, 0] == pytest.approx([0, 0, 0.8, *[0] * 9]) and not others.any()


def test_every_teacher_scores_every_soundscape_and_broken_files_are_reported(soundscapes, tmp_path):
    broken = tmp_path / "S3.flac"
    broken.write_bytes(b"<html>")
    both = [teacher(), detectors()]
    windows, scores, others, skipped = teacher_scores.predict_all([*soundscapes, broken], both, tmp_path / "store")
    assert len(windows) == 24 and windows["row_id"][:2].tolist() == ["S1_20250615_060000_5", "S1_20250615_060000_10"]
    assert windows.loc[13, ["soundscape", "start_s", "end_s"]].tolist() == ["S2_20250115_060000", 5.0, 10.0]
    assert scores["birdnet"].shape == (24, 2) and scores["detectors"].shape == (24, 1) and others["birdnet"].shape == (24,)
    assert skipped["path"].tolist() == ["S3.flac"] and "web page" in skipped["reason"][0]
    assignment = teacher_assignment.assign({each.name: each.labels for each in both}, NAMES["label"], teachers.GENERAL)
    labels_of = {each.name: each.labels for each in both}
    table = teacher_assignment.label(windows, scores, others, labels_of, assignment)
    found = set(zip(table["row_id"], table["label"], table["teacher"], strict=True))
    assert ("S1_20250615_060000_15", "magpie1", "birdnet") in found and ("S2_20250115_060000_15", "dragon1", "detectors") in found
    assert len(table) == 4


def test_kept_scores_are_not_computed_again(soundscapes, tmp_path):
    first = teacher_scores.predict_all(soundscapes, [teacher()], tmp_path / "store")

    def refuse(path):
        raise AssertionError("predicted again")

    again = teacher_scores.predict_all(soundscapes, [dataclasses.replace(teacher(), predict=refuse)], tmp_path / "store")
    assert first[0].equals(again[0]) and np.array_equal(first[1]["birdnet"], again[1]["birdnet"])
    with pytest.raises(AssertionError, match="predicted again"):  # another teacher
        teacher_scores.predict_all(soundscapes, [dataclasses.replace(teacher(), predict=refuse, key="z" * 64)], tmp_path / "store")


def test_nan_scores_of_a_teacher_are_rejected_and_not_kept(soundscapes, tmp_path):
    with pytest.raises(pseudolabels.ScoreError, match="detectors: the score of dragon1 in S1_20250615_060000_5 is nan"):
        teacher_scores.predict_all(soundscapes, [teacher(), detectors(np.nan)], tmp_path / "store")
    fixed = detectors(0.5)
    assert np.isfinite(teacher_scores.predict_all(soundscapes, [fixed], tmp_path / "store")[1]["detectors"]).all()


def test_without_soundscapes_tables_are_empty_with_columns(tmp_path):
    windows, scores, others, skipped = teacher_scores.predict_all([], [teacher()], tmp_path)
    assert not len(windows) and scores["birdnet"].shape == (0, 2) and not len(skipped)
    with pytest.raises(teachers.TeacherError, match="there must be teachers"):
        teacher_scores.predict_all([], [], tmp_path)


def test_a_missing_teacher_is_reported_and_the_others_are_loaded(monkeypatch):
    def load(name, *arguments, **options):
        if name == "perch":
            raise weights.MissingWeightsError("the weights of perch are not on this machine\nDo one of these")
        return Birdnet()

    monkeypatch.setattr(embedders, "load", load)
    found, notes = teachers.load_general(("perch", "birdnet"), NAMES)
    assert [each.name for each in found] == ["birdnet"]
    notes = dict(zip(notes["teacher"], notes["note"], strict=True))
    assert notes["perch"] == "missing, so its labels are absent: the weights of perch are not on this machine"
    assert notes["birdnet"] == "knows 2 of 3 labels, not dragon1"


def test_an_unknown_teacher_is_rejected_with_the_choices():
    with pytest.raises(teachers.TeacherError, match="no teacher called 'owl': choose from birdnet, perch, perch_v2, yamnet"):
        teachers.load_general(("owl",), NAMES)


def test_birdnet_works_without_its_location_model(monkeypatch):
    def fetch(name, folder):
        raise weights.MissingWeightsError("the weights of birdnet_location are not here")

    monkeypatch.setattr(embedders, "load", lambda *arguments, **options: Birdnet())
    monkeypatch.setattr(weights, "fetch", fetch)
    found, notes = teachers.load_general(("birdnet",), NAMES, location=(0.0, 0.0))
    assert len(found) == 1 and notes["note"][0].startswith("without its location model, every species is possible everywhere")


def test_yamnet_scores_other_sounds_only(soundscapes):
    built = teachers.from_embedder(Loudness(), NAMES)
    scores, others = built.predict(soundscapes[0])
    assert scores.shape == (12, 0) and others[2] == pytest.approx(0.54, abs=1e-3)  # the rain; the owl is no other sound


def test_other_sounds_are_classes_of_yamnet_and_no_birds():
    assert len(yamnet.OTHER_SOUNDS) == len(set(yamnet.OTHER_SOUNDS)) and not set(yamnet.OTHER_SOUNDS) & set(yamnet.BIRD_CLASSES)
    _, class_names = mirrors.read_yamnet(weights.fetch("yamnet").path)
    assert set(yamnet.OTHER_SOUNDS) <= set(class_names)


def test_a_saved_classifier_is_a_teacher_of_all_its_classes(soundscapes, tmp_path):
    embedder = Birdnet()
    pool = pooling.build_pooling(2)
    head = classifiers.build_head(4, 2, hidden=())
    model = classifiers.join(pool, head, 2)
    classifiers.save(tmp_path / "07", model, ["a", "b"], {"embedder": "birdnet", "key": embedder.key, "denoise": "none"})
    store = EmbeddingStore(tmp_path / "store", embedder.key)
    built = teachers.from_classifier(tmp_path / "07", embedder, store)
    scores, others = built.predict(soundscapes[0])
    assert built.labels == ["a", "b"] and scores.shape == (12, 2) and scores.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(classifiers.ClassifierError, match="same weights"):
        other = Birdnet()
        other.key = "x" * 64
        teachers.from_classifier(tmp_path / "07", other, store)


def test_a_classifier_takes_soundscapes_from_the_store_and_embeds_new_ones_into_it(soundscapes, tmp_path):
    """Its scores are those of the file itself."""
    embedder = Birdnet()
    classifiers.save(tmp_path / "07", classifiers.join(pooling.build_pooling(2), classifiers.build_head(4, 2, hidden=()), 2), ["a", "b"], {"embedder": "birdnet", "key": embedder.key})
    store = EmbeddingStore(tmp_path / "store", embedder.key)
    soundscape_windows.embed(soundscapes[:1], embedder, store)
    built = teachers.from_classifier(tmp_path / "07", embedder, store)
    of_file = inference.load_classifier(tmp_path / "07", file_embedding.FileEmbedder(embedder)).open(soundscapes[0])
    expected = of_file.predict(birdclef.windows(of_file.duration_s))
    soundfile.write(tmp_path / "S3.flac", np.full(10 * RATE_HZ, 0.5), RATE_HZ)
    assert built.predict(tmp_path / "S3.flac")[0].shape == (2, 2) and len(store) == 2
    embedder.embed_stream = None  # would fail
    assert np.array_equal(built.predict(soundscapes[0])[0], expected) and len(built.predict(tmp_path / "S3.flac")[0]) == 2


def test_memory_does_not_grow_with_the_number_of_windows(tmp_path):
    """Ten teachers' scores of 20,000 windows take 83 MB, of which arrays in memory are those of one soundscape."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"S{number}.flac" for number in range(20)]
    scores = {path: rng.random((1000, 103), np.float32) for path in paths}

    def model(number):
        return teachers.Teacher(f"t{number}", [f"s{column}" for column in range(103)], lambda path: (scores[path], scores[path][:, 0]), 5.0, f"{number:064}")

    tracemalloc.start()
    windows, found, others, _ = teacher_scores.predict_all(paths, [model(number) for number in range(10)], tmp_path / "scores")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found["t7"][2000:3000], scores[paths[2]]) and np.array_equal(others["t7"][:1000], scores[paths[0]][:, 0])
    assert len(windows) == 20_000 and peak < 15e6


@pytest.mark.slow
def test_the_real_birdnet_is_a_teacher_with_its_location_model(tmp_path):
    names = taxonomy.names(["eurbla", "dragon1"]).assign(scientific_name=["Turdus merula", "Draco draco"])
    found, notes = teachers.load_general(("birdnet",), names, location=(52.5, 13.4))
    assert found[0].labels == ["eurbla"] and notes["note"].tolist() == ["knows 1 of 2 labels, not dragon1"]
    waveform = hiss(20.0, sample_rate_hz=48_000)
    waveform[: 48_000 * 5] += song(5.0, 48_000)
    soundfile.write(tmp_path / "S_20250601_060000.wav", waveform, 48_000)
    windows, scores, others, _ = teacher_scores.predict_all([tmp_path / "S_20250601_060000.wav"], found, tmp_path / "store")
    assert len(windows) == 4 and scores["birdnet"].shape == (4, 1) and scores["birdnet"].max() <= 1.0
