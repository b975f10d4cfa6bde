"""What goes to Kaggle: that it is all there, what it says it is, under the right licence, and found again where Kaggle mounts it."""

import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys

import made_wheels
import pandas as pd
import pytest

from birdlib import __main__, notebook_setup, runtime, stages
from birdlib.models import catalogue, weights
from birdlib.pipeline import kaggle, recipes
from birdlib.species import classifiers, site_hour

FREE, BOUND = "Apache-2.0", "CC BY-NC-SA 4.0"
# Modules of Kaggle's image that notebook 08 may want; pip calls scikit-learn what Python calls sklearn
IMAGE = set("numpy pandas pyarrow scipy sklearn joblib matplotlib tqdm soundfile soxr librosa tensorflow keras kagglehub packaging".split())


def network(licence, file):
    return catalogue.Model(licence=licence, files={file: ("", hashlib.sha256(file.encode()).hexdigest())})


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that has the weights of two embedders, free and bound, and no network."""
    monkeypatch.setenv("BIRDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "MODELS", {"free": network(FREE, "free.tflite"), "bound": network(BOUND, "bound.tflite")})
    for name in weights.MODELS:
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / f"{name}.tflite").write_text(f"{name}.tflite")
    monkeypatch.setenv("BIRDLIB_WEIGHTS", str(tmp_path / "mine"))
    monkeypatch.setattr(weights, "KAGGLE_INPUT", tmp_path / "kaggle")
    monkeypatch.setattr(notebook_setup, "KAGGLE_INPUT", tmp_path / "kaggle")
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(tmp_path / "index")), ("PIP_CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(name, value)
    return tmp_path


def put_member(folder, **preprocessing):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classifier.keras").write_bytes(b"numbers")
    runtime.write_json(["crow", "wren"], folder / "classes.json")
    runtime.write_json(preprocessing, folder / "preprocessing.json")


@pytest.fixture
def outputs(machine):
    """Stage 07 with a classifier on the free embedder and a member that needs none; its receipt knows this machine's paths."""
    outputs = machine / "outputs"
    home = outputs / "07_classify"
    put_member(home, kind="embeddings", embedder="free")
    put_member(home / "members" / "mel_cnn", kind="waveform", sample_rate_hz=32_000)
    put_member(home / "members" / "left_out", kind="embeddings", embedder="bound")
    runtime.write_json({"rule": "mean", "members": [".", "members/mel_cnn"]}, home / "ensemble.json")
    finish(outputs, {"free": {"source": f"folder {machine}", "licence": FREE}})
    return outputs


def finish(outputs, used=None):
    stages.finish(stages.Stage("07_classify", outputs / "07_classify", {}, {}), {}, weights=used)


def write(outputs, **options):
    return kaggle.write(outputs, outputs / "kaggle", with_wheels=False, **options).set_index("folder")


def files(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def metadata(outputs, name):
    return runtime.read_json(outputs / "kaggle" / name / "dataset-metadata.json")


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


def test_user_and_competition_are_remembered(outputs):
    write(outputs)
    assert metadata(outputs, "birdlib-models")["id"] == "INSERT_USER/birdlib-models"
    for options in ({"user": "somebody", "competition": "birdclef-2031"}, {}):
        write(outputs, **options)
        kernel = runtime.read_json(outputs / "kaggle" / "birdlib-submission" / "kernel-metadata.json")
        assert metadata(outputs, "birdlib-code")["id"] == "somebody/birdlib-code"
        assert kernel["dataset_sources"] == ["somebody/birdlib-code", "somebody/birdlib-models"]
        assert kernel["competition_sources"] == ["birdclef-2031"] and kernel["enable_internet"] is False


@pytest.mark.parametrize(
    ("members", "used", "licence"),
    [
        ([".", "members/mel_cnn"], {}, "apache-2.0"),
        ([".", "members/left_out"], {}, "CC-BY-NC-SA-4.0"),
        (["."], {"a teacher": {"source": "package", "licence": BOUND}}, "CC-BY-NC-SA-4.0"),
        (["."], {"mae": {"source": "url", "licence": "none stated by its makers"}}, "unknown"),
        (["members/mel_cnn"], {}, "other"),
    ],
)
def test_the_strictest_licence_of_the_contents_applies(outputs, members, used, licence):
    """BirdNET's, say, also holds for what learnt from its labels."""
    runtime.write_json({"rule": "mean", "members": members}, outputs / "07_classify" / "ensemble.json")
    finish(outputs, used)
    write(outputs)
    assert metadata(outputs, "birdlib-models")["licenses"] == [{"name": licence}]


@pytest.mark.parametrize(
    ("components", "teachers", "licence"),
    [
        ("soundscapes, mixup", ["classifier", "bound+free"], "CC-BY-NC-SA-4.0"),
        ("mixup", ["bound"], "apache-2.0"),
        ("soundscapes", ["classifier", "free", ""], "apache-2.0"),
        ("soundscapes", [], "apache-2.0"),
    ],
)
def test_a_teachers_licence_applies_only_if_its_labels_were_trained_on(outputs, components, teachers, licence):
    """BirdNET was asked about the soundscapes every time."""
    home = outputs / "06_pseudolabel"
    home.mkdir()
    runtime.write_table(pd.DataFrame({"teacher": pd.Series(teachers, dtype=str)}), home / "labels.parquet")
    used = {name: {"source": "package", "licence": model.licence} for name, model in weights.MODELS.items()}
    told = stages.finish(stages.Stage("06_pseudolabel", home, {}, {}), {}, weights=used)
    stages.finish(stages.Stage("07_classify", outputs / "07_classify", {}, {"06_pseudolabel": told["digest"]}), {"components": components})
    write(outputs)
    assert metadata(outputs, "birdlib-models")["licenses"] == [{"name": licence}]


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


# Wheels


def test_offline_errors_name_the_wheels_and_how_to_omit_them(outputs):
    with pytest.raises(kaggle.PackageError, match="(?s)ai-edge-litert.*No matching distribution.*--no-wheels"):
        kaggle.write(outputs, outputs / "kaggle")
    assert not (outputs / "kaggle").exists()


def test_wheels_are_downloaded_once(outputs, machine, monkeypatch):
    monkeypatch.setattr(kaggle, "ABSENT", ("ai-edge-litert",))
    made_wheels.put_wheel(machine / "index", "ai-edge-litert")
    kaggle.write(outputs, outputs / "kaggle")
    folder = outputs / "kaggle" / "birdlib-wheels"
    assert "ai_edge_litert-2.9.0-py3-none-any.whl" in files(folder)
    assert "\nai-edge-litert>=" in (folder / "birdlib-wheels.txt").read_text()
    shutil.rmtree(machine / "index")
    assert set(kaggle.write(outputs, outputs / "kaggle")["state"]) == {"already right"}


def imported(text):
    """(modules of birdlib, other modules) that a Python text imports anywhere."""
    names = [
        (node.module, [alias.name for alias in node.names]) if isinstance(node, ast.ImportFrom) else ("", [alias.name for alias in node.names])
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    mine = {f"{module}.{name}" for module, aliases in names if (module or "").split(".")[0] == "birdlib" for name in aliases}
    theirs = {name.split(".")[0] for module, aliases in names for name in ([module] if module else aliases)}
    return mine, theirs - {"birdlib"} - sys.stdlib_module_names


OPTIONAL = {"av", "psutil"}  # soundfile reads all formats of the competition without av; psutil measures the memory on Windows alone


def test_notebook_08_needs_nothing_but_the_image_and_the_wheels():
    """Followed through every module of birdlib that it leads to, also into functions."""
    notebook = json.loads((runtime.repository() / "notebooks" / "08_submit.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    todo, needed, seen = [imported(text) for text in code], set(), set()
    while todo:
        mine, theirs = todo.pop()
        needed |= theirs
        paths = [runtime.repository() / (name.replace(".", "/") + ".py") for name in mine - seen]
        todo += [imported(path.read_text()) for path in paths if path.is_file()]  # the others are functions and classes
        seen |= mine
    assert {"birdlib.models.embedders", "birdlib.audio.io"} <= seen
    assert {name.replace("_", "-") for name in needed - IMAGE - OPTIONAL} <= set(kaggle.ABSENT)


# On Kaggle


@pytest.mark.parametrize("mount", ["", "datasets/somebody"])
def test_a_notebook_on_kaggle_finds_what_is_attached(outputs, machine, mount):
    """In the two ways in which Kaggle has mounted data sets and competitions."""
    write(outputs)
    attached = machine / "kaggle" / mount
    for name in ("birdlib-code", "birdlib-models"):
        shutil.copytree(outputs / "kaggle" / name, attached / name)
    competition = machine / "kaggle" / ("competitions" if mount else "") / "birdclef-2025"
    competition.mkdir(parents=True)
    (competition / "sample_submission.csv").touch()
    cells = runtime.read_json(outputs / "kaggle" / "birdlib-submission" / "08_submit.ipynb")["cells"]
    ids = [cell["id"] for cell in cells]
    assert ids.index("attached") == ids.index("parameters") + 1
    found = {}
    exec(next(line for line in cells[ids.index("set-up")]["source"] if line.startswith("from birdlib import")), found)
    exec(cells[ids.index("attached")]["source"], found)
    assert found["classifier_dir"] == str(attached / "birdlib-models" / "07_classify")
    assert found["data_dir"] == str(competition)
    with pytest.raises(runtime.BirdlibError, match="contains taxonomy.csv: attach"):
        notebook_setup.attached("taxonomy.csv")
    shutil.rmtree(machine / "mine")
    assert weights.find("free").path == attached / "birdlib-models" / "weights" / "free" / "free.tflite"


def test_the_submission_has_the_parameters_of_the_recipe_that_the_outputs_are_of(tmp_path):
    assert kaggle.recipe_parameters(tmp_path) == {}
    recipe = recipes.load("birdclef-2026")
    recipes.write(tmp_path, recipe, {})
    parameters = kaggle.recipe_parameters(tmp_path)
    assert parameters == recipe.values("08_submit") and parameters["smoothing"] == "0.1,0.8,0.1"
    notebook = json.loads(kaggle._submission("me", "birdclef-2026", [], parameters)[kaggle.NOTEBOOK])
    [cell] = [cell["source"] for cell in notebook["cells"] if cell["id"] == "attached"]
    names = {}
    exec("\n".join(line for line in cell.splitlines() if "notebook_setup" not in line), names)
    assert {name: names[name] for name in parameters} == parameters and "classifier_dir = " in cell


def test_the_prior_by_site_and_hour_is_packaged_where_there_is_one(outputs):
    write(outputs)
    packaged = outputs / "kaggle" / "birdlib-models" / "07_classify" / site_hour.FILE
    assert not packaged.exists()
    runtime.write_json({"cells": []}, outputs / "07_classify" / site_hour.FILE)
    write(outputs)
    assert runtime.read_json(packaged) == {"cells": []}
