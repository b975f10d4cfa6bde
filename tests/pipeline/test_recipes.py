"""Facts about recipes: the file fits the notebooks, a run takes its values, and two runs are compared on their test rows."""

import json

import numpy as np
import pandas as pd
import pytest
from made_chain import put_chain
from made_run import finish

from birdlib import __main__, runtime
from birdlib.metrics import classification
from birdlib.pipeline import execute, recipe_comparison, recipes, runner


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe of the small chain of ``test_runner``."""
    path = tmp_path / "recipes.toml"
    path.write_text(
        '[kept]\ntitle = "Keep the voice"\nsource = "a paper (2020)"\nnotebooks = ["01", "02"]\n\n[kept.02_clean]\npolicy = ["keep", "table 3"]\n'
        '[first]\ntitle = "Only the split"\nsource = "nobody"\nnotebooks = ["01"]\n\n[first.01_split]\nseed = [7, "a die"]\n'
    )
    monkeypatch.setattr(recipes, "PATH", path)
    return path


@pytest.mark.parametrize("name", recipes.load_all())
def test_what_a_recipe_sets_are_parameters_of_its_notebooks_of_their_type(name):
    recipe, defaults = recipes.load(name), runner.default_parameters()
    assert recipe.title and recipe.source
    assert set(recipe.notebooks) <= {notebook[:2] for notebook in defaults}
    for notebook, values in recipe.parameters.items():
        assert notebook[:2] in recipe.notebooks
        for parameter, (value, source) in values.items():
            assert parameter in defaults[notebook], f"{notebook} has no {parameter}"
            assert type(value) is type(defaults[notebook][parameter]), f"{notebook}: {parameter}"
            assert source
    assert runner._choose_parameters(runner.notebooks(), {}, recipe)


def test_a_recipe_runs_its_notebooks_with_its_values(tmp_path, monkeypatch, recipe):
    outputs = put_chain(tmp_path, monkeypatch)
    assert runner.run(outputs, recipe="kept") == {"01_split": "ran", "02_clean": "ran"}
    receipt = runtime.read_json(outputs / "02_clean" / "stage.json")
    assert receipt["recipe"] == "kept" and receipt["parameters"] == {"policy": "keep"}
    page = (outputs / "report.html").read_text()
    assert "Recipe kept" in page and "table 3" in page and "a paper (2020)" in page and "given no other values" in page
    assert runner.run(outputs, recipe="kept", given={"policy": "soften"}) == {"01_split": "current", "02_clean": "ran"}
    assert "policy = soften" in (outputs / "report.html").read_text()
    assert runner.run(outputs) == {"01_split": "current", "02_clean": "ran"}
    assert runtime.read_json(outputs / "02_clean" / "stage.json")["recipe"] == "" and "Recipe kept" not in (outputs / "report.html").read_text()


def test_other_notebooks_do_not_run_and_the_report_says_why(tmp_path, monkeypatch, recipe):
    outputs = put_chain(tmp_path, monkeypatch)
    assert runner.run(outputs, recipe="first") == {"01_split": "ran"}
    assert "recipe first does not use it" in (outputs / "report.html").read_text()
    with pytest.raises(execute.ChainError, match="recipe first has no notebook 02: 01_split"):
        runner.run(outputs, only="02", recipe="first")


def test_an_unknown_recipe_or_parameter_is_refused(tmp_path, monkeypatch, recipe):
    outputs = put_chain(tmp_path, monkeypatch)
    with pytest.raises(recipes.RecipeError, match="'keept' is unknown: did you mean kept"):
        runner.run(outputs, recipe="keept")
    recipe.write_text(recipe.read_text().replace("policy", "polity"))
    with pytest.raises(execute.ChainError, match="recipe kept sets polity, which 02_clean does not have"):
        runner.run(outputs, recipe="kept")
    assert not outputs.exists()


def test_the_command_lists_recipes_and_what_one_sets(capsys):
    assert __main__.main(["recipes"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in recipes.load_all())
    for name, recipe in recipes.load_all().items():
        assert __main__.main(["recipes", name]) == 0
        shown = capsys.readouterr().out
        assert all(parameter in shown and source in shown for values in recipe.parameters.values() for parameter, (_, source) in values.items())
    assert __main__.main(["recipes", "triplet"]) == 1
    assert "did you mean triplet-vgg16" in capsys.readouterr().err


def test_run_writes_a_recipe_into_its_own_folder(monkeypatch, capsys):
    taken = []
    monkeypatch.setattr(runner, "run", lambda *arguments: taken.append(arguments))
    assert __main__.main(["run", "--recipe", "modern", "-p", "seed=1"]) == 0
    assert __main__.main(["run"]) == 0
    assert [arguments[0].replace("\\", "/") for arguments in taken] == ["outputs/recipes/modern", "outputs"]
    assert taken[0][3:] == ({"seed": "1"}, False, "modern")


# Two runs side by side


def write_run(outputs, scores, names=None, classes=("a", "b")):
    """A finished 01 and 07 with one test recording a row of ``scores``; the species alternate."""
    names = names or [f"r{i}" for i in range(len(scores))]
    species = [classes[i % 2] for i in range(len(names))]
    splits = pd.DataFrame({"recording_id": names, "species": species, "group_id": [f"g{i // 2}" for i in range(len(names))]})
    predictions = pd.DataFrame({"recording_id": names, "species": species, "split": "test", "is_repeated": False})
    predictions[list(classes)] = scores
    finish(outputs, "01_split", {"splits.parquet": splits}, {"root": "."})
    for name in ("02_clean", "03_embed"):
        finish(outputs, name, {}, {})
    finish(outputs, "07_classify", {"predictions.parquet": predictions, "classes.json": list(classes)}, {})
    return outputs


def test_the_same_rows_are_compared_by_pairs(tmp_path):
    """Perfect scores against one error in eight: accuracy 1 - .875."""
    right = np.tile(np.eye(2), (4, 1))
    wrong = right.copy()
    wrong[0] = [0.2, 0.8]
    first, second = write_run(tmp_path / "a", right), write_run(tmp_path / "b", wrong)
    table = recipe_comparison.compare(first, second, np.random.default_rng(0)).set_index("figure")
    assert table.loc["accuracy", "difference"][0] == pytest.approx(0.125) and table["is_paired"].all()
    assert table.loc["accuracy", "n"] == (8, 8) and table.loc["accuracy", "first"] == [1.0, 1.0, 1.0]
    truth = (np.arange(8)[:, None] % 2 == np.arange(2)).astype(float)
    assert table.loc["macro ROC-AUC", "second"][0] == pytest.approx(classification.macro_roc_auc(truth, wrong))


def test_the_order_of_the_rows_does_not_matter(tmp_path):
    scores = np.random.default_rng(1).random((8, 2))
    first = write_run(tmp_path / "a", scores)
    second = write_run(tmp_path / "b", scores)
    path = second / "07_classify" / "predictions.parquet"
    pd.read_parquet(path).iloc[::-1].to_parquet(path)
    table = recipe_comparison.compare(first, second, np.random.default_rng(0))
    assert all(difference == [0.0, 0.0, 0.0] for difference in table["difference"])


def test_other_rows_are_resampled_independently(tmp_path):
    scores = np.random.default_rng(1).random((8, 2))
    first, second = write_run(tmp_path / "a", scores), write_run(tmp_path / "b", scores, [f"q{i}" for i in range(8)])
    table = recipe_comparison.compare(first, second, np.random.default_rng(0))
    assert not table["is_paired"].any()
    assert all(difference[0] == 0.0 and difference[1] < 0.0 < difference[2] for difference in table["difference"])


def test_films_with_a_known_count_are_compared_by_pairs(tmp_path):
    """Of two films one is counted one too low by the first run; a film of unknown count does not matter."""
    for name, n in (("a", [1, 3, 5]), ("b", [2, 3, 7])):
        counts = pd.DataFrame({"recording_id": ["x", "y", "z"], "n": n, "birds": [2, 3, np.nan]})
        finish(tmp_path / name, "01_split", {}, {"root": "."})
        finish(tmp_path / name, "09_count", {"counts.csv": counts}, {})
    table = recipe_comparison.compare(tmp_path / "a", tmp_path / "b", np.random.default_rng(0)).set_index("figure")
    assert table.loc["counted right", "difference"][0] == -0.5 and table.loc["mean absolute error", "difference"][0] == 0.5
    assert (table["n"] == (2, 2)).all() and table["is_paired"].all()
    unknown = pd.DataFrame({"recording_id": ["x"], "n": [1]})
    finish(tmp_path / "c", "01_split", {}, {"root": "."})
    finish(tmp_path / "c", "09_count", {"counts.csv": unknown}, {})
    with pytest.raises(recipe_comparison.ComparisonError):
        recipe_comparison.compare(tmp_path / "a", tmp_path / "c", np.random.default_rng(0))


def test_runs_without_a_common_stage_are_an_error(tmp_path, capsys):
    write_run(tmp_path / "a", np.eye(2))
    finish(tmp_path / "b", "01_split", {}, {"root": "."})
    assert __main__.main(["recipes", "--compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    error = capsys.readouterr().err
    assert "no test figures in common" in error and "07_classify is not finished" in error
    for other, message in (("nowhere", "is no folder"), ("empty", "has no finished stage")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert __main__.main(["recipes", "--compare", str(tmp_path / "a"), str(tmp_path / other)]) == 1
        assert message in capsys.readouterr().err
    assert __main__.main(["recipes", "modern", "--compare", str(tmp_path / "a"), str(tmp_path / "a")]) == 1
    assert "leave out modern" in capsys.readouterr().err
    assert __main__.main(["recipes", "--compare", str(tmp_path / "a"), str(tmp_path / "a")]) == 0
    assert "test recordings" in capsys.readouterr().out


def test_the_record_of_a_recipe_has_no_paths(tmp_path):
    recipes.write(tmp_path, recipes.load("modern"), {"manifest": "/home/me/birds.csv", "seed": "1"})
    assert json.loads((tmp_path / "recipe.json").read_text())["given"] == {"seed": "1"}
