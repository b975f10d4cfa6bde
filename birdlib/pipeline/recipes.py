"""Published recipes by name: which notebooks one runs, and its parameters, each with the source of its value. They are in ``recipes.toml``."""

import dataclasses
import difflib
import tomllib
from pathlib import Path

import pandas as pd

from birdlib import runtime, stages

PATH = Path(__file__).with_suffix(".toml")
_DESCRIPTION = ("title", "source", "notebooks")


class RecipeError(runtime.BirdlibError):
    """A recipe that does not exist, or that the notebooks cannot run."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """``notebooks``: numbers of those that it runs; ``parameters``: {notebook, such as ``"04_triplet"``: {parameter: (value, source)}}."""

    name: str
    title: str
    source: str
    notebooks: tuple
    parameters: dict

    def values(self, notebook):
        """{parameter: value} that the recipe sets in a notebook."""
        return {name: value for name, (value, _) in self.parameters.get(notebook, {}).items()}


def load_all():
    """{name: Recipe}, in the order of the file."""
    with open(PATH, "rb") as file:
        found = tomllib.load(file)
    return {name: _recipe(name, table) for name, table in found.items()}


def load(name):
    """The recipe of that name.

    Raises:
        RecipeError: if there is none; it names the nearest.
    """
    known = load_all()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.4)
        remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise RecipeError(f"recipe {name!r} is unknown: {remedy}")
    return known[name]


def _recipe(name, table):
    parameters = {notebook: {key: tuple(pair) for key, pair in values.items()} for notebook, values in table.items() if notebook not in _DESCRIPTION}
    return Recipe(name, table["title"], table["source"], tuple(table["notebooks"]), parameters)


def settings(recipe, defaults):
    """What a recipe sets: DataFrame ``notebook, parameter, value, default, source``.

    Args:
        defaults: {notebook: {parameter: value}} of the notebooks.
    """
    rows = [
        (notebook, name, value, defaults[notebook][name], source)
        for notebook, values in recipe.parameters.items()
        for name, (value, source) in values.items()
    ]
    return pd.DataFrame(rows, columns=["notebook", "parameter", "value", "default", "source"])


def write(outputs, recipe, given):
    """Record in an outputs folder which recipe it has, for the report; None removes the record of an earlier run.

    Args:
        given: parameters in place of those of the recipe or the notebooks; paths are not recorded.
    """
    path = Path(outputs) / stages.RECIPE
    if recipe is None:
        path.unlink(missing_ok=True)
    else:
        given = {name: value for name, value in given.items() if name not in stages.PATH_PARAMETERS}
        runtime.write_json(dataclasses.asdict(recipe) | {"given": given}, path)
