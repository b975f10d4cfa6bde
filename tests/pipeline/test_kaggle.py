"""What goes to Kaggle: that it is all there, and what it says it is."""

import hashlib
import re
import subprocess
import sys

import pytest
from made_packages import FREE, files, finish, metadata, put_member, write

from birdlib import __main__, runtime, stages
from birdlib.models import catalogue, weights
from birdlib.pipeline import kaggle
from birdlib.species import classifiers, site_hour


def test_the_folders_hold_the_code_the_ensemble_and_its_weights(outputs):
    write(outputs)
    code, models = (files(outputs / "kaggle" / name) for name in ("birdlib-code", "birdlib-models"))
    assert {"birdlib/__main__.py", "birdlib/runtime.py", "notebooks/08_submit.ipynb", "requirements.txt"} <= code.keys()
    member = ("classifier.keras", "classes.json", "preprocessing.json")
    assert models.keys() == {
        *(f"07_classify/{name}" for name in (*member, "ensemble.json")), *(f"07_classify/members/mel_cnn/{name}" for name in member),
        "weights/free/free.tflite", "contents.json", "dataset-metadata.json",
    }  # fmt: skip


def test_the_packaged_code_writes_a_page(outputs, machine):
    """Templates, styles and scripts of the pages travel with the code, and nothing that Python or an editor left there."""
    write(outputs)
    code = outputs / "kaggle" / "birdlib-code"
    kinds = {path.suffix for path in (code / "birdlib").rglob("*") if path.is_file()}
    assert {".py", ".html", ".css", ".js"} <= kinds and kinds.isdisjoint({".pyc", ".swp"})
    made = "from birdlib.reports import page; print(page.__file__, page.render('Wrens', [page.Section('a', 'A', page.paragraph('Sing.'))]))"
    done = subprocess.run([sys.executable, "-c", made], cwd=code, capture_output=True, text=True)
    assert done.stdout.startswith(f"{code / 'birdlib' / 'reports' / 'page.py'} <!") and "<style" in done.stdout, done.stderr


def test_a_classifier_without_an_ensemble_is_packaged_alone(outputs):
    """As outputs of older versions are."""
    (outputs / "07_classify" / "ensemble.json").unlink()
    write(outputs)
    assert not any("members" in name for name in files(outputs / "kaggle" / "birdlib-models"))


def test_contents_list_size_and_digest_of_every_file(outputs):
    write(outputs)
    for folder in (outputs / "kaggle").iterdir():
        found = files(folder)
        told = runtime.read_json(found.pop("contents.json"))["files"]
        whole = {name: path.read_bytes() for name, path in found.items()}
        assert told == {name: {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in whole.items()}


def test_packages_contain_no_path_of_the_machine(outputs, machine):
    write(outputs)
    text = b"".join(path.read_bytes() for path in files(outputs / "kaggle").values())
    for place in (machine, runtime.repository()):
        assert f"{place}/".encode() not in text and f'{place}"'.encode() not in text


def test_only_folders_that_changed_are_written_again(outputs):
    assert set(write(outputs)["state"]) == {"written"}
    assert set(write(outputs)["state"]) == {"already right"}
    models = outputs / "kaggle" / "birdlib-models"
    damages = [
        lambda: (models / "07_classify" / "classifier.keras").write_bytes(b"NUMBERS"),
        lambda: (models / "07_classify" / "classes.json").unlink(),
        lambda: (models / "stranger.txt").touch(),
        lambda: (models / "contents.json").write_text("{"),
        lambda: put_member(outputs / "07_classify" / "members" / "mel_cnn", kind="waveform", sample_rate_hz=16_000),
    ]
    for damage in damages:
        damage()
        states = write(outputs)["state"]
        assert states.pop(str(models)) == "written" and set(states) == {"already right"}
        assert set(write(outputs)["state"]) == {"already right"}
    assert not [path for path in (outputs / "kaggle").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (catalogue.Model(licence=FREE, files={n: ("", hashlib.sha256(n.encode()).hexdigest()) for n in ("net.tflite", "labels.txt")}), ["net.tflite", "labels.txt"]),
        (catalogue.Model(licence=FREE, kaggle_handle="a/b"), ["saved_model.pb", "variables/variables.index", "assets/label.csv"]),
    ],
    ids=["two files", "SavedModel"],
)  # fmt: skip
def test_packaged_weights_are_the_same_weights(outputs, machine, monkeypatch, model, names):
    """BirdNET is two files, Perch a folder; a classifier refuses others than it was trained on."""
    for name in names:
        (machine / "mine" / "heard" / name).parent.mkdir(parents=True, exist_ok=True)
        (machine / "mine" / "heard" / name).write_text(name)
    (machine / "mine" / "heard" / "notes.txt").touch()
    monkeypatch.setitem(weights.MODELS, "heard", model)
    put_member(outputs / "07_classify", embedder="heard")
    finish(outputs)
    write(outputs)
    packaged = outputs / "kaggle" / "birdlib-models" / "weights"
    assert sorted(files(packaged)) == sorted(f"heard/{name}" for name in names)
    assert weights.find("heard", packaged).sha256 == weights.find("heard").sha256


def test_titles_and_names_meet_kaggles_rules(outputs):
    write(outputs)
    for name in ("birdlib-code", "birdlib-models"):
        told = metadata(outputs, name)
        assert 6 <= len(told["title"]) <= 50 and re.fullmatch(r"\w+/[a-z-]{3,50}", told["id"]) and len(told["licenses"]) == 1


def test_without_a_classifier_the_notebook_to_run_is_named(machine, outputs):
    with pytest.raises(stages.MissingStageError, match="notebooks/07_classify.ipynb"):
        kaggle.write(machine / "nothing", machine / "to")
    (outputs / "07_classify" / "members" / "mel_cnn" / "classes.json").unlink()
    with pytest.raises(classifiers.ClassifierError, match="has no members/mel_cnn/classes.json"):
        write(outputs)
    assert not (machine / "to").exists() and not (outputs / "kaggle").exists()


def test_a_folder_made_by_others_is_not_overwritten(outputs, capsys):
    (outputs / "kaggle" / "birdlib-code").mkdir(parents=True)
    (outputs / "kaggle" / "birdlib-code" / "thesis.tex").touch()
    assert __main__.main(["package", "--no-wheels", "--outputs", str(outputs)]) == 1
    assert "was not made by birdlib: choose another folder by --to" in capsys.readouterr().err
    assert list(files(outputs / "kaggle")) == ["birdlib-code/thesis.tex"]


def test_the_prior_by_site_and_hour_is_packaged_where_there_is_one(outputs):
    write(outputs)
    packaged = outputs / "kaggle" / "birdlib-models" / "07_classify" / site_hour.FILE
    assert not packaged.exists()
    runtime.write_json({"cells": []}, outputs / "07_classify" / site_hour.FILE)
    write(outputs)
    assert runtime.read_json(packaged) == {"cells": []}
