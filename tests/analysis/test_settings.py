"""Settings of an analysis: those that cannot be used are refused, and how a number is written does not matter."""

import json

import analysed
import numpy as np
import pytest

from birdlib import runtime
from birdlib.analysis import engine, summary
from birdlib.models import birdnet_location


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_confidence": 0.0}, "min_confidence is 0"),
        ({"min_confidence": float("nan")}, "min_confidence"),
        ({"overlap_s": 1.0}, "windows of classifier last 1 s"),
        ({"overlap_s": -1.0}, "overlap"),
        ({"latitude": 50.0}, "give both"),
        ({"week": 18}, "week 18 is given without a location: add --lat and --lon"),
        ({"min_occurrence": float("nan")}, "min_occurrence is nan: choose 0 to 1"),
        ({"min_occurrence": 7}, "min_occurrence is 7: choose 0 to 1"),
        ({"gap_s": float("nan")}, "gap_s is not a number"),
        ({"overlap_s": "none"}, "overlap_s is 'none': give a number"),
        ({"latitude": 50.0, "longitude": 11.0}, "knows the species of birdnet"),
        ({"latitude": 50.0, "longitude": 11.0, "use_location": False}, "leave out one"),
    ],
)
def test_settings_that_cannot_be_used_are_errors_with_a_remedy(given, message):
    with pytest.raises(runtime.ParameterError, match=message):
        analysed.settings(**given)


def test_numbers_of_numpy_and_of_texts_are_those_of_python(monkeypatch):
    """They are written as JSON, and 18 and 18.0 are one setting."""
    monkeypatch.setattr(engine.weights, "fetch", lambda name, folder="": name)
    birdnet, given = analysed.model(name="birdnet"), {"min_confidence": 0.5, "overlap_s": 0.5, "latitude": 50.0, "longitude": 11.0, "week": 18, "gap_s": 1.0}
    as_python = json.dumps(analysed.settings(birdnet, **given).as_dict())
    for kind in (np.float64, np.float32, str):
        assert json.dumps(analysed.settings(birdnet, **{name: kind(value) for name, value in given.items()}).as_dict()) == as_python


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"latitude": 91.0, "longitude": 0.0}, "no location at latitude 91, longitude 0"),
        ({"latitude": 5.0, "longitude": 0.0, "week": 49}, "no week 49"),
        ({"latitude": 5.0, "longitude": 0.0, "week": 18.5}, "no week 18.5"),
    ],
)
def test_places_and_weeks_that_do_not_exist_are_errors(given, message):
    with pytest.raises(birdnet_location.LocationError, match=message):
        analysed.settings(analysed.model(name="birdnet"), **given)


def test_without_thresholds_a_quarter_is_the_least_confidence(here):
    settings = analysed.settings(analysed.model(thresholds=None))
    assert settings.min_confidence == 0.25 and "at least 0.25" in summary.describe_settings(settings)
