"""The backend, its devices and precision; several devices are tested in ``test_parity``."""

import os
import types

import pytest

from birdlib import devices, runtime


@pytest.mark.parametrize(("given", "message"), [({"strategy": "all"}, "'all' is unknown: use auto"), ({"precision": "half"}, "'half' is unknown: use auto")])
def test_an_unknown_strategy_or_precision_is_refused(given, message):
    with pytest.raises(runtime.ParameterError, match=message):
        devices.prepare(**given)


@pytest.mark.parametrize(("installed", "expected"), [({"jax"}, "jax"), ({"jax", "tensorflow"}, None), (set(), None)])
def test_jax_is_chosen_where_tensorflow_is_not_installed(monkeypatch, installed, expected):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: name in installed or None)
    monkeypatch.setattr(devices.sys, "modules", {})
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    devices.choose_backend()
    assert os.environ.get("KERAS_BACKEND") == expected


def test_the_environment_decides_on_the_backend(monkeypatch):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: name == "jax" or None)
    monkeypatch.setattr(devices.sys, "modules", {})
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    devices.choose_backend()
    assert os.environ["KERAS_BACKEND"] == "torch"


@pytest.mark.parametrize(("platform", "capability", "is_fast"), [("gpu", "7.5", False), ("gpu", "8.0", True), ("gpu", "12.0", True), ("tpu", None, True), ("cpu", None, False)])
def test_bfloat16_is_for_tpus_and_cards_since_ampere(platform, capability, is_fast):
    device = types.SimpleNamespace(platform=platform, **({"compute_capability": capability} if capability else {}))
    assert (devices._jax_capability(device) >= devices._BFLOAT16_CAPABILITY) == is_fast


def test_a_cpu_computes_in_float32_by_default():
    import keras

    devices.prepare(precision="auto")
    assert keras.config.dtype_policy().name == "float32"


def test_jax_needs_what_tensorflow_needs_but_tensorflow():
    """Two files, because pip cannot leave a line of another file out: their ranges are the same."""
    with_tensorflow, with_jax = (
        {line for line in (runtime.repository() / name).read_text().splitlines() if line and not line.startswith("#")} for name in ("requirements.txt", "requirements-jax.txt")
    )
    assert {line.split(">")[0] for line in with_tensorflow - with_jax} == {"tensorflow"}
    assert {line.split(">")[0] for line in with_jax - with_tensorflow} == {"jax"}
