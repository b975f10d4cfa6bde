"""The command ``recipes``: published recipes by name, what they set, and what a run of one gave beside another run."""

from birdlib import runtime
from birdlib.commands import parsing


def add(commands):
    """Add ``recipes``."""
    recipes = commands.add_parser(
        "recipes",
        help="list published recipes, what one sets, or the figures of two runs side by side",
        description="List the published recipes that run --recipe NAME runs; with a name, its parameters with the source of each value. "
        "With --compare, the test figures of two outputs folders, such as a recipe and the suite's own, and their difference.",
        examples=[
            "recipes",
            "recipes birdclef-mae  # what it sets, and where the values come from",
            "recipes --compare outputs/recipes/triplet-vgg16 outputs",
        ],
    )
    recipes.add_argument("name", nargs="?", default="", metavar="NAME", help="of a recipe (default: list all)")
    recipes.add_argument("--compare", nargs=2, metavar=("DIR", "DIR"), help="two outputs folders: figures on the same test rows, and their difference (default: none)")
    recipes.set_defaults(command=_recipes)


def _recipes(options):
    if options.compare and options.name:
        raise runtime.ParameterError(f"--compare takes two folders and no recipe: leave out {options.name}")
    if options.compare:
        return _compare(*options.compare)
    return _show(options.name) if options.name else _list()


def _list():
    from birdlib.pipeline import recipes

    for recipe in recipes.load_all().values():
        print(f"{recipe.name:<18}{recipe.title}\n{'':<18}notebooks {', '.join(recipe.notebooks)} · {recipe.source}")
    print(f"\n{parsing.PROGRAM} recipes NAME lists what a recipe sets, {parsing.PROGRAM} run --recipe NAME runs it.")
    return 0


def _show(name):
    from birdlib.pipeline import recipes, runner

    recipe = recipes.load(name)
    print(f"{recipe.name}: {recipe.title}\nSource: {recipe.source}\nNotebooks: {', '.join(recipe.notebooks)}\n")
    table = recipes.settings(recipe, runner.default_parameters())
    for notebook, rows in table.groupby("notebook", sort=False):
        print(notebook)
        for row in rows.itertuples():
            print(f"  {row.parameter} = {row.value!r}  (default {row.default!r})\n      {row.source}")
    return 0


def _compare(outputs, others):
    import numpy as np

    from birdlib.pipeline import recipe_comparison

    table = recipe_comparison.as_text(recipe_comparison.compare(outputs, others, np.random.default_rng(0)))
    print(f"first: {outputs}\nsecond: {others}\nDifference: first - second; intervals of 90 % over groups, paired where both were tested on the same rows.\n")
    print(table.to_string(index=False))
    if reasons := recipe_comparison.left_out(outputs, others):
        print("\nNot compared:", *reasons, sep="\n")
    return 0
