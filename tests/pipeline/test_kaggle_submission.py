"""The notebook of the submission: its settings, and that it finds what goes to Kaggle wherever Kaggle mounts it."""

import json
import shutil

import pytest
from made_packages import metadata, write

from birdlib import notebook_setup, runtime
from birdlib.models import weights
from birdlib.pipeline import kaggle, recipes


def test_user_and_competition_are_remembered(outputs):
    write(outputs)
    assert metadata(outputs, "birdlib-models")["id"] == "INSERT_USER/birdlib-models"
    for options in ({"user": "somebody", "competition": "birdclef-2031"}, {}):
        write(outputs, **options)
        kernel = runtime.read_json(outputs / "kaggle" / "birdlib-submission" / "kernel-metadata.json")
        assert metadata(outputs, "birdlib-code")["id"] == "somebody/birdlib-code"
        assert kernel["dataset_sources"] == ["somebody/birdlib-code", "somebody/birdlib-models"]
        assert kernel["competition_sources"] == ["birdclef-2031"] and kernel["enable_internet"] is False


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
