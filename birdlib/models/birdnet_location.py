"""Which species to expect at a location and in a week: BirdNET's location model, with the classes of BirdNET V2.4.

Its outputs are how often observers report a species there, in [0, 1]; its makers call a species absent below 0.03. Weeks are those of
BirdNET: 48 a year, four a month, counted from 1.
"""

import calendar
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd

from birdlib import runtime
from birdlib.models import birdnet, litert

ALL_YEAR = -1
_WEEKS = 48
MIN_OCCURRENCE = 0.03
_MODEL = "BirdNET_GLOBAL_6K_V2.4_MData_Model_V2_FP16.tflite"


class LocationError(runtime.BirdlibError):
    """A location or a week that does not exist."""


def load(source):
    """Load the weights of "birdnet_location" that ``birdlib.models.weights`` found.

    Returns:
        expect: function (latitude, longitude, week=ALL_YEAR) → Series of float32 in [0, 1], indexed by scientific name in the order of
        BirdNET's classes; it raises LocationError for coordinates or a week out of range.

    Raises:
        LocationError: if the classes of the model differ from their list.
    """
    interpreter = litert.open_interpreter(source.path / _MODEL)
    [location_in], [occurrence_out] = interpreter.get_input_details(), interpreter.get_output_details()
    names = birdnet.species(source)["species"]
    if len(names) != occurrence_out["shape"][-1]:
        raise LocationError(f"{source.path}: {len(names)} labels for {occurrence_out['shape'][-1]} classes: fetch both anew")

    def expect(latitude, longitude, week=ALL_YEAR):
        require(latitude, longitude, week)
        interpreter.set_tensor(location_in["index"], np.array([[latitude, longitude, week]], np.float32))
        interpreter.invoke()
        return pd.Series(interpreter.get_tensor(occurrence_out["index"])[0], index=names, name="occurrence")

    return expect


def require(latitude, longitude, week=ALL_YEAR):
    """Raise LocationError for coordinates or a week out of range."""
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise LocationError(f"there is no location at latitude {latitude:g}, longitude {longitude:g}: give degrees, south and west negative")
    if week != ALL_YEAR and (not 1 <= week <= _WEEKS or week % 1):
        raise LocationError(f"there is no week {week:g}: weeks run from 1 to {_WEEKS}, four a month, and {ALL_YEAR} is the whole year")


def week_of(day):
    """The week of BirdNET's year, 1 to 48, that a ``datetime.date`` lies in."""
    return math.ceil(day.timetuple().tm_yday / (366 if calendar.isleap(day.year) else 365) * _WEEKS)


def read_location(data_dir):
    """(latitude, longitude) in ``recording_location.txt`` of a BirdCLEF folder; None if the file or the numbers are missing."""
    path = Path(data_dir, "recording_location.txt")
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    found = [re.search(rf"{name}\W*?(-?\d+(?:\.\d+)?)", text, re.IGNORECASE) for name in ("latitude", "longitude")]
    return tuple(float(number[1]) for number in found) if all(found) else None
