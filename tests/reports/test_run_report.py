"""The report of a run: complete from made outputs, and of use where parts are missing."""

import json
import re
import shutil

import made_run
import numpy as np
import pandas as pd
import pytest

from birdlib import runtime, stages
from birdlib.audio import clips
from birdlib.reports import numbers, overview, run_files, run_report, tables
from birdlib.reports.sections import answer, method, species
from birdlib.video import annotations


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_run.make(tmp_path_factory.mktemp("run"))


@pytest.fixture
def outputs(tmp_path):
    """Made outputs that a test may damage; the recordings are not there."""
    return made_run.make(tmp_path, ("wren", "robin"), media=False)


def leave_out_slow_parts(patch):
    """The overview and the layout of the map have tests of their own."""
    patch.setattr(overview, "write", lambda outputs, run: None)
    patch.setattr(clips, "layout", lambda vectors, seed: vectors[:, :2])


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    leave_out_slow_parts(monkeypatch)


@pytest.fixture(scope="module")
def whole(made):
    with pytest.MonkeyPatch.context() as patch:
        leave_out_slow_parts(patch)
        return run_report.write(made).read_text()


def section_of(page, section_id):
    return re.search(rf'<section id="{section_id}".*?</section>', page, re.DOTALL)[0]


def test_every_section_is_there_in_the_order_of_the_story(whole):
    found = re.findall(r'<section id="(.*?)"', whole)
    assert found == ["data", "sound", "species", "photos-and-sound", "soundscapes", "individuals", "submission", "method"]
    assert "cannot be shown" not in section_of(whole, "data") + section_of(whole, "sound") + section_of(whole, "species") + section_of(whole, "individuals")


def test_the_answer_has_figures_with_intervals(whole):
    head = whole[: whole.index("<nav")]
    assert "<b>16 sounds, 8 photos and 1 film of 4 species</b>" in head
    assert "0.95 [0.90, 0.97]" in head and "70\u202f% [60\u202f%, 80\u202f%]" in head
    assert "2 [1, 3] individuals" in head and "is ready with 2 rows for 4 species" in head


def test_no_hashes_and_no_python_literals(whole):
    text = re.sub(r"<(script|style).*?</\1>", " ", whole, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", " ", text)
    assert not re.search(r"\b[0-9a-f]{32,}\b", text)
    text = re.sub(r"\[[−\d.%\u202f]+, [−\d.%\u202f]+\]", " ", text)  # intervals
    assert not re.search(r"\[['\"0-9]|\{['\"]|\bNone\b|\bTrue\b|\bnan\b|\d\.\d{5,}", text)


def test_labels_cannot_be_markup(whole):
    assert 'a<b>&"' not in whole
    assert "a&lt;b&gt;&amp;" in whole and "דרור" in whole and "雀形目" in whole


def test_memory_and_time_of_each_stage(made, whole):
    receipt = stages.receipt(made, "07_classify")
    assert receipt["peak_mb"] > 50
    assert numbers.megabytes(1e6 * receipt["peak_mb"]) in section_of(whole, "method")


def test_licences_are_told_with_what_they_forbid(whole):
    assert "birdnet may not be used commercially" in section_of(whole, "method")


def test_skipped_files_are_listed(whole):
    assert "1 file was skipped." in section_of(whole, "data") and "bad &lt;file&gt;.wav" in section_of(whole, "data")


def test_sounds_pictures_and_films_are_inside(whole):
    assert whole.count("data:audio/mpeg;base64,") >= 10
    assert "data:video/mp4;base64," in section_of(whole, "individuals")
    assert "data:image/webp;base64," in section_of(whole, "photos-and-sound")


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path):
    page = run_report.write(tmp_path / "none", {"01_split": "the manifest is empty"}).read_text()
    assert "was left out: the manifest is empty" in page
    assert "Stage 07_classify has not run yet" in page


def test_reasons_of_stages_that_were_left_out(outputs):
    shutil.rmtree(outputs / "09_count")
    page = run_report.write(outputs, {"09_count": "there are no films"}).read_text()
    assert "Stage 09_count was left out: there are no films." in section_of(page, "individuals")
    assert "Individuals: nothing was counted." in page[: page.index("<nav")]


def test_missing_and_damaged_files_cost_their_part_only(outputs, capsys):
    """Outputs of an older version lack files or columns."""
    for lost in ("07_classify/per_species.csv", "08_submit/detections.csv", "04_triplet/index.parquet"):
        (outputs / lost).unlink()
    (outputs / "07_classify" / "ablation.parquet").write_bytes(b"no table")
    pd.DataFrame({"recording_id": ["film1"]}).to_csv(outputs / "09_count" / "counts.csv", index=False)
    page = run_report.write(outputs).read_text()
    for section, lost, kept in (
        ("species", "per_species.csv is missing", "What is confused"),
        ("species", "The ablation cannot be shown", "Can the probabilities be believed?"),
        ("soundscapes", "detections.csv is missing", "Pseudo-labels"),
        ("photos-and-sound", "index.parquet is missing", "Stage 05_match has not run yet"),
        ("individuals", "The counts of the films cannot be shown", "The same bird in several films"),
    ):
        found = section_of(page, section)
        assert lost in found and kept in found
    assert "The ablation" in capsys.readouterr().err


def test_without_the_table_of_recordings_skipped_files_are_still_listed(outputs):
    (outputs / "01_split" / "splits.parquet").unlink()
    found = section_of(run_report.write(outputs).read_text(), "data")
    assert "splits.parquet is missing" in found and "1 file was skipped" in found


def test_without_the_recordings_the_figures_stay(outputs):
    shutil.rmtree(outputs.parent / "data", ignore_errors=True)
    page = run_report.write(outputs).read_text()
    assert "0.95 [0.90, 0.97]" in page
    assert "no longer where they were" in section_of(page, "soundscapes")


@pytest.mark.parametrize(("labels", "kinds"), [(("wren",), ("sound",)), (("wren", "robin"), ("sound",)), (("wren",), ("sound", "photo", "film"))])
def test_small_sets(tmp_path, labels, kinds):
    """One species, no photos, no films."""
    outputs = made_run.make(tmp_path, labels, kinds, media=False)
    page = run_report.write(outputs).read_text()
    assert "cannot be shown" not in page
    assert "wren" in section_of(page, "data")


@pytest.mark.slow
def test_fifteen_hundred_species(tmp_path):
    """The tables are paged and the confusion shows the most confused species."""
    labels = [f"species {i:04d}" for i in range(1500)]
    outputs = made_run.make(tmp_path, labels, ("sound",), n_each=4, media=False)
    page = run_report.write(outputs).read_text()
    assert len(page) < 6e6
    assert "The 16 species with most confusion of 1\u202f500" in section_of(page, "species")
    assert section_of(page, "species").count("<tr>") > 1500


def test_labels_that_look_like_numbers_are_found(tmp_path):
    outputs = made_run.make(tmp_path, ("0012", "1139490"), ("sound",), media=False)
    run = run_files.Run(outputs)
    assert run.read("07_classify", "per_species.csv")["species"].tolist() == ["0012", "1139490"]


def test_a_species_may_be_called_soundscape(tmp_path):
    outputs = made_run.make(tmp_path, ("soundscape", "wren"), ("sound",), media=False)
    assert run_files.Run(outputs).read("08_submit", "submission.csv")["soundscape"].tolist() == [0.9, 0.1]


def test_species_with_one_name_are_told_apart_by_their_labels(made):
    run = run_files.Run(made)
    run.names.loc[["1139490", "דרור"], "common_name"] = "sparrow"
    assert run.unique_names(["1139490", "דרור", "雀形目"]) == ["sparrow (1139490)", "sparrow (דרור)", "雀形目"]


def test_values_of_receipts_in_plain_words():
    texts = {
        True: "yes", "": "–", 1200: "1\u202f200", 0.001: "0.001", 0.2: "0.20", "birdnet,perch": "birdnet, perch", "a" * 64: "…",
    }  # fmt: skip
    assert {value: method.plain(value) for value in texts} == texts
    assert method.plain({"scores": 0.5, "probabilities": [0.9, 0.8, 0.95]}) == "scores: 0.50; probabilities: 0.90 [0.80, 0.95]"
    assert method.plain([]) == "none" and method.plain(["a", "b"]) == "a and b"


def test_parameters_are_explained_by_the_notebook(outputs):
    cells = [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": 'policy = "remove, # not this"  # what is done with speech\nseed = 0', "outputs": []}]
    (outputs / "notebooks").mkdir()
    (outputs / "notebooks" / "02_clean.ipynb").write_text(json.dumps({"cells": cells}))
    page = run_report.write(outputs).read_text()
    assert "what is done with speech" in section_of(page, "method")
    assert 'href="notebooks/02_clean.ipynb"' in page


def test_an_interval_is_three_numbers():
    assert answer.is_interval([0.5, 0.4, 0.6]) and not answer.is_interval([0.5, 0.4]) and not answer.is_interval(["a", "b", "c"])


def test_the_most_confused_species_are_shown_first():
    classes = [f"s{i:02d}" for i in range(40)]
    counts = pd.DataFrame(np.eye(40, dtype=int), classes, classes)
    wrong = pd.Series([5, 3], pd.MultiIndex.from_tuples([("s30", "s07"), ("s02", "s39")]))
    shown = species._most_confused(classes, counts, wrong)
    assert len(shown) == 16 and {"s30", "s07", "s02", "s39"} <= set(shown)
    assert shown == sorted(shown)


def test_a_test_of_one_species_has_no_auc_to_show(outputs):
    receipt = stages.receipt(outputs, "07_classify")
    made_run.finish(outputs, "07_classify", {}, {**receipt["results"], "network: macro_auc": [np.nan] * 3})
    run = run_files.Run(outputs)
    assert "one species only" in answer.sentences(run) and "70\u202f%" in answer.sentences(run)
    assert "ROC-AUC" not in answer.cards(run)


def test_individuals_by_voice_where_there_are_no_films(tmp_path):
    made_run.finish(tmp_path, "01_split", {}, {"recordings": 2, "species": 1})
    made_run.finish(tmp_path, "09_count", {}, {"films": 0, "closed set, accuracy": [0.63, 0.56, 0.71]})
    assert "By voice alone, <b>63\u202f% [56\u202f%, 71\u202f%]</b>" in answer.sentences(run_files.Run(tmp_path))


def test_columns_that_repeat_the_name_are_left_out():
    frame = pd.DataFrame({"name": ["wren"], "scientific_name": ["wren"], "label": ["w1"]})
    assert [column.name for column in tables.distinct(frame, [tables.Column(name) for name in frame])] == ["name", "label"]


def test_a_recording_in_several_rows_is_one_sound(tmp_path):
    splits = pd.DataFrame({"species": ["a", "b"], "audio_path": "both.wav", "image_path": "", "video_path": "", "split": "train", "group_id": "g", "is_repeated": [False, True]})
    made_run.finish(tmp_path, "01_split", {"splits.parquet": splits}, {"recordings": 2, "species": 2, "root": "."})
    assert "<b>1 sound of 2 species</b>" in answer.sentences(run_files.Run(tmp_path))


def test_points_of_a_large_map_are_spread_over_the_species():
    labels = np.repeat(["common", "rare"], [990, 10])
    rows = run_files.spread(labels, 40, np.random.default_rng(0))
    assert len(rows) == 40 == len(set(rows)) and (labels[rows] == "rare").sum() == 10


def test_birds_have_the_number_and_the_colour_of_their_boxes(whole):
    """Boxes of annotated films count from 1: identity 0 is bird 1."""
    red, green, blue = annotations.colour(1)
    found = re.findall(r'background: rgb\((\d+ \d+ \d+)\)"[^>]*></i>(bird \d+)', section_of(whole, "individuals"))
    assert set(found) == {(f"{red} {green} {blue}", "bird 1")}


def test_how_the_saved_classifier_was_chosen_is_said(outputs):
    receipt = stages.receipt(outputs, "07_classify")
    said = "Chosen by cross-validation: prototypes. In 61% of resamples it is the best of 38 candidates."
    made_run.finish(outputs, "07_classify", {}, {**receipt["results"], "saved classifier": said})
    assert said in run_report.write(outputs).read_text(encoding="utf-8")


def test_a_random_split_is_said_loudly(outputs):
    """In the answer, on the card and in the data section; a split by group says the opposite."""
    by_group = run_report.write(outputs).read_text(encoding="utf-8")
    receipt = runtime.read_json(outputs / "01_split" / "stage.json")
    receipt["results"]["divided groups"] = 7
    runtime.write_json(receipt, outputs / "01_split" / "stage.json")
    classified = runtime.read_json(outputs / "07_classify" / "stage.json")
    classified["results"]["random split flatters macro_auc"] = [0.04, 0.01, 0.07]
    runtime.write_json(classified, outputs / "07_classify" / "stage.json")
    at_random = run_report.write(outputs).read_text(encoding="utf-8")
    for said in ("This is too high: recordings were split at random", "random split: too high", "the same network is higher by folds of recordings than by folds of groups: 0.04 [0.01, 0.07]", "This is a random split, so all figures of the run are too high: 7 groups"):
        assert said in at_random and said not in by_group
    assert "A group is never divided" in by_group and "A group is never divided" not in at_random
