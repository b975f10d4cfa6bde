"""A recipe's notebook in the test's own process, with records of the layers, optimizers, losses and library calls that it really made."""

import importlib

import keras
from in_process import run_notebook

from birdlib import stages
from birdlib.pipeline import recipes, runner


class Spy:
    """Records while it is installed.

    Attributes:
        layers: every Keras layer that was built, in order.
        compiled: (model, config of the optimizer, loss) of every ``compile``.
        fits: keyword arguments of every ``fit``.
        calls: {"resampy.resample": [(arguments, keywords), ...]} of what ``watch`` was told.
    """

    def __init__(self, monkeypatch):
        self.monkeypatch, self.layers, self.compiled, self.fits, self.calls = monkeypatch, [], [], [], {}
        made, compile_, fit = keras.layers.Layer.__init__, keras.Model.compile, keras.Model.fit

        def record_layer(layer, *arguments, **options):
            made(layer, *arguments, **options)
            self.layers.append(layer)

        def record_compile(model, optimizer="rmsprop", loss=None, **options):
            compile_(model, optimizer=optimizer, loss=loss, **options)
            self.compiled.append((model, model.optimizer.get_config(), loss))

        def record_fit(model, *arguments, **options):
            self.fits.append(options)
            return fit(model, *arguments, **options)

        for name, function in (("compile", record_compile), ("fit", record_fit)):
            monkeypatch.setattr(keras.Model, name, function)
        monkeypatch.setattr(keras.layers.Layer, "__init__", record_layer)

    def watch(self, *names):
        """Record the calls of functions, such as ``"resampy.resample"``, which still do their work."""
        for name in names:
            module, _, attribute = name.rpartition(".")
            owner = _owner(module)
            original, calls = getattr(owner, attribute), self.calls.setdefault(name, [])

            def record(*arguments, _original=original, _calls=calls, **options):
                _calls.append((arguments, options))
                return _original(*arguments, **options)

            self.monkeypatch.setattr(owner, attribute, record)

    def of(self, kind):
        """The layers of a class."""
        return [layer for layer in self.layers if isinstance(layer, kind)]


def run(monkeypatch, recipe, outputs, *, only=(), **given):
    """Run a recipe's notebooks in this process, with other values where they are ``given`` (epochs, say, to be quick).

    Args:
        only: numbers of the notebooks to run; empty for all of the recipe.

    Returns:
        {notebook: receipt} of those that ran; they have every value of the recipe that is not ``given``.
    """
    monkeypatch.setattr("birdlib.pipeline.execute.execute", run_notebook)
    monkeypatch.setenv("BIRDLIB_RECIPE", recipe)
    chosen = only or recipes.load(recipe).notebooks
    for number in chosen:
        runner.run(outputs, only=number, given={name: str(value) for name, value in given.items()}, recipe=recipe)
    receipts = {name: stages.receipt(outputs, name) for name in stages.READS if name[:2] in chosen}
    _require_published(receipts, recipe, given)
    return receipts


def _require_published(receipts, recipe, changed):
    """Every value of the recipe is in the receipts, but for the parameters that a test has ``changed``."""
    for notebook, values in recipes.load(recipe).parameters.items():
        if notebook in receipts:
            used = receipts[notebook]["parameters"]
            expected = {name: value for name, (value, _) in values.items() if name not in changed}
            assert {name: used[name] for name in expected} == expected
            assert receipts[notebook]["recipe"] == recipe


def _owner(name):
    """A module, or a class in one."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)
